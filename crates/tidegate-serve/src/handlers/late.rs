//! `GET /v1/late`: events that came behind the watermark. They are in the warehouse among the others; their own
//! files tell which they are.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use tidegate_core::plan::SYSTEM_COLUMNS;

use super::query_string::Parameters;
use super::rejected::{ROWS, ROWS_MAX};
use super::rows::{self, Source};
use crate::app::App;
use crate::error::ApiError;
use crate::tiers::sql::{instant, name};

/// Newest first, by when they were processed.
pub(crate) async fn late(
    State(app): State<Arc<App>>,
    mut parameters: Parameters,
) -> Result<Json<Value>, ApiError> {
    let limit = parameters.limit("limit", ROWS, ROWS_MAX)?;
    let before = parameters.time("before")?;
    parameters.finish("limit and before")?;
    let processed = name(SYSTEM_COLUMNS[0]);
    let condition = before.map_or("true".to_owned(), |before| {
        format!("{processed} < {}", instant(before))
    });
    let sql = format!(
        "SELECT * FROM {} WHERE {condition} ORDER BY {processed} DESC LIMIT {limit}",
        name(&app.tables.events)
    );
    let source = Source {
        datasets: &["late"],
        times: (i64::MIN, i64::MAX),
        newest_rows: before.is_none().then_some(limit as u64),
    };
    let (late, served_by) = rows::cold(&app, sql, &source, limit).await?;
    Ok(Json(json!({ "late": late, "served_by": served_by })))
}
