//! Topics of a real broker, filled by `tidegate produce`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tidegate_testkit::Kafka;

use crate::Outcome;
use crate::process::{Running, Tidegate};

/// A broker of this run's own.
pub(crate) fn broker() -> Outcome<Kafka> {
    Kafka::start().ok_or_else(|| "there is no Kafka: `cargo xtask setup --kafka` fetches it".into())
}

/// Starts sending `count` events to a topic.
pub(crate) fn start_producing(
    tidegate: &Tidegate,
    kafka: &Kafka,
    topic: &str,
    count: u64,
    rate: u64,
    more: &[&str],
) -> Outcome<Running> {
    let mut command = Command::new(tidegate.program());
    command.args(["produce", "--brokers", kafka.brokers(), "--topic", topic]);
    command.args(["--count", &count.to_string(), "--rate", &rate.to_string()]);
    command.args([
        "--summary",
        "json",
        "--progress",
        "none",
        "--log-level",
        "warn",
    ]);
    command.args(more);
    Running::spawn(command, false)
}

/// Makes a topic and fills it as fast as possible; returns the producer's report.
pub(crate) fn filled(
    tidegate: &Tidegate,
    kafka: &Kafka,
    topic: &str,
    partitions: i32,
    count: u64,
    more: &[&str],
) -> Outcome<Value> {
    kafka.create_topic(topic, partitions, &[]);
    let done = start_producing(tidegate, kafka, topic, count, 0, more)?.finish()?;
    Ok(done.answer().clone())
}

/// Settings for reading a topic from its beginning, with files below `storage`.
pub(crate) fn settings(kafka: &Kafka, topic: &str, storage: &Path, warehouse: &str) -> Vec<String> {
    vec![
        "source.kind=kafka".to_owned(),
        format!("source.brokers={}", kafka.brokers()),
        format!("source.topic={topic}"),
        format!("storage.url=file:{}", storage.display()),
        format!("warehouse.url={warehouse}"),
    ]
}
