//! Catching up: a backlog in Kafka, taken at full speed, in bounded memory and in commits no larger
//! than configured.

use std::path::Path;

use serde_json::{Value, json};
use tidegate::config;

use crate::log::Log;
use crate::{Bench, Outcome, expect, topic};

const TOPIC: &str = "transactions-backlog";
const PARTITIONS: i32 = 8;

/// One run: it is long.
pub(crate) fn measure(bench: &Bench) -> Outcome<Value> {
    let example = config::load(Path::new("examples/transactions.toml"), &[])?;
    let (max_rows, max_bytes) = (
        example.config.batch.max_rows,
        example.config.batch.max_bytes,
    );
    let events: u64 = bench.size(20_000_000, 1_000_000);
    let kafka = topic::broker()?;
    let report = topic::filled(&bench.tidegate, &kafka, TOPIC, PARTITIONS, events, &[])?;
    // The report's bytes are of payloads and keys, CUST_000000.
    let event_bytes = report["bytes"].as_f64().unwrap_or(f64::NAN) / events as f64 - 11.0;
    println!("\nbacklog: {events} events of {event_bytes:.0} bytes in {PARTITIONS} partitions");
    let storage = bench.dir().join("backlog");
    let done = bench
        .tidegate
        .run(&topic::settings(&kafka, TOPIC, &storage, "none"))?;
    expect(&done, events)?;
    let mut log = Log::new(&storage);
    log.read()?;
    std::fs::remove_dir_all(&storage)?;
    let rows = log
        .commits
        .iter()
        .map(|commit| commit.read)
        .max()
        .unwrap_or(0);
    // The log has no bytes of payload; the events are about equally long.
    let bytes = rows as f64 * event_bytes;
    let rate = events as f64 / done.seconds;
    println!(
        "{rate:.0} events/s, {:.0} per CPU-second, {} MiB at most; {} commits, the largest with {rows} records of {max_rows} and about {:.1} MiB of {:.0}",
        events as f64 / done.cpu_seconds,
        done.peak_bytes >> 20,
        log.commits.len(),
        bytes / 1_048_576.0,
        max_bytes as f64 / 1_048_576.0,
    );
    Ok(json!({
        "events": events,
        "bytes_per_event": event_bytes,
        "events_per_second": rate,
        "events_per_cpu_second": events as f64 / done.cpu_seconds,
        "peak_bytes": done.peak_bytes,
        "commits": log.commits.len(),
        "largest_commit": { "records": rows, "payload_bytes": bytes },
        "configured": { "max_rows": max_rows, "max_bytes": max_bytes },
    }))
}
