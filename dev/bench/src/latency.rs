//! From an event to the moment at which DuckDB has it, at a steady rate: producer, broker and
//! pipeline on the same cores, with the pipeline's default settings.
//!
//! An event is created at the time that its id names; the generator gives an update the id of the
//! event that it updates, a few milliseconds before. It is queryable when the status of the running
//! pipeline says that its commit is loaded, looked at every 25 ms.

use std::fmt::Write as _;
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::{Value, json};

use crate::http::status;
use crate::log::Log;
use crate::process::Tidegate;
use crate::{Bench, Outcome, topic};

const TOPIC: &str = "transactions-latency";
const PARTITIONS: i32 = 8;
const RATE: u64 = 50_000;
/// Events of the first seconds are left out: the tables are made then.
const WARM_UP: i64 = 5_000_000;
const LOOK: Duration = Duration::from_millis(25);
/// How long what was sent may take to be loaded.
const LOADED_MAX: Duration = Duration::from_secs(120);

/// One run.
pub(crate) fn measure(bench: &Bench) -> Outcome<Value> {
    let seconds: u64 = bench.size(90, 15);
    let count = RATE * seconds;
    let kafka = topic::broker()?;
    kafka.create_topic(TOPIC, PARTITIONS, &[]);
    println!("\nlatency into DuckDB: {RATE} events/s for {seconds} s");
    let storage = bench.dir().join("latency");
    let database = bench.dir().join("latency.duckdb");
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let warehouse = format!("duckdb:{}", database.display());
    let mut settings = topic::settings(&kafka, TOPIC, &storage, &warehouse);
    settings.push(format!("http.listen=127.0.0.1:{port}"));
    let how = [
        "--progress",
        "none",
        "--log-level",
        "warn",
        "--summary",
        "json",
    ];
    let mut pipeline = bench.tidegate.command("run", &how, &settings)?;
    while status(port).is_err() {
        pipeline.alive(LOOK)?;
    }
    let first_event = Utc::now().timestamp_micros();
    let producer = topic::start_producing(&bench.tidegate, &kafka, TOPIC, count, RATE, &[])?;
    // The time at which each commit was seen to be loaded.
    let mut loaded: Vec<(u64, i64)> = Vec::new();
    let mut log = Log::new(&storage);
    let limit = Instant::now() + Duration::from_secs(seconds) + LOADED_MAX;
    loop {
        pipeline.alive(LOOK)?;
        let seq = status(port)?["loaded_seq"].as_u64().unwrap_or(0);
        if loaded.last().is_none_or(|(last, _)| *last < seq) {
            loaded.push((seq, Utc::now().timestamp_micros()));
        }
        if log.read()? >= count && seq >= log.commits.len() as u64 {
            break;
        }
        if Instant::now() > limit {
            return Err(format!(
                "{} of {count} events are committed, and {seq} commits loaded",
                log.records
            )
            .into());
        }
    }
    let produced = producer.finish()?;
    let done = pipeline.interrupt()?;
    let waits = waits(
        &bench.tidegate,
        &settings,
        &log,
        &loaded,
        first_event + WARM_UP,
    )?;
    let of = |key: &str| waits[key].as_f64().unwrap_or(f64::NAN);
    println!(
        "p50 {:.2} s, p95 {:.2} s, p99 {:.2} s, at most {:.2} s, of {} events; {} loads; the pipeline took {:.2} of a core",
        of("p50"),
        of("p95"),
        of("p99"),
        of("most"),
        of("events"),
        loaded.len(),
        done.cpu_seconds / done.seconds,
    );
    Ok(json!({
        "events_per_second": RATE,
        "seconds": seconds,
        "producer_events_per_second": produced.answer()["records_per_second"],
        "latency_seconds": waits,
        "loads": loaded.len(),
        "pipeline_cores": done.cpu_seconds / done.seconds,
        "peak_bytes": done.peak_bytes,
    }))
}

/// Quantiles over all events in the warehouse that were created from `from` on.
fn waits(
    tidegate: &Tidegate,
    settings: &[String],
    log: &Log,
    loaded: &[(u64, i64)],
    from: i64,
) -> Outcome<Value> {
    let mut spans = String::new();
    for (seq, commit) in (1..).zip(&log.commits) {
        let Some((_, at)) = loaded.iter().find(|(last, _)| *last >= seq) else {
            continue;
        };
        for (partition, from, _) in &commit.spans {
            let comma = if spans.is_empty() { "" } else { ", " };
            write!(spans, "{comma}({partition}, {from}, {at})")?;
        }
    }
    let sql = format!(
        "WITH spans(source_partition, source_offset, loaded_at) AS (VALUES {spans}), \
         waits AS (SELECT CAST(split_part(transaction_id, '_', 2) AS BIGINT) AS created_at, (loaded_at - created_at) / 1e6 AS wait \
         FROM transactions ASOF JOIN spans USING (source_partition, source_offset) WHERE created_at >= {from}) \
         SELECT count(*) AS events, quantile_cont(wait, 0.5) AS p50, quantile_cont(wait, 0.95) AS p95, \
         quantile_cont(wait, 0.99) AS p99, max(wait) AS most FROM waits"
    );
    let mut command = Command::new(tidegate.program());
    command.args([
        "query",
        "-c",
        "examples/transactions.toml",
        "--format",
        "json",
        "-",
    ]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(sql.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("the query ended with {}", output.status).into());
    }
    let mut rows: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    rows.pop().ok_or_else(|| "the query has no answer".into())
}
