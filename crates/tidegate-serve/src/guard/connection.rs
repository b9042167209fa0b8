//! Connections: how many there are, and how long one may take to say what it wants.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tidegate_base::failpoint;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::holding::Holding;
use super::limits::{self, Limits};
use super::seats::{Busy, Seat, Seats};

/// Bytes of a request's headers; there may be 100 of them, as hyper has it.
const HEADER_BYTES_MAX: usize = 32 << 10;
/// How long requests that are being answered are waited for at the end.
const GRACE: Duration = Duration::from_secs(10);
/// Wait after an error that is not the peer's: most of all, no file descriptors are left.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a connection that is only for health may take to say what it wants.
const HEALTH_HEADER_TIMEOUT: Duration = Duration::from_secs(1);
/// What is written for one connection before it is sent.
const WRITE_BUFFER: usize = 128 << 10;

/// Accepts connections until `stop`, then lets requests that are being answered come to their end.
pub(super) async fn serve(
    listener: TcpListener,
    routes: Router,
    tls: Option<TlsAcceptor>,
    limits: &Limits,
    has_tokens: bool,
    stop: impl Future<Output = ()>,
) {
    let seats = Seats::new(limits.connections, has_tokens);
    let (ending, ended) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accept(&listener, &seats) => accepted,
        };
        failpoint("serve.accept");
        while connections.try_join_next().is_some() {}
        let Some((stream, seat)) = accepted else {
            continue;
        };
        let connection = Connection {
            routes: TowerToHyperService::new(routes.clone()),
            header_timeout: match seat.is_for_health() {
                true => limits.header_timeout.min(HEALTH_HEADER_TIMEOUT),
                false => limits.header_timeout,
            },
            patience: limits.request_timeout,
            seat,
            ended: ended.clone(),
        };
        connections.spawn(connection.run(stream, tls.clone()));
    }
    drop(listener);
    // Fails where no connection is left to hear it.
    let _ = ending.send(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(GRACE, all).await.is_err() {
        tracing::warn!("requests that were still being answered after {GRACE:?} were given up");
    }
}

/// The next connection, with its place; one for which there is none is closed.
async fn accept(listener: &TcpListener, seats: &Arc<Seats>) -> Option<(TcpStream, Seat)> {
    match listener.accept().await {
        Ok((stream, from)) => {
            // Answers are small, and somebody waits for them. Without it they are a little later.
            let _ = stream.set_nodelay(true);
            seats.take(from.ip()).map(|seat| (stream, seat))
        }
        Err(error) if is_the_peers(&error) => None,
        Err(error) => {
            tracing::warn!(%error, "cannot accept an HTTP connection");
            sleep(PAUSE).await;
            None
        }
    }
}

fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// What a connection needs.
struct Connection {
    routes: TowerToHyperService<Router>,
    header_timeout: Duration,
    /// How long the peer may read nothing of an answer.
    patience: Duration,
    seat: Seat,
    ended: watch::Receiver<bool>,
}

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let io = Held {
            io: stream,
            patience: self.patience,
            stalled: None,
            _seat: self.seat.clone(),
        };
        match tls {
            None => self.answer(io).await,
            Some(tls) => {
                let accepted = tokio::select! {
                    accepted = timeout(self.header_timeout, tls.accept(io)) => accepted,
                    () = self.seat.left() => return,
                };
                if let Ok(Ok(io)) = accepted {
                    self.answer(io).await;
                }
            }
        }
    }

    /// Answers requests until one side closes, or another connection needs the place. What ends a
    /// connection early (a peer that goes, or is too slow, or sends what is not HTTP) is nothing
    /// that somebody here has to know.
    async fn answer<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(mut self, io: I) {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_header_size(HEADER_BYTES_MAX)
            .max_buf_size(WRITE_BUFFER);
        let (seat, routes) = (self.seat.clone(), self.routes);
        let service = service_fn(move |request| respond(routes.clone(), seat.clone(), request));
        let connection = builder
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        tokio::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.seat.left() => return,
            _ = self.ended.wait_for(|ended| *ended) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

/// Answers one request; until the answer is sent, the connection keeps its place.
async fn respond(
    routes: TowerToHyperService<Router>,
    seat: Seat,
    mut request: Request<Incoming>,
) -> Result<Response<Holding<Option<Busy>>>, std::convert::Infallible> {
    let busy = seat.busy();
    let response = if seat.is_for_health()
        && !matches!(request.uri().path(), "/healthz" | "/readyz")
    {
        let message = "all connections are in use (http.limits.connections); ask again in a moment";
        let mut response = limits::busy(message);
        response.headers_mut().insert(
            header::CONNECTION,
            header::HeaderValue::from_static("close"),
        );
        response
    } else {
        request.extensions_mut().insert(seat);
        routes.call(request).await?
    };
    let busy = if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        busy.keep();
        None
    } else {
        Some(busy)
    };
    Ok(response.map(|body| Holding::new(body, busy)))
}

/// A stream that holds its place among the connections for as long as it is open, as a WebSocket
/// too, and ends when the peer reads nothing of what is to be sent.
struct Held {
    io: TcpStream,
    patience: Duration,
    /// Runs while nothing can be written.
    stalled: Option<Pin<Box<Sleep>>>,
    _seat: Seat,
}

impl Held {
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
