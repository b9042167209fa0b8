//! Read-only queries, while the loader goes on.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use arrow::array::{Array as _, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use duckdb::Connection;

use crate::duckdb::{Access, Database, DatabaseError, DuckDbOptions, in_words, message};
use crate::guard::size;
use crate::load::OUT_OF_MEMORY;
use crate::statement;
use crate::tree::{self, Parsed};

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
    /// DuckDB has not enough memory for it; what it says.
    #[error("{0}; make the query smaller, or raise `warehouse.memory-limit`")]
    OutOfMemory(String),
    /// There was not enough memory for it and for a load at the same time.
    #[error(
        "the query was ended, because there was not enough memory for it beside a load; ask again, \
         make it smaller, or raise `warehouse.memory-limit`"
    )]
    GaveWay,
    /// The process has grown by more than a question may take.
    #[error(
        "the query was ended, because the process has taken {} MiB more memory since it began, and \
         may take {} MiB; make it smaller, or raise `warehouse.memory-limit`",
        .taken >> 20, .allowed >> 20
    )]
    Memory {
        /// Bytes that it has grown by.
        taken: usize,
        /// Bytes that it may grow by.
        allowed: usize,
    },
    /// Who asked has gone.
    #[error("the query was ended, because nobody waits for its answer any more")]
    Unwanted,
    /// There is no thread for it.
    #[error("there is no thread for the query: {0}")]
    Thread(std::io::Error),
    /// There is no connection to the database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Whoever takes the rows has failed.
    #[error("cannot write the rows: {0}")]
    Sink(#[from] std::io::Error),
}

/// Runs read-only queries. Clones share the database; each query has a connection of its own, sees
/// what was committed when it began, and neither waits for a load nor holds one up. Where memory is
/// short for both, the load is done alone: queries that run are ended, and others wait for it.
///
/// The database stays open as long as there is a reader.
#[derive(Debug, Clone)]
pub struct WarehouseReader {
    database: Arc<Database>,
    /// Where it is gone, nobody wants answers any more.
    wanted: Option<Weak<()>>,
}

impl WarehouseReader {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        WarehouseReader {
            database,
            wanted: None,
        }
    }

    /// The same, but that its queries end soon after the last holder of `wanted` has dropped it: it
    /// is held by what waits for the answer.
    #[must_use]
    pub fn while_wanted(&self, wanted: Weak<()>) -> Self {
        WarehouseReader {
            database: Arc::clone(&self.database),
            wanted: Some(wanted),
        }
    }

    /// Opens a database that no process holds for writing. Others can read it at the same time.
    ///
    /// # Errors
    /// If it is not there, or a process has it open for writing; the message says which.
    pub fn open_read_only(path: &Path, options: &DuckDbOptions) -> Result<Self, DatabaseError> {
        let database = Database::open(path, Access::Read, options, Vec::new())?;
        Ok(WarehouseReader::new(database))
    }

    /// Runs one statement that reads, and collects its rows. Blocks. How large its plan becomes is
    /// not looked at: it is one of this program's own, or [`QueryGuard`](crate::QueryGuard) has let
    /// it through.
    ///
    /// # Errors
    /// If it is not exactly one statement that reads, DuckDB refuses it, or it takes too long.
    pub fn query(&self, sql: &str, limits: &QueryLimits) -> Result<QueryResult, QueryError> {
        let mut batches = Vec::new();
        let mut bytes = 0;
        let mut cut = false;
        let sink = &mut |batch: RecordBatch| {
            let room = limits.bytes.saturating_sub(bytes);
            let size = batch.get_array_memory_size();
            bytes += size;
            cut = size > room;
            let fits = if cut {
                first_rows(&batch, room)?
            } else {
                batch
            };
            if fits.num_rows() > 0 {
                batches.push(fits);
            }
            Ok(!cut)
        };
        let (schema, truncated) =
            self.hand_over(sql, PlanSizeCheck::Known, limits.rows, limits.timeout, sink)?;
        Ok(QueryResult {
            schema,
            batches,
            truncated: truncated || cut,
        })
    }

    /// Runs one statement that reads, and hands its rows over as they come, so that memory does not
    /// bound them. `sink` says whether it wants more. Returns the columns, and whether there were
    /// more than `rows_max` rows. Blocks.
    ///
    /// # Errors
    /// If it is not exactly one statement that reads, becomes too large when it is planned, DuckDB
    /// refuses it, it takes longer than `timeout`, or `sink` fails.
    pub fn stream(
        &self,
        sql: &str,
        rows_max: usize,
        timeout: Duration,
        sink: &mut dyn FnMut(RecordBatch) -> std::io::Result<bool>,
    ) -> Result<(SchemaRef, bool), QueryError> {
        self.hand_over(sql, PlanSizeCheck::Unknown, rows_max, timeout, sink)
    }

    fn hand_over(
        &self,
        sql: &str,
        size: PlanSizeCheck,
        rows_max: usize,
        timeout: Duration,
        sink: &mut dyn FnMut(RecordBatch) -> std::io::Result<bool>,
    ) -> Result<(SchemaRef, bool), QueryError> {
        let statement =
            statement::check(sql).map_err(|refusal| QueryError::Refused(refusal.to_string()))?;
        on_large_stack(statement.len(), sink, |sink| {
            self.run(&statement, size, rows_max, timeout, sink)
        })
    }

    fn run(
        &self,
        statement: &str,
        size: PlanSizeCheck,
        rows_max: usize,
        timeout: Duration,
        sink: &mut dyn FnMut(RecordBatch) -> std::io::Result<bool>,
    ) -> Result<(SchemaRef, bool), QueryError> {
        let _hold = self.database.hold();
        let connection = self.database.connection()?;
        let asking = self.database.asks(&connection);
        let memory = self.database.memory_limit();
        let watch = Watch::start(&connection, timeout, memory, self.wanted.clone());
        let result = size
            .check(&self.database, &connection, statement)
            .and_then(|()| {
                connection
                    .execute_batch("BEGIN TRANSACTION READ ONLY")
                    .map_err(sql_error)
            })
            .and_then(|()| read(&connection, statement, rows_max, sink));
        let is_beside_load = self.database.has_been_loading();
        let ended = watch.stop();
        if let Err(error) = connection.execute_batch("ROLLBACK") {
            // The connection is thrown away in any case.
            tracing::debug!(%error, "cannot roll back a query");
        }
        match result {
            Err(QueryError::Sql(_)) if asking.gave_way() => Err(QueryError::GaveWay),
            Err(QueryError::OutOfMemory(_)) if asking.gave_way() || is_beside_load => {
                Err(QueryError::GaveWay)
            }
            Err(QueryError::Sql(text)) => Err(ended.unwrap_or(QueryError::Sql(text))),
            result => result,
        }
    }
}

