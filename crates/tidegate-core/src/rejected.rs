//! The rows of the `rejected` dataset: what came, where from, and everything that was wrong with it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use base64::Engine as _;
use tidegate_expr::time::{UTC, instant};

use crate::chunk::Chunk;
use crate::reject::Reject;

/// The schema of rejected records. The payload is kept as it came: as text where it is valid
/// UTF-8, in base64 otherwise; `payload_encoding` says which.
pub fn rejected_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("payload", DataType::Utf8, false),
        Field::new("payload_encoding", DataType::Utf8, false),
        Field::new("reasons", DataType::Utf8, false),
        Field::new("detail", DataType::Utf8, false),
        Field::new("source_partition", DataType::Int32, false),
        Field::new("source_offset", DataType::Int64, false),
        Field::new("source_timestamp", instant(), true),
        Field::new("rejected_at", instant(), false),
    ]))
}

/// The rejected records of a chunk as rows.
///
/// # Errors
/// If Arrow refuses, which would be a bug here.
pub fn rejected_batch(
    chunk: &Chunk,
    rejects: &[Reject],
    now: i64,
) -> Result<RecordBatch, ArrowError> {
    let payloads: Vec<(String, &str)> = rejects
        .iter()
        .map(|reject| {
            let payload = chunk.payload(reject.index);
            match std::str::from_utf8(payload) {
                Ok(text) => (text.to_owned(), "utf8"),
                Err(_) => (
                    base64::engine::general_purpose::STANDARD.encode(payload),
                    "base64",
                ),
            }
        })
        .collect();
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
        Arc::new(StringArray::from_iter_values(
            rejects.iter().map(|r| &r.detail),
        )),
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
