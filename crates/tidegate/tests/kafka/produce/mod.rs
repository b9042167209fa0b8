//! `tidegate produce`.

mod ending;
mod keys;
mod transactions;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_testkit::{Isolation, Kafka, ReadRecord};

use crate::common::{Job, repository_file};
use crate::process::{Ended, Process};

/// A producer in a folder of its own.
struct Produce {
    folder: TempDir,
    args: Vec<String>,
}

impl Produce {
    /// A producer into topics of `kafka`.
    fn new(kafka: &Kafka, topics: &[&str]) -> Self {
        let produce = Produce {
            folder: tempfile::tempdir().unwrap(),
            args: Vec::new(),
        };
        let produce = produce.with(&["produce", "--summary", "json", "--brokers", kafka.brokers()]);
        topics
            .iter()
            .fold(produce, |produce, topic| produce.with(&["--topic", topic]))
    }

    fn with(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    fn start(&self) -> Process {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.current_dir(self.folder.path()).args(&self.args);
        Process::start(command, "produce")
    }

    /// Lets it send its count, and returns its report.
    #[track_caller]
    fn run(&self) -> Value {
        let ended = self.start().end();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        report(&ended)
    }
}

/// The report as JSON.
#[track_caller]
fn report(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out)
        .unwrap_or_else(|error| panic!("{error}: {} {}", ended.out, ended.err))
}

fn key(record: &ReadRecord) -> String {
    String::from_utf8(record.key.clone().unwrap()).unwrap()
}

/// Payloads in an order that does not depend on partitions.
fn payloads(records: &[ReadRecord]) -> Vec<&[u8]> {
    let mut payloads: Vec<_> = records
        .iter()
        .map(|record| record.payload.as_deref().unwrap())
        .collect();
    payloads.sort_unstable();
    payloads
}

#[test]
fn it_fills_a_topic_keyed_by_customer_and_says_what_it_sent() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("produced", 3, &[]);
    let job = example(kafka, &topic);
    let mut produce = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
    produce.current_dir(job.path("")).args([
        "produce",
        "--brokers",
        kafka.brokers(),
        "--topic",
        &topic,
        "--count",
        "20000",
        "--rate",
        "0",
        "--malformed",
        "0.01",
        "-X",
        "compression.type=zstd",
    ]);
    let ended = Process::start(produce, "produce").end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(
        ended
            .out
            .starts_with("sent 20,000 records, 20,000 acknowledged ("),
        "{}",
        ended.out
    );

    let records = kafka.read_all(&topic, Isolation::Committed);
    assert_eq!(records.len(), 20_000);
    let mut partitions: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for record in &records {
        let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
        let payload = record.payload.as_deref().unwrap();
        if let Ok(event) = serde_json::from_slice::<Value>(payload)
            && let Some(customer) = event["customer_id"].as_str()
        {
            assert_eq!(key, customer, "{event}");
        }
        partitions.entry(key).or_default().insert(record.partition);
    }
    let spread: Vec<_> = partitions.iter().filter(|(_, p)| p.len() > 1).collect();
    assert!(spread.is_empty(), "of {}: {spread:?}", partitions.len());

    let summary = job.catch_up();
    assert_eq!(summary["read"], 20_000);
    let status = &summary["status"];
    let count = |name: &str| status[name].as_u64().unwrap();
    assert_eq!(
        count("events") + count("late") + count("rejected") + count("duplicates"),
        20_000
    );
    for name in ["duplicates", "rejected", "late", "updates"] {
        assert!(count(name) > 0, "no {name}: {status}");
    }
}

#[test]
fn it_says_when_the_topic_cannot_take_it() {
    let Some(kafka) = Kafka::shared() else { return };
    // Batches that are larger than this are refused.
    let topic = kafka.new_topic("narrow", 1, &[("max.message.bytes", "100")]);
    let produce = Produce::new(kafka, &[&topic]).with(&["--count", "10", "--rate", "0"]);
    let ended = produce.start().end();
    // Another time would be no better.
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let report = report(&ended);
    assert_eq!(
        (&report["sent"], &report["acknowledged"], &report["failed"]),
        (&10.into(), &0.into(), &10.into())
    );
    let reason = report["first_error"].as_str().unwrap();
    let message = format!("10 records could not be delivered to {topic}: {reason}");
    assert!(ended.err.contains(&message), "{}", ended.err);
}

