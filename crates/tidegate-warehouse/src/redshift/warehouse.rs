//! A schema of a Redshift database as a warehouse.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_log::{Record, Storage, failpoint};
use tokio::runtime::Handle;

use super::client::{Client, Done};
use super::error::RedshiftError;
use super::footer;
use super::options::{RedshiftOptions, VARCHAR_MAX};
use super::plan::{LoadPlan, Request, Role, Table};
use super::schema::{self, SchemaError};
use super::sql::{self, Type};
use crate::ledger::{self, Ledger};
use crate::load::{LoadError, LoadFault, LoadReport, LoadRequest, TableLoad};
use crate::reader::WarehouseReader;
use crate::table::{TableError, TableSpec, check_tables};
use crate::warehouse::{Maintenance, MaintenanceError, Warehouse};

/// Tries to make the tables ready, while what goes wrong can pass.
const OPEN_TRIES: u32 = 5;

/// Why a warehouse could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A table cannot be.
    #[error(transparent)]
    Table(#[from] TableError),
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
    client: Client,
    options: RedshiftOptions,
    job: String,
    tables: Vec<Table>,
    ledger: Ledger,
    /// Datasets that no table takes and that have been logged.
    without_table: BTreeSet<String>,
}

impl RedshiftWarehouse {
    /// Connects, and makes the tables ready: those that are missing are made, columns that are missing
    /// are added, and text columns that the configuration makes wider are widened.
    ///
    /// `now` is in microseconds since the Unix epoch. Blocks: must not be called from a thread of the
    /// runtime.
    ///
    /// # Errors
    /// If the tables make no sense, Redshift cannot be reached or refuses, or a column has another type
    /// than it should.
    pub fn open(
        options: &RedshiftOptions,
        job: &str,
        tables: Vec<TableSpec>,
        storage: &Storage,
        runtime: &Handle,
        now: i64,
    ) -> Result<Self, OpenError> {
        check_tables(&tables)?;
        if !storage.url().starts_with("s3://") {
            return Err(OpenError::Storage(storage.url().to_owned()));
        }
        let wrong = |error| OpenError::Schema {
            database: options.database.clone(),
            schema: options.schema.clone(),
            error: Box::new(error),
        };
        let tables: Vec<Table> = tables
            .into_iter()
            .map(schema::typed)
            .collect::<Result<_, _>>()
            .map_err(wrong)?;
        let client = Client::new(options, runtime);
        let mut pause = Duration::from_millis(200);
        let mut attempt = 1;
        let ledger = loop {
            match schema::prepare(&client, options, job, now, &tables) {
                Ok(ledger) => break ledger,
                Err(error) if attempt < OPEN_TRIES && error.is_transient() => {
                    tracing::warn!(%error, attempt, "cannot make the tables ready; trying again");
                    std::thread::sleep(pause);
                    pause *= 2;
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
            without_table: BTreeSet::new(),
        })
    }

    /// What [`Warehouse::load`] would do; reads the files' footers, and changes nothing.
    ///
    /// # Errors
    /// If the records do not follow the ledger's last one, or a file is not what its record says.
    pub fn dry_run(&self, request: &LoadRequest<'_>) -> Result<DryRun, LoadFault> {
        let after = self.ledger.follow(&self.job, request.records)?;
        let plan = self.plan(request, after, "dry-run")?;
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

    fn plan(
        &self,
        request: &LoadRequest<'_>,
        after: Ledger,
        attempt: &str,
    ) -> Result<LoadPlan, LoadFault> {
        let wanted = |dataset: &str| self.tables.iter().any(|table| table.spec.takes(dataset));
        let files = request.runtime.block_on(footer::read_columns(
            request.storage,
            request.records,
            |entry| wanted(&entry.dataset),
        ))?;
        let url = |path: &str| object_url(request.storage, path);
        Request {
            options: &self.options,
            job: &self.job,
            tables: &self.tables,
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
        let plan = self.plan(request, after, &attempt)?;
        failpoint("load.begin");
        for manifest in &plan.manifests {
            let bytes = Bytes::from(manifest.json.clone());
            request
                .runtime
                .block_on(request.storage.replace(&manifest.path, bytes))?;
        }
        failpoint("load.before_commit");
        let statements: Vec<String> = plan.statements.iter().map(|(_, sql)| sql.clone()).collect();
        let before = self.ledger;
        let done = match self.client.transaction(&statements, &attempt) {
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
                    Ok(_) => return Err(self.explain(&error, &plan)),
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

    /// What a load did. If its answer was lost, what it replaced is not known, and counts as nothing.
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
        for (index, rows) in &plan.rows {
            let inserted = match done {
                Some(_) => count(Role::Inserted(*index)),
                None => *rows,
            };
            let net = inserted.saturating_sub(count(Role::Replaced(*index)));
            let upserts = matches!(
                self.tables[*index].spec.kind,
                crate::table::TableKind::Upsert { .. }
            );
            let load = TableLoad {
                rows: *rows,
                inserted: net,
                updates: if upserts { rows.saturating_sub(net) } else { 0 },
                superseded: if upserts {
                    rows.saturating_sub(inserted)
                } else {
                    0
                },
            };
            report.add(&self.tables[*index].spec.name, load);
        }
        report
    }

    fn note_without_table(&mut self, records: &[Record]) {
        let specs = self.tables.iter().map(|table| &table.spec);
        for dataset in ledger::rows_without_table(&specs, records).into_keys() {
            if self.without_table.insert(dataset.clone()) {
                tracing::warn!(
                    dataset,
                    "no table takes this dataset: its rows stay in storage and are not loaded"
                );
            }
        }
    }

    /// Makes a failed load's error say what an operator needs, and widens columns that were too narrow.
    fn explain(&self, error: &RedshiftError, plan: &LoadPlan) -> LoadFault {
        if error.is_too_long() {
            match self.widen(plan) {
                Ok(0) => {}
                Ok(widened) => {
                    return LoadFault::Warehouse {
                        doing: "insert text that was longer than its column".to_owned(),
                        message: format!("{widened} columns were widened; the load is tried again"),
                        transient: true,
                    };
                }
                Err(unable) => {
                    tracing::warn!(%unable, "cannot widen the columns that are too narrow")
                }
            }
        }
        let statement = match error {
            RedshiftError::Failed {
                statement: Some(index),
                ..
            } => plan.statements.get(*index),
            _ => None,
        };
        let doing = match statement {
            Some((Role::Copied(index), _)) => format!(
                "copy files for the table `{}`",
                self.tables[*index].spec.name
            ),
            Some((Role::Replaced(index), _)) => format!(
                "replace rows of the table `{}`",
                self.tables[*index].spec.name
            ),
            Some((Role::Inserted(index), _)) => {
                format!("insert into the table `{}`", self.tables[*index].spec.name)
            }
            Some((Role::Other, sql)) => {
                format!("run `{}`", sql.chars().take(60).collect::<String>())
            }
            None => "load".to_owned(),
        };
        let mut fault = fault(&doing, error);
        if let (LoadFault::Warehouse { message, .. }, Some((Role::Copied(_), _))) =
            (&mut fault, statement)
            && let Some(detail) = self.copy_errors(error)
        {
            message.push_str(&detail);
        }
        fault
    }

    /// Which file and column a `COPY` failed at, where Redshift tells.
    fn copy_errors(&self, error: &RedshiftError) -> Option<String> {
        let RedshiftError::Failed { query_id, .. } = error else {
            return None;
        };
        let rows = self.client.query(&format!(
            "SELECT file_name, column_name, column_type, error_message FROM sys_load_error_detail \
             WHERE query_id = {query_id} ORDER BY start_time DESC LIMIT 3"
        ));
        let rows = rows
            .inspect_err(|error| tracing::debug!(%error, "no details of the failed COPY"))
            .ok()?;
        let lines = rows.into_iter().map(|row| {
            let mut row = row
                .into_iter()
                .map(|value| value.unwrap_or_default().trim().to_owned());
            let mut next = || row.next().unwrap_or_default();
            let (file, column, ty, message) = (next(), next(), next(), next());
            format!("; file {file}, column `{column}` ({ty}): {message}")
        });
        Some(lines.collect())
    }

    /// Measures the staged text, and widens the columns of the tables that are too narrow.
    fn widen(&self, plan: &LoadPlan) -> Result<usize, SchemaError> {
        let mut widened = 0;
        for index in plan.rows.keys() {
            let table = &self.tables[*index];
            let text: Vec<&str> = table
                .columns
                .iter()
                .filter(|(_, ty)| *ty == Type::Text)
                .map(|(column, _)| column.as_str())
                .collect();
            if text.is_empty() {
                continue;
            }
            let widest: Vec<_> = text
                .iter()
                .map(|column| format!("COALESCE(MAX(OCTET_LENGTH({})), 0)", sql::name(column)))
                .collect();
            let stage = format!("tidegate_stage_{index}");
            let mut statements: Vec<String> = plan
                .statements
                .iter()
                .filter(|(role, sql)| {
                    *role == Role::Copied(*index)
                        || sql.starts_with(&format!("CREATE TEMP TABLE {stage} "))
                })
                .map(|(_, sql)| sql.clone())
                .collect();
            statements.push(format!("SELECT {} FROM {stage}", widest.join(", ")));
            let rows = self
                .client
                .transaction_rows(&statements)
                .map_err(|source| SchemaError::Sql {
                    doing: format!("measure the text for the table `{}`", table.spec.name),
                    source,
                })?;
            let needed: BTreeMap<String, u32> = text
                .iter()
                .zip(rows.into_iter().next().unwrap_or_default())
                .map(|(column, widest)| {
                    let bytes = widest.and_then(|widest| widest.parse().ok()).unwrap_or(0);
                    ((*column).to_owned(), bytes)
                })
                .filter(|(_, bytes)| *bytes <= VARCHAR_MAX)
                .collect();
            widened +=
                schema::widen_to_fit(&self.client, &self.options, &table.spec.name, &needed)?;
        }
        Ok(widened)
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
        let statements = [
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
            .transaction(&statements, &uuid::Uuid::new_v4().to_string())
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
