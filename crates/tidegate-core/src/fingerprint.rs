//! 128-bit fingerprints of deduplication keys.
//!
//! No fingerprint is stored anywhere: after a restart they are made again, from the columns in the
//! files. So the bytes that they are made of may change from version to version.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::equality::canonical;

/// Fingerprints of the key that `columns` make together, one for each row. Keys that are equal, in
/// the sense of [`crate::equality`], have the same one.
///
/// XXH3 with 128 bits and the job's own seed: among 10^9 keys the chance of any collision is below
/// 10^-20, and nobody who does not know the seed can construct one.
///
/// # Errors
/// If a column's type cannot be part of a key (maps).
pub fn fingerprints(columns: &[&ArrayRef], seed: u64) -> Result<Vec<u128>, ArrowError> {
    let rows = columns.first().map_or(0, |c| c.len());
    let mut out = Vec::with_capacity(rows);
    let columns: Vec<KeyColumn> = columns
        .iter()
        .map(|c| KeyColumn::new(c))
        .collect::<Result<_, _>>()?;
    let mut scratch = Vec::with_capacity(256);
    for row in 0..rows {
        scratch.clear();
        for column in &columns {
            column.append(row, &mut scratch);
        }
        out.push(xxh3_128_with_seed(&scratch, seed));
    }
    Ok(out)
}

/// A column of a key, of which row `i` can be appended as bytes that no other value of it has, and
/// whose end is known by what they begin with.
enum KeyColumn {
    Text(StringArray),
    /// Whole numbers, dates and times.
    Whole(Int64Array),
    Other(Rows),
}

/// Stands for a null, in front of whole numbers; where a length stands, all bits do.
const NULL: u8 = 0;
const THERE: u8 = 1;

impl KeyColumn {
    fn new(column: &ArrayRef) -> Result<Self, ArrowError> {
        Ok(match column.data_type() {
            DataType::Utf8 => KeyColumn::Text(column.as_string::<i32>().clone()),
            DataType::Int64 => KeyColumn::Whole(column.as_primitive::<Int64Type>().clone()),
            DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, _) => {
                let times = column.as_primitive::<TimestampMicrosecondType>();
                KeyColumn::Whole(times.reinterpret_cast())
            }
            DataType::Int32 => {
                let wide = cast(column, &DataType::Int64)?;
                KeyColumn::Whole(wide.as_primitive::<Int64Type>().clone())
            }
            ty => {
                let converter = RowConverter::new(vec![SortField::new(ty.clone())])?;
                KeyColumn::Other(converter.convert_columns(&[canonical(column)?])?)
            }
        })
    }

    #[inline]
    fn append(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            KeyColumn::Text(texts) if texts.is_null(row) => {
                out.extend_from_slice(&u64::MAX.to_le_bytes());
            }
            KeyColumn::Text(texts) => {
                let value = texts.value(row).as_bytes();
                out.extend_from_slice(&(value.len() as u64).to_le_bytes());
                out.extend_from_slice(value);
            }
            KeyColumn::Whole(numbers) if numbers.is_null(row) => out.push(NULL),
            KeyColumn::Whole(numbers) => {
                out.push(THERE);
                out.extend_from_slice(&numbers.value(row).to_le_bytes());
            }
            KeyColumn::Other(rows) => {
                let value = rows.row(row);
                let value: &[u8] = value.as_ref();
                out.extend_from_slice(&(value.len() as u64).to_le_bytes());
                out.extend_from_slice(value);
            }
        }
    }
}
