//! `/healthz` and `/readyz`: what supervisors ask.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tidegate_engine::Phase;

use crate::app::App;

/// The process is there.
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// Ready while records are being processed: not while recovering, and not once it ends.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    let phase = app.status().phase;
    let code = if phase == Phase::Running {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, format!("{}\n", phase.name())).into_response()
}
