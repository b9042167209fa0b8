//! `GET /v1/history`: how the job was doing, as far as this process remembers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::openapi::Refusals;
use super::query_string::Parameters;
use crate::app::App;
use crate::error::ApiError;
use crate::history::Series;

/// Microseconds that are shown unless the request says otherwise: an hour.
const RANGE: i64 = 3_600_000_000;

/// Series from `from` to `to`, in steps of at least `step` seconds.
#[utoipa::path(
    get,
    path = "/v1/history",
    tag = "job",
    summary = "Series of this process",
    description = "In memory: 10 s for an hour, a minute for a day. Null where unknown.",
    params(
        (
            "from" = Option<String>,
            Query,
            format = DateTime,
            description = "The first time; an hour before `to` where it is left out."
        ),
        (
            "to" = Option<String>,
            Query,
            format = DateTime,
            description = "The last time; now where it is left out."
        ),
        ("step" = Option<usize>, Query, minimum = 1, description = "Seconds."),
    ),
    responses(Refusals, (status = 200, description = "The series.", body = Series))
)]
pub(crate) async fn history(
    State(app): State<Arc<App>>,
    mut parameters: Parameters,
) -> Result<Json<Series>, ApiError> {
    let to = parameters
        .time("to")?
        .unwrap_or_else(|| app.job.clock().now_micros());
    let from = parameters.time("from")?.unwrap_or(to.saturating_sub(RANGE));
    let step = parameters.limit("step", 1, 86_400)?;
    parameters.finish("from, to and step")?;
    let step = i64::try_from(step)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000);
    Ok(Json(app.history.series(from, to, step)))
}
