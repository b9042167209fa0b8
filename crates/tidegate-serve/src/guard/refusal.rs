//! How a request is refused before it reaches a handler.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// What every error is answered with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ErrorDetail {
    /// For programs.
    pub(crate) code: &'static str,
    /// What, where, and what to do.
    pub(crate) message: String,
}

/// An answer with the body that all errors have.
pub(crate) fn refuse(
    status: StatusCode,
    code: &'static str,
    message: impl Into<String>,
) -> Response {
    let message = message.into();
    let error = ErrorDetail { code, message };
    (status, Json(ErrorBody { error })).into_response()
}
