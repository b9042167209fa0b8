//! A small job of the check's own: files in the form that the loader writes, loaded as the loader
//! loads.

use std::path::PathBuf;
use std::time::Duration;

use futures::TryStreamExt;
use tempfile::TempDir;
use tidegate_engine::{Engine, LoadAlone, WarehouseKind};
use tidegate_log::recover;
use tidegate_storage::Storage;
use tidegate_warehouse::RedshiftOptions;
use tidegate_warehouse::redshift::options::Layout;
use tidegate_warehouse::redshift::{RedshiftError, Session, in_catalog, quoted};
use tokio::runtime::Runtime;

use super::super::run::engine_options;
use super::probes::lines;
use super::{ProbeNames, ProbeOutcome, words};
use crate::config;
use crate::config::options::Config;
use crate::exit::Failure;

/// The present of the job, 2026-11-29 12:00 UTC, and the time of its events: eleven days before.
const NOW: i64 = 1_795_953_600_000_000;
const EVENTS: i64 = 1_795_000_000_123_456;

/// An event whose key is one letter, with a value of each type.
const EVERY_TYPE: &str = r#""g":"s","d9":"1.23","d18":"-9999999999999999.99","d20":"5.5","d38":"1234567890.0123456789","f":0.25,"b":true,"day":"2026-02-28","m":{"x":"ü"},"far":-62135596800000"#;
const EVERY_VALUE: &str = "1.23 -9999999999999999.99 5.50 1234567890.0123456789 0.25 true 2026-02-28 ü \
                           0001-01-01 00:00:00.000000 2026-11-18 11:06:40.123456 7";

/// The tables that all jobs of a schema share. The check's job makes those that are missing, and
/// drops none that another job has rows in.
const SHARED: [&str; 4] = [
    "tidegate_job",
    "tidegate_ledger",
    "tidegate_watermarks",
    "tidegate_maintenance",
];

/// The job, step by step: each adds a file, and runs the whole pipeline to its end.
pub(super) struct CheckJob<'a> {
    base: Config,
    redshift: RedshiftOptions,
    names: &'a ProbeNames,
    session: &'a Session,
    runtime: &'a Runtime,
    folder: TempDir,
    /// Files so far.
    files: usize,
    /// Those of [`SHARED`] that were there before.
    shared_before: Vec<String>,
}

/// What a step changes of the configuration.
#[derive(Default, Clone, Copy)]
struct Form {
    /// One more field.
    extra: bool,
    /// One more aggregate.
    sum: bool,
}

impl<'a> CheckJob<'a> {
    pub(super) fn new(
        base: &Config,
        redshift: RedshiftOptions,
        names: &'a ProbeNames,
        session: &'a Session,
        runtime: &'a Runtime,
    ) -> Result<Self, Failure> {
        let folder = TempDir::new()
            .map_err(|error| Failure::other(format!("cannot make a temporary folder: {error}")))?;
        let shared_before = shared_tables(session, &names.schema)?;
        Ok(CheckJob {
            base: base.clone(),
            redshift: RedshiftOptions {
                layout: Layout::default(),
                ..redshift
            },
            names,
            session,
            runtime,
            folder,
            files: 0,
            shared_before,
        })
    }

