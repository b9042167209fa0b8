//! What it costs a pipeline to be looked at: hot reads of windows at a fixed rate, and many
//! WebSockets, from this machine, beside a pipeline at a steady rate and one at full speed.
//!
//! One process, with and without the load in turn. Where the pipeline takes all cores, what asks
//! and what answers takes CPU time from it on any machine: so its rate is given for each
//! CPU-second, too, that the two have left to it.

mod readers;
mod watchers;

use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use self::readers::Answers;
use self::watchers::Seen;
use crate::http::{get, status};
use crate::proc::{cores, cpu, cpu_of_threads};
use crate::process::Running;
use crate::spread::Spread;
use crate::{Bench, Outcome};

const REQUESTS: u64 = 5_000;
const CONNECTIONS: u64 = 50;
const CLIENTS: usize = 1_000;
const TOPICS: [&str; 3] = ["status", "view:transactions_1m", "view:transactions_5m"];
/// What a read asks for: the newest minutes.
const READ_MINUTES: i64 = 15;
/// How far the example's watermark is behind the newest event.
const DELAY_MINUTES: i64 = 10;
/// Wanted of the server.
const ANSWER_MAX_SECONDS: f64 = 0.005;
const LOOK: Duration = Duration::from_millis(10);
/// How long the clients that watch get what was before they came.
const SETTLE: Duration = Duration::from_secs(3);

/// A pipeline to be looked at.
struct Case {
    name: &'static str,
    source: Vec<String>,
    /// From the start to the first measurement.
    warm_up: Duration,
}

/// Both pipelines.
pub(crate) fn measure(bench: &Bench) -> Outcome<Value> {
    let minutes_ago = |minutes| {
        let at = Utc::now() - TimeDelta::minutes(minutes);
        at.to_rfc3339_opts(SecondsFormat::Secs, true)
    };
    let mut results = json!({
        "requests_per_second": REQUESTS, "connections": CONNECTIONS, "websockets": CLIENTS, "cores": cores().len(),
    });
    let steady = Case {
        name: "steady",
        // The first minute is caught up with, so that there is something to read.
        source: vec![
            "source.rate=100000".to_owned(),
            format!("source.start-time={}", minutes_ago(1)),
        ],
        warm_up: Duration::from_secs(bench.size(40, 25)),
    };
    results[steady.name] = run(bench, &steady)?;
    let full = Case {
        name: "full-speed",
        // Faster than the clock: a quarter of an hour of windows after the warm-up, none in the
        // future at the end.
        source: vec![
            "source.rate=0".to_owned(),
            "source.event-rate=20000".to_owned(),
            format!("source.start-time={}", minutes_ago(110)),
        ],
        warm_up: Duration::from_secs(bench.size(40, 30)),
    };
    results[full.name] = run(bench, &full)?;
    Ok(results)
}

/// What a pipeline has done so far.
struct UsageSample {
    at: Instant,
    records: u64,
    pipeline_cpu: f64,
    http_cpu: f64,
    client_cpu: f64,
}

/// Between two samples.
struct Stretch {
    rate: f64,
    pipeline_cores: f64,
    http_cores: f64,
    client_cores: f64,
}

impl Stretch {
    fn between(from: &UsageSample, to: &UsageSample) -> Self {
        let seconds = (to.at - from.at).as_secs_f64();
        Stretch {
            rate: (to.records - from.records) as f64 / seconds,
            pipeline_cores: (to.pipeline_cpu - from.pipeline_cpu) / seconds,
            http_cores: (to.http_cpu - from.http_cpu) / seconds,
            client_cores: (to.client_cpu - from.client_cpu) / seconds,
        }
    }

    /// Records for each CPU-second that clients and server have left to the pipeline.
    fn rate_per_core_left(&self) -> f64 {
        self.rate / (cores().len() as f64 - self.http_cores - self.client_cores)
    }
}

