//! The process that has the database open.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{ALIVE, ERROR, LocalQuery, QUERY, QueryHandler, path};

/// Queries that are answered at the same time; more wait.
const CONCURRENT_MAX: usize = 4;
/// Bytes of a request, at most.
const REQUEST_BYTES_MAX: usize = 2 << 20;
/// Bytes of rows that are handed over together.
const PIECE: usize = 64 << 10;
/// A client that neither asks nor takes its answer for so long is dropped.
const CLIENT_WAIT: Duration = Duration::from_secs(30);

/// A socket that listens, but does not answer yet. It is removed when this is dropped.
#[derive(Debug)]
pub struct LocalServer {
    listener: UnixListener,
    path: PathBuf,
}

impl LocalServer {
    /// Takes the socket of `database`. Only the process that has the database open may: what a dead
    /// one left behind is removed.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn bind(database: &Path) -> io::Result<Self> {
        let path = path(database)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(LocalServer { listener, path })
    }

    /// Answers until the future is dropped.
    pub async fn serve(&self, answer: QueryHandler) {
        let asked = Asked {
            answer,
            turns: Arc::new(Semaphore::new(CONCURRENT_MAX)),
        };
        let routes = Router::new()
            .route(QUERY, post(query))
            .route(ALIVE, get(async || ()))
            .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
            .with_state(asked);
        // They end with this future: none may hold the warehouse for longer.
        let mut clients = JoinSet::new();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    clients.spawn(connection(stream, routes.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a query");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            while clients.try_join_next().is_some() {}
        }
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        // If it cannot be removed, the next process does.
        let _ = fs::remove_file(&self.path);
    }
}

async fn connection(stream: UnixStream, routes: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CLIENT_WAIT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a client went away before it had its answer");
    }
}

#[derive(Clone)]
struct Asked {
    answer: QueryHandler,
    turns: Arc<Semaphore>,
}

/// A part of the rows, or why there are no more.
type Piece = Result<Bytes, String>;

async fn query(State(asked): State<Asked>, Json(question): Json<LocalQuery>) -> Response {
    let (sender, pieces) = mpsc::channel(1);
    let runtime = Handle::current();
    // It goes with the body, which is dropped where the client goes away.
    let wanted = Arc::new(());
    let still_wanted = Arc::downgrade(&wanted);
    tokio::spawn(async move {
        let turn = asked.turns.acquire_owned().await;
        let pieces = Pieces { sender, runtime };
        // Where the client has gone, nobody is there to be told.
        let answered = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            pieces.answer(&asked.answer, &question, still_wanted)
        });
        let _ = answered.await;
    });
    let frames = stream::unfold(Some((pieces, wanted)), |state| async {
        let (mut pieces, wanted) = state?;
        Some(match pieces.recv().await {
            Some(Ok(rows)) if rows.is_empty() => return None,
            Some(Ok(rows)) => (Ok(Frame::data(rows)), Some((pieces, wanted))),
            Some(Err(error)) => (Ok(Frame::trailers(trailer(&error))), None),
            // What answers has panicked: the client must not take this for the end of the rows.
            None => (Err(io::Error::from(io::ErrorKind::BrokenPipe)), None),
        })
    });
    let body = Body::new(StreamBody::new(frames));
    ([(header::TRAILER, ERROR)], body).into_response()
}

fn trailer(error: &str) -> HeaderMap {
    // What JSON escapes is what a header cannot have.
    let text = serde_json::Value::from(error).to_string();
    let text = HeaderValue::from_bytes(text.as_bytes());
    let text = text.unwrap_or_else(|_| HeaderValue::from_static("\"it failed\""));
    [(header::HeaderName::from_static(ERROR), text)]
        .into_iter()
        .collect()
}

/// Hands rows on, piece by piece.
struct Pieces {
    sender: mpsc::Sender<Piece>,
    runtime: Handle,
}

impl Pieces {
    /// Blocks until the whole answer is handed over.
    fn answer(
        &self,
        answer: &QueryHandler,
        question: &LocalQuery,
        wanted: Weak<()>,
    ) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(PIECE, self);
        let outcome = answer(question, &mut out, wanted);
        out.flush()?;
        self.send(outcome.map(|()| Bytes::new()))
    }

    fn send(&self, piece: Piece) -> io::Result<()> {
        let sent = timeout(CLIENT_WAIT, self.sender.send(piece));
        match self.runtime.block_on(sent) {
            Ok(Ok(())) => Ok(()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Write for &Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // An empty piece is the end.
        if !bytes.is_empty() {
            self.send(Ok(Bytes::copy_from_slice(bytes)))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