/// What is known of how large a statement becomes when it is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlanSizeCheck {
    /// It has been looked at.
    Known,
    /// Nothing.
    Unknown,
}

impl PlanSizeCheck {
    /// Refuses what becomes too large when it is planned: planning looks at no interrupt.
    fn check(
        self,
        database: &Database,
        connection: &Connection,
        statement: &str,
    ) -> Result<(), QueryError> {
        if self == PlanSizeCheck::Known {
            return Ok(());
        }
        let functions = database.functions(connection).map_err(sql_error)?;
        let query = statement::explained(statement);
        match tree::parse(connection, query)? {
            Parsed::Query(tree) => size::check(&tree, functions).map_err(QueryError::Refused),
            // When it is run, DuckDB says where in the text it is wrong.
            Parsed::Wrong(_) if query.len() == statement.len() => Ok(()),
            Parsed::Wrong(why) => Err(QueryError::Sql(why)),
            // Of what is made of several statements there is no tree.
            Parsed::Other(why) => {
                if let Some(select) = statement::pivot_as_select(query)
                    && let Parsed::Query(tree) = tree::parse(connection, &select)?
                {
                    return size::check(&tree, functions).map_err(QueryError::Refused);
                }
                Err(QueryError::Refused(format!(
                    "what this becomes cannot be told before it is planned ({why}); of a PIVOT over \
                     anything but a table, or within another statement, write the values: \
                     ON status IN ('A', 'B')"
                )))
            }
        }
    }
}

/// Stack of a thread that plans a statement: DuckDB goes deeper with each name of WITH that stands
/// for another, by up to 9 KiB, and does not look whether there is room.
const STACK: usize = 64 << 20;
/// Bytes of stack for each byte of a statement: a name takes 14 bytes at least.
const STACK_PER_BYTE: usize = 1 << 10;

