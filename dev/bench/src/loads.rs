//! The loader into both warehouses: Redshift is the emulator over a PostgreSQL, with files in a
//! real S3 server, all of them on the same machine. So its rate says what the loader takes, and not
//! what a Redshift can do.

use std::path::Path;
use std::time::Duration;

use chrono::DateTime;
use redshift_emulator::{Emulator, Objects, Options};
use serde_json::{Value, json};
use tidegate_base::clock::Clock;
use tidegate_generator::{FileFormat, GeneratorOptions, generate_files};
use tidegate_testkit::{Postgres, S3};
use tokio::runtime::Runtime;

use crate::process::Tidegate;
use crate::spread::Spread;
use crate::{Bench, Outcome};

/// Events that are staged, and then loaded.
const EVENTS: u64 = 2_000_000;
/// Events a second, and seconds, of the measure from commit to queryable.
const RATE: u64 = 10_000;
const SECONDS: u64 = 30;

/// Loads into DuckDB and, where there is a PostgreSQL, into Redshift.
pub(crate) fn measure(bench: &Bench) -> Outcome<Value> {
    let (tidegate, dir) = (&bench.tidegate, bench.dir());
    let events = bench.size(EVENTS, EVENTS / 10);
    let input = dir.join("load-input");
    let options = GeneratorOptions {
        count: Some(events),
        partitions: 8,
        ..GeneratorOptions::default()
    };
    generate_files(&input, 4, FileFormat::Plain, &options, &Clock::System)?;
    println!("\nthe loader: {events} events that are staged already");
    println!(
        "{:<10}  {:>10}  {:>8}  {:>14}  {:>12}  {:>10}  {:>22}",
        "warehouse", "rows/s", "loads", "files/load", "MiB/load", "peak MiB", "commit to queryable"
    );
    let duckdb = |name: &str| {
        vec![
            format!("storage.url=file:{}", dir.join(name).display()),
            format!(
                "warehouse.url=duckdb:{}",
                dir.join(name).join("w.duckdb").display()
            ),
        ]
    };
    let mut results = json!({ "events": events });
    results["duckdb"] = one(
        tidegate,
        "DuckDB",
        &input,
        &duckdb("load-bulk"),
        &duckdb("load-live"),
    )?;
    if let Some(postgres) = Postgres::shared() {
        let runtime = Runtime::new()?;
        let s3 = S3::start();
        let objects = Objects::S3(redshift_emulator::S3 {
            endpoint: s3.endpoint(),
            region: S3::REGION.to_owned(),
            access_key_id: S3::ACCESS_KEY.to_owned(),
            secret_access_key: S3::SECRET_KEY.to_owned(),
        });
        let options = Options::new(postgres.new_database(), objects);
        let emulator = runtime
            .block_on(Emulator::start(options))
            .map_err(|error| error.to_string())?;
        let redshift = |name: &str| {
            vec![
                format!("storage.url=s3://{}/{name}", S3::BUCKET),
                format!("storage.endpoint={}", s3.endpoint()),
                "storage.allow-http=true".to_owned(),
                "warehouse.url=redshift://dev/public".to_owned(),
                format!("redshift.endpoint={}", emulator.url()),
                "redshift.workgroup=bench".to_owned(),
                "redshift.iam-role=default".to_owned(),
                format!("redshift.region={}", S3::REGION),
                format!("warehouse.table={}", name.replace('-', "_")),
                format!(
                    "warehouse.rejected-table={}_rejected",
                    name.replace('-', "_")
                ),
            ]
        };
        results["redshift_emulator"] = one(
            tidegate,
            "emulator",
            &input,
            &redshift("bulk"),
            &redshift("live"),
        )?;
    }
    Ok(results)
}

fn one(
    tidegate: &Tidegate,
    name: &str,
    input: &Path,
    bulk: &[String],
    live: &[String],
) -> Outcome<Value> {
    let apart = |settings: &[String], more: &[String]| {
        let mut all = settings.to_vec();
        all.push("load.separate=true".to_owned());
        all.extend_from_slice(more);
        all
    };
    let files = [
        "source.kind=files".to_owned(),
        format!("source.path={}", input.display()),
    ];
    tidegate.run(&apart(bulk, &files))?;
    let json_log: Vec<&str> = "--log-level info --log-format json".split(' ').collect();
    let mut once = vec!["--once"];
    once.extend(&json_log);
    let loaded = tidegate
        .command("load", &once, &apart(bulk, &files))?
        .finish()?;
    let lines: Vec<Value> = loaded.log().filter(is_load).collect();
    let sum = |key: &str| {
        lines
            .iter()
            .filter_map(|line| field(line, key))
            .sum::<f64>()
    };
    let (rows, loads) = (sum("rows"), lines.len() as f64);

    // A pipeline commits, and another process loads; both have the machine's clock.
    let steady = [
        "source.kind=generator".to_owned(),
        format!("source.rate={RATE}"),
        format!("source.count={}", RATE * SECONDS),
    ];
    let pipeline = tidegate.start(&apart(live, &steady))?;
    // The log has to be founded before a loader finds it.
    std::thread::sleep(Duration::from_secs(2));
    let loader = tidegate.command("load", &json_log, &apart(live, &steady))?;
    pipeline.finish()?;
    std::thread::sleep(Duration::from_secs(10));
    let loader = loader.interrupt()?;
    let mut waits = Spread::default();
    for line in loader.log().filter(is_load) {
        let done = line["timestamp"].as_str().unwrap_or_default();
        let done = DateTime::parse_from_rfc3339(done)?.timestamp_micros() as f64;
        let (newest, oldest) = (
            field(&line, "newest_commit_us"),
            field(&line, "oldest_commit_us"),
        );
        if let (Some(newest), Some(oldest)) = (newest, oldest) {
            waits.push((done - newest) / 1e6);
            waits.push((done - oldest) / 1e6);
        }
    }
    let (typical, worst) = (waits.median(), waits.max());
    let rate = rows / loaded.seconds;
    println!(
        "{name:<10}  {rate:>10.0}  {loads:>8}  {:>14.1}  {:>12.1}  {:>10}  {:>22}",
        sum("files") / loads,
        sum("bytes") / loads / 1_048_576.0,
        loaded.peak_bytes >> 20,
        format!("{typical:.2} s, max {worst:.2} s"),
    );
    Ok(json!({
        "rows_per_second": rate,
        "loads": loads,
        "files_per_load": sum("files") / loads,
        "bytes_per_load": sum("bytes") / loads,
        "loader_peak_bytes": loaded.peak_bytes,
        "commit_to_queryable_seconds": { "median": typical, "max": worst, "events_per_second": RATE },
    }))
}

fn is_load(line: &Value) -> bool {
    line["message"] == "loaded"
}

fn field(line: &Value, key: &str) -> Option<f64> {
    line[key].as_f64()
}
