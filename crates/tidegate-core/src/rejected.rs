//! The rows of the `rejected` dataset: what came, where from, and everything that was wrong with
//! it.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, LargeBinaryArray, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use base64::Engine as _;
use tidegate_base::time::UTC;
use tidegate_expr::instant;

use crate::plan::{SOURCE_OFFSET, SOURCE_PARTITION, SOURCE_TIMESTAMP};
use crate::reject::Reject;
use tidegate_base::chunk::Chunk;

/// The schema of rejected records. The payload is kept as it came: as text where it is valid
/// UTF-8, in base64 otherwise; `payload_encoding` says which.
pub fn rejected_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("payload", DataType::Utf8, false),
        Field::new("payload_encoding", DataType::Utf8, false),
        Field::new("reasons", DataType::Utf8, false),
        Field::new("detail", DataType::Utf8, false),
        Field::new(SOURCE_PARTITION, DataType::Int32, false),
        Field::new(SOURCE_OFFSET, DataType::Int64, false),
        Field::new(SOURCE_TIMESTAMP, instant(), true),
        Field::new("rejected_at", instant(), false),
    ]))
}

/// The schema of rejected records that are too long for the warehouse: the bytes as they came.
pub fn oversized_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("payload", DataType::LargeBinary, false),
        Field::new(SOURCE_PARTITION, DataType::Int32, false),
        Field::new(SOURCE_OFFSET, DataType::Int64, false),
        Field::new("rejected_at", instant(), false),
    ]))
}

/// The rejected records of a chunk whose row in `rejected` is cut, whole; none if there are none.
///
/// # Errors
/// If Arrow refuses, which would be a bug here.
pub(crate) fn oversized_batch(
    chunk: &Chunk,
    rejects: &[Reject],
    now: i64,
    text_bytes_max: usize,
) -> Result<Option<RecordBatch>, ArrowError> {
    let cut: Vec<usize> = rejects
        .iter()
        .map(|reject| reject.index)
        .filter(|index| {
            payload_text(chunk.payload(*index), Some(text_bytes_max))
                .1
                .ends_with(CUT)
        })
        .collect();
    if cut.is_empty() {
        return Ok(None);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(LargeBinaryArray::from_iter_values(
            cut.iter().map(|index| chunk.payload(*index)),
        )),
        Arc::new(Int32Array::from_value(chunk.partition, cut.len())),
        Arc::new(Int64Array::from_iter_values(
            cut.iter().map(|index| chunk.offsets()[*index]),
        )),
        Arc::new(TimestampMicrosecondArray::from_value(now, cut.len()).with_timezone(UTC)),
    ];
    RecordBatch::try_new(oversized_schema(), columns).map(Some)
}

/// What the encoding of a payload ends with that was cut.
const CUT: &str = ",cut";

/// A payload as text of at most `bytes_max` bytes, and how to read it. Where there is a limit,
/// there is no U+0000 in it either.
fn payload_text(payload: &[u8], bytes_max: Option<usize>) -> (String, &'static str) {
    let max = bytes_max.unwrap_or(usize::MAX);
    match std::str::from_utf8(payload) {
        Ok(text) if text.len() <= max && (bytes_max.is_none() || !text.contains('\0')) => {
            (text.to_owned(), "utf8")
        }
        Ok(text) if !text.contains('\0') => {
            (text[..text.floor_char_boundary(max)].to_owned(), "utf8,cut")
        }
        _ => {
            let engine = base64::engine::general_purpose::STANDARD;
            // Four characters for three bytes.
            let fits = max / 4 * 3;
            match payload.get(..fits) {
                Some(head) if head.len() < payload.len() => (engine.encode(head), "base64,cut"),
                _ => (engine.encode(payload), "base64"),
            }
        }
    }
}

/// The rejected records of a chunk as rows. With `text_bytes_max`, text is cut to that many bytes;
/// `payload_encoding` says so.
///
/// # Errors
/// If Arrow refuses, which would be a bug here.
pub fn rejected_batch(
    chunk: &Chunk,
    rejects: &[Reject],
    now: i64,
    text_bytes_max: Option<usize>,
) -> Result<RecordBatch, ArrowError> {
    let payloads: Vec<(String, &str)> = rejects
        .iter()
        .map(|reject| payload_text(chunk.payload(reject.index), text_bytes_max))
        .collect();
    let detail_max = text_bytes_max.unwrap_or(usize::MAX);
    let details = rejects.iter().map(|reject| {
        let end = reject.detail.floor_char_boundary(detail_max);
        &reject.detail[..end]
    });
    let count = rejects.len();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(
            payloads.iter().map(|(payload, _)| payload),
        )),
        Arc::new(StringArray::from_iter_values(
            payloads.iter().map(|(_, encoding)| encoding),
        )),
        Arc::new(StringArray::from_iter_values(
            rejects.iter().map(|r| r.codes.join(",")),
        )),
        Arc::new(StringArray::from_iter_values(details)),
        Arc::new(Int32Array::from_value(chunk.partition, count)),
        Arc::new(Int64Array::from_iter_values(
            rejects.iter().map(|r| chunk.offsets()[r.index]),
        )),
        Arc::new(
            rejects
                .iter()
                .map(|r| chunk.timestamp(r.index))
                .collect::<TimestampMicrosecondArray>()
                .with_timezone(UTC),
        ),
        Arc::new(TimestampMicrosecondArray::from_value(now, count).with_timezone(UTC)),
    ];
    RecordBatch::try_new(rejected_schema(), columns)
}
