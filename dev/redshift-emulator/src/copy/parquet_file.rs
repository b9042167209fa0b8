//! A Parquet file in a store, read row group by row group, so that no more than one of them is in
//! memory.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use bytes::{Buf, Bytes};
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type as Physical;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{FooterTail, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::schema::types::Type;

use super::manifest::DataFile;
use super::objects::{BucketStores, s3_error};
use crate::errors::SqlError;

const FOOTER: u64 = 8;
const BATCH_ROWS: usize = 1024;

/// A file whose footer has been read.
pub(crate) struct ParquetFile {
    store: Arc<dyn ObjectStore>,
    pub(crate) file: DataFile,
    pub(crate) metadata: ArrowReaderMetadata,
}

impl ParquetFile {
    pub(crate) async fn open(file: &DataFile, buckets: &BucketStores) -> Result<Self, SqlError> {
        let store = buckets.of(&file.address.bucket)?;
        let path = file.address.path()?;
        let not_parquet = |why: &dyn std::fmt::Display| {
            SqlError::spectrum(
                15001,
                format_args!(
                    "File '{}' is not a valid Parquet file: {why}",
                    file.address.https()
                ),
            )
        };
        let size = file.size;
        if size < FOOTER {
            return Err(not_parquet(&"it is too short"));
        }
        let get = |range: Range<u64>| {
            let (store, path) = (&store, &path);
            async move {
                store
                    .get_range(path, range)
                    .await
                    .map_err(|error| s3_error(&error))
            }
        };
        let tail = get(size - FOOTER..size).await?;
        let tail = FooterTail::try_from(tail.as_ref()).map_err(|error| not_parquet(&error))?;
        let length = tail.metadata_length() as u64;
        if length + FOOTER > size {
            return Err(not_parquet(&"its footer is longer than the file"));
        }
        let footer = get(size - FOOTER - length..size - FOOTER).await?;
        let metadata =
            ParquetMetaDataReader::decode_metadata(&footer).map_err(|error| not_parquet(&error))?;
        // Types by what Parquet says, not by what Arrow has noted beside it.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::try_new(Arc::new(metadata), options)
            .and_then(with_int96_as_micros)
            .map_err(|error| not_parquet(&error))?;
        Ok(Self {
            store,
            file: file.clone(),
            metadata,
        })
    }

    pub(crate) fn row_groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// The rows of one row group, whose bytes are fetched in one request.
    pub(crate) async fn row_group(
        &self,
        index: usize,
    ) -> Result<ParquetRecordBatchReader, SqlError> {
        let range = range(self.metadata.metadata().row_group(index));
        if range.end > self.file.size || range.start > range.end {
            return Err(self.unreadable(&"a row group lies outside the file"));
        }
        let bytes = if range.is_empty() {
            Bytes::new()
        } else {
            let path = self.file.address.path()?;
            let got = self.store.get_range(&path, range.clone()).await;
            got.map_err(|error| s3_error(&error))?
        };
        let window = Window {
            size: self.file.size,
            start: range.start,
            bytes,
        };
        ParquetRecordBatchReaderBuilder::new_with_metadata(window, self.metadata.clone())
            .with_row_groups(vec![index])
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|error| self.unreadable(&error))
    }

    pub(crate) fn unreadable(&self, why: &dyn std::fmt::Display) -> SqlError {
        SqlError::spectrum(
            15001,
            format_args!("Cannot read '{}': {why}", self.file.address.https()),
        )
    }
}

/// Instants of twelve bytes as microseconds: as nanoseconds, which they are otherwise, they would
/// end in 2262.
fn with_int96_as_micros(metadata: ArrowReaderMetadata) -> ParquetResult<ArrowReaderMetadata> {
    let columns = metadata.parquet_schema().root_schema_ptr();
    if !columns.get_fields().iter().any(|column| is_int96(column)) {
        return Ok(metadata);
    }
    let fields = metadata.schema().fields().iter().zip(columns.get_fields());
    let fields: Vec<_> = fields
        .map(|(field, column)| match is_int96(column) {
            true => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
                Arc::new(Field::clone(field).with_data_type(micros))
            }
            false => Arc::clone(field),
        })
        .collect();
    let options = ArrowReaderOptions::new()
        .with_skip_arrow_metadata(true)
        .with_schema(Arc::new(Schema::new(fields)));
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
}

/// Whether a column has instants of twelve bytes.
pub(crate) fn is_int96(column: &Type) -> bool {
    column.is_primitive() && column.get_physical_type() == Physical::INT96
}

/// Where the column chunks of a row group lie.
fn range(group: &RowGroupMetaData) -> Range<u64> {
    let mut range: Option<Range<u64>> = None;
    for column in group.columns() {
        let start = column
            .dictionary_page_offset()
            .filter(|offset| *offset > 0)
            .map_or(column.data_page_offset(), |offset| {
                offset.min(column.data_page_offset())
            });
        let start = u64::try_from(start).unwrap_or(u64::MAX);
        let length = u64::try_from(column.compressed_size()).unwrap_or(u64::MAX);
        let end = start.saturating_add(length);
        range = Some(match range {
            None => start..end,
            Some(range) => range.start.min(start)..range.end.max(end),
        });
    }
    range.unwrap_or(0..0)
}

/// The part of a file that is in memory.
struct Window {
    size: u64,
    start: u64,
    bytes: Bytes,
}

impl Window {
    fn from(&self, start: u64) -> ParquetResult<Bytes> {
        start
            .checked_sub(self.start)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|skip| *skip <= self.bytes.len())
            .map(|skip| self.bytes.slice(skip..))
            .ok_or_else(|| ParquetError::General(format!("read at {start}, outside the row group")))
    }
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Window {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::General(format!(
                "read of {length} bytes at {start}, outside the row group"
            )));
        }
        Ok(bytes.slice(..length))
    }
}
