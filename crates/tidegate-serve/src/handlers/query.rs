//! `POST /v1/query`: a question in SQL, to the warehouse or over files.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidegate_warehouse::{QueryLimits, QueryResult};
use utoipa::ToSchema;

use super::openapi::Refusals;
use super::rows::RowTier;
use crate::app::App;
use crate::aside::aside;
use crate::error::ApiError;
use crate::guard::{ErrorBody, Weight};
use crate::tiers::cold::{Extent, Files};
use crate::tiers::plan::Tier;
use crate::tiers::warm::BYTES_MAX;
use crate::time;
use tidegate_warehouse::json;

const ROWS: usize = 1_000;
const ROWS_MAX: usize = 100_000;
const SECONDS: f64 = 10.0;
const SECONDS_MAX: f64 = 60.0;

/// A question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Question)]
pub(crate) struct QueryRequest {
    /// One SELECT.
    #[schema(min_length = 1)]
    sql: String,
    /// Which tier is asked: warm, unless it is said.
    // A text, so that the message about another one is ours.
    #[schema(value_type = Option<RowTier>)]
    tier: Option<String>,
    /// Rows at most.
    #[schema(minimum = 1)]
    limit: Option<usize>,
    /// Seconds that it may take.
    #[schema(exclusive_minimum = 0)]
    timeout_seconds: Option<f64>,
    /// Cold: only files with rows of this time or later.
    #[schema(format = DateTime)]
    from: Option<String>,
    /// Cold: only files with rows before this time.
    #[schema(format = DateTime)]
    to: Option<String>,
}

/// The answer to a question in SQL.
#[derive(Debug, ToSchema)]
#[schema(as = QueryResult)]
#[expect(
    dead_code,
    reason = "it is the shape of what `JsonStream` writes, piece by piece"
)]
pub(crate) struct QueryBody {
    columns: Vec<Column>,
    /// The values of each row, in the order of the columns.
    rows: Vec<Vec<Value>>,
    /// Whether there are more rows than `limit`, or more than an answer may have.
    truncated: bool,
    tier: RowTier,
    /// How long it took.
    seconds: f64,
}

/// A column of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Column {
    name: String,
    r#type: String,
}

/// Answers one SELECT about the tables of the job.
#[utoipa::path(
    post,
    path = "/v1/query",
    tag = "job",
    summary = "Read-only SQL",
    description = "One SELECT about the tables and the views of the job.",
    request_body = QueryRequest,
    responses(
        Refusals,
        (status = 200, description = "The rows.", body = QueryBody),
        (status = 413, description = "The body is too large.", body = ErrorBody),
        (status = 415, description = "The body is not JSON.", body = ErrorBody),
        (status = 422, description = "The body has another form.", body = ErrorBody),
        (status = 504, description = "It took too long.", body = ErrorBody)
    )
)]
pub(crate) async fn query(
    State(app): State<Arc<App>>,
    question: Result<Json<QueryRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let Json(question) = question.map_err(|error| ApiError::BadRequest(error.body_text()))?;
    let tier = match question.tier.as_deref() {
        None | Some("warm") => Tier::Warm,
        Some("cold") => Tier::Cold,
        Some(tier) => {
            return Err(ApiError::BadRequest(format!(
                "`tier` is `{tier}`, and has to be warm or cold"
            )));
        }
    };
    let limits = limits(&question)?;
    let times = times(&question)?;
    let started = Instant::now();
    let (guard, sql, timeout) = (app.readable.clone(), question.sql, limits.timeout);
    let checked = app.tiers.warm.turns.run(move || {
        guard.check(&sql, timeout)?;
        Ok(sql)
    });
    let sql = checked.await?;
    let limits = QueryLimits {
        timeout: timeout.saturating_sub(started.elapsed()),
        ..limits
    };
    let answer = match tier {
        Tier::Cold => {
            let datasets: Vec<&str> = app
                .job
                .tables()
                .iter()
                .flat_map(|table| &table.datasets)
                .map(String::as_str)
                .collect();
            let files = Files {
                datasets: &datasets,
                times,
                extent: Extent::All,
                every_row: false,
            };
            app.tiers.cold.query(sql, &files, limits).await?.result
        }
        _ => app.tiers.warm.query(sql, limits).await?,
    };
    let bytes = answer
        .batches
        .iter()
        .map(RecordBatch::get_array_memory_size)
        .sum();
    let text = JsonStream::new(answer, tier, started.elapsed());
    let body = match text.piece().await {
        // An answer that is one piece says its length.
        Some((only, text)) if text.is_done() => Body::from(only),
        Some((first, text)) => {
            let others = stream::unfold(text, JsonStream::piece);
            let pieces = stream::iter([first]).chain(others);
            Body::from_stream(pieces.map(Ok::<_, Infallible>))
        }
        None => Body::empty(),
    };
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    response.extensions_mut().insert(Weight(bytes));
    Ok(response)
}

/// Bytes of JSON that are made at a time.
const PIECE: usize = 64 << 10;

