//! Counts answers, and how long they took: a few additions for each, and no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

use super::Guard;

/// Classes of statuses, from 100 on.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Upper bounds of the buckets, in microseconds.
const BOUNDS: [u64; 18] = [
    100, 250, 500, 1_000, 2_000, 3_000, 4_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    500_000, 1_000_000, 2_500_000, 10_000_000, 60_000_000,
];

/// What a path is asked for: few, whatever is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Aggregates,
    Event,
    Ingest,
    Query,
    Live,
    Status,
    Rows,
    Log,
    Metrics,
    Health,
    Other,
}

impl Route {
    const ALL: [(Route, &'static str); 11] = [
        (Route::Aggregates, "aggregates"),
        (Route::Event, "event"),
        (Route::Ingest, "ingest"),
        (Route::Query, "query"),
        (Route::Live, "live"),
        (Route::Status, "status"),
        (Route::Rows, "rows"),
        (Route::Log, "log"),
        (Route::Metrics, "metrics"),
        (Route::Health, "health"),
        (Route::Other, "other"),
    ];

    fn of(method: &Method, path: &str) -> Route {
        match path {
            "/v1/aggregates" => Route::Aggregates,
            "/v1/events" if *method == Method::POST => Route::Ingest,
            "/v1/query" => Route::Query,
            "/v1/live" => Route::Live,
            "/v1/status" | "/v1/history" | "/v1/job" => Route::Status,
            "/v1/rejected" | "/v1/late" => Route::Rows,
            "/v1/log" => Route::Log,
            "/metrics" => Route::Metrics,
            "/healthz" | "/readyz" => Route::Health,
            _ if path.starts_with("/v1/events/") => Route::Event,
            _ => Route::Other,
        }
    }
}

/// What was answered since the process started.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By the class of the status, from 1xx.
    answered: [AtomicU64; CLASSES.len()],
    durations: [Durations; Route::ALL.len()],
}

/// How long answers took, from the end of the request's headers until the answer was ready to be
/// sent.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Tally {
    pub(super) fn answered(&self) -> impl Iterator<Item = (&'static str, &AtomicU64)> {
        CLASSES.into_iter().zip(&self.answered)
    }

    /// By the name of what was asked for, where anything was.
    pub(super) fn durations(&self) -> impl Iterator<Item = (&'static str, &Durations)> {
        let names = Route::ALL.into_iter().map(|(_, name)| name);
        names
            .zip(&self.durations)
            .filter(|(_, durations)| durations.count() > 0)
    }
}

impl Durations {
    fn add(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How many answers there were.
    pub(crate) fn count(&self) -> u64 {
        self.counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }

    /// How long they took, in seconds.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn sum_seconds(&self) -> f64 {
        self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6
    }

    /// For each bucket its upper bound in seconds, and how many answers took no longer.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut sum = 0;
        BOUNDS.iter().zip(&self.counts).map(move |(bound, count)| {
            sum += count.load(Ordering::Relaxed);
            (*bound as f64 / 1e6, sum)
        })
    }
}

/// Counts what is answered.
pub(super) async fn tally(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let route = Route::of(request.method(), request.uri().path());
    let response = next.run(request).await;
    guard.tally.durations[route as usize].add(began.elapsed());
    let class = usize::from(response.status().as_u16() / 100);
    if let Some(counter) = guard.tally.answered.get(class.wrapping_sub(1)) {
        super::count(counter);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_at_its_place() {
        for (place, (route, _)) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route as usize, place);
        }
        let of = |path| Route::of(&Method::GET, path);
        assert_eq!(of("/v1/events/TXN_1"), Route::Event);
        assert_eq!(of("/v1/events"), Route::Other);
        assert_eq!(Route::of(&Method::POST, "/v1/events"), Route::Ingest);
        assert_eq!(of("/assets/main.js"), Route::Other);
    }

    #[test]
    fn the_metric_says_which_routes_there_are() {
        let names = Route::ALL.map(|(_, name)| name).join(", ");
        let said = crate::Metric::HttpSeconds.definition().help;
        assert!(said.ends_with(&format!(": {names}.")), "{said}");
    }

    #[test]
    fn an_answer_is_in_the_bucket_that_it_does_not_exceed() {
        assert!(BOUNDS.is_sorted());
        let durations = Durations::default();
        for micros in [0, 100, 101, 5_000, 5_001, 100_000_000] {
            durations.add(Duration::from_micros(micros));
        }
        let within = |seconds: f64| durations.cumulative().find(|(bound, _)| *bound == seconds);
        assert_eq!(within(0.0001), Some((0.0001, 2)));
        assert_eq!(within(0.005), Some((0.005, 4)));
        assert_eq!(within(60.0), Some((60.0, 5)));
        assert_eq!(durations.count(), 6);
        assert!((durations.sum_seconds() - 100.010_202).abs() < 1e-9);
    }
}
