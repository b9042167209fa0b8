//! `tidegate redshift check`: what the loader believes of Redshift, asked of a Redshift.
//!
//! The loader was written from documentation and from what others report of their clusters. Each
//! belief that it rests on is a probe here: `probes` are statements, `job` runs a small pipeline of
//! its own, with tables and files that are removed again.

mod job;
mod probes;

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tidegate_engine::WarehouseKind;
use tidegate_storage::{Storage, StorageOptions};
use tidegate_warehouse::RedshiftOptions;
use tidegate_warehouse::redshift::{RedshiftError, Session, in_catalog, quoted};
use tokio::runtime::Runtime;

use super::{failures, load_config, runtime};
use crate::cli::{RedshiftCheckArgs, SummaryFormat};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::signals::Signals;

/// How long the storage is waited for before anything is asked.
const STORAGE_WAIT: Duration = Duration::from_secs(5);

/// What one probe has found.
#[derive(Debug)]
struct ProbeOutcome {
    name: &'static str,
    believed: String,
    found: String,
    as_believed: bool,
}

/// Prints outcomes as they come.
struct OutcomePrinter {
    format: SummaryFormat,
    probes: usize,
    different: usize,
}

/// Runs everything, and fails if anything is different.
pub(super) fn check(args: &RedshiftCheckArgs) -> Result<Exit, Failure> {
    let config = load_config(&args.config)?.config;
    let redshift = match config.warehouse.as_ref().map(|warehouse| &warehouse.kind) {
        Some(WarehouseKind::Redshift(redshift)) => redshift.as_ref().clone(),
        _ => {
            let message = "warehouse.url names no Redshift";
            return Err(Failure::new(Exit::InvalidConfig, message)
                .hint("write url = \"redshift://DATABASE/SCHEMA\" in [warehouse]"));
        }
    };
    let runtime = runtime()?;
    let session = Session::new(&redshift, runtime.handle());
    // Whatever else is wrong, that the Redshift cannot be asked at all is said as what it is.
    session.run("SELECT 1").map_err(|error| {
        let exit = if error.is_transient() {
            Exit::Temporary
        } else {
            Exit::Failure
        };
        Failure::new(exit, format!("cannot ask this Redshift: {error}"))
            .hint("docs/redshift.md has the permissions and grants")
    })?;
    check_schema(&session, &redshift)?;
    let id = uuid::Uuid::new_v4().simple().to_string();
    let names = ProbeNames::new(&redshift.schema, &id[..8]);
    check_storage(&config.storage, &names, &runtime)?;
    let stopped = Arc::new(OnceLock::new());
    watch_signals(&runtime, Arc::clone(&stopped))?;
    let mut report = OutcomePrinter {
        format: args.format,
        probes: 0,
        different: 0,
    };
    let mut job = job::CheckJob::new(&config, redshift, &names, &session, &runtime)?;
    let mut each = |outcome: &ProbeOutcome| {
        report.show(outcome)?;
        match stopped.get() {
            None => Ok(()),
            Some(exit) => Err(Failure::new(*exit, "stopped before everything was asked")),
        }
    };
    let asked = probes::run(&session, &names, &mut each).and_then(|()| job.run(&mut each));
    if !args.keep {
        probes::clean_up(&session, &names);
        report.show(&job.clean_up())?;
    }
    asked?;
    report.end()
}

/// A schema that is not there would make almost every probe different.
fn check_schema(session: &Session, redshift: &RedshiftOptions) -> Result<(), Failure> {
    let query = format!(
        "SELECT COUNT(*) FROM pg_namespace WHERE nspname = {}",
        in_catalog(&redshift.schema)
    );
    let rows = session.rows(&[query]).map_err(|error| {
        Failure::other(format!("cannot look for the schema: {}", words(&error)))
    })?;
    if rows.into_iter().flatten().flatten().next().as_deref() != Some("0") {
        return Ok(());
    }
    let (schema, database) = (&redshift.schema, &redshift.database);
    let message = format!("there is no schema `{schema}` in the database `{database}`");
    Err(Failure::other(message).hint(format!(
        "CREATE SCHEMA {}, with the grants of docs/redshift.md; or another one in warehouse.url",
        quoted(schema)
    )))
}

