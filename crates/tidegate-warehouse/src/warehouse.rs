//! What a warehouse can do, whichever it is. Two stand behind it, and one contract suite, which
//! both pass.

use std::fmt;

use crate::load::{LoadError, LoadReport, LoadRequest};
use crate::reader::WarehouseReader;

/// A database that holds what one job has loaded. Its methods block: call them from a thread of
/// their own, not from one of the runtime's.
///
/// # Examples
///
/// Two events of a job, loaded into a DuckDB:
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use arrow::array::{ArrayRef, RecordBatch, StringArray};
/// use arrow::datatypes::DataType;
/// use parquet::arrow::ArrowWriter;
/// use tidegate_base::clock::Clock;
/// use tidegate_log::{CommitLog, Counts, Draft, OpenOptions, Span, WriterId};
/// use tidegate_log::{path, put_data, read_records};
/// use tidegate_storage::{Storage, StorageOptions};
/// use tidegate_warehouse::{
///     DuckDbOptions, DuckDbWarehouse, LoadRequest, TableKind, TableSpec, Warehouse,
/// };
///
/// let ids: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
/// let batch = RecordBatch::try_from_iter([("id", ids)])?;
/// let mut file = Vec::new();
/// let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None)?;
/// writer.write(&batch)?;
/// writer.close()?;
///
/// // The file first, then the record that names it.
/// let runtime = tokio::runtime::Runtime::new()?;
/// let storage = Storage::open(&StorageOptions::new("memory:"))?;
/// let clock = Clock::System;
/// let now = clock.now_micros();
/// let (job, records) = runtime.block_on(async {
///     let options = OpenOptions {
///         job_name: "payments".to_owned(),
///         writer: WriterId::new(),
///         clock,
///         keep: Duration::from_secs(600),
///         snapshot_every: 100,
///     };
///     let mut log = CommitLog::open(storage.clone(), options).await?;
///     let place = path::data("events", log.state().last_seq + 1, log.writer(), 0, now);
///     let times = Some((now, now));
///     let entry = put_data(&storage, "events", &place, 2, times, file.into()).await?;
///     let draft = Draft {
///         partitions: vec![Span {
///             id: 0,
///             lane: 0,
///             name: "payments-0".to_owned(),
///             from: 0,
///             to: 2,
///             gone: 0,
///             identity: None,
///         }],
///         counts: Counts {
///             read: 2,
///             events: 2,
///             ..Counts::default()
///         },
///         files: vec![entry],
///         ..Draft::default()
///     };
///     log.commit(draft).await?;
///     let records = read_records(&storage, 1, 100).await?;
///     Ok::<_, Box<dyn std::error::Error>>((log.state().job.to_string(), records))
/// })?;
///
/// let table = TableSpec {
///     name: "payments".to_owned(),
///     datasets: vec!["events".to_owned()],
///     columns: vec![("id".to_owned(), DataType::Utf8)],
///     required: vec!["id".to_owned()],
///     time: None,
///     kind: TableKind::Append,
/// };
/// let folder = tempfile::tempdir()?;
/// let database = folder.path().join("payments.duckdb");
/// let bounds = DuckDbOptions::default();
/// let mut warehouse =
///     DuckDbWarehouse::open(&database, &job, vec![table], &bounds, &storage, now)?;
/// let report = warehouse.load(&LoadRequest {
///     records: &records,
///     storage: &storage,
///     runtime: runtime.handle(),
///     now,
/// })?;
/// assert_eq!(report.rows, 2);
/// assert_eq!(warehouse.loaded_seq(), report.last_seq);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Warehouse: fmt::Debug + Send {
    /// Sequence number of the last record that is loaded; 0 if none is.
    fn loaded_seq(&self) -> u64;

    /// Applies records in one transaction: all of it, or nothing.
    ///
    /// If the answer to the commit is lost, the ledger is asked whether it happened.
    ///
    /// # Errors
    /// If the records do not follow the ledger's last one, a file is not what its record says, or
    /// the database refuses. It then holds what it held before, and the same load can be tried
    /// again. If [`LoadError::is_transient`] says so, that can help.
    fn load(&mut self, request: &LoadRequest<'_>) -> Result<LoadReport, Box<LoadError>>;

    /// Does something that is due from time to time, outside of any load, and notes it in
    /// `tidegate_maintenance`. `now` is in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// If the database refuses.
    fn maintain(&mut self, action: Maintenance, now: i64) -> Result<(), MaintenanceError>;

    /// When something was last done, in microseconds since the Unix epoch; none if never.
    ///
    /// # Errors
    /// If the database refuses.
    fn maintained_at(&self, action: Maintenance) -> Result<Option<i64>, MaintenanceError>;

    /// What is done to this database from time to time.
    fn maintenance(&self) -> &'static [Maintenance];

    /// Read-only queries in this process while loads go on, where the warehouse is embedded.
    fn reader(&self) -> Option<WarehouseReader>;
}

/// What is done to a warehouse from time to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maintenance {
    /// Renews the statistics that queries are planned with.
    Analyze,
    /// Moves DuckDB's write-ahead log into its file, and gives back the space of deleted rows.
    Checkpoint,
    /// Sorts Redshift's tables, and gives back the space of deleted rows.
    Vacuum,
}

impl Maintenance {
    /// Its name in the table `tidegate_maintenance`.
    pub fn name(self) -> &'static str {
        match self {
            Maintenance::Analyze => "analyze",
            Maintenance::Checkpoint => "checkpoint",
            Maintenance::Vacuum => "vacuum",
        }
    }
}

/// A maintenance that failed. Nothing is lost by it; it is due again.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: {message}", action = .action.name())]
pub struct MaintenanceError {
    /// What was to be done.
    pub action: Maintenance,
    /// What the database says.
    pub message: String,
}
