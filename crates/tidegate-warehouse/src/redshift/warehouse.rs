//! A schema of a Redshift database as a warehouse.

mod failed;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_base::backoff::Backoff;
use tidegate_base::failpoint;
use tidegate_log::Record;
use tidegate_storage::Storage;
use tokio::runtime::Handle;

use super::client::{DataApiClient, Done};
use super::error::RedshiftError;
use super::footer;
use super::options::RedshiftOptions;
use super::plan::{LoadPlan, RedshiftTable, Request, Role, SourceFile};
use super::schema::{self, SchemaError};
use super::sql::{self, Type};
use super::{columns, widths};
use crate::ledger::{self, Ledger};
use crate::load::{LoadError, LoadFault, LoadReport, LoadRequest, TableLoad};
use crate::reader::WarehouseReader;
use crate::table::{Dialect, TableError, TableKind, TableSpec, check_tables};
use crate::warehouse::{Maintenance, MaintenanceError, Warehouse};

/// Tries to make the tables ready, while what goes wrong can pass.
const OPEN_TRIES: u32 = 5;
/// The first pause between them, and the longest.
const OPEN_PAUSE: Duration = Duration::from_millis(200);
const OPEN_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Why a warehouse could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum RedshiftOpenError {
    /// A table cannot be made.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A name that Redshift would not keep as it is.
    #[error("`{setting}`: {message}")]
    Name {
        /// The setting that has it.
        setting: &'static str,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// Its tables could not be made ready.
    #[error("{error} (Redshift, database `{database}`, schema `{schema}`)")]
    Schema {
        /// The database.
        database: String,
        /// The schema.
        schema: String,
        /// What is wrong.
        #[source]
        error: Box<SchemaError>,
    },
    /// Redshift reads files from S3 alone.
    #[error("Redshift loads from S3, and storage.url is `{0}`; use s3://BUCKET/PREFIX")]
    Storage(String),
}

/// What a load would do, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DryRun {
    /// First and last record of the log that it would cover.
    pub records: (u64, u64),
    /// Manifests, each with its URL.
    pub manifests: Vec<(String, String)>,
    /// Statements of the one transaction.
    pub statements: Vec<String>,
}

/// A Redshift that holds what one job has loaded.
#[derive(Debug)]
pub struct RedshiftWarehouse {
    client: DataApiClient,
    options: RedshiftOptions,
    job: String,
    tables: Vec<RedshiftTable>,
    ledger: Ledger,
    /// When it was opened, in microseconds since the Unix epoch: the configuration is at least as
    /// new as what was committed before.
    opened_at: i64,
    /// Datasets that no table takes and that have been logged.
    without_table: BTreeSet<String>,
}

impl RedshiftWarehouse {
    /// Connects, and makes the tables ready: those that are missing are made, columns that are
    /// missing are added, and text columns that the configuration makes wider are widened.
    ///
    /// `now` is in microseconds since the Unix epoch. Blocks: must not be called from a thread of
    /// the runtime.
    ///
    /// # Errors
    /// If the tables make no sense, Redshift cannot be reached or refuses, or a column has another
    /// type than it should.
    pub fn open(
        options: &RedshiftOptions,
        job: &str,
        tables: Vec<TableSpec>,
        storage: &Storage,
        runtime: &Handle,
        now: i64,
    ) -> Result<Self, RedshiftOpenError> {
        options
            .check_names()
            .map_err(|(setting, message)| RedshiftOpenError::Name { setting, message })?;
        check_tables(&tables, Dialect::Redshift)?;
        if !storage.url().starts_with("s3://") {
            return Err(RedshiftOpenError::Storage(storage.url().to_owned()));
        }
        let wrong = |error| RedshiftOpenError::Schema {
            database: options.database.clone(),
            schema: options.schema.clone(),
            error: Box::new(error),
        };
        let mut tables: Vec<RedshiftTable> = tables
            .into_iter()
            .map(schema::typed)
            .collect::<Result<_, _>>()
            .map_err(wrong)?;
        let client = DataApiClient::new(options, runtime);
        let mut backoff = Backoff::new(OPEN_PAUSE, OPEN_PAUSE_MAX);
        let mut attempt = 1;
        let ledger = loop {
            match schema::prepare(&client, options, job, now, &mut tables) {
                Ok(ledger) => break ledger,
                Err(error) if attempt < OPEN_TRIES && error.is_transient() => {
                    tracing::warn!(%error, attempt, "cannot make the tables ready; trying again");
                    std::thread::sleep(backoff.pause());
                    attempt += 1;
                }
                Err(error) => return Err(wrong(error)),
            }
        };
        Ok(RedshiftWarehouse {
            client,
            options: options.clone(),
            job: job.to_owned(),
            tables,
            ledger,
            opened_at: now,
            without_table: BTreeSet::new(),
        })
    }