/// The JSON of an answer, made piece by piece as it is sent; rows that are sent are let go of.
struct JsonStream {
    /// What stands before the rows; none once it is sent.
    head: Option<String>,
    batches: std::vec::IntoIter<RecordBatch>,
    /// The batch that is being written, and its next row.
    batch: Option<(RecordBatch, usize)>,
    is_first: bool,
    /// What stands after the rows; none once it is sent.
    tail: Option<String>,
}

impl JsonStream {
    fn new(answer: QueryResult, tier: Tier, took: Duration) -> Self {
        let fields = answer.schema.fields().iter();
        let columns: Vec<Column> = fields
            .map(|field| Column {
                name: field.name().clone(),
                r#type: json::type_name(field.data_type()),
            })
            .collect();
        let seconds = json!(took.as_secs_f64());
        JsonStream {
            head: Some(format!(r#"{{"columns":{},"rows":["#, json!(columns))),
            batches: answer.batches.into_iter(),
            batch: None,
            is_first: true,
            tail: Some(format!(
                r#"],"seconds":{seconds},"tier":{},"truncated":{}}}"#,
                json!(tier),
                answer.truncated
            )),
        }
    }

    /// The next piece, and what is left.
    async fn piece(mut self) -> Option<(Bytes, Self)> {
        let piece = aside(|| self.next()).await;
        piece.map(|piece| (piece, self))
    }

    fn is_done(&self) -> bool {
        self.tail.is_none()
    }

    fn row(&mut self, out: &mut String) -> bool {
        loop {
            if let Some((batch, row)) = &mut self.batch
                && *row < batch.num_rows()
            {
                out.push_str(if std::mem::take(&mut self.is_first) {
                    "["
                } else {
                    ",["
                });
                for (place, column) in batch.columns().iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    json::write(out, column, *row);
                }
                out.push(']');
                *row += 1;
                return true;
            }
            match self.batches.next() {
                Some(batch) => self.batch = Some((batch, 0)),
                None => {
                    self.batch = None;
                    return false;
                }
            }
        }
    }
}

impl Iterator for JsonStream {
    type Item = Bytes;

    fn next(&mut self) -> Option<Self::Item> {
        let mut out = self.head.take().unwrap_or_default();
        while out.len() < PIECE {
            if !self.row(&mut out) {
                out.push_str(&self.tail.take().unwrap_or_default());
                break;
            }
        }
        (!out.is_empty()).then(|| out.into())
    }
}

fn limits(question: &QueryRequest) -> Result<QueryLimits, ApiError> {
    let rows = question.limit.unwrap_or(ROWS);
    if !(1..=ROWS_MAX).contains(&rows) {
        return Err(ApiError::BadRequest(format!(
            "`limit` is {rows}, and has to be from 1 to {ROWS_MAX}"
        )));
    }
    let seconds = question.timeout_seconds.unwrap_or(SECONDS);
    if !(seconds > 0.0 && seconds <= SECONDS_MAX) {
        return Err(ApiError::BadRequest(format!(
            "`timeout_seconds` is {seconds}, and has to be more than 0 and at most {SECONDS_MAX}"
        )));
    }
    Ok(QueryLimits {
        rows,
        bytes: BYTES_MAX,
        timeout: Duration::from_secs_f64(seconds),
    })
}

fn times(question: &QueryRequest) -> Result<(i64, i64), ApiError> {
    let read = |text: &Option<String>| {
        text.as_deref()
            .map(time::read)
            .transpose()
            .map_err(ApiError::BadRequest)
    };
    let (from, to) = (read(&question.from)?, read(&question.to)?);
    Ok((
        from.unwrap_or(i64::MIN),
        to.map_or(i64::MAX, |to| to.saturating_sub(1)),
    ))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, StringArray};
    use utoipa::PartialSchema as _;

    use super::*;

    #[test]
    fn rows_are_written_in_pieces_that_are_one_answer() {
        let words: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1000); 300]));
        let batch = RecordBatch::try_from_iter([("word", words)]).unwrap();
        let answer = QueryResult {
            schema: batch.schema(),
            batches: vec![batch.clone(), batch.slice(0, 0), batch.slice(0, 1)],
            truncated: true,
        };
        let pieces: Vec<Bytes> =
            JsonStream::new(answer, Tier::Warm, Duration::from_millis(1500)).collect();
        assert!(pieces.len() > 2, "{}", pieces.len());
        assert!(pieces.iter().all(|piece| piece.len() < 2 * PIECE));
        let whole: Value = serde_json::from_slice(&pieces.concat()).unwrap();
        assert_eq!(whole["rows"].as_array().unwrap().len(), 301);
        assert_eq!(
            whole["columns"],
            json!([{ "name": "word", "type": "string" }])
        );
        assert_eq!(whole["tier"], "warm");
        assert_eq!(whole["truncated"], true);
        assert_eq!(whole["seconds"], 1.5);
        let described = serde_json::to_value(QueryBody::schema()).unwrap();
        let members =
            |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
        assert_eq!(members(&whole), members(&described["properties"]));
        let none = QueryResult {
            schema: batch.schema(),
            batches: Vec::new(),
            truncated: false,
        };
        let pieces: Vec<Bytes> = JsonStream::new(none, Tier::Cold, Duration::ZERO).collect();
        let whole: Value = serde_json::from_slice(&pieces.concat()).unwrap();
        assert_eq!(whole["rows"], json!([]));
    }
}
