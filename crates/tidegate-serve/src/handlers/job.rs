//! `GET /v1/job`: what the job is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use crate::app::App;

/// What the job is: name, windows, charts. It never changes while the process runs.
pub(crate) async fn job(State(app): State<Arc<App>>) -> Json<Value> {
    Json(app.about.clone())
}
