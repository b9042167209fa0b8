//! What a process answers that only loads (`tidegate load`), or is still starting: whether it
//! lives, whether it gets on, its metrics, and what it answers.

use std::io;
use std::net::TcpListener as StdListener;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tidegate_engine::Monitor;
use tokio::net::TcpListener;

use crate::guard::{Guard, refuse};
use crate::handlers::status::StatusBody;
use crate::handlers::{health, metrics, openapi};
use crate::metrics::{Fixed, collect_loads};
use crate::options::ServeOptions;
use crate::server::Server;

struct Loading {
    job: Monitor,
    options: ServeOptions,
    gate: Arc<Guard>,
    fixed: Fixed,
    /// Whether there is more to ask once it has started.
    is_starting: bool,
}

impl Loading {
    fn new(
        job: Monitor,
        options: ServeOptions,
        gate: Arc<Guard>,
        load_interval: Option<Duration>,
    ) -> Self {
        Loading {
            fixed: Fixed {
                pipeline: options.name.clone(),
                version: options.version.clone(),
                batch_interval: options.batch_interval,
                load_interval,
                is_load_separate: false,
                contract: options.contract,
                quality: options.quality,
                reasons: Vec::new(),
                started_at: job.clock().now_micros(),
            },
            is_starting: load_interval.is_none(),
            job,
            options,
            gate,
        }
    }
}

impl Server {
    /// Answers for a job that is still starting, until `stop`. This server goes on listening: what
    /// it serves next is at the same address.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub fn serve_start<S: Future<Output = ()> + Send + 'static>(
        &self,
        job: Monitor,
        stop: S,
    ) -> io::Result<impl Future<Output = ()> + Send + use<S>> {
        let listener = StdListener::from(self.listener.as_fd().try_clone_to_owned()?);
        let gate = Arc::clone(&self.guard);
        let starting = Loading::new(job, self.options.clone(), Arc::clone(&gate), None);
        Ok(async move {
            let listener = match TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::warn!(%error, "nobody can see this process before it has started");
                    return;
                }
            };
            let routes = gate.protect(router(Arc::new(starting)));
            gate.serve(listener, routes, stop).await;
        })
    }

    /// Answers for a process that only loads, until `stop`.
    pub async fn serve_loads(self, job: Monitor, stop: impl Future<Output = ()>) {
        let interval = Some(self.options.load_interval);
        let loading = Loading::new(job, self.options, Arc::clone(&self.guard), interval);
        let routes = self.guard.protect(router(Arc::new(loading)));
        self.guard.serve(self.listener, routes, stop).await;
    }
}

fn router(loading: Arc<Loading>) -> Router {
    let routes = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(page))
        .route("/openapi.json", get(described))
        .route("/v1/status", get(shown));
    routes.fallback(elsewhere).with_state(loading)
}

async fn ready(State(loading): State<Arc<Loading>>) -> (StatusCode, String) {
    health::readiness(&loading.job.status(), loading.options.ready_after)
}

async fn page(State(loading): State<Arc<Loading>>) -> ([(HeaderName, &'static str); 1], String) {
    let (status, latency) = (loading.job.status(), loading.job.latency());
    let page = collect_loads(&loading.fixed, &status, &latency, &loading.gate);
    (metrics::TEXT, page.text())
}

async fn shown(State(loading): State<Arc<Loading>>) -> Json<StatusBody> {
    Json(StatusBody::of(&loading.job.status(), loading.job.clock()))
}

/// While a job starts, all that it will answer; where a process only loads, what that answers.
async fn described(State(loading): State<Arc<Loading>>) -> Response {
    match loading.is_starting {
        true => openapi::openapi().await.into_response(),
        false => Json(openapi::of_loader()).into_response(),
    }
}

async fn elsewhere(State(loading): State<Arc<Loading>>, uri: Uri) -> Response {
    if loading.is_starting {
        let message = "the job is starting, and answers /healthz, /readyz, /metrics, /openapi.json and \
                       /v1/status; ask again in a moment";
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "starting", message).into_response();
    }
    let message = format!(
        "there is no `{}` here: this process only loads, and answers /healthz, /readyz, /metrics, \
         /openapi.json and /v1/status; ask the process of `tidegate run`",
        uri.path()
    );
    refuse(StatusCode::NOT_FOUND, "not_found", message).into_response()
}
