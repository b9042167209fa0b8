//! How much is answered at the same time, and for how long.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::Semaphore;

use super::authorize::needed;
use super::holding::Holding;
use super::refusal::refuse;
use super::{Guard, count};

/// Bounds of everything that the server takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time, WebSockets too; for more, those go that show no token and ask
    /// for nothing.
    pub connections: usize,
    /// Requests that are answered at the same time; more are refused.
    pub requests: usize,
    /// Bytes of a request's body, except where events are sent.
    pub body_bytes: usize,
    /// Bytes of a question in SQL.
    pub sql_bytes: usize,
    /// Bytes of answers that are made and not sent yet, of all connections together.
    pub unsent_bytes: usize,
    /// From the end of a request's headers to its answer, so that a body that comes slowly is
    /// bounded too. And the longest time in which a peer reads nothing of an answer.
    pub request_timeout: Duration,
    /// From the beginning of a connection, or the last answer on it, to the end of the next
    /// request's headers.
    pub header_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 4096,
            requests: 512,
            body_bytes: 1 << 20,
            sql_bytes: 64 << 10,
            unsent_bytes: 256 << 20,
            request_timeout: Duration::from_secs(60),
            header_timeout: Duration::from_secs(10),
        }
    }
}

/// Bytes that an answer holds while it is sent, where its body does not say its length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weight(pub(crate) usize);

/// Answers of fewer bytes are not counted: they are less than what a connection takes.
const LIGHT: usize = 64 << 10;

/// Bytes in KiB, and at least one.
pub(super) fn kib(bytes: usize) -> usize {
    (bytes >> 10).clamp(1, Semaphore::MAX_PERMITS)
}

/// Counts what is made and not sent yet, and refuses what would be too much.
pub(super) async fn weigh(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    let said = response.extensions().get::<Weight>().map(|weight| weight.0);
    let exact = response.body().size_hint().exact();
    let bytes = said.or(exact.and_then(|bytes| usize::try_from(bytes).ok()));
    let Some(bytes) = bytes.filter(|bytes| *bytes > LIGHT) else {
        return response;
    };
    let permits = kib(bytes.min(guard.limits.unsent_bytes));
    let permits = u32::try_from(permits).unwrap_or(u32::MAX);
    match Arc::clone(&guard.unsent).try_acquire_many_owned(permits) {
        Ok(permit) => response.map(|body| Body::new(Holding::new(body, permit))),
        Err(_) => {
            count(&guard.refused.busy);
            busy(
                "answers that nobody has read yet take all of http.limits.unsent; ask again in a moment",
            )
        }
    }
}

/// Refuses for now.
pub(super) fn busy(message: &str) -> Response {
    let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, "busy", message);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Answers one request within the limits. What needs no token is not counted: a supervisor is
/// answered however much there is to do.
pub(super) async fn bound(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let _slot = if needed(request.method(), request.uri().path()).is_some() {
        let Ok(slot) = guard.slots.try_acquire() else {
            count(&guard.refused.busy);
            return busy(
                "too many requests are being answered (http.limits.requests); ask again in a moment",
            );
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
