//! Connections: how many there are, and how long one may take to say what it wants.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::limits::Limits;

/// Bytes of a request's headers; there may be 100 of them, as hyper has it.
const HEADER_BYTES_MAX: usize = 32 << 10;
/// How long requests that are being answered are waited for at the end.
const GRACE: Duration = Duration::from_secs(10);
/// Wait after an error that is not the peer's: most of all, no file descriptors are left.
const PAUSE: Duration = Duration::from_millis(500);

/// Accepts connections until `stop`, then lets requests that are being answered come to their end.
pub(super) async fn serve(
    listener: TcpListener,
    routes: Router,
    tls: Option<TlsAcceptor>,
    limits: &Limits,
    stop: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let (ending, ended) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        while connections.try_join_next().is_some() {}
        let Some((stream, slot)) = accepted else {
            continue;
        };
        let connection = Connection {
            routes: TowerToHyperService::new(routes.clone()),
            header_timeout: limits.header_timeout,
            ended: ended.clone(),
        };
        connections.spawn(connection.run(stream, slot, tls.clone()));
    }
    drop(listener);
    // Fails where no connection is left to hear it.
    let _ = ending.send(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(GRACE, all).await.is_err() {
        tracing::warn!("requests that were still being answered after {GRACE:?} were given up");
    }
}

/// The next connection, once there is room for it: until then it waits in the system's queue.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Answers are small, and somebody waits for them. Without it they are a little later.
            let _ = stream.set_nodelay(true);
            Some((stream, slot))
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
    ended: watch::Receiver<bool>,
}

impl Connection {
    async fn run(self, stream: TcpStream, slot: OwnedSemaphorePermit, tls: Option<TlsAcceptor>) {
        match tls {
            None => {
                self.answer(Held {
                    io: stream,
                    _slot: slot,
                })
                .await
            }
            Some(tls) => {
                if let Ok(Ok(io)) = timeout(self.header_timeout, tls.accept(stream)).await {
                    self.answer(Held { io, _slot: slot }).await;
                }
            }
        }
    }

    /// Answers requests until one side closes. What ends a connection early (a peer that goes, or is too slow, or sends
    /// what is not HTTP) is nothing that somebody here has to know.
    async fn answer<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(mut self, io: Held<I>) {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_header_size(HEADER_BYTES_MAX);
        let connection = builder
            .serve_connection(TokioIo::new(io), self.routes)
            .with_upgrades();
        tokio::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = self.ended.wait_for(|ended| *ended) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

/// A stream that holds its place among the connections for as long as it is open, as a WebSocket too.
struct Held<I> {
    io: I,
    _slot: OwnedSemaphorePermit,
}

impl<I: AsyncRead + Unpin> AsyncRead for Held<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Held<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
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