/// Does `work` on a thread that has stack for a statement of so many bytes. What it hands over
/// reaches `sink` on this thread.
pub(crate) fn on_large_stack<T: Send>(
    bytes: usize,
    sink: &mut dyn FnMut(RecordBatch) -> std::io::Result<bool>,
    work: impl FnOnce(&mut dyn FnMut(RecordBatch) -> std::io::Result<bool>) -> Result<T, QueryError>
    + Send,
) -> Result<T, QueryError> {
    let (hand_over, rows) = mpsc::sync_channel::<RecordBatch>(1);
    let (say, wants) = mpsc::sync_channel::<std::io::Result<bool>>(1);
    #[expect(
        clippy::disallowed_methods,
        reason = "the scope owns the other ends of both channels: its thread waits for nobody else"
    )]
    thread::scope(move |scope| {
        let worker = move || {
            work(&mut |batch| {
                let gone = |_| std::io::Error::other("nobody takes the rows any more");
                hand_over.send(batch).map_err(|_| gone(()))?;
                wants.recv().map_err(|_| gone(()))?
            })
        };
        let thread = thread::Builder::new()
            .name("query".to_owned())
            .stack_size(STACK.max(bytes.saturating_mul(STACK_PER_BYTE)))
            .spawn_scoped(scope, worker)
            .map_err(QueryError::Thread)?;
        for batch in rows {
            if say.send(sink(batch)).is_err() {
                break;
            }
        }
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// A copy of the first rows of a batch, as many as have room in so many bytes.
fn first_rows(batch: &RecordBatch, bytes: usize) -> std::io::Result<RecordBatch> {
    let size = |rows: usize| -> Option<usize> {
        let columns = batch.columns().iter();
        columns
            .map(|column| column.slice(0, rows).to_data().get_slice_memory_size().ok())
            .sum()
    };
    let (mut fit, mut too_many) = (0, batch.num_rows() + 1);
    while fit + 1 < too_many {
        let rows = usize::midpoint(fit, too_many);
        match size(rows) {
            Some(size) if size <= bytes => fit = rows,
            _ => too_many = rows,
        }
    }
    // A slice would keep all of them in memory.
    let rows = UInt32Array::from_iter_values(0..u32::try_from(fit).unwrap_or(u32::MAX));
    take_record_batch(batch, &rows).map_err(std::io::Error::other)
}

fn sql_error(error: duckdb::Error) -> QueryError {
    let text = message(&error);
    if text.starts_with(OUT_OF_MEMORY) {
        // What follows are settings of DuckDB, which nobody can change here.
        let first = text.lines().next().unwrap_or_default();
        return QueryError::OutOfMemory(first.to_owned());
    }
    match error {
        // Keeps DuckDB's pointer into the SQL: here it is the user's own.
        duckdb::Error::DuckDBFailure(_, Some(text)) => QueryError::Sql(in_words(&text)),
        _ => QueryError::Sql(text),
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

/// Time between two looks at how much memory the process has.
const LOOK: Duration = Duration::from_millis(50);
/// Time between two interrupts: one between two steps of a query is forgotten when the next step
/// begins.
const AGAIN: Duration = Duration::from_millis(20);
/// Bytes that the process may grow by beyond what DuckDB may use, while a query runs: what DuckDB
/// does not count, and what the job takes meanwhile.
const RESERVE: usize = 512 << 20;

/// Interrupts a query when its time is up, or when the process grows too large: DuckDB does not
/// count what some aggregates and functions of lists take.
pub(crate) struct Watch {
    done: mpsc::Sender<()>,
    thread: Option<thread::JoinHandle<Option<QueryError>>>,
}

impl Watch {
    /// `memory` is what DuckDB may use, in bytes; none to look at nothing but the time. Where
    /// `wanted` is gone, nobody waits for the answer.
    pub(crate) fn start(
        connection: &Connection,
        timeout: Duration,
        memory: Option<usize>,
        wanted: Option<Weak<()>>,
    ) -> Self {
        let (done, wait) = mpsc::channel::<()>();
        let interrupt = connection.interrupt_handle();
        let allowed = memory.map(|limit| limit.saturating_add(RESERVE));
        let before = allowed.and_then(|_| memory_of_process());
        let is_done = move |pause| wait.recv_timeout(pause) != Err(RecvTimeoutError::Timeout);
        let watch = move || {
            let began = Instant::now();
            let why = loop {
                if is_done(LOOK.min(timeout.saturating_sub(began.elapsed()))) {
                    return None;
                }
                if began.elapsed() >= timeout {
                    break QueryError::Timeout(timeout);
                }
                if wanted
                    .as_ref()
                    .is_some_and(|wanted| wanted.strong_count() == 0)
                {
                    break QueryError::Unwanted;
                }
                if let (Some(allowed), Some(before)) = (allowed, before)
                    && let Some(now) = memory_of_process()
                    && let taken = now.saturating_sub(before)
                    && taken > allowed
                {
                    break QueryError::Memory { taken, allowed };
                }
            };
            interrupt.interrupt();
            while !is_done(AGAIN) {
                interrupt.interrupt();
            }
            Some(why)
        };
        let thread = thread::Builder::new()
            .name("query-watch".to_owned())
            .spawn(watch);
        if let Err(error) = &thread {
            tracing::warn!(%error, "no thread watches a query: it runs without a timeout");
        }
        Watch {
            done,
            thread: thread.ok(),
        }
    }

    /// Ends the watch; tells why it has interrupted the query, if it has.
    pub(crate) fn stop(self) -> Option<QueryError> {
        drop(self.done);
        match self.thread?.join() {
            Ok(why) => why,
            Err(_) => {
                tracing::warn!("the thread that watches a query has panicked");
                None
            }
        }
    }
}

/// Bytes of memory that the process has, files aside; none where the system does not tell.
fn memory_of_process() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Alone it is too large, and asking again does not help; beside a load that can.
    #[test]
    fn a_query_that_finds_no_memory_beside_a_load_says_so() {
        let options = DuckDbOptions {
            memory_limit_bytes: Some(64 << 20),
            threads: Some(1),
        };
        let database = Database::in_memory(&options).unwrap();
        database.close_off(&[]).unwrap();
        let reader = WarehouseReader::new(Arc::clone(&database));
        let ask = || {
            reader
                .query(
                    "SELECT list(range) FROM range(30000000)",
                    &QueryLimits::default(),
                )
                .unwrap_err()
        };
        let alone = ask();
        assert!(matches!(alone, QueryError::OutOfMemory(_)), "{alone}");
        let _loading = database.begin_load();
        let beside = ask();
        assert!(matches!(beside, QueryError::GaveWay), "{beside}");
    }
}
