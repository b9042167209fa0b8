//! Listens, and knows all routes.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::routing::{get, post};
use tidegate_sources::SourceError;
use tidegate_sources::produce::TopicProducer;
use tokio::net::TcpListener;

use crate::app::{App, Job};
use crate::error::ApiError;
use crate::guard::{Guard, GuardError, refuse};
use crate::handlers;
use crate::handlers::{health, job, status};
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
        let app = Arc::new(App::new(
            &self.options,
            job,
            ingest.clone(),
            Arc::clone(&self.guard),
        ));
        let routes = self.guard.protect(router(app));
        self.guard.serve(self.listener, routes, stop).await;
        if let Some(ingest) = ingest {
            ingest.finish().await;
        }
    }
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(handlers::metrics::metrics))
        .route("/openapi.json", get(handlers::openapi::openapi))
        .route("/v1/events", post(handlers::ingest::events))
        .route("/v1/job", get(job::job))
        .route("/v1/status", get(status::status))
        .fallback(async |uri: Uri| ApiError::NotFound(format!("there is no `{}` here", uri.path())))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            let message = format!("`{}` does not take {method}", uri.path());
            refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                message,
            )
        })
        .with_state(app)
}
