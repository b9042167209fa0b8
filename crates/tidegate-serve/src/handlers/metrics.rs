//! `GET /metrics`: what Prometheus asks for.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, header};

use super::openapi::Refusals;
use crate::app::App;
use crate::metrics;

/// The type of the text format.
pub(crate) const TEXT: [(HeaderName, &str); 1] = [(
    header::CONTENT_TYPE,
    "text/plain; version=0.0.4; charset=utf-8",
)];

/// All metrics in Prometheus' text format.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operation",
    summary = "Metrics for Prometheus",
    description = "`docs/metrics.md` lists them.",
    responses(
        Refusals,
        (
            status = 200,
            description = "Prometheus' text format, version 0.0.4.",
            body = String,
            content_type = "text/plain"
        )
    )
)]
pub(crate) async fn metrics(
    State(app): State<Arc<App>>,
) -> ([(HeaderName, &'static str); 1], String) {
    let page = metrics::collect(
        &app.fixed,
        &app.status(),
        &app.job.latency(),
        &app.gate,
        app.ingest.as_deref(),
    );
    (TEXT, page.text())
}
