//! HTTP: the Data API at `/`, and the emulator's own face at `/_emulator/`.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::api;
use crate::control;
use crate::errors::ApiError;
use crate::faults::{FaultPoint, RedshiftFault};
use crate::service::Service;
use crate::sigv4;

const CONNECTIONS_MAX: usize = 1024;
/// 40 statements of 100 KB, escaped.
const BODY_BYTES_MAX: usize = 16 << 20;
const JSON_1_1: &str = "application/x-amz-json-1.1";

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, service: Arc<Service>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut tasks = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        while tasks.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = Arc::clone(&service);
                tasks.spawn(async move {
                    connection(stream, service).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, service: Arc<Service>) {
    // Small answers leave at once.
    let _ = stream.set_nodelay(true);
    let handler = service_fn(|request| answer(Arc::clone(&service), request));
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), handler)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}

/// An error closes the connection without an answer: that is what a lost answer looks like.
async fn answer(
    service: Arc<Service>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(respond(413, &json!({"__type": "RequestTooLargeException"}))),
    };
    let path = head.uri.path();
    if path.starts_with("/_emulator/") {
        let (status, answer) = control::call(&service, &head.method, path, &body);
        return Ok(respond(status, &answer));
    }
    let answered = if head.method == Method::POST && path == "/" {
        data_api(&service, &head.headers, &body).await?
    } else {
        Err(ApiError::UnknownOperation)
    };
    Ok(match answered {
        Ok(answer) => respond(200, &answer),
        Err(error) => respond(error.status(), &error.body()),
    })
}

async fn data_api(
    service: &Arc<Service>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Result<Value, ApiError>, io::Error> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let operation = header("x-amz-target")
        .and_then(|target| target.strip_prefix("RedshiftData."))
        .and_then(api::operation);
    let Some(operation) = operation else {
        return Ok(Err(ApiError::UnknownOperation));
    };
    service.counters.call(operation);
    if !header(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with(JSON_1_1)) {
        return Ok(Err(ApiError::UnknownOperation));
    }
    if let Err(error) = sigv4::check(header(AUTHORIZATION.as_str()), header("x-amz-date")) {
        return Ok(Err(error));
    }
    match service.faults.strike(FaultPoint::Call, operation) {
        Some(RedshiftFault::Throttle) => return Ok(Err(ApiError::Throttling)),
        Some(RedshiftFault::ActiveStatementsExceeded) => {
            return Ok(Err(ApiError::ActiveStatements(
                "Active statements exceeded the allowed quota.".to_owned(),
            )));
        }
        Some(RedshiftFault::BatchExecuteStatementError) => {
            return Ok(Err(ApiError::BatchExecuteStatement(
                "The batch could not be run, because of an environmental error.".to_owned(),
            )));
        }
        Some(_) => return Ok(Err(internal())),
        None => {}
    }
    let answered = api::call(service, operation, body).await;
    match service.faults.strike(FaultPoint::Answer, operation) {
        Some(RedshiftFault::LostAnswer) => Err(io::Error::other("the answer is lost, by a fault")),
        Some(_) => Ok(Err(internal())),
        None => Ok(answered),
    }
}

fn internal() -> ApiError {
    ApiError::Internal("An internal error has occurred.".to_owned())
}

fn respond(status: u16, answer: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(JSON_1_1),
    );
    if let Ok(id) = Uuid::new_v4().to_string().parse() {
        headers.insert("x-amzn-requestid", id);
    }
    response
}