fn run(bench: &Bench, case: &Case) -> Outcome<Value> {
    let lasts = Duration::from_secs(bench.size(12, 6));
    let rounds: usize = bench.size(3, 1);
    let storage = bench.dir().join(format!("serve-{}", case.name));
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut settings = vec![
        "source.kind=generator".to_owned(),
        format!("storage.url=file:{}", storage.display()),
        "warehouse.url=none".to_owned(),
        format!("http.listen=127.0.0.1:{port}"),
    ];
    settings.extend_from_slice(&case.source);
    let how = ["--progress", "none", "--log-level", "warn"];
    let mut pipeline = bench.tidegate.command("run", &how, &settings)?;
    println!(
        "\nserve, {}: {REQUESTS} reads a second and {CLIENTS} WebSockets beside a pipeline",
        case.name
    );
    let ready = Instant::now() + case.warm_up;
    while Instant::now() < ready {
        pipeline.alive(LOOK)?;
    }
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let answers = Arc::new(Answers::new());
    let seen = Arc::new(Seen::default());
    let mut server = HistogramBuckets::default();
    let mut watched = 0.0;
    for _ in 0..rounds {
        let from = sample(&mut pipeline, port)?;
        thread::sleep(lasts);
        without.push(Stretch::between(&from, &sample(&mut pipeline, port)?));

        let paths = paths(port)?;
        let load = Load::start(port, paths, lasts + SETTLE, &answers, &seen)?;
        let before = HistogramBuckets::read(port)?;
        let messages = seen.messages.load(Ordering::Relaxed);
        let from = sample(&mut pipeline, port)?;
        thread::sleep(lasts);
        let to = sample(&mut pipeline, port)?;
        if load.0.is_finished() {
            return Err("the load ended before the pipeline had been measured".into());
        }
        let messages = seen.messages.load(Ordering::Relaxed) - messages;
        watched += messages as f64 / (to.at - from.at).as_secs_f64() / rounds as f64;
        server.add(&before, &HistogramBuckets::read(port)?);
        with.push(Stretch::between(&from, &to));
        load.finish()?;
        thread::sleep(SETTLE);
    }
    let hot = get(port, &paths(port)?[0])?;
    pipeline.kill()?;
    std::fs::remove_dir_all(&storage)?;
    let hot: Value = serde_json::from_str(&hot)?;
    if hot["served_by"]
        .as_array()
        .is_none_or(|by| by.len() != 1 || by[0]["tier"] != "hot")
    {
        return Err(format!("it was not the hot tier that answered: {hot}").into());
    }
    let failed = answers.failed.load(Ordering::Relaxed) + seen.lost.load(Ordering::Relaxed);
    if failed > 0 {
        return Err(
            format!("{failed} connections broke, or got another answer than was wanted").into(),
        );
    }
    Ok(report(&without, &with, &answers, &server, watched))
}

fn report(
    without: &[Stretch],
    with: &[Stretch],
    answers: &Answers,
    server: &HistogramBuckets,
    watched: f64,
) -> Value {
    let spread = |stretches: &[Stretch], figure: fn(&Stretch) -> f64| {
        stretches.iter().map(figure).collect::<Spread>()
    };
    let rates = (spread(without, |s| s.rate), spread(with, |s| s.rate));
    let left = (
        spread(without, Stretch::rate_per_core_left),
        spread(with, Stretch::rate_per_core_left),
    );
    let drop = |(without, with): &(Spread, Spread)| 1.0 - with.median() / without.median();
    let http = spread(with, |s| s.http_cores);
    let client = spread(with, |s| s.client_cores);
    let pipeline = (
        spread(without, |s| s.pipeline_cores),
        spread(with, |s| s.pipeline_cores),
    );
    println!(
        "pipeline: {} events/s without, {} with: {:.1} % less; for each CPU-second left to it {} and {}: {:.1} % less",
        rates.0,
        rates.1,
        100.0 * drop(&rates),
        left.0,
        left.1,
        100.0 * drop(&left),
    );
    println!(
        "cores: pipeline {:.2} without, {:.2} with, of which HTTP {:.2}; clients {:.2}",
        pipeline.0.median(),
        pipeline.1.median(),
        http.median(),
        client.median(),
    );
    println!(
        "answers: {} of {} bytes; server p50 {:.2} ms, p99 {:.2} ms, {:.3} % within 5 ms; client p50 {:.1} ms, p99 {:.1} ms; {watched:.0} messages/s to WebSockets",
        server.count(),
        answers.mean_bytes(),
        server.quantile(0.5) * 1e3,
        server.quantile(0.99) * 1e3,
        100.0 * server.within(ANSWER_MAX_SECONDS),
        answers.quantile(0.5),
        answers.quantile(0.99),
    );
    json!({
        "events_per_second": { "without": rates.0.json(), "with": rates.1.json(), "drop": drop(&rates) },
        "events_per_cpu_second_left": { "without": left.0.json(), "with": left.1.json(), "drop": drop(&left) },
        "pipeline_cores": { "without": pipeline.0.json(), "with": pipeline.1.json() },
        "http_cores": http.json(),
        "client_cores": client.json(),
        "answers": answers.count(),
        "answer_bytes": answers.mean_bytes(),
        "server_ms": { "p50": server.quantile(0.5) * 1e3, "p99": server.quantile(0.99) * 1e3 },
        "server_share_within_5_ms": server.within(ANSWER_MAX_SECONDS),
        "client_ms": { "p50": answers.quantile(0.5), "p99": answers.quantile(0.99) },
        "websocket_messages_per_second": watched,
    })
}

/// What has been committed, at the moment of a commit, so that each stretch has whole batches.
fn sample(pipeline: &mut Running, port: u16) -> Outcome<UsageSample> {
    let first = status(port)?["last_seq"].clone();
    loop {
        pipeline.alive(LOOK)?;
        let now = status(port)?;
        if now["last_seq"] != first {
            let pid = pipeline.pid();
            return Ok(UsageSample {
                at: Instant::now(),
                records: now["read"].as_u64().ok_or("the status has no `read`")?,
                pipeline_cpu: cpu(pid).ok_or("the process has ended")?,
                http_cpu: cpu_of_threads(pid, "tidegate-http"),
                client_cpu: cpu(std::process::id()).unwrap_or(0.0),
            });
        }
    }
}

