//! `GET /metrics`: what Prometheus asks for.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, header};

use crate::app::App;
use crate::metrics;

const TEXT: [(HeaderName, &str); 1] = [(
    header::CONTENT_TYPE,
    "text/plain; version=0.0.4; charset=utf-8",
)];

/// All metrics in Prometheus' text format.
pub(crate) async fn metrics(
    State(app): State<Arc<App>>,
) -> ([(HeaderName, &'static str); 1], String) {
    let page = metrics::collect(
        &app.fixed,
        &app.status(),
        &(app.job.latency)(),
        &app.gate,
        app.ingest.as_deref(),
    );
    (TEXT, page.text())
}
