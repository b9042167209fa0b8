//! `GET /v1/history`: how the job was doing, as far as this process remembers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::query_string::Parameters;
use crate::app::App;
use crate::error::ApiError;

/// Microseconds that are shown unless the request says otherwise: an hour.
const RANGE: i64 = 3_600_000_000;

/// Series from `from` to `to`, in steps of at least `step` seconds.
pub(crate) async fn history(
    State(app): State<Arc<App>>,
    mut parameters: Parameters,
) -> Result<Json<Value>, ApiError> {
    let to = parameters
        .time("to")?
        .unwrap_or_else(|| app.job.clock.now_micros());
    let from = parameters.time("from")?.unwrap_or(to.saturating_sub(RANGE));
    let step = parameters.limit("step", 1, 86_400)?;
    parameters.finish("from, to and step")?;
    let step = i64::try_from(step)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000);
    Ok(Json(app.history.series(from, to, step)))
}
