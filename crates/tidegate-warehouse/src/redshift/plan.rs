//! What a load runs, as text: a pure function of its records, the tables, and where the ledger
//! stands.
//!
//! All of it is one transaction. Its first statement claims the place after the ledger's last
//! record, so that two loaders meet there and nowhere else; a column that cannot be null turns a
//! claim that failed, or staged rows that are not the log's, into an error that rolls everything
//! back.

mod apply;
mod stage;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_log::{FileEntry, Record};

use self::stage::{copied_as_logged, staged_as_logged};
pub(super) use self::stage::{create_stage, stage};
pub(super) use self::table::RedshiftTable;
use self::table::same_name;
use super::options::RedshiftOptions;
use super::sql::{self, Type};
use crate::ledger::{self, Ledger};
use crate::load::LoadFault;

/// Statements that one batch of the Data API can have.
pub(super) const STATEMENTS_MAX: usize = 40;
/// Windows whose parts one load can take, beside events and rejects: each takes four statements,
/// the rest of a load eleven. There is room for five more: two for text that does not fit, two for
/// a table of rejects that is narrow, and one for files from before and after a change of the
/// schema. Where that is not enough, a load takes fewer records: see [`LoadFault::TooLarge`].
pub const WINDOWS_MAX: usize = 6;
/// Lanes whose watermarks one statement moves: about 90 bytes each.
const LANES_MAX: usize = 1_000;
/// Bytes that one statement can have.
pub(super) const STATEMENT_BYTES_MAX: usize = 100_000;

/// A data file, with what its end says of it.
#[derive(Debug, Clone)]
pub(super) struct SourceFile<'a> {
    pub(super) seq: u64,
    pub(super) entry: &'a FileEntry,
    pub(super) columns: Arc<FileColumns>,
    /// Bytes of the longest text of each of its columns, in its order; at most 65,535. Files of
    /// older versions do not say it.
    pub(super) longest_texts: Vec<Option<u32>>,
}

/// The columns of a file, which all files of its form share.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FileColumns {
    /// What they are called, in the file's order.
    pub(super) names: Vec<String>,
    /// What they become in a table; none where the file alone does not tell.
    pub(super) types: Vec<Option<Type>>,
}

impl SourceFile<'_> {
    /// Bytes of the longest text of a column, if the file says it.
    pub(super) fn longest_text(&self, column: &str) -> Option<u32> {
        let mut names = self.columns.names.iter();
        let place = names.position(|name| same_name(name, column))?;
        self.longest_texts.get(place).copied().flatten()
    }

    pub(super) fn fault(&self, problem: impl Into<String>) -> LoadFault {
        LoadFault::File {
            seq: self.seq,
            dataset: self.entry.dataset.clone(),
            path: self.entry.path.clone(),
            problem: problem.into(),
        }
    }
}

/// A manifest, and where it has to be put before the load runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Below the job's prefix.
    pub(super) path: String,
    pub(super) json: String,
}

/// What a statement of a load is for, so that its count of rows can be read afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Counts nothing.
    Other,
    /// Rows that were copied, for the table of that index.
    Copied(usize),
    /// Rows of the table that were deleted.
    Replaced(usize),
    /// Rows that were inserted.
    Inserted(usize),
    /// Rows that were copied straight into the table of that index.
    CopiedInto(usize),
    /// Rows of which a text was cut.
    Cut(usize),
    /// Rows that were rejected, because a text does not fit.
    Rejected(usize),
}

/// A load, ready to be run.
#[derive(Debug, Clone, Default)]
pub(super) struct LoadPlan {
    pub(super) manifests: Vec<Manifest>,
    pub(super) statements: Vec<(Role, String)>,
    /// Rows of each table's files.
    pub(super) rows: BTreeMap<usize, u64>,
    /// Those tables, as the files fill them.
    pub(super) tables: BTreeMap<usize, RedshiftTable>,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// What is to be planned.
pub(super) struct Request<'a> {
    pub(super) options: &'a RedshiftOptions,
    pub(super) job: &'a str,
    pub(super) tables: &'a [RedshiftTable],
    pub(super) records: &'a [Record],
    pub(super) files: Vec<SourceFile<'a>>,
    pub(super) before: Ledger,
    pub(super) after: Ledger,
    /// Names this attempt, so that a claim is known to be its own.
    pub(super) attempt: &'a str,
    /// Microseconds since the Unix epoch.
    pub(super) now: i64,
    /// Turns a path below the prefix into a URL.
    pub(super) url: &'a dyn Fn(&str) -> String,
}

