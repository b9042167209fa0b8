//! A DuckDB database as a warehouse: opened for one job, loaded in transactions, maintained.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use duckdb::{Connection, params};
use tidegate_log::{Record, failpoint};

use super::apply::{Apply, Table, fail};
use super::database::{Access, Database, DatabaseError, DuckDbOptions};
use super::schema::{self, Ledger, SchemaError};
use super::{error, sql};
use crate::load::{LoadError, LoadFault, LoadReport, LoadRequest, TableLoad};
use crate::reader::WarehouseReader;
use crate::stage::{Staged, StagedFile, stage};
use crate::table::{TableError, TableSpec, check_tables};

/// Why a warehouse could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A table cannot be.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The database could not be opened.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Its tables could not be made ready.
    #[error("{error} (database {path})")]
    Schema {
        /// The file.
        path: String,
        /// What is wrong.
        #[source]
        error: Box<SchemaError>,
    },
}

/// What is done to a database from time to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maintenance {
    /// Renews the statistics that queries are planned with.
    Analyze,
    /// Moves the write-ahead log into the database file, and gives back the space of deleted rows.
    Checkpoint,
}

/// A maintenance that failed. Nothing is lost by it; it is due again.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: {message}", action = .action.name())]
pub struct MaintenanceError {
    /// What was to be done.
    pub action: Maintenance,
    /// What DuckDB says.
    pub message: String,
}

impl Maintenance {
    /// Its name in the table `tidegate_maintenance`.
    pub fn name(self) -> &'static str {
        match self {
            Maintenance::Analyze => "analyze",
            Maintenance::Checkpoint => "checkpoint",
        }
    }
}

/// An attempt to load that failed.
struct Failed {
    fault: LoadFault,
    /// What the load would have done, if it was the commit itself that failed: it may have happened.
    uncertain: Option<LoadReport>,
}

impl From<LoadFault> for Box<Failed> {
    fn from(fault: LoadFault) -> Self {
        Box::new(Failed {
            fault,
            uncertain: None,
        })
    }
}

/// A database file that holds what one job has loaded.
#[derive(Debug)]
pub struct DuckDbWarehouse {
    connection: Connection,
    database: Arc<Database>,
    job: String,
    tables: Vec<Table>,
    ledger: Ledger,
    /// Datasets that no table takes and that have been logged.
    without_table: BTreeSet<String>,
}

impl DuckDbWarehouse {
    /// Opens the database, makes it and its folder if need be, and makes the tables ready: those that
    /// are missing are made, and columns that are missing are added.
    ///
    /// `now` is in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// If the tables make no sense, another process has the database, it belongs to another job, or a
    /// column has another type than it should.
    pub fn open(
        path: &Path,
        job: &str,
        tables: Vec<TableSpec>,
        options: &DuckDbOptions,
        now: i64,
    ) -> Result<Self, OpenError> {
        check_tables(&tables)?;
        let database = Database::open(path, Access::Write, options)?;
        let mut connection = database.connection()?;
        let wrong = |error| OpenError::Schema {
            path: path.display().to_string(),
            error: Box::new(error),
        };
        let ledger = schema::prepare(&mut connection, job, now, &tables).map_err(wrong)?;
        let with_columns = |spec: TableSpec| {
            let columns = schema::columns(&connection, &spec)?;
            Ok(Table { spec, columns })
        };
        let tables = tables
            .into_iter()
            .map(with_columns)
            .collect::<Result<_, _>>()
            .map_err(wrong)?;
        Ok(DuckDbWarehouse {
            connection,
            database,
            job: job.to_owned(),
            tables,
            ledger,
            without_table: BTreeSet::new(),
        })
    }

    /// Sequence number of the last record that is loaded; 0 if none is.
    pub fn loaded_seq(&self) -> u64 {
        self.ledger.seq
    }

    /// Read-only queries, while loads go on.
    pub fn reader(&self) -> WarehouseReader {
        WarehouseReader::new(Arc::clone(&self.database))
    }

    /// Applies records in one transaction: all of it, or nothing.
    ///
    /// If the answer to the commit is lost, the ledger is asked whether it happened.
    ///
    /// # Errors
    /// If the records do not follow the ledger's last one, a file is not what its record says, or
    /// DuckDB refuses. The warehouse then holds what it held before, and the same load can be tried
    /// again. If [`LoadError::is_transient`] says so, that can help.
    pub fn load(&mut self, request: &LoadRequest<'_>) -> Result<LoadReport, Box<LoadError>> {
        let first_seq = request.records.first().map_or(0, |record| record.seq);
        let last_seq = request.records.last().map_or(0, |record| record.seq);
        let attempt = self.try_load(request).or_else(|failed| {
            let before = self.ledger;
            self.recover();
            // The ledger has the load: only the answer to the commit was lost.
            match failed.uncertain {
                Some(report) if self.ledger.seq == last_seq && before.seq != last_seq => Ok(report),
                _ => Err(failed.fault),
            }
        });
        attempt.map_err(|fault| {
            Box::new(LoadError {
                first_seq,
                last_seq,
                fault,
            })
        })
    }

