//! `POST /v1/query`: a question in SQL, to the warehouse or over files.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_warehouse::QueryLimits;

use crate::app::App;
use crate::error::ApiError;
use crate::json;
use crate::tiers::cold::Files;
use crate::tiers::plan::Tier;
use crate::tiers::warm::BYTES_MAX;
use crate::time;

const ROWS: usize = 1_000;
const ROWS_MAX: usize = 100_000;
const SECONDS: f64 = 10.0;
const SECONDS_MAX: f64 = 60.0;

/// A question.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    sql: String,
    /// `warm` or `cold`.
    #[serde(default)]
    tier: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    timeout_seconds: Option<f64>,
    /// Cold: only files with rows of this time or later.
    #[serde(default)]
    from: Option<String>,
    /// Cold: only files with rows before this time.
    #[serde(default)]
    to: Option<String>,
}

/// Answers one SELECT about the tables of the job.
pub(crate) async fn query(
    State(app): State<Arc<App>>,
    question: Result<Json<Question>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
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
    let guard = app.readable.clone();
    let sql = question.sql;
    let sql = tokio::task::spawn_blocking(move || guard.check(&sql).map(|()| sql));
    let sql = sql
        .await
        .map_err(|error| ApiError::Internal(error.to_string()))??;
    let started = Instant::now();
    let answer = match tier {
        Tier::Cold => {
            let datasets: Vec<&str> = app
                .job
                .tables
                .iter()
                .flat_map(|table| &table.datasets)
                .map(String::as_str)
                .collect();
            let files = Files {
                datasets: &datasets,
                times,
                newest_rows: None,
            };
            app.tiers.cold.query(sql, &files, limits).await?.0
        }
        _ => app.tiers.warm.query(sql, limits).await?,
    };
    let columns: Vec<Value> = answer
        .schema
        .fields()
        .iter()
        .map(|field| json!({ "name": field.name(), "type": json::type_name(field.data_type()) }))
        .collect();
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for batch in &answer.batches {
        rows.extend((0..batch.num_rows()).map(|row| {
            batch
                .columns()
                .iter()
                .map(|column| json::value(column, row))
                .collect()
        }));
    }
    Ok(Json(json!({
        "columns": columns,
        "rows": rows,
        "truncated": answer.truncated,
        "tier": tier,
        "seconds": started.elapsed().as_secs_f64(),
    })))
}

fn limits(question: &Question) -> Result<QueryLimits, ApiError> {
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

fn times(question: &Question) -> Result<(i64, i64), ApiError> {
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
