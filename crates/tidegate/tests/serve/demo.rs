//! `tidegate demo` as the dashboard shows it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::Job;
use crate::server::Server;

/// Looks in a row that have to find everything well, and the time between two of them.
const LOOKS: usize = 6;
const BETWEEN: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(120);

/// What the dashboard would show in yellow or red: the same conditions as in `dashboard/health.js`
/// and `dashboard/pages`.
fn wrong(status: &Value, job: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut say = |is_wrong: bool, what: &str, value: &Value| {
        if is_wrong {
            found.push(format!("{what}: {value}"));
        }
    };
    for error in ["commit_error", "load_error"] {
        say(!status[error].is_null(), error, &status[error]);
    }
    for place in ["source", "storage", "warehouse"] {
        let is_away = status[place]["reachable"] != true;
        say(is_away, place, &status[place]);
    }
    let slow = &status["slow"];
    say(
        slow.as_array().is_none_or(|it| !it.is_empty()),
        "slow",
        slow,
    );
    say(status["behind"] != false, "behind", &status["behind"]);
    say(status["gone"] != 0, "gone", &status["gone"]);
    say(status["phase"] != "running", "phase", &status["phase"]);
    let slowest = &status["latency"]["queryable"]["p99"];
    let contract = job["contract_seconds"].as_f64().unwrap();
    let is_within = slowest.as_f64().is_some_and(|p99| p99 <= contract);
    say(!is_within, "latency.queryable.p99", slowest);
    let thresholds = job["thresholds"].as_object().unwrap();
    assert!(thresholds.len() >= 4, "{job}");
    for (rate, allowed) in thresholds {
        let value = &status["quality"][rate];
        let is_within = value
            .as_f64()
            .is_some_and(|value| value <= allowed.as_f64().unwrap());
        say(!is_within, rate, value);
    }
    found
}

#[test]
fn the_demo_is_green() {
    let job = Job::from_text("");
    let server = Server::start_demo(&job);
    server.until_ready(true);
    let about = server.get("/v1/job");
    let begin = Instant::now();
    let mut well = 0;
    while well < LOOKS {
        std::thread::sleep(BETWEEN);
        let (ready, said) = server.request("GET", "/readyz", "");
        let mut found = wrong(&server.get("/v1/status"), &about);
        if ready != 200 {
            found.push(said.to_string());
        }
        well = if found.is_empty() { well + 1 } else { 0 };
        assert!(begin.elapsed() < PATIENCE, "{found:?}");
    }
    // All of what happens to an event does happen.
    server.until("/v1/status", |status| {
        let counts = ["events", "late", "rejected", "duplicates", "rows_loaded"];
        counts.iter().all(|count| status[count].as_u64() > Some(0))
    });
    let failing = server.metric("tidegate_load_failing");
    assert_eq!(failing, Some(0.0));
}
