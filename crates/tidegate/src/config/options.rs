//! What a configuration says, checked for form: plain options, each with its unit in its type.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_core::spec::JobSpec;
use tidegate_engine::{
    BatchOptions, LoadOptions, LookupSource, SourceOptions, WarehouseKind, WarehouseOptions,
};
use tidegate_serve::{Chart, GuardOptions, HotOptions, IngestOptions, Thresholds};
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
    pub batch: BatchOptions,
    /// When the warehouse is loaded.
    pub load: LoadOptions,
    /// Where the process that only loads is shown over HTTP, if not at `http.listen`.
    pub load_listen: Option<SocketAddr>,
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
    pub lookups: Vec<LookupSource>,
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
