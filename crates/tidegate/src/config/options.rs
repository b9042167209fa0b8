//! What a configuration says, checked for form: plain options, each with its unit in its type.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_core::spec::JobSpec;
use tidegate_engine::{WarehouseKind, WarehouseOptions};
use tidegate_serve::{Chart, GuardOptions, HotOptions, IngestOptions, Thresholds};
use tidegate_sources::SourceOptions;
use tidegate_storage::StorageOptions;
use tidegate_warehouse::DuckDbOptions;

/// A whole configuration file.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Name of the job.
    pub name: String,
    /// Where events come from.
    pub source: SourceOptions,
    /// The job's prefix in an object store.
    pub storage: StorageOptions,
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
    /// Where the job is shown over HTTP, if it is.
    pub http_listen: Option<SocketAddr>,
    /// So long may something outside be away before the process is not ready.
    pub ready_after: Duration,
    /// Within which time 99 of 100 events are to be queryable.
    pub contract: Duration,
    /// What may be wrong with the data before it is said.
    pub quality: Thresholds,
    /// Charts of the dashboard.
    pub charts: Vec<Chart>,
    /// Where live values are kept.
    pub hot: HotOptions,
    /// Who may ask there, and how much.
    pub http_guard: GuardOptions,
    /// How events are taken in there, if they are.
    pub http_ingest: Option<IngestOptions>,
    /// Files of the reference tables.
    pub lookups: Vec<LookupFile>,
    /// What happens to an event.
    pub spec: JobSpec,
    /// Columns of which the warehouse keeps one row each; empty to append.
    pub upsert_key: Vec<String>,
}

impl Config {
    /// Where rows go, as the engine wants to know it.
    pub fn warehouse_options(&self) -> Option<WarehouseOptions> {
        self.warehouse.as_ref().map(|warehouse| WarehouseOptions {
            kind: warehouse.kind.clone(),
            table: warehouse.table.clone(),
            rejected_table: warehouse.rejected_table.clone(),
            upsert_key: self.upsert_key.clone(),
            reach: warehouse.reach,
        })
    }

    /// The file of an embedded warehouse, and what DuckDB may use; by itself as much as in a run.
    pub fn embedded(&self) -> Option<(PathBuf, DuckDbOptions)> {
        match self
            .warehouse_options()?
            .bounded(self.memory_in_flight)
            .kind
        {
            WarehouseKind::DuckDb { path, bounds } => Some((path, bounds)),
            WarehouseKind::Redshift(_) => None,
        }
    }
}

/// Where rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarehouseConfig {
    /// Which one.
    pub kind: WarehouseKind,
    /// Table of events, late ones included.
    pub table: String,
    /// Table of rejected records.
    pub rejected_table: String,
    /// How far back an upsert looks for the row that it replaces; `None` for all of the table.
    pub reach: Option<Duration>,
}

impl WarehouseConfig {
    /// The file of an embedded warehouse.
    pub fn file(&self) -> Option<&Path> {
        match &self.kind {
            WarehouseKind::DuckDb { path, .. } => Some(path),
            WarehouseKind::Redshift(_) => None,
        }
    }
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
    /// Time between checkpoints of a DuckDB.
    pub checkpoint_every: Duration,
    /// Time between runs of VACUUM on Redshift.
    pub vacuum_every: Duration,
    /// Whether another process loads.
    pub separate: bool,
    /// Where that process is shown over HTTP, if not at `http.listen`.
    pub listen: Option<SocketAddr>,
}

/// File of a reference table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupFile {
    /// Name of the lookup.
    pub name: String,
    /// CSV with a header, or newline-delimited JSON, by its ending.
    pub path: PathBuf,
    /// How often it is looked at for changes.
    pub reload_every: Duration,
}
