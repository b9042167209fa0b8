//! What can go wrong while a request is answered, and the one place that says how HTTP shows it.

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::guard::refuse;

/// Why a request has no answer. The message says what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The request is wrong.
    #[error("{0}")]
    BadRequest(String),
    /// What it asks for is not there.
    #[error("{0}")]
    NotFound(String),
    /// A tier is not there, and no other can take its place.
    #[error("the {tier} tier is not here: {reason}")]
    NoTier {
        /// Which tier.
        tier: &'static str,
        /// Why.
        reason: String,
    },
    /// Too many questions at the same time.
    #[error("too many questions are being answered; ask again in a moment")]
    Busy,
    /// It was ended in favour of a load.
    #[error("{0}")]
    GaveWay(String),
    /// It took too long.
    #[error("{0}")]
    Timeout(String),
    /// A WebSocket was expected.
    #[error("this is a WebSocket: {0}")]
    NoWebSocket(#[from] WebSocketUpgradeRejection),
    /// Something behind the server fails.
    #[error("{0}")]
    Internal(String),
}

impl ApiError {
    /// An answer that cannot be written as JSON: a fault of the program.
    pub(crate) fn unwritten(error: &serde_json::Error) -> Self {
        ApiError::Internal(format!("the answer cannot be written: {error}"))
    }

    /// How HTTP shows it: its status, and its name for programs.
    fn shown(&self) -> (StatusCode, &'static str) {
        match self {
            ApiError::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad_request"),
            ApiError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            ApiError::NoTier { .. } => (StatusCode::SERVICE_UNAVAILABLE, "no_tier"),
            ApiError::Busy | ApiError::GaveWay(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            ApiError::Timeout(_) => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
            ApiError::NoWebSocket(_) => (StatusCode::UPGRADE_REQUIRED, "upgrade_required"),
            ApiError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.shown();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = %self, "a request has no answer");
        }
        let mut response = refuse(status, code, self.to_string());
        let more = match self {
            ApiError::Busy | ApiError::GaveWay(_) => Some((header::RETRY_AFTER, "1")),
            ApiError::NoWebSocket(_) => Some((header::UPGRADE, "websocket")),
            _ => None,
        };
        if let Some((name, value)) = more {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