    /// Runs all steps.
    pub(super) fn run(
        &mut self,
        each: &mut dyn FnMut(&ProbeOutcome) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (plain, extra, all) = (
            Form::default(),
            Form {
                extra: true,
                sum: false,
            },
            Form {
                extra: true,
                sum: true,
            },
        );
        let first = [
            format!(r#"{{"k":"a",{EVERY_TYPE},"at":{EVENTS}}}"#),
            format!(r#"{{"k":"a ","at":{}}}"#, EVENTS + 1),
            r#"{"k":"broken"}"#.to_owned(),
        ];
        each(&self.load("a load, with a reject", &first, plain))?;
        each(&self.every_type())?;
        let updates = [
            format!(r#"{{"k":"a","at":{}}}"#, EVENTS + 2),
            format!(r#"{{"k":"a ","at":{}}}"#, EVENTS + 3),
        ];
        each(&self.load("updates", &updates, plain))?;
        let count = format!("SELECT COUNT(*) FROM {}", self.names.table(""));
        each(&self.rows("keys that differ in blanks at the end stay two", count, "2"))?;
        let long = [format!(
            r#"{{"k":"{}","at":{}}}"#,
            "k".repeat(300),
            EVENTS + 4
        )];
        each(&self.load("a key of 300 bytes", &long, plain))?;
        let more = [format!(r#"{{"k":"n","extra":1,"at":{}}}"#, EVENTS + 5)];
        each(&self.load("one more field", &more, extra))?;
        let group = "G".repeat(300);
        let groups = [
            format!(r#"{{"k":"o","g":"{group}","at":{}}}"#, EVENTS + 900_000_000),
            format!(
                r#"{{"k":"p","g":"{group} ","at":{}}}"#,
                EVENTS + 900_000_001
            ),
        ];
        each(&self.load("one more aggregate, and groups of 300 bytes", &groups, all))?;
        let groups = format!(
            "SELECT COUNT(*) FROM {} WHERE OCTET_LENGTH(g) >= 300",
            self.names.table("_1m")
        );
        each(&self.rows(
            "groups that differ in blanks at the end stay two",
            groups,
            "2",
        ))?;
        each(&self.two_loaders(all))?;
        let gaps = format!(
            "SELECT COUNT(*) FROM (SELECT first_seq, LAG(last_seq) OVER (ORDER BY first_seq) AS previous FROM {} \
             WHERE job = (SELECT MAX(job) FROM {} WHERE job = '{}')) AS loads \
             WHERE previous IS NOT NULL AND first_seq <> previous + 1",
            self.own("tidegate_ledger"),
            self.own("tidegate_job"),
            self.find_job().ok().flatten().unwrap_or_default(),
        );
        each(&self.rows("no gap in the ledger", gaps, "0"))
    }

    /// Removes the job's tables, its rows in the tables that jobs share, and its files.
    pub(super) fn clean_up(&self) -> ProbeOutcome {
        let mut problems = Vec::new();
        let mut run = |sql: String| {
            if let Err(error) = self.session.run(&sql) {
                problems.push(format!("{sql}: {}", words(&error)));
            }
        };
        run(format!("DROP VIEW IF EXISTS {}", self.names.table("_1m")));
        for table in ["", "_rejected", "_1m__parts"] {
            run(format!("DROP TABLE IF EXISTS {}", self.names.table(table)));
        }
        if let Err(problem) = self.leave_shared_tables() {
            problems.push(problem);
        }
        if let Err(error) = self.runtime.block_on(self.remove_files()) {
            problems.push(error.to_string());
        }
        outcome(
            "what the check made is removed",
            "done",
            if problems.is_empty() {
                "done".to_owned()
            } else {
                problems.join("; ")
            },
        )
    }

    /// Deletes the job's rows from the tables that jobs share. Those that were not there before are
    /// dropped if nobody has rows in any of them: a job that began meanwhile keeps all of them.
    fn leave_shared_tables(&self) -> Result<(), String> {
        let there =
            shared_tables(self.session, &self.names.schema).map_err(|error| error.message)?;
        if let Some(job) = self.find_job().map_err(|error| error.message)? {
            for table in &there {
                let sql = format!("DELETE FROM {} WHERE job = '{job}'", self.own(table));
                let deleted = self.session.run(&sql);
                deleted.map_err(|error| format!("{sql}: {}", words(&error)))?;
            }
        }
        let made: Vec<_> = there
            .iter()
            .filter(|table| !self.shared_before.contains(table))
            .collect();
        if made.is_empty() {
            return Ok(());
        }
        // No SQL drops a table on a condition, but a division by zero undoes the transaction.
        let rows: Vec<_> = there
            .iter()
            .map(|table| format!("(SELECT COUNT(*) FROM {})", self.own(table)))
            .collect();
        let mut statements: Vec<_> = there
            .iter()
            .map(|table| format!("LOCK {}", self.own(table)))
            .collect();
        let guard = statements.len();
        statements.push(format!(
            "SELECT 1 / CASE WHEN {} = 0 THEN 1 ELSE 0 END",
            rows.join(" + ")
        ));
        statements.extend(
            made.iter()
                .map(|table| format!("DROP TABLE {}", self.own(table))),
        );
        match self.session.transaction(&statements) {
            Ok(()) => Ok(()),
            Err(RedshiftError::Failed {
                statement: Some(at),
                ..
            }) if at == guard => Ok(()),
            Err(error) => Err(format!("drop the shared tables: {}", words(&error))),
        }
    }

    async fn remove_files(&self) -> Result<(), tidegate_storage::StorageError> {
        let storage = Storage::open_existing(&self.storage())?;
        let objects: Vec<_> = storage.list("").try_collect().await?;
        for object in objects {
            storage.delete(object.location.as_ref()).await?;
        }
        Ok(())
    }

    fn storage(&self) -> tidegate_storage::StorageOptions {
        let mut storage = self.base.storage.clone();
        storage.url = format!(
            "{}/{}",
            storage.url.trim_end_matches('/'),
            self.names.prefix
        );
        storage
    }

    /// One of the loader's own tables.
    fn own(&self, table: &str) -> String {
        format!("{}.{}", quoted(&self.names.schema), quoted(table))
    }

    /// The job's id; none if it has committed nothing.
    fn find_job(&self) -> Result<Option<String>, Failure> {
        let found = self.runtime.block_on(async {
            let storage = Storage::open_existing(&self.storage()).map_err(Failure::other)?;
            let log = recover(&storage, Duration::ZERO).await;
            log.map_err(Failure::other)
        })?;
        Ok(found.map(|log| log.job.to_string()))
    }

    /// The configuration: the user's Redshift, storage and credentials, and a job of the check's
    /// own.
    fn config(&self, form: Form) -> Result<Config, Failure> {
        let text = format!(
            r#"version = 1
name = "{prefix}"
[source]
kind = "files"
path = {source:?}
[storage]
url = "memory:"
[warehouse]
url = "none"
[load]
interval = "1s"
[schema]
k = {{ type = "string", required = true }}
g = "string"
d9 = "decimal(9,2)"
d18 = "decimal(18,2)"
d20 = "decimal(20,2)"
d38 = "decimal(38,10)"
f = "float64"
b = "bool"
day = "date"
m = "map<string,string>"
far = "timestamp_ms"
at = {{ type = "timestamp_us", required = true }}
{extra}
[event-time]
field = "at"
[enrich]
i16 = "cast(7 as smallint)"
[upsert]
key = ["k"]
[[windows]]
name = "{prefix}_1m"
size = "1m"
group-by = ["g"]
[windows.aggregates]
n = "count(*)"
{sum}
"#,
            prefix = self.names.prefix,
            source = self.source(),
            extra = if form.extra { "extra = \"int32\"" } else { "" },
            sum = if form.sum { "total = \"sum(d9)\"" } else { "" },
        );
        let loaded = config::read("the check's own job", text, &[], &|_| None)
            .map_err(|error| Failure::other(format!("the check's own configuration: {error}")))?;
        let mut config = loaded.config;
        let kind = WarehouseKind::Redshift(Box::new(self.redshift.clone()));
        config.spec.stored = kind.stored_form();
        config.storage = self.storage();
        config.warehouse = Some(config::options::WarehouseConfig {
            kind,
            table: self.names.prefix.clone(),
            rejected_table: format!("{}_rejected", self.names.prefix),
            reach: None,
        });
        Ok(config)
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("in")
    }

    /// Adds a file and runs the pipeline to its end.
    fn load(&mut self, name: &'static str, events: &[String], form: Form) -> ProbeOutcome {
        let found = self.try_load(events, form, false);
        outcome(
            name,
            "done",
            found.map_or_else(|error| error.message, |()| "done".to_owned()),
        )
    }

    fn try_load(
        &mut self,
        events: &[String],
        form: Form,
        only_commit: bool,
    ) -> Result<(), Failure> {
        let folder = self.source();
        self.files += 1;
        let written = std::fs::create_dir_all(&folder).and_then(|()| {
            let file = folder.join(format!("{:04}.ndjson", self.files));
            std::fs::write(file, events.join("\n") + "\n")
        });
        written
            .map_err(|error| Failure::other(format!("cannot write the check's events: {error}")))?;
        let mut config = self.config(form)?;
        config.load.separate = only_commit;
        self.runtime.block_on(async {
            let options = engine_options(&config, true, Some(NOW));
            let engine = Engine::start(options).await.map_err(Failure::other)?;
            engine.wait().await.map_err(Failure::other)
        })?;
        Ok(())
    }

    fn every_type(&self) -> ProbeOutcome {
        let query = format!(
            "SELECT CAST(d9 AS VARCHAR), CAST(d18 AS VARCHAR), CAST(d20 AS VARCHAR), CAST(d38 AS VARCHAR), f, b, \
             CAST(day AS VARCHAR), m.x::VARCHAR, TO_CHAR(far, 'YYYY-MM-DD HH24:MI:SS.US'), \
             TO_CHAR(event_timestamp, 'YYYY-MM-DD HH24:MI:SS.US'), i16 FROM {} WHERE OCTET_LENGTH(k) = 1",
            self.names.table("")
        );
        // A path into SUPER is Redshift's own; where it is not known, the text of all of it will
        // do.
        let text = query.replace(
            "m.x::VARCHAR",
            "SUBSTRING(REPLACE(JSON_SERIALIZE(m), ' ', ''), 7, 1)",
        );
        match self.session.rows(&[query]) {
            Ok(rows) => outcome("each type comes as it was", EVERY_VALUE, lines(&rows)),
            Err(_) => self.rows("each type comes as it was", text, EVERY_VALUE),
        }
    }

    /// Two loaders at once: one of them may lose, and nothing is doubled.
    fn two_loaders(&mut self, form: Form) -> ProbeOutcome {
        let name = "two loaders at once load everything once";
        let before = self.count();
        let mut committed = Ok(());
        for n in 0..4 {
            let at = EVENTS + 1_000_000_000 + n;
            let event = format!(r#"{{"k":"two{n}","at":{at}}}"#);
            committed = committed.and_then(|()| self.try_load(&[event], form, true));
        }
        if let Err(error) = committed.and_then(|()| self.load_twice(form)) {
            return outcome(name, "4 rows more", error.message);
        }
        let found = match (before, self.count()) {
            (Some(before), Some(after)) => format!("{} rows more", after - before),
            _ => "the rows cannot be counted".to_owned(),
        };
        outcome(name, "4 rows more", found)
    }

    fn load_twice(&self, form: Form) -> Result<(), Failure> {
        let config = self.config(form)?;
        let loader = || {
            let options = engine_options(&config, false, Some(NOW));
            let loader = LoadAlone::open(options, self.runtime.handle()).map_err(Failure::other)?;
            loader
                .run(true, &|| false, &mut |_| {})
                .map_err(Failure::other)
        };
        #[expect(clippy::disallowed_methods, reason = "it has no channel")]
        let results = std::thread::scope(|scope| {
            let other = scope.spawn(loader);
            [
                loader(),
                other
                    .join()
                    .unwrap_or_else(|_| Err(Failure::other("a loader panicked"))),
            ]
        });
        // Whoever lost says so, and stops or goes on after the other.
        match results {
            [Err(error), Err(_)] => Err(error),
            _ => loader(),
        }
    }

    fn count(&self) -> Option<i64> {
        let query = format!("SELECT COUNT(*) FROM {}", self.names.table(""));
        let rows = self.session.rows(&[query]).ok()?;
        rows.first()?.first()?.as_deref()?.parse().ok()
    }

    fn rows(&self, name: &'static str, query: String, believed: &str) -> ProbeOutcome {
        let found = self.session.rows(&[query]);
        outcome(
            name,
            believed,
            found.map_or_else(|error| words(&error), |rows| lines(&rows)),
        )
    }
}

/// Which of the shared tables are there.
fn shared_tables(session: &Session, schema: &str) -> Result<Vec<String>, Failure> {
    let query = format!(
        "SELECT DISTINCT table_name FROM svv_columns WHERE table_schema = {} AND table_name IN ('{}')",
        in_catalog(schema),
        SHARED.join("', '")
    );
    let rows = session.rows(&[query]).map_err(|error| {
        Failure::other(format!(
            "cannot see which tables there are: {}",
            words(&error)
        ))
    })?;
    Ok(rows.into_iter().flatten().flatten().collect())
}

fn outcome(name: &'static str, believed: &str, found: String) -> ProbeOutcome {
    ProbeOutcome {
        name,
        as_believed: found == believed,
        believed: believed.to_owned(),
        found,
    }
}
