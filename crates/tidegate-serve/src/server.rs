//! Listens, and knows all routes.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tidegate_sources::SourceError;
use tidegate_sources::produce::TopicProducer;
use tokio::net::TcpListener;

use crate::app::{App, Job};
use crate::error::ApiError;
use crate::guard::{Guard, GuardError, refuse};
use crate::handlers::{
    aggregates, events, health, history, ingest as events_in, job, late, live, log, metrics,
    openapi, query, rejected, status,
};
use crate::index;
use crate::ingest::{self, Ingest};
use crate::options::ServeOptions;

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be had.
    #[error("cannot listen on {address} (http.listen): {source}")]
    Address {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Others could connect, and nobody would be asked for a token.
    #[error(
        "{address} (http.listen) can be reached from other machines, and there are no [[http.tokens]]"
    )]
    Unguarded {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// Tokens or certificates cannot be used.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The client that sends events to Kafka cannot be set up.
    #[error("cannot take events in (http.ingest): {0}")]
    Ingest(#[from] SourceError),
}

/// A server that listens, but does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    options: ServeOptions,
    guard: Arc<Guard>,
    producer: Option<TopicProducer>,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// It cannot be had, or not be guarded.
    pub async fn bind(options: ServeOptions) -> Result<Self, BindError> {
        if options.guard.tokens.is_empty() && !options.listen.ip().is_loopback() {
            return Err(BindError::Unguarded {
                address: options.listen,
            });
        }
        let guard = Arc::new(Guard::open(&options.guard)?);
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
                address: options.listen,
                source,
            }),
        }
    }

    /// The address, with the port that was given if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`, and then what is being answered, for a while.
    pub async fn serve(self, job: Job, stop: impl Future<Output = ()>) {
        let ingest = self.options.ingest.as_ref().zip(self.producer);
        let ingest =
            ingest.map(|(options, producer)| Arc::new(Ingest::new(options, producer, job.clone())));
        let made = App::new(&self.options, job, ingest.clone(), Arc::clone(&self.guard));
        let (app, background) = match made {
            Ok(made) => made,
            Err(error) => return tracing::error!("HTTP is not served: {error}"),
        };
        let app = Arc::new(app);
        let storage = app.job.storage.clone();
        let changed = background.changed.subscribe();
        let hub = Arc::clone(&app);
        let writer = async move {
            match background.writer {
                Some(writer) => writer.run().await,
                None => std::future::pending().await,
            }
        };
        let routes = self.guard.protect(router(app));
        tokio::select! {
            () = self.guard.serve(self.listener, routes, stop) => {}
            () = writer => {}
            () = hub.hub.run(&hub, changed) => {}
            () = index::follow(storage, background.index) => {}
        }
        if let Some(ingest) = ingest {
            ingest.finish().await;
        }
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
