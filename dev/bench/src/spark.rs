//! A real broker to committed Parquet, with the whole transactions example: Tidegate, and the same
//! job in Spark Structured Streaming on the same cores (`dev/bench/spark/streaming.py`),
//! alternating.
//!
//! CPU time is that of the pipeline's processes: not of the broker, which serves both. Spark is
//! measured in all, and from its first micro-batch to its last; Tidegate in all.
//!
//! Each run that counts follows one of the same program that does not: memory that another program
//! has given back may be with the host of a virtual machine, which would be measured instead.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tidegate_testkit::Kafka;

use crate::proc::cores;
use crate::process::{CompletedRun, Running};
use crate::spread::Spread;
use crate::{Bench, Outcome, expect, topic};

const TOPIC: &str = "transactions-spark";
const PARTITIONS: i32 = 4;
/// Where Spark is: `cargo xtask bench` fetches it.
const SPARK: &str = ".deps/spark";

/// Rows a second and for each CPU-second, and memory.
#[derive(Default)]
struct Figures {
    rates: Spread,
    cpu_rates: Spread,
    peaks: Spread,
}

impl Figures {
    fn add(
        &mut self,
        name: &str,
        run: usize,
        rows: u64,
        seconds: f64,
        cpu_seconds: f64,
        peak_bytes: u64,
    ) {
        let (rate, cpu_rate) = (rows as f64 / seconds, rows as f64 / cpu_seconds);
        println!(
            "{run:>4}  {name:<20}  {rate:>10.0}  {cpu_rate:>12.0}  {:>10}",
            peak_bytes >> 20
        );
        self.rates.push(rate);
        self.cpu_rates.push(cpu_rate);
        self.peaks.push(peak_bytes as f64);
    }

    fn json(&self) -> Value {
        json!({
            "rows_per_second": self.rates.json(),
            "rows_per_cpu_second": self.cpu_rates.json(),
            "peak_bytes": self.peaks.json(),
        })
    }
}

/// Both over one topic, alternating.
pub(crate) fn measure(bench: &Bench) -> Outcome<Value> {
    let events: u64 = bench.size(4_000_000, 200_000);
    let runs = bench.size(3, 1);
    let kafka = topic::broker()?;
    let report = topic::filled(&bench.tidegate, &kafka, TOPIC, PARTITIONS, events, &[])?;
    println!("\nKafka to Parquet: {events} events in {PARTITIONS} partitions, lz4");

    let stores = stores(bench, &kafka, events)?;
    let fastest = stores.iter().min_by(|a, b| a.0.total_cmp(&b.0));
    let state = fastest.map_or("memory", |(_, state)| state);

    println!(
        "{:>4}  {:<20}  {:>10}  {:>12}  {:>10}",
        "run", "", "rows/s", "rows/CPU-s", "peak MiB"
    );
    let mut all = <[Figures; 3]>::default();
    let mut kept = [0, 0];
    for run in 1..=runs {
        kept = turn(bench, &kafka, events, state, run, &mut all)?;
    }
    let [ours, in_all, in_batches] = all;
    let times = |ours: &Spread, theirs: &Spread| ours.median() / theirs.median();
    println!(
        "Tidegate has {:.1}x the rows/s of Spark in all and {:.1}x of its batches; {:.1}x and {:.1}x the rows per CPU-second",
        times(&ours.rates, &in_all.rates),
        times(&ours.rates, &in_batches.rates),
        times(&ours.cpu_rates, &in_all.cpu_rates),
        times(&ours.cpu_rates, &in_batches.cpu_rates),
    );
    Ok(json!({
        "events": events,
        "events_kept": { "tidegate": kept[0], "spark": kept[1] },
        "producer": report,
        "spark_state": state,
        "spark_state_seconds": stores.iter().map(|(seconds, state)| json!({ "state": state, "seconds": seconds })).collect::<Vec<_>>(),
        "tidegate": ours.json(),
        "spark_in_all": in_all.json(),
        "spark_batches": in_batches.json(),
        "times_spark_batches": {
            "rows_per_second": times(&ours.rates, &in_batches.rates),
            "rows_per_cpu_second": times(&ours.cpu_rates, &in_batches.cpu_rates),
        },
        "times_spark_in_all": {
            "rows_per_second": times(&ours.rates, &in_all.rates),
            "rows_per_cpu_second": times(&ours.cpu_rates, &in_all.cpu_rates),
        },
    }))
}

