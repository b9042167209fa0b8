//! Whoever asks.

use std::io::{self, Write};
use std::path::Path;

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{ALIVE, ERROR, LocalQuery, QUERY, SILENCE_MAX, path};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No process listens: the file can be opened directly.
    #[error("no process has the warehouse open")]
    NotRunning,
    /// The query failed.
    #[error("{0}")]
    Query(String),
    /// Whoever takes the rows failed.
    #[error("cannot write the answer: {0}")]
    Out(io::Error),
    /// A process listens, and says nothing.
    #[error("it has said nothing for {} s", SILENCE_MAX.as_secs())]
    Silent,
    /// The process went away in the middle.
    #[error("the process that has the warehouse open does not answer: {0}")]
    Io(io::Error),
}

impl From<hyper::Error> for AskError {
    fn from(error: hyper::Error) -> Self {
        AskError::Io(io::Error::other(error))
    }
}

/// Asks the process that has `database` open, and writes the rows to `out` as they come. Blocks, so
/// that no thread of a runtime may call it.
///
/// # Errors
/// There is none, or it has no answer.
pub fn ask(database: &Path, question: &LocalQuery, out: &mut dyn Write) -> Result<(), AskError> {
    let path = path(database).map_err(AskError::Io)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AskError::Io)?;
    runtime.block_on(ask_at(&path, question, out))
}

async fn ask_at(path: &Path, question: &LocalQuery, out: &mut dyn Write) -> Result<(), AskError> {
    let body = serde_json::to_vec(question).map_err(|error| AskError::Io(error.into()))?;
    let request = Request::post(QUERY)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::TE, "trailers")
        .body(Body::from(body));
    let mut response = send(path, request).await?;
    if !response.status().is_success() {
        let said = response.into_body().collect().await?.to_bytes();
        return Err(AskError::Query(String::from_utf8_lossy(&said).into_owned()));
    }
    loop {
        let frame = match timeout(SILENCE_MAX, response.body_mut().frame()).await {
            Ok(Some(frame)) => frame?,
            Ok(None) => return Ok(()),
            Err(_) => {
                is_alive(path).await?;
                continue;
            }
        };
        match frame.into_data() {
            Ok(rows) => out.write_all(&rows).map_err(AskError::Out)?,
            Err(frame) => match frame.trailers_ref().and_then(failure) {
                Some(error) => return Err(AskError::Query(error)),
                None => return Ok(()),
            },
        }
    }
}

/// Why there are no more rows.
fn failure(trailers: &HeaderMap) -> Option<String> {
    let error = trailers.get(ERROR)?;
    Some(serde_json::from_slice(error.as_bytes()).unwrap_or_else(|_| format!("{error:?}")))
}

/// Whether the process answers at all.
async fn is_alive(path: &Path) -> Result<(), AskError> {
    let request = Request::get(ALIVE).body(Body::empty());
    match timeout(SILENCE_MAX, send(path, request)).await {
        Ok(answer) => answer.map(drop),
        Err(_) => Err(AskError::Silent),
    }
}

/// Sends a request on a connection of its own, and waits for the head of the answer: that comes at
/// once, before the rows.
async fn send(
    path: &Path,
    request: Result<Request<Body>, axum::http::Error>,
) -> Result<Response<Incoming>, AskError> {
    let request = request.map_err(|error| AskError::Io(io::Error::other(error)))?;
    let answered = async {
        let stream = UnixStream::connect(path).await.map_err(refused)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender.send_request(request).await?)
    };
    match timeout(SILENCE_MAX, answered).await {
        Ok(answered) => answered,
        Err(_) => Err(AskError::Silent),
    }
}

fn refused(error: io::Error) -> AskError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning,
        // Its queue is full, which a process that was stopped does not empty.
        io::ErrorKind::WouldBlock => AskError::Silent,
        _ => AskError::Io(error),
    }
}