#[test]
fn the_report_adds_up_with_the_topic_however_it_is_compressed() {
    let Some(kafka) = Kafka::shared() else { return };
    for compression in ["none", "snappy", "lz4", "zstd", "gzip"] {
        let topic = kafka.new_topic(compression, 2, &[]);
        let report = Produce::new(kafka, &[&topic])
            .with(&[
                "--count",
                "3000",
                "--rate",
                "0",
                "--compression",
                compression,
            ])
            .with(&[
                "--batch-size",
                "64KiB",
                "--linger",
                "50ms",
                "--buffer",
                "2MiB",
            ])
            .run();
        let records = kafka.read_all(&topic, Isolation::Committed);
        let bytes: usize = payloads(&records).iter().map(|payload| payload.len()).sum();
        assert_eq!(records.len(), 3000);
        for (name, expected) in [
            ("events", 3000),
            ("sent", 3000),
            ("acknowledged", 3000),
            ("failed", 0),
            ("bytes", bytes),
            ("retries", 0),
            ("buffer_bytes", 2 << 20),
            ("buffer_free_bytes", 2 << 20),
        ] {
            assert_eq!(report[name], expected, "{name} of {report}");
        }
        let number = |name: &str| report[name].as_f64().unwrap();
        let sent = number("batches") * number("batch_records_avg");
        assert!((sent - 3000.0).abs() < 1.0, "{report}");
        assert!(number("batches") >= 3000.0 * 250.0 / 65536.0, "{report}");
        let ratio = number("compression_ratio");
        let expected = if compression == "none" {
            0.8..1.1
        } else {
            2.0..20.0
        };
        assert!(expected.contains(&ratio), "{compression}: {report}");
        let latency = |name: &str| report["latency_ms"][name].as_f64().unwrap();
        assert!(0.0 < latency("p50") && latency("p50") <= latency("p95"));
        assert!(latency("p95") <= latency("p99") && latency("p99") <= latency("max"));
        // Seconds are rounded to a thousandth, which is several hundredths of a run as short as
        // this.
        let seconds = number("seconds") - 0.0005..=number("seconds") + 0.0005;
        assert!(latency("max") <= seconds.end() * 1e3, "{report}");
        let took = 3000.0 / number("records_per_second");
        assert!(seconds.contains(&took), "{report}");
    }
}

#[test]
fn events_are_filled_up_and_stay_what_the_example_takes() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("large", 2, &[]);
    Produce::new(kafka, &[&topic])
        .with(&["--count", "2000", "--rate", "0", "--event-bytes", "2048"])
        .with(&["--malformed", "0", "--rule-breaking", "0", "--late", "0"])
        .run();
    let records = kafka.read_all(&topic, Isolation::Committed);
    for payload in payloads(&records) {
        assert_eq!(payload.len(), 2048, "{}", String::from_utf8_lossy(payload));
        serde_json::from_slice::<Value>(payload).unwrap();
    }
    let summary = example(kafka, &topic).catch_up();
    assert_eq!(summary["read"], 2000);
    assert_eq!(summary["status"]["rejected"], 0);
}

/// The transactions example over a topic.
fn example(kafka: &Kafka, topic: &str) -> Job {
    let example = std::fs::read_to_string(repository_file("examples/transactions.toml")).unwrap();
    Job::from_text(&example)
        .set("storage.url", "file:data")
        .set("warehouse.url", "duckdb:warehouse.duckdb")
        .set("source.brokers", format!("{:?}", kafka.brokers()))
        .set("source.topic", format!("{topic:?}"))
        .with_the_machines_clock()
}
