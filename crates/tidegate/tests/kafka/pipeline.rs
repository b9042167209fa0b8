//! A pipeline over a topic, and what its runs leave behind.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde_json::Value;
use tidegate_testkit::{Isolation, Kafka, ProducerRecord};

use crate::common::Job;
use crate::process::{Ended, Process};

/// Without deduplication and without a key: what is read twice is in the table twice.
const CONFIG: &str = r#"
version = 1
name = "proof"

[source]
kind = "kafka"
discover-every = "1s"

[storage]
url = "file:data"

[warehouse]
url = "duckdb:warehouse.duckdb"
table = "events"

[batch]
interval = "100ms"

[load]
interval = "200ms"

[schema]
id = { type = "int64", required = true }
amount = "decimal(12,2)"
at = { type = "timestamp", required = true }

[event-time]
field = "at"
delay = "10s"
idle-after = "1s"
max-ahead = "none"

[rules]
amount_is_positive = "amount > 0"

[[windows]]
name = "per_minute"
size = "1m"

[windows.aggregates]
n = "count(*)"
total = "sum(amount)"
"#;

/// A payload that becomes an event, `second` seconds after ten o'clock.
pub(crate) fn event(id: i64, second: i64) -> String {
    let (hours, minutes, seconds) = (10 + second / 3600, second / 60 % 60, second % 60);
    format!(
        r#"{{"id":{id},"amount":{}.25,"at":"2026-03-01T{hours:02}:{minutes:02}:{seconds:02}Z"}}"#,
        1 + id % 100
    )
}

/// Events with the numbers `ids`, dealt to `partitions` partitions; a second has a thousand of
/// them.
pub(crate) fn events(
    ids: std::ops::Range<i64>,
    partitions: i32,
) -> impl Iterator<Item = ProducerRecord> {
    ids.map(move |id| {
        let partition = i32::try_from(id % i64::from(partitions)).unwrap();
        ProducerRecord::new(partition, event(id, id / 1000))
    })
}

/// A job that reads one topic.
pub(crate) struct Pipeline {
    job: Job,
    pub(crate) topic: String,
    pub(crate) group: String,
}

impl Pipeline {
    /// A pipeline over a topic of `kafka`.
    pub(crate) fn new(kafka: &Kafka, topic: &str) -> Self {
        Pipeline::at(kafka.brokers(), topic)
    }

    /// A pipeline over a topic of the cluster at `brokers`.
    pub(crate) fn at(brokers: &str, topic: &str) -> Self {
        let group = format!("group-of-{topic}");
        Pipeline {
            job: Job::from_text(CONFIG).with_the_machines_clock(),
            topic: topic.to_owned(),
            group: group.clone(),
        }
        .set("source.brokers", format!("{brokers:?}"))
        .set("source.topic", format!("{topic:?}"))
        .set("source.group", format!("{group:?}"))
    }

    /// Changes a key of the configuration.
    pub(crate) fn set(mut self, key: &str, value: impl Display) -> Self {
        self.job = self.job.set(key, value);
        self
    }

    /// A path in the job's folder.
    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.job.path(name)
    }

    /// Starts a command over the job.
    pub(crate) fn start(&self, args: &[&str]) -> Process {
        Process::start(self.job.command(args), args[0])
    }

    /// Runs it until it is stopped.
    pub(crate) fn run(&self) -> Process {
        self.start(&["run"])
    }

    /// Runs it until it has caught up, however that ends.
    pub(crate) fn try_catch_up(&self) -> Ended {
        let args = ["run", "--until-caught-up", "--summary", "json"];
        self.start(&args).end()
    }

    /// Runs it until it has caught up, and returns the summary.
    #[track_caller]
    pub(crate) fn catch_up(&self) -> Value {
        let ended = self.try_catch_up();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(!ended.err.contains(" ERROR "), "{}", ended.err);
        let report: Value = serde_json::from_str(&ended.out).unwrap();
        report["summary"].clone()
    }

    /// The answer to a question; none where the tables are not there yet.
    pub(crate) fn try_query(&self, sql: &str) -> Option<Vec<Value>> {
        let output = self.job.output(&["query", "--format", "json", sql]);
        output
            .status
            .success()
            .then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// The answer to a question.
    #[track_caller]
    pub(crate) fn query(&self, sql: &str) -> Vec<Value> {
        self.try_query(sql).unwrap()
    }

    /// Number of events in the warehouse.
    pub(crate) fn rows(&self) -> i64 {
        self.try_query("SELECT count(*) AS n FROM events")
            .and_then(|rows| rows[0]["n"].as_i64())
            .unwrap_or(0)
    }

    /// What the commit log says; none where there is no log yet.
    pub(crate) fn log(&self) -> Option<Value> {
        let output = self.job.output(&["log", "inspect", "--format", "json"]);
        output
            .status
            .success()
            .then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Where the job goes on in each partition, by the commit log.
    pub(crate) fn positions(&self) -> BTreeMap<i32, i64> {
        let log = self.log().unwrap_or_default();
        let partitions = log["partitions"].as_object().cloned().unwrap_or_default();
        partitions
            .iter()
            .map(|(id, partition)| (id.parse().unwrap(), partition["offset"].as_i64().unwrap()))
            .collect()
    }

    /// Records that are committed.
    pub(crate) fn read(&self) -> u64 {
        self.log()
            .and_then(|log| log["totals"]["read"].as_u64())
            .unwrap_or(0)
    }

    /// Where the topic's partitions end.
    pub(crate) fn ends(&self, kafka: &Kafka) -> BTreeMap<i32, i64> {
        let offsets = kafka.offsets(&self.topic);
        offsets
            .into_iter()
            .map(|(id, (_, end))| (id, end))
            .collect()
    }

    /// Checks that the warehouse holds each event of the topic once and nothing else, that the log
    /// reaches the end of every partition, and that everything in it is whole.
    #[track_caller]
    pub(crate) fn check_against(&self, kafka: &Kafka) {
        let id = |payload: &[u8]| {
            let value: Value = serde_json::from_slice(payload).unwrap();
            value["id"].as_i64().unwrap()
        };
        let expected: Vec<(i32, i64, i64)> = kafka
            .read_all(&self.topic, Isolation::Committed)
            .into_iter()
            .map(|r| (r.partition, r.offset, id(&r.payload.unwrap())))
            .collect();
        assert_eq!(self.events(), expected);
        assert_eq!(self.positions(), self.ends(kafka), "positions");
        self.verify();
    }

    /// Partition, offset and number of every event in the warehouse, in order.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<(i32, i64, i64)> {
        let sql = "SELECT source_partition AS p, source_offset AS o, id FROM events ORDER BY ALL";
        self.query(sql)
            .iter()
            .map(|row| {
                let number = |name: &str| row[name].as_i64().unwrap();
                (number("p") as i32, number("o"), number("id"))
            })
            .collect()
    }

    /// Checks that everything in the log is whole.
    #[track_caller]
    pub(crate) fn verify(&self) {
        let output = self.job.output(&["log", "verify"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
    }
}