    fn try_load(&mut self, request: &LoadRequest<'_>) -> Result<LoadReport, Box<Failed>> {
        let started = Instant::now();
        self.check_sequence(request.records)?;
        self.note_without_table(request.records);
        let taken = |dataset: &str| self.tables.iter().any(|table| takes(table, dataset));
        let staged = stage(request, |entry| taken(&entry.dataset))?;
        let (mut report, next) = self.transact(request, &staged)?;
        failpoint("load.before_commit");
        let committed = self.connection.execute_batch("COMMIT");
        report.elapsed = started.elapsed();
        if let Err(error) = committed {
            let fault = fail("commit the load")(error);
            return Err(Box::new(Failed {
                fault,
                uncertain: Some(report),
            }));
        }
        failpoint("load.after_commit");
        self.ledger = next;
        Ok(report)
    }

    /// Everything but the commit.
    fn transact(
        &self,
        request: &LoadRequest<'_>,
        staged: &Staged<'_>,
    ) -> Result<(LoadReport, Ledger), LoadFault> {
        let (Some(first), Some(last)) = (request.records.first(), request.records.last()) else {
            return Err(LoadFault::Gap {
                missing: self.ledger.seq + 1,
            });
        };
        let mut report = LoadReport::new(first.seq, last.seq);
        report.files = staged.files.len() as u64;
        report.without_table = self.rows_without_table(request.records);
        let next = Ledger {
            seq: last.seq,
            crc32c: last.crc32c,
        };
        failpoint("load.begin");
        self.connection
            .execute_batch("BEGIN TRANSACTION")
            .map_err(fail("begin a transaction"))?;
        self.claim(next)?;
        for table in &self.tables {
            let files: Vec<&StagedFile<'_>> = staged
                .files
                .iter()
                .filter(|file| takes(table, &file.entry.dataset))
                .collect();
            if !files.is_empty() {
                let load: TableLoad = Apply::new(&self.connection, table, &files)?.run()?;
                report.add(&table.spec.name, load);
            }
        }
        failpoint("load.staged");
        self.move_watermarks(request.records)?;
        self.connection
            .execute(
                "INSERT INTO tidegate_ledger VALUES (?, ?, ?, ?, ?, ?, ?, make_timestamp(?))",
                params![
                    self.job,
                    report.first_seq,
                    report.last_seq,
                    report.files,
                    report.rows,
                    report.inserted,
                    report.updates,
                    request.now
                ],
            )
            .map_err(fail("write the ledger"))?;
        Ok((report, next))
    }

    /// Takes the place behind the ledger's last record. Of two loads, the second one fails here.
    fn claim(&self, next: Ledger) -> Result<(), LoadFault> {
        let claimed = self
            .connection
            .execute(
                "UPDATE tidegate_job SET loaded_seq = ?, loaded_crc32c = ? WHERE job = ? AND loaded_seq = ? \
                 AND loaded_crc32c = ?",
                params![next.seq, next.crc32c, self.job, self.ledger.seq, self.ledger.crc32c],
            )
            .map_err(fail("claim the place in the ledger"))?;
        if claimed == 1 {
            Ok(())
        } else {
            Err(LoadFault::NotNext {
                ledger: self.ledger.seq,
            })
        }
    }

    fn check_sequence(&self, records: &[Record]) -> Result<(), LoadFault> {
        let mut before = self.ledger;
        if records.is_empty() {
            return Err(LoadFault::Gap {
                missing: before.seq + 1,
            });
        }
        for (place, record) in records.iter().enumerate() {
            if record.seq != before.seq + 1 {
                let missing = before.seq + 1;
                let not_next = LoadFault::NotNext { ledger: before.seq };
                return Err(if place == 0 {
                    not_next
                } else {
                    LoadFault::Gap { missing }
                });
            }
            if record.job.as_str() != self.job {
                return Err(LoadFault::OtherJob {
                    seq: record.seq,
                    job: record.job.to_string(),
                });
            }
            if record.prev_crc32c != before.crc32c {
                return Err(LoadFault::OtherHistory { seq: record.seq });
            }
            before = Ledger {
                seq: record.seq,
                crc32c: record.crc32c,
            };
        }
        Ok(())
    }

