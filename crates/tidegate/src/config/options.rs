//! What a configuration says, checked for form: plain options, each with its unit in its type.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tidegate_core::spec::JobSpec;

/// A whole configuration file.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Name of the job.
    pub name: String,
    /// Where events come from.
    pub source: SourceConfig,
    /// URL of the job's prefix in the object store.
    pub storage_url: String,
    /// Where rows go; `None` to stage only.
    pub warehouse: Option<WarehouseConfig>,
    /// When a micro-batch is written.
    pub batch: BatchConfig,
    /// When the warehouse is loaded.
    pub load: LoadConfig,
    /// Bytes that may be in flight between source and commit.
    pub memory_in_flight: usize,
    /// Worker threads; 0 for one a core.
    pub threads: usize,
    /// Where status is served, if it is.
    pub http_listen: Option<SocketAddr>,
    /// Files of the reference tables.
    pub lookups: Vec<LookupFile>,
    /// What happens to an event.
    pub spec: JobSpec,
    /// Columns of which the warehouse keeps one row each; empty to append.
    pub upsert_key: Vec<String>,
}

/// Where events come from.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceConfig {
    /// A Kafka topic.
    Kafka(KafkaConfig),
    /// Newline-delimited JSON.
    Files(FilesConfig),
    /// Synthetic transactions.
    Generator(GeneratorConfig),
}

/// A Kafka topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// Topic.
    pub topic: String,
    /// Consumer group.
    pub group: String,
    /// Where a partition is begun that the commit log does not know.
    pub start: KafkaStart,
    /// Whether offsets that expired before they were read are an error (otherwise they are counted).
    pub fail_on_missing_offsets: bool,
    /// Gives up when no broker could be reached for this long; `None` to keep trying.
    pub fail_after: Option<Duration>,
    /// Settings that go to librdkafka as they are.
    pub properties: BTreeMap<String, String>,
}

/// Where a partition is begun that the commit log does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KafkaStart {
    /// The oldest record there is.
    Earliest,
    /// What comes after the start.
    Latest,
    /// Given offsets; a partition that is not in it starts at the earliest.
    Offsets(BTreeMap<i32, i64>),
}

/// Newline-delimited JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    /// File, folder or glob.
    pub path: String,
    /// Whether to wait for more.
    pub follow: bool,
}

/// Synthetic transactions. Shares are between 0 and 1.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorConfig {
    /// Events per second over all partitions; 0 for as many as possible.
    pub rate: f64,
    /// Events in all; `None` to go on for ever.
    pub count: Option<u64>,
    /// Partitions.
    pub partitions: u32,
    /// Same seed, same events.
    pub seed: u64,
    /// Event time of the first event, microseconds since the Unix epoch; `None` for the time of the
    /// first start.
    pub start_time: Option<i64>,
    /// Share of exact repeats.
    pub duplicates: f64,
    /// Share of events that change the status of an earlier one.
    pub updates: f64,
    /// Share of events that are behind the watermark.
    pub late: f64,
    /// Share of records that do not decode.
    pub malformed: f64,
    /// Share of events that break a rule.
    pub rule_breaking: f64,
    /// Events per second of event time; `None` for `rate`.
    pub event_rate: Option<f64>,
}

/// Where rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarehouseConfig {
    /// DuckDB file.
    pub path: PathBuf,
    /// Table of events, late ones included.
    pub table: String,
    /// Table of rejected records.
    pub rejected_table: String,
    /// How far back an upsert looks for the row that it replaces; `None` for all of the table.
    pub reach: Option<Duration>,
    /// Memory that DuckDB may use, in bytes; `None` for its own default.
    pub memory_limit: Option<usize>,
    /// Threads that DuckDB may use; `None` for its own default.
    pub threads: Option<usize>,
}

/// When a micro-batch is written: at whichever limit comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchConfig {
    /// Time since its first row.
    pub interval: Duration,
    /// Rows.
    pub max_rows: usize,
    /// Bytes in memory.
    pub max_bytes: usize,
}

/// When the warehouse is loaded and looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadConfig {
    /// Time between loads.
    pub interval: Duration,
    /// Rows of one load at most; what is left comes with the next.
    pub max_rows: u64,
    /// Time between runs of ANALYZE.
    pub analyze_every: Duration,
    /// Time between checkpoints of the database.
    pub checkpoint_every: Duration,
}

/// File of a reference table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupFile {
    /// Name of the lookup.
    pub name: String,
    /// CSV file with a header.
    pub path: PathBuf,
    /// How often it is looked at for changes.
    pub reload_every: Duration,
}
