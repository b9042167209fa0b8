//! Listens, and knows all routes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::FutureExt as _;
use tidegate_engine::Handle;
use tidegate_kafka::producer::TopicProducer;
use tidegate_source::SourceError;
use tokio::net::TcpListener;

use crate::app::{App, Background, ServeError};
use crate::error::ApiError;
use crate::guard::{Guard, GuardError, refuse};
use crate::handlers::{
    aggregates, events, health, history, ingest as events_in, job, late, live, log, metrics,
    openapi, query, rejected, status,
};
use crate::hot;
use crate::index;
use crate::ingest::{self, Ingest};
use crate::options::ServeOptions;

/// Pause before something that has panicked is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be had.
    #[error("cannot listen on {address} ({key}): {source}")]
    Address {
        /// The key of the configuration that says so.
        key: &'static str,
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Others could connect, and nobody would be asked for a token.
    #[error(
        "{address} ({key}) can be reached from other machines, and there are no [[http.tokens]]"
    )]
    Unguarded {
        /// The key of the configuration that says so.
        key: &'static str,
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// The certificate of the hot tier's store cannot be used.
    #[error("cannot use the hot tier: {0}")]
    Hot(String),
    /// Tokens or certificates cannot be used.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The client that sends events to Kafka cannot be set up.
    #[error("cannot take events in (http.ingest): {0}")]
    Ingest(#[from] SourceError),
}

/// Looks whether what a server reads when it starts is there and can be used: tokens and
/// certificates. Nothing is asked over a network.
///
/// # Errors
/// What [`Server::bind`] would refuse.
pub fn check(options: &ServeOptions) -> Result<(), BindError> {
    guarded(options).map(drop)
}

fn guarded(options: &ServeOptions) -> Result<Guard, BindError> {
    if options.guard.tokens.is_empty() && !options.listen.ip().is_loopback() {
        return Err(BindError::Unguarded {
            key: options.listen_key,
            address: options.listen,
        });
    }
    hot::check(&options.hot).map_err(|error| BindError::Hot(error.to_string()))?;
    Ok(Guard::open(&options.guard)?)
}

/// A server that listens, but does not answer yet.
#[derive(Debug)]
pub struct Server {
    pub(crate) listener: TcpListener,
    address: SocketAddr,
    pub(crate) options: ServeOptions,
    pub(crate) guard: Arc<Guard>,
    producer: Option<TopicProducer>,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// It cannot be had, or not be guarded.
    pub async fn bind(options: ServeOptions) -> Result<Self, BindError> {
        let guard = Arc::new(guarded(&options)?);
        let producer = options.ingest.as_ref().map(ingest::producer).transpose()?;
        let bound = async {
            let listener = TcpListener::bind(options.listen).await?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        match bound.await {
            Ok((listener, address)) => Ok(Server {
                listener,
                address,
                options,
                guard,
                producer,
            }),
            Err(source) => Err(BindError::Address {
                key: options.listen_key,
                address: options.listen,
                source,
            }),
        }
    }

    /// The address, with the port that was given if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`, and then what is being answered, for a while. What runs beside the
    /// answers is started again if it ends by a fault in it.
    ///
    /// # Errors
    /// What answers need cannot be made.
    pub async fn serve(
        self,
        job: Handle,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let ingest = self.options.ingest.as_ref().zip(self.producer);
        let ingest =
            ingest.map(|(options, producer)| Arc::new(Ingest::new(options, producer, job.clone())));
        let (app, background) =
            App::new(&self.options, job, ingest.clone(), Arc::clone(&self.guard))?;
        let app = Arc::new(app);
        let storage = app.job.storage().clone();
        let Background {
            writer,
            changed,
            index,
        } = background;
        let writer = keep_up("the hot tier's writer", || {
            let writer = writer.clone();
            async move {
                match writer {
                    Some(writer) => writer.run().await,
                    None => std::future::pending().await,
                }
            }
        });
        let hub = keep_up("the hub", || {
            let (app, changed) = (Arc::clone(&app), changed.subscribe());
            async move { app.hub.run(&app, changed).await }
        });
        let index = keep_up("the index of the log", || {
            index::follow(storage.clone(), index.clone())
        });
        let routes = self.guard.protect(router(Arc::clone(&app)));
        tokio::select! {
            () = self.guard.serve(self.listener, routes, stop) => {}
            never = writer => match never {},
            never = hub => match never {},
            never = index => match never {},
        }
        if let Some(ingest) = ingest {
            ingest.finish().await;
        }
        Ok(())
    }
}

/// Runs something that has no end, and starts it again if it ends by a panic: one fault does not
/// take all answers away.
async fn keep_up<F: Future<Output = ()>>(what: &str, start: impl Fn() -> F) -> Infallible {
    loop {
        if AssertUnwindSafe(start()).catch_unwind().await.is_err() {
            tracing::error!(
                "{what} panicked, which is a fault in Tidegate: please report it. It is started again"
            );
        }
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/openapi.json", get(openapi::openapi))
        .route("/v1/events", post(events_in::events))
        .route("/v1/job", get(job::job))
        .route("/v1/status", get(status::status))
        .route("/v1/aggregates", get(aggregates::aggregates))
        .route("/v1/events/{key}", get(events::events))
        .route("/v1/rejected", get(rejected::rejected))
        .route("/v1/late", get(late::late))
        .route("/v1/history", get(history::history))
        .route("/v1/live", get(live::live))
        .route("/v1/log", get(log::log))
        .route("/v1/query", post(query::query))
        .fallback(file)
        .method_not_allowed_fallback(not_allowed)
        .with_state(app)
}

async fn not_allowed(method: Method, uri: Uri) -> Response {
    let message = format!("`{}` does not take {method}", uri.path());
    refuse(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        message,
    )
    .into_response()
}

/// A file of the dashboard.
async fn file(
    State(app): State<Arc<App>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let found = match method {
        Method::GET | Method::HEAD => app.assets.get(uri.path(), &headers),
        _ => None,
    };
    found.ok_or_else(|| ApiError::NotFound(format!("there is no `{}` here", uri.path())))
}
