//! `GET /v1/log`: what the commit log says.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use tidegate_log::{Record, read_records};
use utoipa::ToSchema;

use super::openapi::Refusals;
use super::query_string::Parameters;
use crate::app::App;
use crate::aside::json;
use crate::error::ApiError;
use crate::time::Time;

const RECORDS: usize = 50;
const RECORDS_MAX: usize = 500;

/// Commits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Log)]
pub(crate) struct LogBody {
    /// The commits, the newest first.
    records: Vec<Commit>,
}

/// What one record of the commit log says.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Commit {
    /// Its sequence number.
    seq: u64,
    committed_at: Time,
    /// Records that it covers.
    read: u64,
    /// Of these: events.
    events: u64,
    /// Of these: late events.
    late: u64,
    /// Of these: rejected records.
    rejected: u64,
    /// Of these: exact repeats that were dropped.
    duplicates: u64,
    /// Files that it adds.
    files: usize,
    /// Bytes of these files.
    bytes: u64,
    /// What it covers of each partition.
    spans: Vec<CommitSpan>,
}

/// What a commit covers of a partition.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CommitSpan {
    /// The partition.
    partition: i32,
    /// The first offset.
    from: i64,
    /// The offset after the last one.
    to: i64,
}

/// Newest first; `before` is a sequence number.
#[utoipa::path(
    get,
    path = "/v1/log",
    tag = "job",
    summary = "Commits, the newest first",
    params(
        ("limit" = Option<usize>, Query, minimum = 1, description = "Rows at most."),
        ("before" = Option<u64>, Query, description = "Older than this sequence number."),
    ),
    responses(Refusals, (status = 200, description = "The commits.", body = LogBody))
)]
pub(crate) async fn log(
    State(app): State<Arc<App>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
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
    let records = read_records(app.job.storage(), first, count).await?;
    let records = records.iter().rev().map(show).collect();
    json(LogBody { records }).await
}

fn show(record: &Record) -> Commit {
    let counts = &record.counts;
    let spans = record.partitions.iter().map(|span| CommitSpan {
        partition: span.id,
        from: span.from,
        to: span.to,
    });
    Commit {
        seq: record.seq,
        committed_at: Time(record.written_at),
        read: counts.read,
        events: counts.events,
        late: counts.late,
        rejected: counts.rejected,
        duplicates: counts.duplicates,
        files: record.files.len(),
        bytes: record.files.iter().map(|file| file.bytes).sum(),
        spans: spans.collect(),
    }
}
