//! Instants of twelve bytes, which Parquet had before it had others: the nanoseconds of the day,
//! and the day by the count of Julius Scaliger. Some readers take no others.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::{Encoding, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::statistics::Statistics;

use crate::dictionary::DictionaryPage;
use crate::leaf::{LeafOptions, Values};

const DAY_MICROS: i64 = 86_400_000_000;
/// The first of January 1970.
const EPOCH: i64 = 2_440_588;
/// Bytes of a value.
const BYTES: usize = 12;

/// Instants of a page, from microseconds.
pub(crate) struct Instants {
    bytes: Vec<u8>,
}

impl Instants {
    /// None if the options ask for what is not done here. Statistics are left out: the format has
    /// no order for these values.
    pub(crate) fn new(options: &LeafOptions) -> Option<Self> {
        (options.encoding == Encoding::PLAIN).then(|| Instants { bytes: Vec::new() })
    }
}

fn encoded(micros: i64) -> [u8; BYTES] {
    let nanos = micros.rem_euclid(DAY_MICROS) * 1_000;
    // An i64 of microseconds reaches to day 109,192,316, which has room.
    let day = (micros.div_euclid(DAY_MICROS) + EPOCH) as i32;
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&nanos.to_le_bytes());
    bytes[8..].copy_from_slice(&day.to_le_bytes());
    bytes
}

impl Values for Instants {
    type Array<'a> = &'a [i64];

    fn view<'a>(array: &'a ArrayRef, data: &'a ArrayData) -> Self::Array<'a> {
        &data.buffer::<i64>(0)[..array.len()]
    }

    fn bytes_of(_array: &Self::Array<'_>, range: Range<usize>) -> usize {
        range.len() * BYTES
    }

    fn add(
        &mut self,
        array: &Self::Array<'_>,
        range: Range<usize>,
        dictionary: Option<DictionaryPage<'_>>,
    ) {
        debug_assert!(dictionary.is_none(), "the options have none");
        for micros in &array[range] {
            self.bytes.extend_from_slice(&encoded(*micros));
        }
    }

    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn take(&mut self, out: &mut Vec<u8>) -> Encoding {
        out.append(&mut self.bytes);
        Encoding::PLAIN
    }

    fn statistics(&self, _nulls: u64) -> Option<Statistics> {
        None
    }
}

/// A file's metadata, so that its instants of twelve bytes are read as what they were written from:
/// microseconds, UTC. Left to itself, the reader makes nanoseconds of them, which end in 2262.
/// Other columns stay as they are.
///
/// # Errors
/// If Arrow refuses, which would be a bug here.
pub fn with_instants(metadata: ArrowReaderMetadata) -> Result<ArrowReaderMetadata, ParquetError> {
    let parquet = metadata.parquet_schema().root_schema_ptr();
    let is_instant = |at: usize| {
        parquet.get_fields().get(at).is_some_and(|field| {
            field.is_primitive() && field.get_physical_type() == Physical::INT96
        })
    };
    let schema = metadata.schema();
    if !(0..schema.fields().len()).any(is_instant) {
        return Ok(metadata);
    }
    let fields = schema.fields().iter().enumerate().map(|(at, field)| {
        if is_instant(at) {
            let ty = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
            Arc::new(Field::clone(field).with_data_type(ty))
        } else {
            Arc::clone(field)
        }
    });
    let schema = Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
}
