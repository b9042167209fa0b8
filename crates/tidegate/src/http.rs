//! A small HTTP server for probes and status. Only on loopback: it has no access control yet.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use tidegate_engine::{Phase, Status};
use tokio::net::TcpListener;

use crate::exit::Failure;
use crate::progress::phase_name;

/// Gives the present status.
pub type StatusFn = Arc<dyn Fn() -> Status + Send + Sync>;

/// A server that listens, but does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// It cannot be had.
    pub async fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok::<_, std::io::Error>(Server { listener, address })
        };
        bound.await.map_err(|error| {
            Failure::other(format!("cannot listen on {address} (http.listen): {error}")).hint(
                "another process may have the port; take another one, or leave http.listen out",
            )
        })
    }

    /// The address, with the port that was given if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the future is dropped.
    pub async fn serve(self, status: StatusFn) {
        if let Err(error) = axum::serve(self.listener, router(status)).await {
            tracing::error!(%error, "the HTTP server stopped");
        }
    }
}

fn router(status: StatusFn) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route(
            "/v1/status",
            get(|State(status): State<StatusFn>| async move { Json(status()) }),
        )
        .with_state(status)
}

/// Ready while records are being processed: not while recovering, and not once it ends.
async fn ready(State(status): State<StatusFn>) -> Response {
    let phase = status().phase;
    let code = if phase == Phase::Running {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, format!("{}\n", phase_name(phase))).into_response()
}
