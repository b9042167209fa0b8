//! Read-only queries, while the loader goes on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use duckdb::Connection;

use crate::duckdb::{Access, Database, DatabaseError, DuckDbOptions, message};
use crate::statement;

/// Bounds of one query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLimits {
    /// Most rows that are handed out; the rest is cut off, and [`QueryResult::truncated`] says so.
    pub rows: usize,
    /// Most memory that the rows of a [`QueryResult`] may take, in bytes; cut off as with `rows`.
    pub bytes: usize,
    /// The query is interrupted after this.
    pub timeout: Duration,
}

impl Default for QueryLimits {
    /// 10,000 rows, 256 MiB, one minute.
    fn default() -> Self {
        QueryLimits {
            rows: 10_000,
            bytes: 256 << 20,
            timeout: Duration::from_secs(60),
        }
    }
}

/// The answer to a query.
#[derive(Debug, Clone)]
pub struct QueryResult {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
    /// Whether there were more rows than the limits let through.
    pub truncated: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The statement is not one that reads, or more than one.
    #[error("{0}")]
    Refused(String),
    /// DuckDB reports an error.
    #[error("{0}")]
    Sql(String),
    /// It took too long.
    #[error("the query was interrupted after {} s; make it smaller, or allow it more time", .0.as_secs_f64())]
    Timeout(Duration),
    /// There is no connection to the database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Whoever takes the rows has failed.
    #[error("cannot write the rows: {0}")]
    Sink(#[from] std::io::Error),
}

/// Runs read-only queries. Clones share the database; each query has a connection of its own, sees
/// what was committed when it began, and neither waits for a load nor holds one up.
///
/// The database stays open as long as there is a reader.
#[derive(Debug, Clone)]
pub struct WarehouseReader {
    database: Arc<Database>,
}

impl WarehouseReader {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        WarehouseReader { database }
    }

    /// Opens a database that no process holds for writing. Others can read it at the same time.
    ///
    /// # Errors
    /// If it is not there, or a process has it open for writing; the message says which.
    pub fn open_read_only(path: &Path) -> Result<Self, DatabaseError> {
        Ok(WarehouseReader {
            database: Database::open(path, Access::Read, &DuckDbOptions::default())?,
        })
    }

    /// Runs one statement that reads, and collects its rows. Blocks.
    ///
    /// # Errors
    /// If it is not exactly one statement that reads, DuckDB refuses it, or it takes too long.
    pub fn query(&self, sql: &str, limits: &QueryLimits) -> Result<QueryResult, QueryError> {
        let mut batches = Vec::new();
        let mut bytes = 0;
        let mut cut = false;
        let (schema, truncated) = self.stream(sql, limits.rows, limits.timeout, &mut |batch| {
            bytes += batch.get_array_memory_size();
            cut = bytes > limits.bytes;
            if !cut {
                batches.push(batch);
            }
            Ok(!cut)
        })?;
        Ok(QueryResult {
            schema,
            batches,
            truncated: truncated || cut,
        })
    }

    /// Runs one statement that reads, and hands its rows over as they come, so that memory does not
    /// bound them. `sink` says whether it wants more. Returns the columns, and whether there were more
    /// than `rows_max` rows. Blocks.
    ///
    /// # Errors
    /// If it is not exactly one statement that reads, DuckDB refuses it, it takes longer than
    /// `timeout`, or `sink` fails.
    pub fn stream(
        &self,
        sql: &str,
        rows_max: usize,
        timeout: Duration,
        sink: &mut dyn FnMut(RecordBatch) -> std::io::Result<bool>,
    ) -> Result<(SchemaRef, bool), QueryError> {
        let statement =
            statement::check(sql).map_err(|refusal| QueryError::Refused(refusal.to_string()))?;
        let _hold = self.database.hold();
        let connection = self.database.connection()?;
        let watch = Watch::start(&connection, timeout);
        let result = connection
            .execute_batch("BEGIN TRANSACTION READ ONLY")
            .map_err(sql_error)
            .and_then(|()| read(&connection, statement, rows_max, sink));
        let timed_out = watch.stop();
        if let Err(error) = connection.execute_batch("ROLLBACK") {
            // The connection is thrown away in any case.
            tracing::debug!(%error, "cannot roll back a query");
        }
        match result {
            Err(QueryError::Sql(_)) if timed_out => Err(QueryError::Timeout(timeout)),
            result => result,
        }
    }
}

fn sql_error(error: duckdb::Error) -> QueryError {
    match error {
        // Keeps DuckDB's pointer into the SQL: here it is the user's own.
        duckdb::Error::DuckDBFailure(_, Some(text)) => QueryError::Sql(text),
        error => QueryError::Sql(message(&error)),
    }
}

fn read(
    connection: &Connection,
    sql: &str,
    rows_max: usize,
    sink: &mut dyn FnMut(RecordBatch) -> std::io::Result<bool>,
) -> Result<(SchemaRef, bool), QueryError> {
    let mut statement = connection.prepare(sql).map_err(sql_error)?;
    if statement.parameter_count() > 0 {
        return Err(QueryError::Refused(
            "parameters have no values here; write the values themselves".to_owned(),
        ));
    }
    let schema = statement.stream_arrow([]).map_err(sql_error)?.get_schema();
    let mut left = rows_max;
    while let Some(rows) = statement.step().map_err(sql_error)? {
        let batch = RecordBatch::from(&rows);
        if batch.num_rows() > left {
            if left > 0 {
                sink(batch.slice(0, left))?;
            }
            return Ok((schema, true));
        }
        left -= batch.num_rows();
        if !sink(batch)? {
            break;
        }
    }
    Ok((schema, false))
}

/// Interrupts a query when its time is up.
struct Watch {
    done: mpsc::Sender<()>,
    timed_out: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watch {
    fn start(connection: &Connection, timeout: Duration) -> Self {
        let (done, wait) = mpsc::channel::<()>();
        let timed_out = Arc::new(AtomicBool::new(false));
        let (interrupt, flag) = (connection.interrupt_handle(), Arc::clone(&timed_out));
        let watch = move || {
            if wait.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout) {
                flag.store(true, Ordering::Release);
                // An interrupt between two steps of a query is forgotten when the next step begins.
                while wait.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout)
                {
                    interrupt.interrupt();
                }
            }
        };
        let thread = thread::Builder::new()
            .name("query-timeout".to_owned())
            .spawn(watch);
        if let Err(error) = &thread {
            tracing::warn!(%error, "no thread for a query's timeout: it runs without one");
        }
        Watch {
            done,
            timed_out,
            thread: thread.ok(),
        }
    }

    /// Ends the watch; tells whether the time was up.
    fn stop(self) -> bool {
        drop(self.done);
        if let Some(thread) = self.thread
            && thread.join().is_err()
        {
            tracing::warn!("a query's timeout thread has panicked");
        }
        self.timed_out.load(Ordering::Acquire)
    }
}
