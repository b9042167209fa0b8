//! `GET /v1/late`: events that came behind the watermark. They are in the warehouse among the others; their own
//! files tell which they are.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use tidegate_core::plan::SYSTEM_COLUMNS;

use super::page::{Before, Order, next};
use super::query_string::Parameters;
use super::rejected::{ROWS, ROWS_MAX};
use super::rows::{self, Source};
use crate::app::App;
use crate::error::ApiError;
use crate::tiers::sql::name;

/// Newest first, by when they were processed.
pub(crate) async fn late(
    State(app): State<Arc<App>>,
    mut parameters: Parameters,
) -> Result<Json<Value>, ApiError> {
    let limit = parameters.limit("limit", ROWS, ROWS_MAX)?;
    let before = Before::take(&mut parameters)?;
    parameters.finish("limit and before")?;
    let [processed, partition, offset, _] = SYSTEM_COLUMNS;
    let order = Order([processed, partition, offset]);
    let sql = format!(
        "SELECT * FROM {} WHERE {} {} LIMIT {limit}",
        name(&app.tables.events),
        order.condition(before.as_ref()),
        order.descending()
    );
    let source = Source {
        datasets: &["late"],
        times: (i64::MIN, i64::MAX),
        newest_rows: before.is_none().then_some(limit as u64),
    };
    let (late, served_by) = rows::cold(&app, sql, &source, limit).await?;
    let next = next(&late, limit, [processed, partition, offset]);
    Ok(Json(
        json!({ "late": late, "next": next, "served_by": served_by }),
    ))
}
