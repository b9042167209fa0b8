//! A load, whatever the warehouse: what goes in, and what is told afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_log::Record;

use tidegate_storage::{Storage, StorageError};
use tokio::runtime::Handle;

/// What is to be loaded, in one transaction.
#[derive(Clone, Copy)]
pub struct LoadRequest<'a> {
    /// Records that follow the last one in the ledger, without a gap; at least one.
    pub records: &'a [Record],
    /// Where their files are.
    pub storage: &'a Storage,
    /// Fetches files that are not on this machine. The load itself blocks: it must not run on one
    /// of this runtime's threads.
    pub runtime: &'a Handle,
    /// The time, in microseconds since the Unix epoch, for the ledger.
    pub now: i64,
}

/// What a load did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadReport {
    /// First record that it covered.
    pub first_seq: u64,
    /// Last record that it covered.
    pub last_seq: u64,
    /// When its first and its last record were committed, in microseconds since the Unix epoch.
    pub committed_at: (i64, i64),
    /// Files that it read.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Rows in these files.
    pub rows: u64,
    /// Rows that the tables have more than before.
    pub inserted: u64,
    /// Rows of tables with an upsert key whose key was there already, in the table or in the load.
    pub updates: u64,
    /// Those of them that were older than the row that was there.
    pub superseded: u64,
    /// Rows that are not in their table, because a text does not fit into its column.
    pub rejected: u64,
    /// Rows of which a text was cut to its column's width.
    pub cut: u64,
    /// The same for each table that got rows.
    pub tables: BTreeMap<String, TableLoad>,
    /// Rows of datasets that no table takes.
    pub without_table: BTreeMap<String, u64>,
    /// How long it took.
    pub elapsed: Duration,
}

/// What a load did to one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableLoad {
    /// Rows in the files.
    pub rows: u64,
    /// Rows that the table has more than before.
    pub inserted: u64,
    /// Rows whose key was there already, in the table or in the load.
    pub updates: u64,
    /// Those of them that were older than the row that was there.
    pub superseded: u64,
    /// Rows that are not in the table, because a text does not fit into its column.
    pub rejected: u64,
    /// Rows of which a text was cut to its column's width.
    pub cut: u64,
}

/// A load that failed. The warehouse holds what it held before.
#[derive(Debug, thiserror::Error)]
#[error("cannot load records {first_seq} to {last_seq}: {fault}")]
pub struct LoadError {
    /// First record of the load.
    pub first_seq: u64,
    /// Last record of the load.
    pub last_seq: u64,
    /// What went wrong.
    #[source]
    pub fault: LoadFault,
}

/// Why a load failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadFault {
    /// The load does not begin where the ledger ends.
    #[error("the ledger's last record is {ledger}; the next to load is {}", .ledger + 1)]
    NotNext {
        /// The last record that is loaded.
        ledger: u64,
    },
    /// The records are none, or one is missing between them.
    #[error("record {missing} is missing from the load")]
    Gap {
        /// The record that is missing.
        missing: u64,
    },
    /// A record is of another job.
    #[error(
        "record {seq} is of job {job}, and the warehouse of another; check storage.url and warehouse.url"
    )]
    OtherJob {
        /// The record.
        seq: u64,
        /// The job that it is of.
        job: String,
    },
    /// The log is not the one whose earlier records were loaded.
    #[error(
        "record {seq} does not follow the record that was loaded before it: the log was replaced. Restore the log \
         and the warehouse from the same time, or remove the warehouse to load everything again"
    )]
    OtherHistory {
        /// The record.
        seq: u64,
    },
    /// A file is not what its record says.
    #[error(
        "the file {path} of record {seq} (dataset `{dataset}`) {problem}; `tidegate log verify` checks all files"
    )]
    File {
        /// The record that added it.
        seq: u64,
        /// Its dataset.
        dataset: String,
        /// Where it is, below the job's prefix.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file could not be fetched.
    #[error("cannot fetch a file: {0}")]
    Fetch(#[from] StorageError),
    /// The end of a file could not be read.
    #[error("cannot read the end of {path}: {source}")]
    Footer {
        /// The file, below the job's prefix.
        path: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A fetched file could not be kept.
    #[error("cannot keep {path} in a temporary folder: {source}")]
    Keep {
        /// The file, below the job's prefix.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The load is more than one transaction takes. Fewer records are less.
    #[error(
        "{what}. One commit cannot be divided: fewer windows, columns or source partitions in this job make it \
         smaller, or several jobs over the same topic"
    )]
    TooLarge {
        /// What the load has, and what the warehouse takes.
        what: String,
    },
    /// A count does not add up.
    #[error(
        "table `{table}`: {message}; this is a fault in Tidegate: please report it. Nothing was changed"
    )]
    Count {
        /// The table.
        table: String,
        /// What does not add up.
        message: String,
    },
    /// The warehouse refused.
    #[error("cannot {doing}: {message}")]
    Warehouse {
        /// What was being done.
        doing: String,
        /// What the warehouse says; files are named where it knows them.
        message: String,
        /// Whether it can succeed later: disk full, memory short, another transaction in the way.
        transient: bool,
    },
}

impl LoadFault {
    /// Whether DuckDB had no memory left for the load.
    pub(crate) fn is_short_of_memory(&self) -> bool {
        matches!(self, LoadFault::Warehouse { message, .. } if message.contains(OUT_OF_MEMORY))
    }
}

/// How DuckDB begins what it says where its `memory_limit` is reached.
pub(crate) const OUT_OF_MEMORY: &str = "Out of Memory Error";

impl LoadError {
    /// Whether it is more than one transaction takes.
    pub(crate) fn is_too_large(&self) -> bool {
        matches!(self.fault, LoadFault::TooLarge { .. })
    }

    /// Whether the same load can succeed later without anybody changing anything about it.
    pub fn is_transient(&self) -> bool {
        match &self.fault {
            LoadFault::Fetch(error) => !error.is_not_found(),
            // Another loader was first: the next try goes on after it.
            LoadFault::NotNext { .. } => true,
            LoadFault::Keep { .. } | LoadFault::Footer { .. } => true,
            LoadFault::Warehouse { transient, .. } => *transient,
            _ => false,
        }
    }
}

impl LoadReport {
    /// A report on records of which nothing is loaded yet.
    pub(crate) fn new(records: &[Record]) -> Self {
        let (first, last) = (records.first(), records.last());
        LoadReport {
            first_seq: first.map_or(0, |record| record.seq),
            last_seq: last.map_or(0, |record| record.seq),
            committed_at: (
                first.map_or(0, |record| record.written_at),
                last.map_or(0, |record| record.written_at),
            ),
            files: 0,
            bytes: 0,
            rows: 0,
            inserted: 0,
            updates: 0,
            superseded: 0,
            rejected: 0,
            cut: 0,
            tables: BTreeMap::new(),
            without_table: BTreeMap::new(),
            elapsed: Duration::ZERO,
        }
    }

    pub(crate) fn add(&mut self, table: &str, load: TableLoad) {
        self.rows += load.rows;
        self.inserted += load.inserted;
        self.updates += load.updates;
        self.superseded += load.superseded;
        self.rejected += load.rejected;
        self.cut += load.cut;
        self.tables.insert(table.to_owned(), load);
    }
}
