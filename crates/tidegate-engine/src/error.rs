//! Why a job stopped.

use std::path::PathBuf;

use arrow::error::ArrowError;
use parquet::errors::ParquetError;
use tidegate_core::meaning::ChangeRefusal;
use tidegate_core::plan::SpecError;
use tidegate_core::prepare::{PrepareError, RestoreError};
use tidegate_log::{CommitError, OpenError, ReadError};
use tidegate_source::SourceError;
use tidegate_storage::StorageError;
use tidegate_warehouse::redshift::RedshiftOpenError;
use tidegate_warehouse::{DuckDbOpenError, LoadFault, LoaderError};

/// Why a job could not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The spec contradicts itself; `tidegate validate` shows where.
    #[error("the job's configuration is wrong: {}", describe(.0))]
    Spec(Vec<SpecError>),
    /// A source that never ends cannot be caught up with.
    #[error(
        "the source has no end that could be reached: set `source.count` for the generator, or \
         `source.follow = false` for files, or run without --until-caught-up"
    )]
    Unbounded,
    /// The storage cannot be opened.
    #[error("cannot open the storage: {0}")]
    Storage(#[from] StorageError),
    /// The commit log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A commit failed for good.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The source cannot go on.
    #[error("source: {0}")]
    Source(#[from] SourceError),
    /// A reference table cannot be read.
    #[error("lookup `{name}`: cannot use {}: {message}", .path.display())]
    Lookup {
        /// Name of the lookup.
        name: String,
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// State cannot be rebuilt from a committed file.
    #[error(
        "cannot rebuild the state from {path}: {message}. Restore the file from a copy; `tidegate log verify` lists all          that is damaged"
    )]
    Restore {
        /// The file.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// The rows of a committed file have another event time or key than the configuration.
    #[error(
        "cannot rebuild the state from {path}: {error}. Give the column its old name and type back; or run it as another          job, with a `name`, a storage.url and tables of its own, which reads the source from its beginning"
    )]
    OtherRows {
        /// The file.
        path: String,
        /// What differs.
        error: Box<RestoreError>,
    },
    /// The configuration was changed in a way that would break a promise about rows that are there.
    #[error("the configuration does not go with the rows of this job: {}", refusals(.0))]
    Refused(Vec<ChangeRefusal>),
    /// What the log says about the meaning of the rows cannot be read.
    #[error("cannot read the meaning of the rows in the commit log: {0}")]
    Meaning(String),
    /// A chunk cannot be prepared.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// Rows cannot be put into columns or files.
    #[error("cannot write Parquet: {0}")]
    Encode(#[from] ParquetError),
    /// Arrow refused.
    #[error("cannot build a batch: {0}")]
    Arrow(#[from] ArrowError),
    /// Chunks do not join: the source is broken.
    #[error(
        "partition {partition} of the source went on at offset {got}, but {expected} was next; nothing of \
         it was committed. Restart to go on from the last commit"
    )]
    Gap {
        /// Partition of the source.
        partition: i32,
        /// Offset that was due.
        expected: i64,
        /// Offset that came.
        got: i64,
    },
    /// The warehouse cannot be opened.
    #[error("warehouse: {0}")]
    Warehouse(#[from] DuckDbOpenError),
    /// Redshift cannot be opened.
    #[error("warehouse: {0}")]
    Redshift(#[from] RedshiftOpenError),
    /// There is nothing to load into.
    #[error(
        "warehouse.url is `none`: there is nothing to load into. Set it to duckdb:PATH or redshift://DATABASE/SCHEMA"
    )]
    NoWarehouse,
    /// There is nothing to load.
    #[error(
        "there is no commit log at `{0}` yet; start `tidegate run` first, or check storage.url"
    )]
    NoLog(String),
    /// The log is another job's.
    #[error(
        "the log at `{url}` is of job `{found}`, and this is job `{expected}`; check storage.url and name"
    )]
    OtherJob {
        /// Where the log is.
        url: String,
        /// Name of the job in the configuration.
        expected: String,
        /// Name of the job in the log.
        found: String,
    },
    /// The log cannot be read.
    #[error("cannot read the commit log: {0}")]
    ReadLog(ReadError),
    /// Only Redshift is loaded by SQL and manifests alone.
    #[error("--dry-run shows SQL and manifests for Redshift; DuckDB is loaded by many small steps")]
    NoDryRun,
    /// The next load cannot be planned.
    #[error("cannot plan the next load: {0}")]
    DryRun(Box<LoadFault>),
    /// The warehouse has loads of commits that the log does not have.
    #[error(
        "the warehouse has commits up to record {loaded}, but the commit log ends at record {last}: the log has lost \
         its end, or was restored from an older copy. Nothing was changed. Restore the newer log, or restore the \
         warehouse from the same time"
    )]
    WarehouseAhead {
        /// Last record that the ledger names.
        loaded: u64,
        /// Last record of the log.
        last: u64,
    },
    /// What is committed could not all be loaded before the end.
    #[error("{0}. What was read is committed; start again to load the rest")]
    Load(#[from] LoaderError),
    /// A thread panicked: a bug.
    #[error(
        "the {0} thread panicked; this is a bug in Tidegate. Nothing is lost: restart to go on"
    )]
    Panicked(&'static str),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

fn describe(errors: &[SpecError]) -> String {
    let lines: Vec<String> = errors
        .iter()
        .map(|e| format!("{}: {}", e.path.join("."), e.message))
        .collect();
    lines.join("; ")
}

fn refusals(refusals: &[ChangeRefusal]) -> String {
    let lines: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    lines.join("; ")
}
