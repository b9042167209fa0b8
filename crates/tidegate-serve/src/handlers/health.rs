//! `/healthz` and `/readyz`: what supervisors ask.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use tidegate_engine::{Phase, Status};

use super::openapi::OpenRefusals;
use crate::app::App;

/// The process is there.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "healthz",
    tag = "operation",
    summary = "Whether the process is there",
    security(),
    responses(
        OpenRefusals,
        (status = 200, description = "It is.", body = String, content_type = "text/plain")
    )
)]
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// Ready while records are being processed: not while recovering, not once it ends, and not while
/// what the job needs has been away for a while.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "readyz",
    tag = "operation",
    summary = "Whether records are being processed",
    security(),
    responses(
        OpenRefusals,
        (status = 200, description = "They are.", body = String, content_type = "text/plain"),
        (
            status = 503,
            description = "They are not: the job recovers, or ends, or its source, its storage or \
                           its warehouse has been away for `http.ready-after`. The body says which, \
                           and why.",
            body = String,
            content_type = "text/plain"
        )
    )
)]
pub(crate) async fn ready(State(app): State<Arc<App>>) -> (StatusCode, String) {
    readiness(&app.status(), app.ready_after)
}

/// Whether a process does its work, and if not, why. The first line is the phase.
pub(crate) fn readiness(status: &Status, ready_after: Duration) -> (StatusCode, String) {
    let mut said = format!("{}\n", status.phase.name());
    let mut is_ready = status.phase == Phase::Running;
    for (what, reach) in [
        ("source", &status.source),
        ("storage", &status.storage),
        ("warehouse", &status.warehouse),
    ] {
        let Some(away) = reach.away_seconds.filter(|_| !reach.reachable) else {
            continue;
        };
        if away >= ready_after.as_secs_f64() {
            is_ready = false;
            let error = reach.error.as_deref().unwrap_or("no reason is known");
            // Writing to a String cannot fail.
            let _ = writeln!(said, "{what} away for {away:.0} s: {error}");
        }
    }
    let code = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, said)
}

#[cfg(test)]
mod tests {
    use tidegate_engine::Reach;

    use super::*;

    fn away(seconds: f64) -> Reach {
        Reach {
            reachable: false,
            since: Some(0),
            away_seconds: Some(seconds),
            error: Some("refused".to_owned()),
        }
    }

    #[test]
    fn what_is_away_for_long_makes_a_process_not_ready_and_says_why() {
        let after = Duration::from_secs(30);
        let running = Status {
            phase: Phase::Running,
            ..Status::default()
        };
        let ready = (StatusCode::OK, "running\n".to_owned());
        assert_eq!(readiness(&running, after), ready);
        let short = Status {
            source: away(29.0),
            ..running.clone()
        };
        assert_eq!(readiness(&short, after), ready);
        for (status, what) in [
            (
                Status {
                    source: away(31.0),
                    ..running.clone()
                },
                "source",
            ),
            (
                Status {
                    storage: away(31.0),
                    ..running.clone()
                },
                "storage",
            ),
            (
                Status {
                    warehouse: away(31.0),
                    ..running
                },
                "warehouse",
            ),
        ] {
            let (code, said) = readiness(&status, after);
            assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE, "{what}");
            assert_eq!(said, format!("running\n{what} away for 31 s: refused\n"));
        }
        let starting = readiness(&Status::default(), after);
        assert_eq!(starting.0, StatusCode::SERVICE_UNAVAILABLE);
    }
}
