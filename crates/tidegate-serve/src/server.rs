//! Listens, and knows all routes.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use axum::routing::{any, get, post};
use tokio::net::TcpListener;

use crate::app::{App, Job};
use crate::error::ApiError;
use crate::handlers::{
    aggregates, events, health, history, job, late, live, log, query, rejected, status,
};
use crate::index;
use crate::options::ServeOptions;

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (http.listen): {source}")]
pub struct BindError {
    /// Where it was to listen.
    pub address: SocketAddr,
    /// What the system says.
    pub source: std::io::Error,
}

/// A server that listens, but does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    options: ServeOptions,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// It cannot be had.
    pub async fn bind(options: ServeOptions) -> Result<Self, BindError> {
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
            }),
            Err(source) => Err(BindError {
                address: options.listen,
                source,
            }),
        }
    }

    /// The address, with the port that was given if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the future is dropped.
    pub async fn serve(self, job: Job) {
        let (app, background) = match App::new(&self.options, job) {
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
        tokio::select! {
            served = axum::serve(self.listener, router(app)).into_future() => {
                if let Err(error) = served {
                    tracing::error!(%error, "the HTTP server stopped");
                }
            }
            () = writer => {}
            () = hub.hub.run(&hub, changed) => {}
            () = index::follow(storage, background.index) => {}
        }
    }
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/v1/job", get(job::job))
        .route("/v1/status", get(status::status))
        .route("/v1/aggregates", get(aggregates::aggregates))
        .route("/v1/events/{key}", get(events::events))
        .route("/v1/rejected", get(rejected::rejected))
        .route("/v1/late", get(late::late))
        .route("/v1/history", get(history::history))
        .route("/v1/live", any(live::live))
        .route("/v1/log", get(log::log))
        .route("/v1/query", post(query::query))
        .fallback(file)
        .with_state(app)
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
