//! What an engine is told.

use std::path::PathBuf;
use std::time::Duration;

use crate::source::SourceOptions;
use tidegate_base::clock::Clock;
use tidegate_core::spec::{JobSpec, StoredForm};
use tidegate_storage::StorageOptions;
use tidegate_warehouse::redshift::options::{Timestamps, VARCHAR_MAX};
use tidegate_warehouse::{DuckDbOptions, LoaderOptions, RedshiftOptions};

use crate::memory;

/// Everything that a job needs to run.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Name of the job.
    pub job: String,
    /// What it does to an event.
    pub spec: JobSpec,
    /// Where events come from.
    pub source: SourceOptions,
    /// Prefix that the job owns.
    pub storage: StorageOptions,
    /// Where rows go; `None` to stage only.
    pub warehouse: Option<WarehouseOptions>,
    /// When a batch is committed.
    pub batch: BatchOptions,
    /// Bytes of payload that may be in flight between source and commit.
    pub memory: usize,
    /// Worker threads.
    pub threads: usize,
    /// When commits are loaded.
    pub load: LoadOptions,
    /// Files of the reference tables, one for each lookup of the spec, in its order.
    pub lookups: Vec<LookupSource>,
    /// End when everything that the source held at the start is loaded.
    pub until_caught_up: bool,
    /// Hand out live values of windows.
    pub live: bool,
    /// Where "now" comes from.
    pub clock: Clock,
}

/// When a batch is committed: as soon as one of these is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchOptions {
    /// Time since the last commit.
    pub interval: Duration,
    /// Rows.
    pub max_rows: usize,
    /// Bytes of payload.
    pub max_bytes: usize,
}

impl Default for BatchOptions {
    fn default() -> Self {
        BatchOptions {
            interval: Duration::from_secs(1),
            max_rows: 500_000,
            max_bytes: 32 << 20,
        }
    }
}

/// Where rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarehouseOptions {
    /// Which warehouse.
    pub kind: WarehouseKind,
    /// Table for events and late events.
    pub table: String,
    /// Table for rejected records.
    pub rejected_table: String,
    /// Columns of which the table has each combination once, the latest; empty to append.
    pub upsert_key: Vec<String>,
    /// How far back in event time a row can be that an update replaces; `None` for any.
    pub reach: Option<Duration>,
}

impl WarehouseOptions {
    /// The same, with a bound for the memory of an embedded warehouse that has none yet;
    /// `in_flight` is what the pipeline has, in bytes.
    #[must_use]
    pub fn bounded(&self, in_flight: usize) -> Self {
        let mut bounded = self.clone();
        if let WarehouseKind::DuckDb { bounds, .. } = &mut bounded.kind
            && bounds.memory_limit_bytes.is_none()
        {
            bounds.memory_limit_bytes = memory::for_warehouse(in_flight);
            tracing::debug!(
                bytes = bounds.memory_limit_bytes,
                "memory of DuckDB; warehouse.memory-limit says another"
            );
        }
        bounded
    }
}

/// Which warehouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WarehouseKind {
    /// DuckDB, embedded.
    DuckDb {
        /// Its file.
        path: PathBuf,
        /// Bounds of the database.
        bounds: DuckDbOptions,
    },
    /// Amazon Redshift.
    Redshift(Box<RedshiftOptions>),
}

impl WarehouseKind {
    /// The form in which this warehouse needs events to be stored.
    pub fn stored_form(&self) -> StoredForm {
        match self {
            WarehouseKind::DuckDb { .. } => StoredForm::default(),
            // What COPY makes of nested Parquet columns is not documented well enough to rely on.
            WarehouseKind::Redshift(options) => StoredForm {
                nested_as_json: true,
                text_bytes_max: Some(VARCHAR_MAX as usize),
                plain_encodings: true,
                int96: options.timestamps == Timestamps::Int96,
            },
        }
    }
}

/// When commits are loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// Time between loads.
    pub interval: Duration,
    /// How large a load becomes, how often tables are looked after, and what is tried again.
    pub loader: LoaderOptions,
    /// Another process loads (`tidegate load`): this one only commits.
    pub separate: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions {
            interval: Duration::from_secs(1),
            loader: LoaderOptions::default(),
            separate: false,
        }
    }
}

/// The file of a reference table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupSource {
    /// Name of the lookup.
    pub name: String,
    /// CSV with a header, or newline-delimited JSON, by its ending.
    pub path: PathBuf,
    /// How often it is looked at for changes.
    pub reload_every: Duration,
}
