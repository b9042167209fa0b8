//! An HTTP server in a thread of its own, which ends when its handle is dropped.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// The handle of a server.
pub(crate) struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server at `address`, where port 0 is any that is free; `service` makes what answers
    /// one connection.
    ///
    /// # Panics
    ///
    /// If the address is taken.
    pub(crate) fn start<S, B>(
        name: &str,
        address: SocketAddr,
        service: impl Fn(Reset) -> S + Send + 'static,
    ) -> Self
    where
        S: HttpService<
                Incoming,
                ResBody = B,
                Error: Into<Box<dyn StdError + Send + Sync>>,
                Future: Send,
            > + Send
            + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind(address)
            .unwrap_or_else(|error| panic!("cannot listen at {address}: {error}"));
        let address = listener.local_addr().expect("a listener has an address");
        listener
            .set_nonblocking(true)
            .expect("a socket can be made non-blocking");
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, service) => {}
                    _ = stopped => {}
                }
            });
            // What is under way is dropped; blocking work is let go.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .expect("a thread starts");
        Server {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // Where it panicked, the test has seen no answers.
        }
    }
}

async fn accept<S, B>(listener: std::net::TcpListener, service: impl Fn(Reset) -> S)
where
    S: HttpService<
            Incoming,
            ResBody = B,
            Error: Into<Box<dyn StdError + Send + Sync>>,
            Future: Send,
        > + Send
        + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    let listener = TcpListener::from_std(listener).expect("the listener is non-blocking");
    loop {
        // Out of file descriptors, or the client has gone already: the next one may fare better.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let reset = Reset::default();
        let service = service(reset.clone());
        let stream = TokioIo::new(ServerConnection { stream, reset });
        tokio::spawn(async move {
            // A client that goes in the middle of something is no fault here.
            let _ = http1::Builder::new()
                .serve_connection(stream, service)
                .await;
        });
    }
}

/// Makes a connection end with a reset, as if the machine at the other end had died, instead of
/// with a goodbye.
#[derive(Clone, Default)]
pub(crate) struct Reset(Arc<AtomicBool>);

impl Reset {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct ServerConnection {
    stream: TcpStream,
    reset: Reset,
}

impl Drop for ServerConnection {
    fn drop(&mut self) {
        if self.reset.0.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for ServerConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for ServerConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset.0.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(())); // no goodbye
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
