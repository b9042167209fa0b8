//! `GET /v1/log`: what the commit log says.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use tidegate_log::{Record, read_records};

use super::query_string::Parameters;
use crate::app::App;
use crate::error::ApiError;
use crate::time;

const RECORDS: usize = 50;
const RECORDS_MAX: usize = 500;

/// Newest first; `before` is a sequence number.
pub(crate) async fn log(
    State(app): State<Arc<App>>,
    mut parameters: Parameters,
) -> Result<Json<Value>, ApiError> {
    let limit = parameters.limit("limit", RECORDS, RECORDS_MAX)?;
    let before = parameters.take("before")?;
    parameters.finish("limit and before")?;
    let last = app.status().last_seq;
    let last = match before {
        None => last,
        Some(text) => match text.parse::<u64>() {
            Ok(before) => last.min(before.saturating_sub(1)),
            Err(_) => {
                return Err(ApiError::BadRequest(format!(
                    "`before` is `{text}`, and has to be a sequence number"
                )));
            }
        },
    };
    let first = last.saturating_sub(limit as u64 - 1).max(1);
    let count = usize::try_from((last + 1).saturating_sub(first)).unwrap_or(usize::MAX);
    let records = read_records(&app.job.storage, first, count).await?;
    let records: Vec<Value> = records.iter().rev().map(show).collect();
    Ok(Json(json!({ "records": records })))
}

fn show(record: &Record) -> Value {
    let spans = record
        .partitions
        .iter()
        .map(|span| json!({ "partition": span.id, "from": span.from, "to": span.to }));
    json!({
        "seq": record.seq,
        "committed_at": time::show(record.written_at),
        "read": record.counts.read,
        "events": record.counts.events,
        "late": record.counts.late,
        "rejected": record.counts.rejected,
        "duplicates": record.counts.duplicates,
        "files": record.files.len(),
        "bytes": record.files.iter().map(|file| file.bytes).sum::<u64>(),
        "spans": spans.collect::<Vec<_>>(),
    })
}