/// What is read: the newest minutes of both views.
fn paths(port: u16) -> Outcome<Vec<String>> {
    let status = status(port)?;
    let watermarks = status["watermarks"].as_object().into_iter().flatten();
    let newest = watermarks
        .filter_map(|(_, at)| at.as_str()?.parse::<DateTime<Utc>>().ok())
        .max()
        .ok_or("there is no watermark yet")?;
    let at = |minutes| {
        let at = newest + TimeDelta::minutes(DELAY_MINUTES + minutes);
        at.to_rfc3339_opts(SecondsFormat::Secs, true)
    };
    let path = |view| {
        let (from, to) = (at(-READ_MINUTES), at(60));
        format!("/v1/aggregates?view={view}&from={from}&to={to}")
    };
    Ok(vec![path("transactions_1m"), path("transactions_5m")])
}

/// Clients, in a thread of their own.
struct Load(thread::JoinHandle<Result<(), String>>);

impl Load {
    /// Starts them; returns when those that watch have got what was before they came, and the
    /// others ask.
    fn start(
        port: u16,
        paths: Vec<String>,
        lasts: Duration,
        answers: &Arc<Answers>,
        seen: &Arc<Seen>,
    ) -> Outcome<Self> {
        let (answers, seen) = (Arc::clone(answers), Arc::clone(seen));
        let (ready, is_ready) = mpsc::channel();
        let clients = async move {
            let watchers = watchers::watch(port, CLIENTS, &TOPICS, &seen).await?;
            tokio::time::sleep(SETTLE).await;
            ready.send(())?;
            readers::ask(port, &paths, REQUESTS, CONNECTIONS, lasts, &answers).await?;
            drop(watchers);
            Outcome::Ok(())
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let load = Load(thread::spawn(move || {
            runtime.block_on(clients).map_err(|error| error.to_string())
        }));
        if is_ready.recv().is_err() {
            load.finish()?;
            return Err("the clients have ended too early".into());
        }
        Ok(load)
    }

    fn finish(self) -> Outcome<()> {
        let ended = self.0.join().map_err(|_| "a client panicked")?;
        Ok(ended?)
    }
}

/// The server's own histogram of what it has answered to reads: upper bounds in seconds, and how
/// many were not above.
#[derive(Debug, Default)]
struct HistogramBuckets(Vec<(f64, u64)>);

impl HistogramBuckets {
    fn read(port: u16) -> Outcome<Self> {
        let mut buckets = Vec::new();
        for line in get(port, "/metrics")?.lines() {
            let is_it = line.starts_with("tidegate_http_request_seconds_bucket{")
                && line.contains("route=\"aggregates\"");
            if let Some((_, rest)) = line.split_once("le=\"").filter(|_| is_it)
                && let Some((bound, count)) = rest.split_once("\"} ")
            {
                buckets.push((bound.parse()?, count.parse()?));
            }
        }
        Ok(HistogramBuckets(buckets))
    }

    /// Adds what came between two looks; before the first question there are no buckets.
    fn add(&mut self, from: &HistogramBuckets, to: &HistogramBuckets) {
        self.0.resize(to.0.len(), (0.0, 0));
        for (place, (bound, count)) in to.0.iter().enumerate() {
            let before = from.0.get(place).map_or(0, |(_, count)| *count);
            self.0[place] = (*bound, self.0[place].1 + count - before);
        }
    }

    fn count(&self) -> u64 {
        self.0.last().map_or(0, |(_, count)| *count)
    }

    fn within(&self, seconds: f64) -> f64 {
        let found = self.0.iter().find(|(bound, _)| *bound >= seconds);
        found.map_or(f64::NAN, |(_, count)| *count as f64) / self.count() as f64
    }

    /// Evenly spread within a bucket, as Prometheus has it.
    fn quantile(&self, share: f64) -> f64 {
        let wanted = self.count() as f64 * share;
        let (mut low, mut before) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            let count = *count as f64;
            if count >= wanted && count > before {
                return low + (bound - low) * (wanted - before) / (count - before);
            }
            (low, before) = (*bound, count);
        }
        f64::NAN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_what_came_between_two_looks() {
        let before = HistogramBuckets(vec![(0.001, 10), (0.005, 10), (f64::INFINITY, 10)]);
        let after = HistogramBuckets(vec![(0.001, 60), (0.005, 100), (f64::INFINITY, 110)]);
        let mut buckets = HistogramBuckets::default();
        buckets.add(&before, &after);
        buckets.add(
            &HistogramBuckets::default(),
            &HistogramBuckets(vec![(0.001, 0), (0.005, 0), (f64::INFINITY, 0)]),
        );
        assert_eq!(buckets.count(), 100);
        assert!((buckets.within(0.005) - 0.9).abs() < 1e-9);
        assert!((buckets.quantile(0.5) - 0.001).abs() < 1e-9);
        assert!((buckets.quantile(0.7) - 0.003).abs() < 1e-9);
        assert_eq!(buckets.quantile(0.99), f64::INFINITY);
    }
}
