//! Why a job stopped.

use std::path::PathBuf;

use arrow::error::ArrowError;
use parquet::errors::ParquetError;
use tidegate_core::lookup::LookupError;
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
    #[error("lookup `{name}`: cannot use {}: {fault}", .path.display())]
    Lookup {
        /// Name of the lookup.
        name: String,
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        fault: LookupFault,
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

/// What is wrong with the file of a reference table.
#[derive(Debug, thiserror::Error)]
pub enum LookupFault {
    /// There is no such file, or it cannot be opened.
    #[error("{0}")]
    File(String),
    /// There is more than a reference table can have.
    #[error("it has {size} bytes; a reference table can have {max} at most")]
    TooLarge {
        /// Bytes of the file.
        size: u64,
        /// Bytes that it can have.
        max: u64,
    },
    /// A CSV file has no first line, and so no columns.
    #[error("it is empty")]
    Empty,
    /// A column that the lookup names is not in the file.
    #[error("it has no column `{column}`; it has {}", .known.join(", "))]
    NoColumn {
        /// The column.
        column: String,
        /// Columns of the file.
        known: Vec<String>,
    },
    /// A column has a value that is not of its type.
    #[error("column `{column}`: {message}")]
    Value {
        /// The column.
        column: String,
        /// What is wrong.
        message: String,
    },
    /// A line is neither CSV nor JSON as it should be.
    #[error("{0}")]
    Line(String),
    /// The keys are not those of a table.
    #[error(transparent)]
    Key(#[from] LookupError),
}

impl LookupFault {
    /// The column of the file that it is about, if it is about one.
    pub fn column(&self) -> Option<&str> {
        match self {
            LookupFault::NoColumn { column, .. } | LookupFault::Value { column, .. } => {
                Some(column)
            }
            _ => None,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            LookupFault::File(_) => {
                "correct `path` of [[lookups]]; relative paths start at the current directory"
            }
            LookupFault::TooLarge { .. } | LookupFault::Key(LookupError::TooLarge) => {
                "leave out the rows that no event has the key of"
            }
            LookupFault::Empty => {
                "write the names of the columns into the first line of the file, then a line for \
                 each key"
            }
            LookupFault::NoColumn { .. } => {
                "correct the first line of the file, or name another column: the key's is `key` \
                 (else `on`), and `columns` takes { from = \"COLUMN\", type = \"TYPE\" }"
            }
            LookupFault::Value { .. } => {
                "correct the value in the file, or the column's type in `columns`"
            }
            LookupFault::Line(_) => {
                "correct the line in the file, or the type of a column in `columns`"
            }
            LookupFault::Key(LookupError::DuplicateKey(_)) => {
                "leave one row with this key in the file, or name another column in `key`"
            }
        }
    }
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
