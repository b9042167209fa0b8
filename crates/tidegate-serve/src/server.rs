//! Listens, and knows all routes.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::app::{App, Job};
use crate::error::ApiError;
use crate::handlers::{health, job, status};
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
        let app = Arc::new(App::new(&self.options, job));
        if let Err(error) = axum::serve(self.listener, router(app)).await {
            tracing::error!(%error, "the HTTP server stopped");
        }
    }
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/v1/job", get(job::job))
        .route("/v1/status", get(status::status))
        .fallback(async |uri: Uri| ApiError::NotFound(format!("there is no `{}` here", uri.path())))
        .with_state(app)
}
