//! What a load runs, as text: a pure function of its records, the tables, and where the ledger stands.
//!
//! All of it is one transaction. Its first statement claims the place behind the ledger's last record,
//! so that two loaders meet there and nowhere else; a column that cannot be null turns a claim that
//! failed, or a count that is not the log's, into an error that rolls everything back.

use std::collections::BTreeMap;

use tidegate_log::{FileEntry, Record};

use super::options::RedshiftOptions;
use super::sql::{self, Compared, Type};
use crate::ledger::{self, Ledger};
use crate::load::LoadFault;
use crate::table::{Reach, TableKind, TableSpec};

/// Statements that one batch of the Data API can have.
pub(super) const STATEMENTS_MAX: usize = 40;
/// Windows whose parts one load can take, beside events and rejects: each takes four statements, the rest of
/// a load fifteen, and files from before and after a change of the schema one more.
pub const WINDOWS_MAX: usize = 6;
/// Bytes that one statement can have.
pub(super) const STATEMENT_BYTES_MAX: usize = 100_000;

/// A table with the types of its columns.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) spec: TableSpec,
    pub(super) columns: Vec<(String, Type)>,
}

impl Table {
    fn compared<'a>(&self, name: &'a str) -> Compared<'a> {
        let ty = self.spec.column_type(name).and_then(Type::of);
        Compared {
            name,
            nullable: !self.spec.is_required(name),
            text: ty == Some(Type::Text),
        }
    }
}

/// A data file, with the columns that it has, in its order.
#[derive(Debug, Clone)]
pub(super) struct SourceFile<'a> {
    pub(super) seq: u64,
    pub(super) entry: &'a FileEntry,
    pub(super) url: String,
    pub(super) columns: Vec<String>,
}

impl SourceFile<'_> {
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
}

