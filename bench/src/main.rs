//! Measures the program that is shipped, as a user would run it: `cargo xtask bench [throughput] [state]
//! [loads]`.
//!
//! Each measure is of the whole process: events a second from files to committed Parquet with everything
//! in the transactions example; bytes of state for each deduplication key; seconds from the start of a
//! process with millions of keys in its horizon to its first new commit; rows a second through the loader
//! into both warehouses, its memory, and the time from a commit to a row that can be queried.

// A command-line program: printing is what it is for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod loads;
mod process;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use process::{Run, Tidegate};
use serde_json::{Value, json};
use tidegate_core::clock::Clock;
use tidegate_core::dedup::Dedup;
use tidegate_sources::GeneratorOptions;
use tidegate_sources::generator::{FileFormat, generate_files};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Events of the throughput measure.
const EVENTS: u64 = 4_000_000;
/// Runs of the throughput measure; the median is quoted.
const RUNS: usize = 5;
/// Keys in the horizon of the memory and restart measures.
const KEYS: u64 = 5_000_000;
/// Seconds of the horizon: the delay of the transactions example.
const HORIZON_SECONDS: u64 = 600;

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// All measures, or those that the arguments name; the others keep what was measured before.
fn measure() -> Outcome<()> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let tidegate = Tidegate::find()?;
    let dir = tempfile::tempdir()?;
    let out = PathBuf::from("bench/results.json");
    let before = std::fs::read_to_string(&out).unwrap_or_default();
    let mut results: Value = serde_json::from_str(&before).unwrap_or_else(|_| json!({}));
    results["machine"] = process::machine().into();
    results["date"] = chrono::Utc::now().format("%Y-%m-%d").to_string().into();
    if wanted("throughput") {
        results["throughput"] = throughput(&tidegate, dir.path())?;
    }
    if wanted("state") {
        results["state"] = state(&tidegate, dir.path())?;
    }
    if wanted("loads") {
        results["loads"] = loads::measure(&tidegate, dir.path())?;
    }
    std::fs::write(&out, serde_json::to_string_pretty(&results)? + "\n")?;
    println!("\nwritten to {}", out.display());
    Ok(())
}

/// Files to committed Parquet, nothing loaded.
fn throughput(tidegate: &Tidegate, dir: &Path) -> Outcome<Value> {
    let input = dir.join("input");
    let options = GeneratorOptions {
        count: Some(EVENTS),
        partitions: 8,
        ..GeneratorOptions::default()
    };
    let written = generate_files(&input, 4, FileFormat::Plain, &options, &Clock::System)?;
    println!(
        "files to committed Parquet: {EVENTS} events, {} bytes each",
        written.bytes / EVENTS
    );
    println!(
        "{:>4}  {:>12}  {:>16}  {:>10}",
        "run", "events/s", "events/CPU-s", "peak MiB"
    );
    let mut runs = Vec::new();
    for run in 1..=RUNS {
        let storage = dir.join(format!("throughput-{run}"));
        let done = tidegate.run(&[
            "source.kind=files".to_owned(),
            format!("source.path={}", input.display()),
            format!("storage.url=file:{}", storage.display()),
            "warehouse.url=none".to_owned(),
        ])?;
        expect(&done, EVENTS)?;
        std::fs::remove_dir_all(&storage)?;
        println!(
            "{run:>4}  {:>12.0}  {:>16.0}  {:>10}",
            EVENTS as f64 / done.seconds,
            EVENTS as f64 / done.cpu_seconds,
            done.peak_bytes >> 20
        );
        runs.push(done);
    }
    let rate = median(runs.iter().map(|r| EVENTS as f64 / r.seconds));
    let cpu_rate = median(runs.iter().map(|r| EVENTS as f64 / r.cpu_seconds));
    println!("median {rate:.0} events/s, {cpu_rate:.0} events per CPU-second");
    Ok(json!({
        "events": EVENTS,
        "bytes_per_event": written.bytes / EVENTS,
        "events_per_second": runs.iter().map(|r| EVENTS as f64 / r.seconds).collect::<Vec<_>>(),
        "median_events_per_second": rate,
        "median_events_per_cpu_second": cpu_rate,
        "peak_bytes": runs.iter().map(|r| r.peak_bytes).max(),
    }))
}

