//! How much is answered at the same time, and for how long.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::authorize::needed;
use super::refusal::refuse;
use super::{Guard, count};

/// Bounds of everything that the server takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time, WebSockets too; more wait until one closes.
    pub connections: usize,
    /// Requests that are answered at the same time; more are refused.
    pub requests: usize,
    /// Bytes of a request's body, except where events are sent.
    pub body_bytes: usize,
    /// From the end of a request's headers to its answer, so that a body that comes slowly is bounded too.
    pub request_timeout: Duration,
    /// From the beginning of a connection, or the last answer on it, to the end of the next request's headers.
    pub header_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 4096,
            requests: 512,
            body_bytes: 1 << 20,
            request_timeout: Duration::from_secs(60),
            header_timeout: Duration::from_secs(10),
        }
    }
}

/// Answers one request within the limits. What needs no token is not counted: a supervisor is answered however much
/// there is to do.
pub(super) async fn bound(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let _slot = if needed(request.method(), request.uri().path()).is_some() {
        let Ok(slot) = guard.slots.try_acquire() else {
            count(&guard.refused.busy);
            let message = "too many requests are being answered (http.limits.requests); ask again in a moment";
            let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, "busy", message);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            return response;
        };
        Some(slot)
    } else {
        None
    };
    let limit = guard.limits.request_timeout;
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            count(&guard.refused.timeout);
            let seconds = limit.as_secs_f64();
            let message = format!(
                "the request was not complete and answered within {seconds} s (http.limits.request-timeout)"
            );
            let mut response = refuse(StatusCode::REQUEST_TIMEOUT, "timeout", message);
            // What is left of its body would be read as the next request.
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        }
    }
}
