//! What the server is told.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::guard::GuardOptions;
use crate::ingest::IngestOptions;

/// Everything that the server needs to know before the job runs.
#[derive(Debug, Clone, PartialEq)]
pub struct ServeOptions {
    /// Where it listens; port 0 for any that is free.
    pub listen: SocketAddr,
    /// The key of the configuration that says so, for messages.
    pub listen_key: &'static str,
    /// Name of the job.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Time between commits.
    pub batch_interval: Duration,
    /// Time between loads.
    pub load_interval: Duration,
    /// Whether another process loads the warehouse.
    pub is_load_separate: bool,
    /// So long may source, storage or warehouse be away before this process is not ready.
    pub ready_after: Duration,
    /// Within which time 99 of 100 events are to be queryable, from when they could be read.
    pub contract: Duration,
    /// What may be wrong with the data.
    pub quality: Thresholds,
    /// Where rows go, if anywhere.
    pub warehouse: Option<WarehouseInfo>,
    /// Where live values are kept.
    pub hot: HotOptions,
    /// Charts that the configuration asks for.
    pub charts: Vec<Chart>,
    /// Who may ask, and how much.
    pub guard: GuardOptions,
    /// How events are taken in, if they are.
    pub ingest: Option<IngestOptions>,
}

/// Within which time events are to be queryable, unless the configuration says otherwise. What
/// deploy/ and docs/ say of it is compared by `tests/deploy.rs`.
pub const CONTRACT: Duration = Duration::from_secs(300);

/// Greatest shares of records that may be so before it is said: from 0 to 1.
///
/// The default is what holds unless the configuration says otherwise. The dashboard and the alerts
/// take the shares from the job; what docs/ says of the default is compared by `tests/deploy.rs`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Without a required field.
    pub null_rate: f64,
    /// Exact repeats.
    pub duplicate_rate: f64,
    /// Of another form than the schema's.
    pub schema_violation_rate: f64,
    /// Against a rule.
    pub business_rule_rate: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            null_rate: 0.01,
            duplicate_rate: 0.0001,
            schema_violation_rate: 0.0,
            business_rule_rate: 0.001,
        }
    }
}

impl Thresholds {
    /// Each with its name.
    pub fn named(&self) -> [(&'static str, f64); 4] {
        [
            ("null_rate", self.null_rate),
            ("duplicate_rate", self.duplicate_rate),
            ("schema_violation_rate", self.schema_violation_rate),
            ("business_rule_rate", self.business_rule_rate),
        ]
    }
}

/// Where live values are kept, and how long.
#[derive(Clone, PartialEq, Eq)]
pub struct HotOptions {
    /// URL of a Redis, `redis://` or `rediss://`; none to keep them in this process.
    pub url: Option<String>,
    /// Whether the Redis is a cluster.
    pub is_cluster: bool,
    /// With TLS: a file in PEM with the certificates of the authorities to believe; none for those
    /// of the system.
    pub ca: Option<PathBuf>,
    /// How long a window is kept after its last change.
    pub keep: Duration,
}

impl Default for HotOptions {
    fn default() -> Self {
        HotOptions {
            url: None,
            is_cluster: false,
            ca: None,
            keep: Duration::from_secs(7_200),
        }
    }
}

impl HotOptions {
    /// How long a window is kept, in microseconds.
    pub(crate) fn keep_micros(&self) -> i64 {
        i64::try_from(self.keep.as_micros()).unwrap_or(i64::MAX)
    }
}

impl fmt::Debug for HotOptions {
    /// Without the URL, which may have a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotOptions")
            .field("is_redis", &self.url.is_some())
            .field("is_cluster", &self.is_cluster)
            .field("ca", &self.ca)
            .field("keep", &self.keep)
            .finish()
    }
}

/// A warehouse, as far as readers need to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarehouseInfo {
    /// `duckdb` or `redshift`.
    pub kind: &'static str,
    /// Table of events.
    pub table: String,
    /// Table of rejected records.
    pub rejected_table: String,
    /// Columns of which the table has each combination once; empty if rows are appended.
    pub upsert_key: Vec<String>,
}

/// A chart of the dashboard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Chart {
    /// What stands above it.
    pub title: String,
    /// The windows that it shows.
    pub view: String,
    /// Which of their aggregates.
    pub value: String,
    /// Column of the group that tells lines apart; none to add groups up.
    #[schema(required)]
    pub by: Option<String>,
    /// How it is drawn.
    pub kind: ChartKind,
    /// Unit of the value.
    #[schema(required)]
    pub unit: Option<String>,
}

/// How a chart is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChartKind {
    /// A line for each group.
    Line,
    /// Areas on top of each other.
    Stacked,
    /// A ranked list of the groups over the range that is shown.
    Top,
    /// One number.
    Number,
}