/// Seconds of Spark with its state in each of the places where it may be. That decides much: both
/// are tried once, and the faster one counts.
fn stores(bench: &Bench, kafka: &Kafka, events: u64) -> Outcome<Vec<(f64, &'static str)>> {
    let mut stores = Vec::new();
    for state in ["memory", "rocksdb"] {
        let done = spark(kafka, bench.dir(), state)?;
        let seconds = number(&done, "batches_seconds")?;
        println!(
            "Spark with its state in {state}: {:.0} rows/s",
            events as f64 / seconds
        );
        stores.push((seconds, state));
    }
    Ok(stores)
}

/// One run of each that counts, added to the figures of Tidegate, of Spark in all and of Spark's
/// batches; and how many events Tidegate and Spark have kept.
fn turn(
    bench: &Bench,
    kafka: &Kafka,
    events: u64,
    state: &str,
    run: usize,
    [ours, in_all, in_batches]: &mut [Figures; 3],
) -> Outcome<[u64; 2]> {
    tidegate(bench, kafka, events)?;
    let done = tidegate(bench, kafka, events)?;
    ours.add(
        "Tidegate",
        run,
        events,
        done.seconds,
        done.cpu_seconds,
        done.peak_bytes,
    );

    spark(kafka, bench.dir(), state)?;
    let spark = spark(kafka, bench.dir(), state)?;
    in_all.add(
        "Spark, in all",
        run,
        events,
        spark.seconds,
        spark.cpu_seconds,
        spark.peak_bytes,
    );
    let (seconds, cpu) = (
        number(&spark, "batches_seconds")?,
        number(&spark, "cpu_seconds")?,
    );
    in_batches.add(
        "Spark, its batches",
        run,
        events,
        seconds,
        cpu,
        spark.peak_bytes,
    );
    // Spark drops what is late, and Tidegate keeps it apart; repeats have to be the same but for
    // those at the edge of the horizon.
    let kept = [done.status("events")?, number(&spark, "events")? as u64];
    if kept[0].abs_diff(kept[1]) * 100 > events {
        return Err(format!("Tidegate keeps {} events and Spark {}", kept[0], kept[1]).into());
    }
    Ok(kept)
}

/// One run of Tidegate over the topic, from its beginning.
fn tidegate(bench: &Bench, kafka: &Kafka, events: u64) -> Outcome<CompletedRun> {
    let storage = bench.dir().join("kafka");
    let done = bench
        .tidegate
        .run(&topic::settings(kafka, TOPIC, &storage, "none"))?;
    expect(&done, events)?;
    std::fs::remove_dir_all(&storage)?;
    Ok(done)
}

/// One run of Spark over the topic, from its beginning.
fn spark(kafka: &Kafka, dir: &Path, state: &str) -> Outcome<CompletedRun> {
    let out = dir.join("spark");
    let jars: Vec<PathBuf> = std::fs::read_dir(Path::new(SPARK).join("libs"))
        .map_err(|error| {
            format!("there is no Spark in {SPARK}: {error}; `cargo xtask bench kafka` fetches it")
        })?
        .map(|entry| entry.and_then(|entry| entry.path().canonicalize()))
        .collect::<Result<_, _>>()?;
    let mut command = Command::new("python3");
    command
        .arg("dev/bench/spark/streaming.py")
        .args([kafka.brokers(), TOPIC])
        .arg(&out);
    command
        .args([
            "--state",
            state,
            "--cores",
            &cores().len().min(2).to_string(),
            "--jars",
        ])
        .args(jars);
    command.env(
        "PYTHONPATH",
        Path::new(SPARK).join("python").canonicalize()?,
    );
    let done = Running::spawn(command, true)?.finish();
    // What is there is of no use to the next run.
    let _ = std::fs::remove_dir_all(&out);
    done
}

fn number(run: &CompletedRun, key: &str) -> Outcome<f64> {
    let answer = run.answer();
    answer[key]
        .as_f64()
        .ok_or_else(|| format!("Spark says no `{key}`: {answer}").into())
}