    /// What [`Warehouse::load`] would do; reads the files' footers, and changes nothing.
    ///
    /// # Errors
    /// If the records do not follow the ledger's last one, or a file is not what its record says.
    pub fn dry_run(&self, request: &LoadRequest<'_>) -> Result<DryRun, LoadFault> {
        let after = self.ledger.follow(&self.job, request.records)?;
        let files = self.files(request)?;
        let mut tables = self.tables.clone();
        for table in &mut tables {
            let lacking = self.lacking(table, &files, request)?;
            table.beside.extend(lacking);
        }
        let plan = self.plan(&tables, request, files, after, "dry-run")?;
        Ok(DryRun {
            records: (self.ledger.seq + 1, after.seq),
            manifests: plan
                .manifests
                .into_iter()
                .map(|manifest| (object_url(request.storage, &manifest.path), manifest.json))
                .collect(),
            statements: plan.statements.into_iter().map(|(_, sql)| sql).collect(),
        })
    }

    fn files<'a>(&self, request: &LoadRequest<'a>) -> Result<Vec<SourceFile<'a>>, LoadFault> {
        let wanted = |dataset: &str| self.tables.iter().any(|table| table.spec.takes(dataset));
        request.runtime.block_on(footer::read_files(
            request.storage,
            request.records,
            |entry| wanted(&entry.dataset),
        ))
    }

    /// The columns that files bring to a table and that it lacks.
    fn lacking(
        &self,
        table: &RedshiftTable,
        files: &[SourceFile<'_>],
        request: &LoadRequest<'_>,
    ) -> Result<BTreeMap<String, Type>, LoadFault> {
        let written_at = |seq: u64| {
            let record = request.records.iter().find(|record| record.seq == seq);
            record.map_or(i64::MAX, |record| record.written_at)
        };
        table.lacking(files, &written_at, self.opened_at)
    }

    /// Adds the columns that the files have and the tables lack, and widens those that are too
    /// narrow for what the files say that they bring; what then does not fit is rejected or cut. A
    /// file of an older version does not say it, and is found out when its load fails: see
    /// [`Self::widen`].
    fn fit(
        &mut self,
        files: &[SourceFile<'_>],
        request: &LoadRequest<'_>,
    ) -> Result<(), LoadFault> {
        for index in 0..self.tables.len() {
            let lacking = self.lacking(&self.tables[index], files, request)?;
            let (client, options) = (&self.client, &self.options);
            let table = &mut self.tables[index];
            let fitted = columns::add_columns(client, options, table, lacking).and_then(|()| {
                let needed = table.longest_texts(files);
                widths::widen_to_fit(client, options, table, &needed)
            });
            fitted.map_err(|error| LoadFault::Warehouse {
                doing: format!("fit the table `{}` to its files", table.spec.name),
                message: error.to_string(),
                transient: error.is_transient(),
            })?;
        }
        Ok(())
    }

    fn plan(
        &self,
        tables: &[RedshiftTable],
        request: &LoadRequest<'_>,
        files: Vec<SourceFile<'_>>,
        after: Ledger,
        attempt: &str,
    ) -> Result<LoadPlan, LoadFault> {
        let url = |path: &str| object_url(request.storage, path);
        Request {
            options: &self.options,
            job: &self.job,
            tables,
            records: request.records,
            files,
            before: self.ledger,
            after,
            attempt,
            now: request.now,
            url: &url,
        }
        .plan()
    }

    fn try_load(&mut self, request: &LoadRequest<'_>) -> Result<LoadReport, LoadFault> {
        let started = Instant::now();
        let after = self.ledger.follow(&self.job, request.records)?;
        self.note_without_table(request.records);
        let attempt = uuid::Uuid::new_v4().to_string();
        let files = self.files(request)?;
        self.fit(&files, request)?;
        let mut plan = self.plan(&self.tables, request, files, after, &attempt)?;
        failpoint("load.begin");
        for manifest in std::mem::take(&mut plan.manifests) {
            let bytes = Bytes::from(manifest.json);
            request
                .runtime
                .block_on(request.storage.replace(&manifest.path, bytes))?;
        }
        failpoint("load.before_commit");
        let statements: Vec<String> = plan.statements.iter().map(|(_, sql)| sql.clone()).collect();
        let before = self.ledger;
        let done = match self.client.transaction(statements, &attempt) {
            Ok(done) => Some(done),
            Err(error) => {
                // Whatever was said: the ledger knows what happened.
                match schema::read_ledger(&self.client, &self.options, &self.job) {
                    Ok((now, by)) if now == after && by.as_deref() == Some(&attempt) => {
                        tracing::warn!(%error, "the answer to a load was lost, and the ledger has it");
                        None
                    }
                    Ok((now, _)) if now != before => {
                        self.ledger = now;
                        return Err(LoadFault::NotNext { ledger: now.seq });
                    }
                    Ok(_) => return Err(self.explain(&error, &plan, request)),
                    Err(unread) => {
                        tracing::warn!(%unread, "cannot read the ledger after a failure");
                        return Err(fault("load", &error));
                    }
                }
            }
        };
        failpoint("load.after_commit");
        self.ledger = after;
        let mut report = self.report(request.records, &plan, done.as_deref());
        report.elapsed = started.elapsed();
        Ok(report)
    }

    /// What a load did. If its answer was lost, what it replaced is not known, and counts as
    /// nothing.
    fn report(&self, records: &[Record], plan: &LoadPlan, done: Option<&[Done]>) -> LoadReport {
        let mut report = LoadReport::new(records);
        report.files = plan.files;
        report.bytes = plan.bytes;
        report.without_table =
            ledger::rows_without_table(&self.tables.iter().map(|table| &table.spec), records);
        let count = |wanted: Role| -> u64 {
            let of = plan.statements.iter().zip(done.unwrap_or_default());
            of.filter(|((role, _), _)| *role == wanted)
                .map(|(_, done)| u64::try_from(done.rows).unwrap_or(0))
                .sum()
        };
        let mut rejects = 0;
        for (index, rows) in &plan.rows {
            let inserted = match done {
                Some(_) => count(Role::Inserted(*index)) + count(Role::CopiedInto(*index)),
                None => *rows,
            };
            let table = &self.tables[*index];
            let cut = count(Role::Cut(*index));
            let is_part = matches!(table.spec.kind, TableKind::WindowParts { .. });
            let rejected = if is_part && done.is_some() {
                rows.saturating_sub(inserted)
            } else {
                count(Role::Rejected(*index))
            };
            self.note_text(table, cut, rejected);
            let net = inserted.saturating_sub(count(Role::Replaced(*index)));
            let upserts = matches!(table.spec.kind, TableKind::Upsert { .. });
            let load = TableLoad {
                rows: *rows,
                inserted: net,
                updates: if upserts {
                    rows.saturating_sub(net + rejected)
                } else {
                    0
                },
                superseded: if upserts {
                    rows.saturating_sub(inserted + rejected)
                } else {
                    0
                },
                rejected,
                cut,
            };
            report.add(&table.spec.name, load);
            if rejected > 0 && !is_part {
                rejects += rejected;
            }
        }
        // Rows of other tables that became rejects.
        if rejects > 0
            && let Some(table) = self.tables.iter().find(|table| table.is_rejects())
        {
            report.inserted += rejects;
            let load = report.tables.entry(table.spec.name.clone()).or_default();
            load.inserted += rejects;
        }
        report
    }

    /// Says that text of a table's rows does not fit.
    fn note_text(&self, table: &RedshiftTable, cut: u64, rejected: u64) {
        let columns: Vec<&str> = table.stuck.iter().map(String::as_str).collect();
        let (table, columns) = (&table.spec.name, columns.join(", "));
        if cut > 0 {
            tracing::warn!(
                table,
                columns,
                rows = cut,
                "text was cut, because its column cannot be widened"
            );
        }
        if rejected > 0 {
            tracing::warn!(
                table,
                columns,
                rows = rejected,
                "rows were not loaded, because a text is too long for its column and that cannot be widened. \
                 Events are in the rejected table, with the reason text.too_long"
            );
        }
    }

    fn note_without_table(&mut self, records: &[Record]) {
        let specs = self.tables.iter().map(|table| &table.spec);
        for (dataset, rows) in ledger::rows_without_table(&specs, records) {
            if self.without_table.insert(dataset.clone()) {
                ledger::warn_without_table(&dataset, rows, records);
            }
        }
    }

    fn qualified(&self, table: &str) -> String {
        format!("{}.{}", sql::name(&self.options.schema), sql::name(table))
    }
}

impl Warehouse for RedshiftWarehouse {
    fn loaded_seq(&self) -> u64 {
        self.ledger.seq
    }

    fn load(&mut self, request: &LoadRequest<'_>) -> Result<LoadReport, Box<LoadError>> {
        let first_seq = request.records.first().map_or(0, |record| record.seq);
        let last_seq = request.records.last().map_or(0, |record| record.seq);
        self.try_load(request).map_err(|fault| {
            Box::new(LoadError {
                first_seq,
                last_seq,
                fault,
            })
        })
    }

    fn maintain(&mut self, action: Maintenance, now: i64) -> Result<(), MaintenanceError> {
        let verb = match action {
            Maintenance::Analyze => "ANALYZE",
            Maintenance::Vacuum => "VACUUM",
            Maintenance::Checkpoint => return Ok(()),
        };
        let failed = |error: RedshiftError| MaintenanceError {
            action,
            message: error.to_string(),
        };
        for table in &self.tables {
            // Each a statement of its own: VACUUM cannot run in a transaction.
            self.client
                .run(&format!("{verb} {}", self.qualified(&table.spec.name)))
                .map_err(failed)?;
        }
        let (table, job) = (self.qualified("tidegate_maintenance"), sql::text(&self.job));
        let (name, at) = (sql::text(action.name()), sql::instant(now));
        let statements = vec![
            format!(
                "INSERT INTO {table} (job, action, done_at, times) SELECT {job}, {name}, {at}, \
                 (SELECT COALESCE(MAX(times), 0) + 1 FROM {table} WHERE job = {job} AND action = {name})"
            ),
            format!(
                "DELETE FROM {table} WHERE job = {job} AND action = {name} AND times < \
                 (SELECT MAX(times) FROM {table} WHERE job = {job} AND action = {name})"
            ),
        ];
        self.client
            .transaction(statements, &uuid::Uuid::new_v4().to_string())
            .map_err(failed)?;
        Ok(())
    }

    fn maintained_at(&self, action: Maintenance) -> Result<Option<i64>, MaintenanceError> {
        let failed = |message: String| MaintenanceError { action, message };
        let rows = self
            .client
            .query(&format!(
                "SELECT TO_CHAR(MAX(done_at), 'YYYY-MM-DD HH24:MI:SS.US') FROM {} WHERE job = {} AND action = {}",
                self.qualified("tidegate_maintenance"),
                sql::text(&self.job),
                sql::text(action.name())
            ))
            .map_err(|error| failed(error.to_string()))?;
        match rows.into_iter().flatten().next().flatten() {
            None => Ok(None),
            Some(text) => match sql::micros(&text) {
                Some(micros) => Ok(Some(micros)),
                None => Err(failed(format!("`{text}` is not a time"))),
            },
        }
    }

    fn maintenance(&self) -> &'static [Maintenance] {
        &[Maintenance::Analyze, Maintenance::Vacuum]
    }

    fn reader(&self) -> Option<WarehouseReader> {
        None
    }
}

fn object_url(storage: &Storage, path: &str) -> String {
    format!("{}/{path}", storage.url().trim_end_matches('/'))
}

fn fault(doing: &str, error: &RedshiftError) -> LoadFault {
    LoadFault::Warehouse {
        doing: doing.to_owned(),
        message: error.to_string(),
        transient: error.is_transient(),
    }
}
