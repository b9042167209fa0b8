//! `GET /v1/events/{key}`: what is known of one event, by its upsert key.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::query_string::Parameters;
use super::rows::{self, Source};
use crate::app::App;
use crate::error::ApiError;
use crate::tiers::sql::{name, text};

/// Rows of one key, at most; there is one unless the table only appends.
const ROWS_MAX: usize = 100;

/// The event with this key; the values of several columns with commas between, in the order of `upsert.key`.
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
    parameters: Parameters,
) -> Result<Json<Value>, ApiError> {
    parameters.finish("none")?;
    let columns = &app.tables.upsert_key;
    if columns.is_empty() {
        return Err(ApiError::NotFound(
            "events of this job have no key: there is no upsert.key in its configuration"
                .to_owned(),
        ));
    }
    let values: Vec<&str> = key.splitn(columns.len(), ',').collect();
    if values.len() < columns.len() {
        return Err(ApiError::BadRequest(format!(
            "the key has {} columns ({}), with commas between",
            columns.len(),
            columns.join(", ")
        )));
    }
    let conditions = columns
        .iter()
        .zip(&values)
        .map(|(column, value)| format!("{} = {}", name(column), text(value)));
    let sql = format!(
        "SELECT * FROM {} WHERE {} LIMIT {ROWS_MAX}",
        name(&app.tables.events),
        conditions.collect::<Vec<_>>().join(" AND ")
    );
    let source = Source {
        datasets: &["events", "late"],
        times: (i64::MIN, i64::MAX),
        newest_rows: None,
    };
    let (events, served_by) = rows::warm_or_cold(&app, sql, &source, ROWS_MAX).await?;
    Ok(Json(
        json!({ "key": key, "events": events, "served_by": served_by }),
    ))
}