    /// Lanes that are new have no watermark; those that moved have the last one.
    fn move_watermarks(&self, records: &[Record]) -> Result<(), LoadFault> {
        let mut lanes: BTreeMap<i32, Option<i64>> = BTreeMap::new();
        for record in records {
            for span in &record.partitions {
                lanes.entry(span.lane).or_default();
            }
            for (lane, micros) in &record.watermarks {
                lanes.insert(*lane, (*micros != i64::MIN).then_some(*micros));
            }
        }
        if lanes.is_empty() {
            return Ok(());
        }
        let value = |(lane, micros): (&i32, &Option<i64>)| {
            let at = micros.map_or_else(|| "NULL::TIMESTAMP".to_owned(), sql::instant);
            format!("({}, {lane}, {at})", sql::text(&self.job))
        };
        let values: Vec<_> = lanes.iter().map(value).collect();
        let sql = format!(
            "INSERT INTO tidegate_watermarks VALUES {} ON CONFLICT (job, lane) DO UPDATE SET watermark = \
             coalesce(greatest(excluded.watermark, tidegate_watermarks.watermark), tidegate_watermarks.watermark)",
            values.join(", ")
        );
        self.connection
            .execute(&sql, [])
            .map_err(fail("move the watermarks"))?;
        Ok(())
    }

    fn rows_without_table(&self, records: &[Record]) -> BTreeMap<String, u64> {
        let mut rows = BTreeMap::new();
        for entry in records.iter().flat_map(|record| &record.files) {
            if !self.tables.iter().any(|table| takes(table, &entry.dataset)) {
                *rows.entry(entry.dataset.clone()).or_default() += entry.rows;
            }
        }
        rows
    }

    fn note_without_table(&mut self, records: &[Record]) {
        for dataset in self.rows_without_table(records).into_keys() {
            if !self.without_table.contains(&dataset) {
                tracing::warn!(
                    dataset,
                    "no table takes this dataset: its rows stay in storage and are not loaded"
                );
                self.without_table.insert(dataset);
            }
        }
    }

    /// After a failure: ends the transaction, opens the file again if DuckDB has given it up, and asks
    /// the ledger. If even that fails, the next load does, and says so.
    fn recover(&mut self) {
        if let Err(error) = self.connection.execute_batch("ROLLBACK") {
            // Usual if there was no transaction, or a failed commit has ended it.
            tracing::debug!(%error, "nothing to roll back");
        }
        let ledger = schema::read_ledger(&self.connection);
        if let Err(error) = &ledger
            && error::is_invalidated(error)
        {
            tracing::warn!("DuckDB has given up the database after an error; opening it again");
            match self.reopen() {
                Ok(()) => match schema::read_ledger(&self.connection) {
                    Ok(ledger) => self.ledger = ledger,
                    Err(error) => tracing::warn!(%error, "cannot read the ledger"),
                },
                Err(error) => tracing::warn!(%error, "cannot open the database again"),
            }
            return;
        }
        match ledger {
            Ok(ledger) => self.ledger = ledger,
            Err(error) => tracing::warn!(%error, "cannot read the ledger"),
        }
    }

    fn reopen(&mut self) -> Result<(), DatabaseError> {
        // Our own connection would keep the old instance alive: put another in its place first.
        let aside = Connection::open_in_memory().map_err(|error| DatabaseError::Refused {
            path: self.database.path().to_owned(),
            message: error::message(&error),
        })?;
        self.connection = aside;
        self.connection = self.database.reopen()?;
        Ok(())
    }

    /// Does something to the database that is due from time to time, outside of any load, and notes it
    /// in `tidegate_maintenance`. `now` is in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// If DuckDB refuses, for example because a long query is in the way.
    pub fn maintain(&mut self, action: Maintenance, now: i64) -> Result<(), MaintenanceError> {
        let run = || {
            match action {
                Maintenance::Analyze => {
                    for table in &self.tables {
                        self.connection.execute_batch(&analyze(&table.spec))?;
                    }
                }
                Maintenance::Checkpoint => self.connection.execute_batch("CHECKPOINT")?,
            }
            self.connection.execute(
                "INSERT INTO tidegate_maintenance VALUES (?, ?, make_timestamp(?), 1) ON CONFLICT (job, action) \
                 DO UPDATE SET done_at = excluded.done_at, times = times + 1",
                params![self.job, action.name(), now],
            )
        };
        run().map(|_| ()).map_err(|error| MaintenanceError {
            action,
            message: error::message(&error),
        })
    }

    /// When something was last done to the database, in microseconds since the Unix epoch; none if never.
    ///
    /// # Errors
    /// If DuckDB refuses.
    pub fn maintained_at(&self, action: Maintenance) -> Result<Option<i64>, MaintenanceError> {
        self.connection
            .query_row(
                "SELECT epoch_us(max(done_at)) FROM tidegate_maintenance WHERE job = ? AND action = ?",
                params![self.job, action.name()],
                |row| row.get(0),
            )
            .map_err(|error| MaintenanceError { action, message: error::message(&error) })
    }
}

/// Statistics of the key are those that joins are planned with; all columns of a wide table of 20
/// million rows would take ten times as long.
fn analyze(table: &TableSpec) -> String {
    let columns = table
        .key()
        .map_or_else(String::new, |key| format!("({})", sql::names(key)));
    format!("ANALYZE {}{columns}", sql::name(&table.name))
}

fn takes(table: &Table, dataset: &str) -> bool {
    table.spec.datasets.iter().any(|taken| taken == dataset)
}
