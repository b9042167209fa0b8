//! What can go wrong while a request is answered, and the one place that says how HTTP shows it.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request has no answer. The message says what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// What it asks for is not there.
    #[error("{0}")]
    NotFound(String),
}

impl ApiError {
    /// How HTTP shows it: its status, and its name for programs.
    fn shown(&self) -> (StatusCode, &'static str) {
        match self {
            ApiError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.shown();
        let body = json!({ "error": { "code": code, "message": self.to_string() } });
        (status, Json(body)).into_response()
    }
}