impl Request<'_> {
    fn qualified(&self, table: &str) -> String {
        format!("{}.{}", sql::name(&self.options.schema), sql::name(table))
    }

    /// The load's statements and manifests.
    pub(super) fn plan(&self) -> Result<LoadPlan, LoadFault> {
        let mut plan = LoadPlan::default();
        self.claim(&mut plan);
        let mut checks = Vec::new();
        for (index, table) in self.tables.iter().enumerate() {
            let files: Vec<&SourceFile<'_>> = self
                .files
                .iter()
                .filter(|file| table.spec.takes(&file.entry.dataset))
                .collect();
            if files.is_empty() {
                continue;
            }
            let table = &table.with_columns_of(&files);
            plan.tables.insert(index, table.clone());
            let rows: u64 = files.iter().map(|file| file.entry.rows).sum();
            plan.rows.insert(index, rows);
            plan.files += files.len() as u64;
            plan.bytes += files.iter().map(|file| file.entry.bytes).sum::<u64>();
            if table.takes_files_as_they_are() {
                let target = self.qualified(&table.spec.name);
                self.copy(&target, Role::CopiedInto(index), table, &files, &mut plan)?;
                checks.extend(copied_as_logged(&target, table, rows, &files));
                continue;
            }
            self.stage(index, table, &files, &mut plan)?;
            let too_long = self.options.too_long;
            checks.extend(staged_as_logged(index, table, rows, &files, too_long));
            self.reject(index, table, &mut plan);
            self.apply(index, table, &files, &mut plan);
        }
        self.move_watermarks(&mut plan);
        self.confirm(&checks, &mut plan);
        plan.enter_ledger(self);
        if let Some((_, large)) = plan
            .statements
            .iter()
            .find(|(_, statement)| statement.len() > STATEMENT_BYTES_MAX)
        {
            return Err(LoadFault::TooLarge {
                what: format!(
                    "the load has a statement of {} bytes, and the Data API takes {STATEMENT_BYTES_MAX}",
                    large.len()
                ),
            });
        }
        if plan.statements.len() > STATEMENTS_MAX {
            return Err(LoadFault::TooLarge {
                what: format!(
                    "the load has {} statements, and a batch of the Data API takes {STATEMENTS_MAX}",
                    plan.statements.len()
                ),
            });
        }
        Ok(plan)
    }

    fn claim(&self, plan: &mut LoadPlan) {
        let job = self.qualified("tidegate_job");
        let mut run = |statement: String| plan.statements.push((Role::Other, statement));
        run(format!(
            "UPDATE {job} SET loaded_seq = {}, loaded_crc32c = {}, claimed_by = {} \
             WHERE job = {} AND loaded_seq = {} AND loaded_crc32c = {}",
            self.after.seq,
            self.after.crc32c,
            sql::text(self.attempt),
            sql::text(self.job),
            self.before.seq,
            self.before.crc32c,
        ));
    }

    /// The job's id, if this attempt has claimed it; otherwise null.
    fn claimed(&self) -> String {
        format!(
            "SELECT MAX(job) FROM {} WHERE job = {} AND claimed_by = {}",
            self.qualified("tidegate_job"),
            sql::text(self.job),
            sql::text(self.attempt),
        )
    }

    fn move_watermarks(&self, plan: &mut LoadPlan) {
        let lanes = ledger::watermarks(self.records);
        if lanes.is_empty() {
            return;
        }
        let lanes: Vec<_> = lanes.into_iter().collect();
        for lanes in lanes.chunks(LANES_MAX) {
            self.move_watermarks_of(lanes, plan);
        }
    }

    fn move_watermarks_of(&self, lanes: &[(i32, Option<i64>)], plan: &mut LoadPlan) {
        let table = self.qualified("tidegate_watermarks");
        let job = sql::text(self.job);
        let numbers: Vec<_> = lanes.iter().map(|(lane, _)| lane.to_string()).collect();
        // A lane that is named again without a watermark keeps the one that it has.
        let known: Vec<_> = lanes
            .iter()
            .filter(|(_, watermark)| watermark.is_some())
            .map(|(lane, _)| lane.to_string())
            .collect();
        if !known.is_empty() {
            plan.statements.push((
                Role::Other,
                format!(
                    "DELETE FROM {table} WHERE job = {job} AND lane IN ({})",
                    known.join(", ")
                ),
            ));
        }
        let rows: Vec<_> = lanes
            .iter()
            .map(|(lane, watermark)| {
                let at =
                    watermark.map_or_else(|| "CAST(NULL AS TIMESTAMP)".to_owned(), sql::instant);
                format!("SELECT {lane} AS lane, {at} AS watermark")
            })
            .collect();
        plan.statements.push((
            Role::Other,
            format!(
                "INSERT INTO {table} (job, lane, watermark) SELECT {job}, lane, watermark FROM ({}) AS moved \
                 WHERE lane NOT IN (SELECT lane FROM {table} WHERE job = {job} AND lane IN ({}))",
                rows.join(" UNION ALL "),
                numbers.join(", "),
            ),
        ));
    }

    /// Turns the row of the ledger into null, which it cannot be, unless everything that was staged
    /// is what the log says.
    fn confirm(&self, checks: &[String], plan: &mut LoadPlan) {
        let checks: Vec<_> = checks.iter().map(|check| format!(" AND {check}")).collect();
        plan.statements.push((
            Role::Other,
            format!(
                "UPDATE {} SET job = ({}{}) WHERE job = {} AND last_seq = {}",
                self.qualified("tidegate_ledger"),
                self.claimed(),
                checks.concat(),
                sql::text(self.job),
                self.after.seq,
            ),
        ));
    }
}

impl LoadPlan {
    /// The row that says what was loaded, as the second statement. It fails there, before anything
    /// is copied, if another load was first: its job is never null.
    fn enter_ledger(&mut self, request: &Request<'_>) {
        let rows: u64 = self.rows.values().sum();
        let manifests: Vec<_> = self.manifests.iter().map(|m| m.path.as_str()).collect();
        let statement = format!(
            "INSERT INTO {} (job, first_seq, last_seq, files, bytes, rows, manifests, loaded_at) \
             SELECT ({}), {}, {}, {}, {}, {rows}, {}, {}",
            request.qualified("tidegate_ledger"),
            request.claimed(),
            request.before.seq + 1,
            request.after.seq,
            self.files,
            self.bytes,
            sql::text(&manifests.join(" ")),
            sql::instant(request.now),
        );
        self.statements.insert(1, (Role::Other, statement));
    }
}

#[cfg(test)]
mod tests;
