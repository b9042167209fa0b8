//! `GET /v1/status`: how the job is doing.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use tidegate_engine::Status;

use crate::app::App;

/// How the job is doing at this moment.
pub(crate) async fn status(State(app): State<Arc<App>>) -> Json<Status> {
    Json(app.status())
}