/// Memory of the deduplication state, and how long a restart takes that rebuilds it.
fn state(tidegate: &Tidegate, dir: &Path) -> Outcome<Value> {
    let bytes_per_key = bytes_per_key();
    println!(
        "\ndeduplication state, {KEYS} keys in a full horizon: {bytes_per_key:.1} bytes a key"
    );

    // Event time so slow that all keys stay within the horizon; killed once they are committed.
    let storage = dir.join("state");
    let settings = [
        "source.kind=generator".to_owned(),
        format!("source.count={}", 2 * KEYS),
        format!("source.event-rate={}", KEYS / HORIZON_SECONDS),
        "source.duplicates=0.0".to_owned(),
        "source.late=0.0".to_owned(),
        "source.malformed=0.0".to_owned(),
        "source.rule-breaking=0.0".to_owned(),
        format!("storage.url=file:{}", storage.display()),
        "warehouse.url=none".to_owned(),
    ];
    let mut running = tidegate.start(&settings)?;
    let mut log = Log::new(&storage);
    while log.read()? < KEYS {
        running.alive()?;
    }
    running.kill()?;
    log.read()?;

    let started = Instant::now();
    let mut running = tidegate.start(&settings)?;
    let before = log.records;
    while log.records == before {
        running.alive()?;
        log.read()?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let peak_bytes = running.kill()?;
    println!(
        "restart with {KEYS} keys in the horizon: {seconds:.2} s to the first new commit, at most {} MiB",
        peak_bytes >> 20
    );
    Ok(json!({
        "keys": KEYS,
        "bytes_per_key": bytes_per_key,
        "restart_seconds": seconds,
        "restart_peak_bytes": peak_bytes,
    }))
}

/// The most bytes a key, over three horizons of a stream that fills one with `KEYS`.
fn bytes_per_key() -> f64 {
    let horizon = Duration::from_secs(HORIZON_SECONDS);
    let micros = i64::try_from(horizon.as_micros()).unwrap_or(i64::MAX);
    let mut dedup = Dedup::new(horizon);
    let mut worst: f64 = 0.0;
    for event in 0..3 * KEYS {
        let time = i64::try_from(u128::from(event) * horizon.as_micros() / u128::from(KEYS))
            .unwrap_or(i64::MAX);
        dedup.advance(time - micros);
        // Any bijection that spreads will do for a fingerprint.
        dedup.insert(
            u128::from(event + 1).wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645),
            time,
        );
        if event >= KEYS {
            worst = worst.max(dedup.bytes() as f64 / KEYS as f64);
        }
    }
    worst
}

/// The commit log of a run, read from its files.
struct Log {
    dir: PathBuf,
    records: u64,
    events: u64,
}

impl Log {
    fn new(storage: &Path) -> Self {
        Log {
            dir: storage.join("log"),
            records: 0,
            events: 0,
        }
    }

    /// Events committed so far.
    fn read(&mut self) -> Outcome<u64> {
        while let Ok(text) =
            std::fs::read_to_string(self.dir.join(format!("{:020}.json", self.records + 1)))
        {
            let record: Value = serde_json::from_str(text.lines().next().unwrap_or_default())?;
            self.records += 1;
            self.events += record["counts"]["events"].as_u64().unwrap_or(0);
        }
        Ok(self.events)
    }
}

/// A figure of a run that did something else is worthless.
fn expect(run: &Run, events: u64) -> Outcome<()> {
    let read = run.status("read")?;
    if read == events {
        Ok(())
    } else {
        Err(format!("{read} of {events} events were read").into())
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
