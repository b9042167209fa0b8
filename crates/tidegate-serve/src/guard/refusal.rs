//! How a request is refused before it reaches a handler.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

/// An answer with the body that all errors have.
pub(crate) fn refuse(status: StatusCode, code: &str, message: impl AsRef<str>) -> Response {
    let body = json!({ "error": { "code": code, "message": message.as_ref() } });
    (status, Json(body)).into_response()
}
