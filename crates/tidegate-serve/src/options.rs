//! What the server is told.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::guard::GuardOptions;
use crate::ingest::IngestOptions;

/// Everything that the server needs to know before the job runs.
#[derive(Debug, Clone, PartialEq)]
pub struct ServeOptions {
    /// Where it listens; port 0 for any that is free.
    pub listen: SocketAddr,
    /// Name of the job.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Time between commits.
    pub batch_interval: Duration,
    /// Time between loads.
    pub load_interval: Duration,
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

/// Where live values are kept, and how long.
#[derive(Clone, PartialEq, Eq)]
pub struct HotOptions {
    /// URL of a Redis, `redis://` or `rediss://`; none to keep them in this process.
    pub url: Option<String>,
    /// Whether the Redis is a cluster.
    pub is_cluster: bool,
    /// With TLS: a file in PEM with the certificates of the authorities to believe; none for those of the system.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chart {
    /// What stands above it.
    pub title: String,
    /// The windows that it shows.
    pub view: String,
    /// Which of their aggregates.
    pub value: String,
    /// Column of the group that tells lines apart; none to add groups up.
    pub by: Option<String>,
    /// How it is drawn.
    pub kind: ChartKind,
    /// Unit of the value.
    pub unit: Option<String>,
}

/// How a chart is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
