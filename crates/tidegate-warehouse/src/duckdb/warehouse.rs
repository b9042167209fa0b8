//! A DuckDB database as a warehouse: opened for one job, loaded in transactions, maintained.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use duckdb::{Connection, params};
use tidegate_base::failpoint;
use tidegate_log::Record;
use tidegate_storage::Storage;

use super::apply::{Apply, fail};
use super::database::{Access, Database, DatabaseError, DuckDbOptions};
use super::schema::{self, SchemaError};
use super::taken::{DuckDbTable, TableFiles};
use super::{error, sql};
use crate::ledger::{self, Ledger};
use crate::load::{LoadError, LoadFault, LoadReport, LoadRequest, TableLoad};
use crate::reader::WarehouseReader;
use crate::scratch::{self, Scratch};
use crate::stage::{FOLDER, Staged, stage};
use crate::table::{Dialect, TableError, TableSpec, check_tables};
use crate::warehouse::{Maintenance, MaintenanceError, Warehouse};

/// Why a warehouse could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DuckDbOpenError {
    /// A table cannot be.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The database could not be opened.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// There is no folder for files that are fetched.
    #[error("cannot make a temporary folder for the files of loads (TMPDIR): {0}")]
    Fetched(#[source] std::io::Error),
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

/// An attempt to load that failed.
struct Failed {
    fault: LoadFault,
    /// What the load would have done, if it was the commit itself that failed: it may have
    /// happened.
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
    tables: Vec<DuckDbTable>,
    ledger: Ledger,
    /// Where files are fetched to; none where they are on this machine already.
    fetched: Option<Scratch>,
    /// Datasets that no table takes and that have been logged.
    without_table: BTreeSet<String>,
}

impl DuckDbWarehouse {
    /// Opens the database, makes it and its folder if need be, and makes the tables ready: those
    /// that are missing are made, and columns that are missing are added.
    ///
    /// Statements can reach the database's own files and the job's in `storage`, and nothing else.
    /// `now` is in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// If the tables make no sense, another process has the database, it belongs to another job, or
    /// a column has another type than it should.
    pub fn open(
        path: &Path,
        job: &str,
        mut tables: Vec<TableSpec>,
        options: &DuckDbOptions,
        storage: &Storage,
        now: i64,
    ) -> Result<Self, DuckDbOpenError> {
        check_tables(&tables, Dialect::DuckDb)?;
        scratch::collect(FOLDER);
        let (fetched, folder) = match storage.local_root() {
            Some(root) => (None, root.to_owned()),
            None => {
                let folder = Scratch::new(FOLDER).map_err(DuckDbOpenError::Fetched)?;
                let path = folder.path().to_owned();
                (Some(folder), path)
            }
        };
        let database = Database::open(path, Access::Write, options, vec![folder])?;
        let mut connection = database.connection()?;
        let wrong = |error| DuckDbOpenError::Schema {
            path: path.display().to_string(),
            error: Box::new(error),
        };
        let ledger = schema::prepare(&mut connection, job, now, &mut tables).map_err(wrong)?;
        let with_columns = |spec: TableSpec| {
            let columns = schema::columns(&connection, &spec)?;
            Ok(DuckDbTable {
                stored: schema::stored(&connection, &spec.name)?,
                spec,
                columns,
            })
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
            fetched,
            without_table: BTreeSet::new(),
        })
    }

    fn try_load(&mut self, request: &LoadRequest<'_>) -> Result<LoadReport, Box<Failed>> {
        let started = Instant::now();
        let next = self.ledger.follow(&self.job, request.records)?;
        self.note_without_table(request.records);
        let is_taken = |dataset: &str| self.tables.iter().any(|table| table.spec.takes(dataset));
        let folder = self.fetched.as_ref().map(Scratch::path);
        let staged = stage(request, folder, |entry| is_taken(&entry.dataset))?;
        let taken = self.take(&staged)?;
        let mut report = self.transact(request, &staged, &taken, next)?;
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

    /// The files of each table that gets any, with the columns that they have in it.
    fn take<'a>(&mut self, staged: &'a Staged<'a>) -> Result<Vec<TableFiles<'a>>, LoadFault> {
        let mut all = Vec::new();
        for (place, table) in self.tables.iter_mut().enumerate() {
            let taken = TableFiles::open(&self.connection, (place, &*table), &staged.files)?;
            if let Some(taken) = taken {
                taken.add_columns(&self.connection, table)?;
                all.push(taken);
            }
        }
        Ok(all)
    }

    /// Everything but the commit.
    fn transact(
        &self,
        request: &LoadRequest<'_>,
        staged: &Staged<'_>,
        taken: &[TableFiles<'_>],
        next: Ledger,
    ) -> Result<LoadReport, LoadFault> {
        let mut report = LoadReport::new(request.records);
        report.files = staged.files.len() as u64;
        report.bytes = staged.files.iter().map(|file| file.entry.bytes).sum();
        report.without_table = self.rows_without_table(request.records);
        failpoint("load.begin");
        self.connection
            .execute_batch("BEGIN TRANSACTION")
            .map_err(fail("begin a transaction"))?;
        self.claim(next)?;
        for taken in taken {
            let table = &self.tables[taken.table];
            let load: TableLoad = Apply::new(&self.connection, table, taken).run()?;
            report.add(&table.spec.name, load);
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
        Ok(report)
    }

    /// Takes the place after the ledger's last record. Of two loads, the second one fails here.
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

    /// Lanes that are new have no watermark; those that moved have the last one.
    fn move_watermarks(&self, records: &[Record]) -> Result<(), LoadFault> {
        let lanes = ledger::watermarks(records);
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
        ledger::rows_without_table(&self.tables.iter().map(|table| &table.spec), records)
    }

    fn note_without_table(&mut self, records: &[Record]) {
        for (dataset, rows) in self.rows_without_table(records) {
            if self.without_table.insert(dataset.clone()) {
                ledger::warn_without_table(&dataset, rows, records);
            }
        }
    }

    /// Loads, or leaves everything as it was.
    fn attempt(&mut self, request: &LoadRequest<'_>) -> Result<LoadReport, LoadFault> {
        let last_seq = request.records.last().map_or(0, |record| record.seq);
        self.try_load(request).or_else(|failed| {
            let before = self.ledger;
            self.recover();
            // The ledger has the load: only the answer to the commit was lost.
            match failed.uncertain {
                Some(report) if self.ledger.seq == last_seq && before.seq != last_seq => Ok(report),
                _ => Err(failed.fault),
            }
        })
    }

    /// After a failure: ends the transaction, opens the file again if DuckDB has given it up, and
    /// asks the ledger. If even that fails, the next load does, and says so.
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
}

impl Warehouse for DuckDbWarehouse {
    fn loaded_seq(&self) -> u64 {
        self.ledger.seq
    }

    fn load(&mut self, request: &LoadRequest<'_>) -> Result<LoadReport, Box<LoadError>> {
        let first_seq = request.records.first().map_or(0, |record| record.seq);
        let last_seq = request.records.last().map_or(0, |record| record.seq);
        let database = Arc::clone(&self.database);
        let _loading = database.begin_load();
        let mut attempt = self.attempt(request);
        if let Err(fault) = &attempt
            && fault.is_short_of_memory()
        {
            tracing::info!("{fault}. Trying again without any question beside the load");
            attempt = database.alone(|| self.attempt(request));
        }
        attempt.map_err(|fault| {
            Box::new(LoadError {
                first_seq,
                last_seq,
                fault,
            })
        })
    }

    fn maintain(&mut self, action: Maintenance, now: i64) -> Result<(), MaintenanceError> {
        let run = || {
            match action {
                Maintenance::Analyze => {
                    for table in &self.tables {
                        self.connection.execute_batch(&analyze(&table.spec))?;
                    }
                }
                Maintenance::Checkpoint => self.connection.execute_batch("CHECKPOINT")?,
                // DuckDB's checkpoint gives back the space of deleted rows.
                Maintenance::Vacuum => {}
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

    fn maintained_at(&self, action: Maintenance) -> Result<Option<i64>, MaintenanceError> {
        self.connection
            .query_row(
                "SELECT epoch_us(max(done_at)) FROM tidegate_maintenance WHERE job = ? AND action = ?",
                params![self.job, action.name()],
                |row| row.get(0),
            )
            .map_err(|error| MaintenanceError { action, message: error::message(&error) })
    }

    fn maintenance(&self) -> &'static [Maintenance] {
        &[Maintenance::Analyze, Maintenance::Checkpoint]
    }

    fn reader(&self) -> Option<WarehouseReader> {
        Some(WarehouseReader::new(Arc::clone(&self.database)))
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
