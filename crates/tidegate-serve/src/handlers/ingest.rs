//! `POST /v1/events`: takes events in.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use http_body_util::LengthLimitError;
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use super::openapi::{RecordsBody, Refusals};
use crate::app::App;
use crate::aside::aside;
use crate::guard::{Caller, ErrorBody, refuse};
use crate::ingest::{
    Begin, BodyError, InFlightGuard, Ingest, IngestError, IngestResponse, Records, RefusedBody,
    TakenBody,
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is that of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const KEY_BYTES_MAX: usize = 255;

/// Takes events in; answers when Kafka has them.
#[utoipa::path(
    post,
    path = "/v1/events",
    operation_id = "sendEvents",
    tag = "ingest",
    summary = "Send events",
    description = "Each record is checked as the pipeline would check it, and those that are good \
                   go to Kafka. The answer comes when Kafka has them, and says what became of each.",
    params((
        "Idempotency-Key" = Option<String>,
        Header,
        min_length = 1,
        max_length = 255,
        pattern = "^[!-~]+$",
        description = "A repeat with the same key and the same body gets the first answer, for \
                       `http.ingest.remember`, as long as this process runs."
    )),
    request_body(
        description = "One record, an array of records, or a record in each line. What a record \
                       has to have is the job's own schema.",
        content(
            (inline(RecordsBody) = "application/json"),
            (String = "application/x-ndjson")
        )
    ),
    responses(
        Refusals,
        (status = 200, description = "Kafka has all records.", body = TakenBody),
        (
            status = 207,
            description = "Kafka has some of the records; `results` says which.",
            body = TakenBody
        ),
        (status = 404, description = "This job takes no events in.", body = ErrorBody),
        (
            status = 409,
            description = "A request with the same Idempotency-Key is being answered.",
            body = ErrorBody,
            headers(("Retry-After" = u64, description = "After how many seconds to try again."))
        ),
        (
            status = 413,
            description = "The body, or the number of records in it, is too large.",
            body = ErrorBody
        ),
        (
            status = 415,
            description = "The body is in another form than those that are taken.",
            body = ErrorBody
        ),
        (
            status = 422,
            description = "No record was accepted: `results` says why for each; or the \
                           Idempotency-Key was used with another body.",
            body = RefusedBody
        ),
        (
            status = 429,
            description = "More records a second than `http.ingest.rate`.",
            body = ErrorBody,
            headers(("Retry-After" = u64, description = "After how many seconds to try again."))
        ),
        (
            status = 503,
            description = "Kafka has not acknowledged any record, or too much is being answered.",
            body = RefusedBody,
            headers(("Retry-After" = u64, description = "After how many seconds to try again."))
        )
    )
)]
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let Some(ingest) = &app.ingest else {
        let message = "this job takes no events in over HTTP: that needs a source of kind \"kafka\" and [http.ingest]";
        return refuse(StatusCode::NOT_FOUND, "no_ingest", message);
    };
    match take(ingest, &caller, request).await {
        Ok(response) | Err(response) => response,
    }
}

async fn take(
    ingest: &Arc<Ingest>,
    caller: &Caller,
    request: Request,
) -> Result<Response, Response> {
    // Before the body, so that a sender beyond its rate costs nothing.
    within_rate(ingest, caller, 0)?;
    let slot = ingest.slot().ok_or_else(|| {
        let message = "too many requests with events are being answered; send it again in a moment";
        wait(
            refuse(StatusCode::SERVICE_UNAVAILABLE, "busy", message),
            Duration::from_secs(1),
        )
    })?;
    let (parts, body) = request.into_parts();
    let key = idempotency_key(&parts.headers)?;
    if parts.headers.contains_key(header::CONTENT_ENCODING) {
        let message = "compressed bodies are not taken; send it without Content-Encoding";
        return Err(refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            message,
        ));
    }
    let max = ingest.options.body_bytes;
    let body = to_bytes(body, max)
        .await
        .map_err(|error| refuse_unread(&error, max))?;
    let mine = match &key {
        None => None,
        Some(key) => {
            let digest = aside(|| Sha256::digest(&body).into()).await;
            Some(begin(ingest, caller, key, digest)?)
        }
    };
    let content_type = parts
        .headers
        .get(header::CONTENT_TYPE)
        .map(|value| value.to_str().unwrap_or("?"));
    let records = aside(|| Records::find(content_type, body, ingest.options.records)).await;
    let records = records.map_err(|error| refuse_body(&error))?;
    within_rate(ingest, caller, records.len())?;
    // A sender that goes away before its answer does not stop this, so that the answer is there
    // when it asks again.
    let task = tokio::spawn(answer(Arc::clone(ingest), records, mine, slot));
    match task
        .await
        .map_err(IngestError::from)
        .and_then(|answered| answered)
    {
        Ok(answer) => Ok(respond(answer)),
        Err(error) => {
            tracing::error!(%error, "events were not taken in");
            let message = "events could not be checked; the log of the server says why";
            Err(refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                message,
            ))
        }
    }
}

