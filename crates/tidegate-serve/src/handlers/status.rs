//! `GET /v1/status`: how the job is doing.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value};

use crate::app::App;
use crate::time;

/// How the job is doing at this moment.
pub(crate) async fn status(State(app): State<Arc<App>>) -> Json<Value> {
    Json(show(&app))
}

/// The engine's status, with what this process remembers: rates, shares, latencies.
pub(crate) fn show(app: &App) -> Value {
    let status = app.status();
    let watermarks: Map<String, Value> = status
        .watermarks
        .iter()
        .map(|(lane, at)| (lane.to_string(), time::show(*at).into()))
        .collect();
    let mut shown = serde_json::to_value(&status).unwrap_or_default();
    if let Value::Object(members) = &mut shown {
        members.insert("watermarks".to_owned(), watermarks.into());
        for (name, at) in [
            ("committed_at", status.committed_at),
            ("loaded_at", status.loaded_at),
        ] {
            members.insert(name.to_owned(), at.map(time::show).into());
        }
        members.extend(app.history.now());
        members.insert(
            "now".to_owned(),
            time::show(app.job.clock.now_micros()).into(),
        );
    }
    shown
}
