//! `GET /v1/job`: what the job is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::openapi::Refusals;
use crate::app::App;
use crate::job::JobBody;

/// What the job is: name, windows, charts. It never changes while the process runs.
#[utoipa::path(
    get,
    path = "/v1/job",
    tag = "job",
    summary = "What the job is",
    description = "It does not change while the process runs.",
    responses(Refusals, (status = 200, description = "The job.", body = JobBody))
)]
pub(crate) async fn job(State(app): State<Arc<App>>) -> Json<JobBody> {
    Json(app.about.clone())
}