/// Begins a request with a key, unless one of this key was answered before, is being answered, or
/// had another body: then the response to that.
fn begin(
    ingest: &Arc<Ingest>,
    caller: &Caller,
    key: &str,
    digest: [u8; 32],
) -> Result<InFlightGuard, Response> {
    match ingest.memory.begin(caller, key, digest, Instant::now()) {
        Begin::First(mine) => Ok(mine),
        Begin::Again(answer) => {
            let mut response = respond(answer);
            response
                .headers_mut()
                .insert(REPLAYED, HeaderValue::from_static("true"));
            Err(response)
        }
        Begin::Underway => {
            let message =
                "a request with this Idempotency-Key is being answered; ask again in a moment";
            Err(wait(
                refuse(StatusCode::CONFLICT, "underway", message),
                Duration::from_secs(1),
            ))
        }
        Begin::Other => {
            let message =
                "another body was sent with this Idempotency-Key; each body needs a key of its own";
            Err(refuse(
                StatusCode::UNPROCESSABLE_ENTITY,
                "key_reused",
                message,
            ))
        }
    }
}

async fn answer(
    ingest: Arc<Ingest>,
    records: Records,
    mine: Option<InFlightGuard>,
    _slot: OwnedSemaphorePermit,
) -> Result<IngestResponse, IngestError> {
    let answer = ingest.take(records).await?;
    // Where Kafka failed, the sender is to try again, and not to hear the same.
    if let Some(mine) = mine
        && answer.is_final
    {
        mine.answered(&answer, Instant::now());
    }
    Ok(answer)
}

fn within_rate(ingest: &Ingest, caller: &Caller, records: usize) -> Result<(), Response> {
    ingest
        .buckets
        .take(caller, records, Instant::now())
        .map_err(|after| {
            ingest.counts.limited.fetch_add(1, Ordering::Relaxed);
            let rate = ingest.options.rate;
            let message = format!(
                "more than {rate} records a second (http.ingest.rate); send it again later"
            );
            wait(
                refuse(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message),
                after,
            )
        })
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Response> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if (1..=KEY_BYTES_MAX).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => {
            let message =
                format!("Idempotency-Key has to have 1 to {KEY_BYTES_MAX} characters of ASCII");
            Err(refuse(StatusCode::BAD_REQUEST, "bad_request", message))
        }
    }
}

/// A body that could not be read is too large, or its sender went away.
fn refuse_unread(error: &axum::Error, max: usize) -> Response {
    if error
        .source()
        .is_some_and(|source| source.is::<LengthLimitError>())
    {
        let message = format!(
            "the body has more than {max} bytes (http.ingest.body); send it in several requests"
        );
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message);
    }
    refuse(
        StatusCode::BAD_REQUEST,
        "bad_request",
        format!("the body has not come whole: {error}"),
    )
}

fn refuse_body(error: &BodyError) -> Response {
    let (status, code) = match error {
        BodyError::Empty | BodyError::Syntax(_) => (StatusCode::BAD_REQUEST, "bad_request"),
        BodyError::TooMany { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_many_records"),
        BodyError::Type(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_type"),
    };
    refuse(status, code, error.to_string())
}

fn respond(answer: IngestResponse) -> Response {
    let headers = [(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    )];
    let response = (answer.status, headers, answer.body).into_response();
    if answer.status == StatusCode::SERVICE_UNAVAILABLE {
        return wait(response, Duration::from_secs(1));
    }
    response
}

/// Says after how many seconds it may be tried again.
fn wait(mut response: Response, after: Duration) -> Response {
    let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}