/// A load, ready to be run.
#[derive(Debug, Clone, Default)]
pub(super) struct LoadPlan {
    pub(super) manifests: Vec<Manifest>,
    pub(super) statements: Vec<(Role, String)>,
    /// Rows of each table's files.
    pub(super) rows: BTreeMap<usize, u64>,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// What is to be planned.
pub(super) struct Request<'a> {
    pub(super) options: &'a RedshiftOptions,
    pub(super) job: &'a str,
    pub(super) tables: &'a [Table],
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
            let rows: u64 = files.iter().map(|file| file.entry.rows).sum();
            plan.rows.insert(index, rows);
            plan.files += files.len() as u64;
            plan.bytes += files.iter().map(|file| file.entry.bytes).sum::<u64>();
            checks.push((stage(index), rows));
            self.copy(index, table, &files, &mut plan)?;
            self.apply(index, table, &files, &mut plan);
        }
        self.move_watermarks(&mut plan);
        self.write_ledger(&checks, &mut plan);
        if let Some((_, large)) = plan
            .statements
            .iter()
            .find(|(_, statement)| statement.len() > STATEMENT_BYTES_MAX)
        {
            return Err(too_much(&format!(
                "a statement of {} bytes, and the Data API takes {STATEMENT_BYTES_MAX}",
                large.len()
            )));
        }
        if plan.statements.len() > STATEMENTS_MAX {
            return Err(too_much(&format!(
                "{} statements, and a batch of the Data API takes {STATEMENTS_MAX}",
                plan.statements.len()
            )));
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
        // Fails here, before anything is copied, if another load was first: the column is never null.
        run("CREATE TEMP TABLE tidegate_claim (job VARCHAR(64) NOT NULL)".to_owned());
        run(format!(
            "INSERT INTO tidegate_claim SELECT ({})",
            self.claimed()
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

    /// Files into a staging table: one `COPY` for all that have the same columns.
    fn copy(
        &self,
        index: usize,
        table: &Table,
        files: &[&SourceFile<'_>],
        plan: &mut LoadPlan,
    ) -> Result<(), LoadFault> {
        let definitions: Vec<_> = table
            .columns
            .iter()
            .map(|(column, ty)| format!("{} {}", sql::name(column), ty.staged()))
            .collect();
        plan.statements.push((
            Role::Other,
            format!(
                "CREATE TEMP TABLE {} ({})",
                stage(index),
                definitions.join(", ")
            ),
        ));
        let mut groups: Vec<(&[String], Vec<&SourceFile<'_>>)> = Vec::new();
        for file in files {
            match groups
                .iter_mut()
                .find(|(columns, _)| *columns == file.columns)
            {
                Some((_, group)) => group.push(file),
                None => groups.push((&file.columns, vec![file])),
            }
        }
        for (number, (columns, group)) in groups.into_iter().enumerate() {
            // Columns are mapped by position: what the table does not have would land in another one.
            if let Some(unknown) = columns.iter().find(|column| {
                !table
                    .columns
                    .iter()
                    .any(|(known, _)| known.eq_ignore_ascii_case(column))
            }) {
                return Err(group[0].fault(format!(
                    "has the column `{unknown}`, which the table `{}` lacks. If the column was taken out of the \
                     configuration, put it back until what was committed with it is loaded",
                    table.spec.name
                )));
            }
            let manifest = self.manifest(table, number, &group);
            plan.statements.push((
                Role::Copied(index),
                format!(
                    "COPY {} ({}) FROM {} IAM_ROLE {} FORMAT AS PARQUET MANIFEST",
                    stage(index),
                    sql::names(columns.iter().map(String::as_str)),
                    sql::text(&(self.url)(&manifest.path)),
                    match self.options.iam_role.as_str() {
                        "default" => "default".to_owned(),
                        arn => sql::text(arn),
                    },
                ),
            ));
            plan.manifests.push(manifest);
        }
        Ok(())
    }

    fn manifest(&self, table: &Table, number: usize, files: &[&SourceFile<'_>]) -> Manifest {
        let entries: Vec<_> = files
            .iter()
            .map(|file| {
                serde_json::json!({
                    "url": file.url,
                    "mandatory": true,
                    "meta": { "content_length": file.entry.bytes },
                })
            })
            .collect();
        let part = if number == 0 {
            String::new()
        } else {
            format!("-{number}")
        };
        Manifest {
            path: format!(
                "manifest/{:020}-{:020}-{}{part}.json",
                self.before.seq + 1,
                self.after.seq,
                table.spec.name,
            ),
            json: serde_json::json!({ "entries": entries }).to_string(),
        }
    }

    /// Staged rows into the table.
    fn apply(&self, index: usize, table: &Table, files: &[&SourceFile<'_>], plan: &mut LoadPlan) {
        let target = self.qualified(&table.spec.name);
        let key = table.spec.key().unwrap_or_default();
        let key: Vec<_> = key.into_iter().map(|name| table.compared(name)).collect();
        let mut from = stage(index);
        match &table.spec.kind {
            TableKind::Append => {}
            TableKind::Upsert { order, reach, .. } => {
                let order: Vec<_> = order.iter().map(|name| table.compared(name)).collect();
                let within = reach
                    .as_ref()
                    .map_or_else(String::new, |reach| within_reach(&target, reach, files));
                let latest = format!("tidegate_latest_{index}");
                plan.statements.push((
                    Role::Other,
                    latest_of_each_key(table, &latest, &from, &key, &order),
                ));
                plan.statements.push((
                    Role::Other,
                    format!(
                        "DELETE FROM {latest} USING {target} WHERE {} AND {}{within}",
                        sql::equal(&latest, &target, &key),
                        sql::greater(&target, &latest, &order),
                    ),
                ));
                plan.statements.push((
                    Role::Replaced(index),
                    format!(
                        "DELETE FROM {target} USING {latest} WHERE {}{within}",
                        sql::equal(&target, &latest, &key),
                    ),
                ));
                from = latest;
            }
            TableKind::WindowParts { .. } => plan.statements.push((
                Role::Replaced(index),
                format!(
                    "DELETE FROM {target} USING {from} WHERE {}",
                    sql::equal(&target, &from, &key),
                ),
            )),
        }
        let values: Vec<_> = table
            .columns
            .iter()
            .map(|(column, ty)| ty.load(column))
            .collect();
        plan.statements.push((
            Role::Inserted(index),
            format!(
                "INSERT INTO {target} ({}) SELECT {} FROM {from}",
                sql::names(table.columns.iter().map(|(column, _)| column.as_str())),
                values.join(", "),
            ),
        ));
    }

    fn move_watermarks(&self, plan: &mut LoadPlan) {
        let lanes = ledger::watermarks(self.records);
        if lanes.is_empty() {
            return;
        }
        let table = self.qualified("tidegate_watermarks");
        let job = sql::text(self.job);
        let numbers: Vec<_> = lanes.keys().map(i32::to_string).collect();
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

    /// The row that says what was loaded. It is refused if a staging table does not hold the rows that
    /// the log promises.
    fn write_ledger(&self, checks: &[(String, u64)], plan: &mut LoadPlan) {
        let counts: Vec<_> = checks
            .iter()
            .map(|(stage, rows)| format!(" AND (SELECT COUNT(*) FROM {stage}) = {rows}"))
            .collect();
        let rows: u64 = plan.rows.values().sum();
        let manifests: Vec<_> = plan.manifests.iter().map(|m| m.path.as_str()).collect();
        plan.statements.push((
            Role::Other,
            format!(
                "INSERT INTO {} (job, first_seq, last_seq, files, bytes, rows, manifests, loaded_at) \
                 SELECT ({}{}), {}, {}, {}, {}, {rows}, {}, {}",
                self.qualified("tidegate_ledger"),
                self.claimed(),
                counts.concat(),
                self.before.seq + 1,
                self.after.seq,
                plan.files,
                plan.bytes,
                sql::text(&manifests.join(" ")),
                sql::instant(self.now),
            ),
        ));
    }
}

/// The staging table of a table.
fn stage(index: usize) -> String {
    format!("tidegate_stage_{index}")
}

fn latest_of_each_key(
    table: &Table,
    latest: &str,
    from: &str,
    key: &[Compared<'_>],
    order: &[Compared<'_>],
) -> String {
    let columns = sql::names(table.columns.iter().map(|(column, _)| column.as_str()));
    format!(
        "CREATE TEMP TABLE {latest} AS SELECT {columns} FROM (SELECT {columns}, ROW_NUMBER() OVER (PARTITION BY {} \
         ORDER BY {}) AS tidegate_row FROM {from}) AS ranked WHERE tidegate_row = 1",
        sql::distinct(key),
        sql::descending(order),
    )
}

/// Bounds the search for rows of the same key by the time that the files say they have.
fn within_reach(target: &str, reach: &Reach, files: &[&SourceFile<'_>]) -> String {
    let ranges = || files.iter().map(|file| file.entry.event_time);
    let (Some(least), Some(greatest)) = (
        ranges().map(|r| r.map_or(i64::MIN, |r| r.0)).min(),
        ranges().map(|r| r.map_or(i64::MAX, |r| r.1)).max(),
    ) else {
        return String::new();
    };
    let within = i64::try_from(reach.within.as_micros()).unwrap_or(i64::MAX);
    format!(
        " AND {target}.{} BETWEEN {} AND {}",
        sql::name(&reach.column),
        sql::instant(least.saturating_sub(within)),
        sql::instant(greatest.saturating_add(within)),
    )
}

fn too_much(what: &str) -> LoadFault {
    LoadFault::Warehouse {
        doing: "put the load into one transaction".to_owned(),
        message: format!("it has {what}. Fewer windows, or several jobs, make it smaller"),
        transient: false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arrow::datatypes::{DataType, TimeUnit};
    use tidegate_log::{Counts, JobId, Span};

    use super::*;
    use crate::redshift::options::{Identity, Layout, Target};
    use crate::redshift::schema::typed;

    fn options() -> RedshiftOptions {
        RedshiftOptions {
            target: Target::Workgroup("w".to_owned()),
            identity: Identity::Iam,
            database: "dev".to_owned(),
            schema: "public".to_owned(),
            iam_role: "arn:aws:iam::123456789012:role/copy".to_owned(),
            region: None,
            endpoint: None,
            layout: Layout::default(),
            timeout: Duration::from_secs(1),
            keys: None,
        }
    }

    fn column(name: &str, ty: DataType) -> (String, DataType) {
        (name.to_owned(), ty)
    }

    fn tables(windows: usize) -> Vec<Table> {
        let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let events = TableSpec {
            name: "t".to_owned(),
            datasets: vec!["events".to_owned()],
            columns: vec![column("id", DataType::Utf8), column("at", at.clone())],
            required: vec!["id".to_owned(), "at".to_owned()],
            kind: TableKind::Upsert {
                key: vec!["id".to_owned()],
                order: vec!["at".to_owned()],
                reach: Some(Reach {
                    column: "at".to_owned(),
                    within: Duration::from_secs(60),
                }),
            },
        };
        let rejected = TableSpec {
            name: "r".to_owned(),
            datasets: vec!["rejected".to_owned()],
            columns: vec![column("payload", DataType::Utf8)],
            required: Vec::new(),
            kind: TableKind::Append,
        };
        let window = |n: usize| {
            let columns = vec![
                column("window_start", at.clone()),
                column("window_end", at.clone()),
                column("lane", DataType::Int32),
            ];
            let dataset = format!("window:w{n}");
            TableSpec::window_parts(
                &format!("w{n}"),
                vec![dataset],
                columns,
                Vec::new(),
                Vec::new(),
            )
        };
        let specs = [events, rejected]
            .into_iter()
            .chain((0..windows).map(window));
        specs
            .map(|spec| typed(spec).unwrap_or_else(|error| panic!("{error}")))
            .collect()
    }

    fn entry(dataset: &str) -> FileEntry {
        FileEntry {
            dataset: dataset.to_owned(),
            path: format!("data/{dataset}.parquet"),
            rows: 5,
            bytes: 99,
            crc32c: 0,
            event_time: Some((0, 1_000_000)),
        }
    }

    /// A load of a file for each table, and of one of events from before a column was added.
    fn plan(windows: usize) -> Result<LoadPlan, LoadFault> {
        let tables = tables(windows);
        let datasets = tables.iter().flat_map(|table| table.spec.datasets.clone());
        let files: Vec<FileEntry> = datasets.map(|dataset| entry(&dataset)).collect();
        let record = Record {
            version: 1,
            seq: 8,
            job: JobId("j".to_owned()),
            writer: String::new(),
            written_at: 0,
            prev_crc32c: 0,
            schema_version: 1,
            partitions: vec![Span {
                id: 0,
                lane: 3,
                name: String::new(),
                from: 0,
                to: 0,
                gone: 0,
            }],
            watermarks: BTreeMap::from([(0, 5_000_000)]),
            counts: Counts::default(),
            rejected_by: BTreeMap::new(),
            files: Vec::new(),
            complete: false,
            founding: None,
            crc32c: 0,
        };
        let options = options();
        let old = entry("events");
        let source = |entry, columns: Vec<String>| SourceFile {
            seq: 8,
            entry,
            url: "s3://b/f".to_owned(),
            columns,
        };
        let mut sources = vec![source(&old, vec!["id".to_owned()])];
        for (file, table) in files.iter().zip(&tables) {
            let columns = table
                .columns
                .iter()
                .map(|(column, _)| column.clone())
                .collect();
            sources.push(source(file, columns));
        }
        Request {
            options: &options,
            job: "j",
            tables: &tables,
            records: std::slice::from_ref(&record),
            files: sources,
            before: Ledger { seq: 7, crc32c: 1 },
            after: Ledger { seq: 8, crc32c: 2 },
            attempt: "a1",
            now: 0,
            url: &|path| format!("s3://b/{path}"),
        }
        .plan()
    }

    #[test]
    fn as_many_windows_as_are_allowed_fit_into_one_batch() {
        let statements = |windows| plan(windows).map(|plan| plan.statements.len()).ok();
        assert_eq!(statements(WINDOWS_MAX), Some(STATEMENTS_MAX));
        assert_eq!(statements(WINDOWS_MAX + 1), None);
    }

    #[test]
    fn the_claim_is_first_and_the_ledger_checks_every_count() {
        let plan = plan(1).unwrap_or_else(|error| panic!("{error}"));
        let sql: Vec<&str> = plan
            .statements
            .iter()
            .map(|(_, sql)| sql.as_str())
            .collect();
        assert!(sql[0].starts_with("UPDATE \"public\".\"tidegate_job\" SET loaded_seq = 8"));
        assert!(sql[0].ends_with("WHERE job = 'j' AND loaded_seq = 7 AND loaded_crc32c = 1"));
        let last = sql[sql.len() - 1];
        for check in [
            "tidegate_stage_0) = 10",
            "tidegate_stage_1) = 5",
            "tidegate_stage_2) = 5",
            "claimed_by = 'a1'",
        ] {
            assert!(last.contains(check), "{check} is not in {last}");
        }
        // Columns by position: files with other columns have a COPY of their own.
        let copies: Vec<&&str> = sql
            .iter()
            .filter(|sql| sql.starts_with("COPY tidegate_stage_0"))
            .collect();
        assert!(copies[0].contains("(\"id\") FROM") && copies[1].contains("(\"id\", \"at\") FROM"));
        assert!(
            plan.manifests[0]
                .json
                .contains(r#""meta":{"content_length":99}"#)
        );
    }

    #[test]
    fn a_search_for_rows_of_the_same_key_is_bounded_by_the_reach() {
        let plan = plan(0).unwrap_or_else(|error| panic!("{error}"));
        let within = "BETWEEN TIMESTAMP '1969-12-31 23:59:00.000000' AND TIMESTAMP '1970-01-01 00:01:01.000000'";
        let deletes = plan
            .statements
            .iter()
            .filter(|(_, sql)| sql.starts_with("DELETE") && sql.contains("latest"));
        assert!(
            deletes.clone().count() == 2 && deletes.clone().all(|(_, sql)| sql.contains(within))
        );
    }
}