/// A storage that cannot be written would make each step of the job wait for as long as a job tries
/// again.
fn check_storage(
    storage: &StorageOptions,
    names: &ProbeNames,
    runtime: &Runtime,
) -> Result<(), Failure> {
    let mut options = storage.clone();
    options.s3.retry_for = options.s3.retry_for.min(STORAGE_WAIT);
    options.s3.timeout = options.s3.timeout.min(STORAGE_WAIT);
    let path = format!("{}/reached", names.prefix);
    let written = runtime.block_on(async {
        let storage = Storage::open(&options)?;
        storage.put(&path, b"reached".to_vec().into()).await?;
        storage.delete(&path).await
    });
    written.map_err(|error| {
        let failure = failures::storage(&error);
        let message = format!("cannot write to the storage: {}", failure.message);
        Failure::new(failure.exit, message)
            .hint("see [storage]; docs/redshift.md has the permissions")
    })
}

/// The first signal ends the check after the step that is under way, and what it made is removed.
fn watch_signals(runtime: &Runtime, stopped: Arc<OnceLock<Exit>>) -> Result<(), Failure> {
    let signals = {
        let _context = runtime.enter();
        Signals::new()?
    };
    runtime.spawn(signals.watch_and_tell(
        move |exit| {
            // Only the first one is told.
            let _ = stopped.set(exit);
            tracing::info!(
                "ending after the step that is under way, and removing what the check made; once \
                 more ends at once"
            );
        },
        || output::error("ended at once; what is named check_... is left: remove it by hand\n"),
    ));
    Ok(())
}

/// The names of what the check makes: none of them can be a table of anybody's.
struct ProbeNames {
    schema: String,
    /// Begins each of them.
    prefix: String,
}

impl ProbeNames {
    fn new(schema: &str, id: &str) -> Self {
        ProbeNames {
            schema: schema.to_owned(),
            prefix: format!("check_{id}"),
        }
    }

    /// A table of the check, with its schema.
    fn table(&self, suffix: &str) -> String {
        format!("{}.{}", quoted(&self.schema), self.bare(suffix))
    }

    /// The same without its schema, as columns name their table.
    fn bare(&self, suffix: &str) -> String {
        quoted(&self.name(suffix))
    }

    /// The same without quotes.
    fn name(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.prefix)
    }
}

impl OutcomePrinter {
    fn show(&mut self, outcome: &ProbeOutcome) -> Result<(), Failure> {
        self.probes += 1;
        self.different += usize::from(!outcome.as_believed);
        let mut line = String::new();
        // Writing to a String cannot fail.
        let _ = match self.format {
            SummaryFormat::Json => {
                let json = serde_json::json!({
                    "probe": outcome.name,
                    "as_believed": outcome.as_believed,
                    "believed": outcome.believed,
                    "found": outcome.found,
                });
                writeln!(line, "{json}")
            }
            SummaryFormat::Text if outcome.as_believed => {
                writeln!(line, "as believed  {}", outcome.name)
            }
            SummaryFormat::Text => writeln!(
                line,
                "DIFFERENT    {}\n             believed: {}\n             found:    {}",
                outcome.name, outcome.believed, outcome.found
            ),
        };
        output::answer(&line)
    }

    fn end(&self) -> Result<Exit, Failure> {
        if self.format == SummaryFormat::Text {
            output::answer(&format!(
                "{} probes, {} different\n",
                self.probes, self.different
            ))?;
        }
        if self.different == 0 {
            return Ok(Exit::Success);
        }
        let message = format!("{} of {} probes are different", self.different, self.probes);
        Err(Failure::other(message).hint(
            "please report the lines with DIFFERENT, with the version of the cluster: SELECT version()",
        ))
    }
}

/// An error of SQL in one line, with the statement of the batch that it is of.
fn words(error: &RedshiftError) -> String {
    let message = error.to_string().replace('\n', " ");
    match error {
        RedshiftError::Failed {
            statement: Some(index),
            ..
        } => format!("statement {index}: {message}"),
        _ => message,
    }
}
