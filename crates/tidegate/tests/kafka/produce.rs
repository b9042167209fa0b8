//! `tidegate produce`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidegate_testkit::{Isolation, Kafka};

use crate::common::{Job, repository_file};
use crate::process::Process;

#[test]
fn it_fills_a_topic_keyed_by_customer_and_says_what_it_sent() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("produced", 3, &[]);
    let example = std::fs::read_to_string(repository_file("examples/transactions.toml")).unwrap();
    let job = Job::from_text(&example)
        .set("storage.url", "file:data")
        .set("warehouse.url", "duckdb:warehouse.duckdb")
        .set("source.brokers", format!("{:?}", kafka.brokers()))
        .set("source.topic", format!("{topic:?}"))
        .with_the_machines_clock();
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
    let folder = tempfile::tempdir().unwrap();
    let mut produce = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
    produce.current_dir(folder.path()).args([
        "produce",
        "--brokers",
        kafka.brokers(),
        "--topic",
        &topic,
        "--count",
        "10",
        "--rate",
        "0",
    ]);
    let ended = Process::start(produce, "produce").end();
    assert_eq!(ended.code, Some(75), "{}", ended.err);
    assert!(
        ended.out.starts_with("sent 10 records, 0 acknowledged"),
        "{}",
        ended.out
    );
    assert!(
        ended.err.contains("10 records could not be delivered"),
        "{}",
        ended.err
    );
}
