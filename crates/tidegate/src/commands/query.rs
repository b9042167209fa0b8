//! `tidegate query`: a question to the warehouse, through the process that has it open if there is
//! one.

use std::io::{self, BufWriter, Read as _, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_serve::local::{self, AskError, LocalQuery, QueryHandler};
use tidegate_warehouse::format::{Format, RowWriter};
use tidegate_warehouse::{DatabaseError, DuckDbOptions, QueryError, WarehouseReader};

use super::{failures, load_config};
use crate::cli::{QueryArgs, QueryFormat};
use crate::exit::{Exit, Failure, chain};

/// Bytes of SQL on standard input, at most.
const SQL_BYTES_MAX: u64 = 1 << 20;

/// How long a file may be locked by a process that does not answer.
const LOCK_WAIT: Duration = Duration::from_secs(3);
/// Time for a question of this program's own, in milliseconds.
const OWN_TIMEOUT_MS: u64 = 10_000;
/// Time between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Asks, and prints the answer.
pub(super) fn query(args: &QueryArgs) -> Result<Exit, Failure> {
    let config = load_config(&args.config)?.config;
    if config.warehouse.is_none() {
        return Err(
            Failure::other("this job has no warehouse: warehouse.url is \"none\"")
                .hint("its files are Parquet: ask them with a tool of your own"),
        );
    }
    let Some((file, options)) = config.embedded() else {
        return Err(Failure::other(
            "this job's warehouse is Redshift, which has clients of its own",
        )
        .hint("ask it with the query editor, psql, or `aws redshift-data execute-statement`"));
    };
    let question = LocalQuery {
        sql: if args.sql == "-" {
            read_sql()?
        } else {
            args.sql.clone()
        },
        format: match args.format {
            QueryFormat::Table => Format::Table,
            QueryFormat::Csv => Format::Csv,
            QueryFormat::Json => Format::Json,
        },
        timeout_ms: u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let asked = ask(&file, &options, &question, &mut out);
    asked.and(out.flush().or_else(|error| writing(&error)))?;
    Ok(Exit::Success)
}

/// Asks the process that has the file open, or the file.
fn ask(
    file: &Path,
    options: &DuckDbOptions,
    question: &LocalQuery,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        match local::ask(file, question, out) {
            Err(AskError::NotRunning) => {}
            Err(AskError::Out(error)) => return writing(&error),
            Err(AskError::Silent) => return Err(silent(file)),
            Err(error) => return Err(failures::other(&error)),
            Ok(()) => return Ok(()),
        }
        match WarehouseReader::open_read_only(file, options) {
            // A job that has just started opens the file before it listens; one that ends, the
            // other way round.
            Err(DatabaseError::Locked { .. }) if began.elapsed() < LOCK_WAIT => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(error) => return Err(failures::database(&error)),
            Ok(reader) => return ask_file(&reader, question, out),
        }
    }
}

/// A process has the file open and does not answer: which one, and what to do.
fn silent(file: &Path) -> Failure {
    let seconds = local::SILENCE_MAX.as_secs();
    let holder = match WarehouseReader::open_read_only(file, &DuckDbOptions::default()) {
        Err(DatabaseError::Locked { holder, .. }) => holder,
        _ => None,
    };
    let who = holder.as_deref().unwrap_or("the job");
    let pid = holder.as_deref().and_then(pid);
    let (look, go_on) = match pid {
        Some(pid) => (
            format!("`ps -o pid,stat,args -p {pid}`"),
            format!("`kill -CONT {pid}`"),
        ),
        None => (
            "`ps -o pid,stat,args`".to_owned(),
            "`kill -CONT PID`".to_owned(),
        ),
    };
    let message = format!(
        "{who} has the database {} open and has said nothing for {seconds} s: it was stopped, or hangs",
        file.display()
    );
    Failure::other(message).hint(format!(
        "look at the process with {look}: where its state is `T`, {go_on} lets it go on"
    ))
}

/// The number of a process, out of what DuckDB says of it: `program (PID 42, ...)`.
fn pid(holder: &str) -> Option<&str> {
    let (_, rest) = holder.split_once("PID ")?;
    let end = rest
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(rest.len());
    (end > 0).then(|| &rest[..end])
}

/// The rows of a question, each as an object: from the process that has the file open, or from the
/// file.
pub(super) fn rows(file: &Path, options: &DuckDbOptions, sql: &str) -> Result<Vec<Value>, Failure> {
    let question = LocalQuery {
        sql: sql.to_owned(),
        format: Format::Json,
        timeout_ms: OWN_TIMEOUT_MS,
    };
    let mut out = Vec::new();
    ask(file, options, &question, &mut out)?;
    serde_json::from_slice(&out)
        .map_err(|error| Failure::other(format!("cannot read the answer of a query: {error}")))
}

fn ask_file(
    reader: &WarehouseReader,
    question: &LocalQuery,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    match answer(reader, question, out) {
        Err(QueryError::Sink(error)) => writing(&error),
        Err(error) => Err(failures::other(&error)),
        Ok(()) => Ok(()),
    }
}

/// A reader that has gone away (`| head`) is no failure.
fn writing(error: &io::Error) -> Result<(), Failure> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(Failure::other(format!(
            "cannot write to standard output: {error}"
        ))),
    }
}

fn read_sql() -> Result<String, Failure> {
    let mut sql = String::new();
    io::stdin()
        .lock()
        .take(SQL_BYTES_MAX)
        .read_to_string(&mut sql)
        .map_err(|error| Failure::other(format!("cannot read SQL from standard input: {error}")))?;
    Ok(sql)
}

/// What a running pipeline answers with.
pub(super) fn answerer(reader: WarehouseReader) -> QueryHandler {
    std::sync::Arc::new(move |question, out, wanted| {
        answer(&reader.while_wanted(wanted), question, out).map_err(|error| chain(&error))
    })
}

/// Runs a query and writes its rows as they come. Blocks.
fn answer(
    reader: &WarehouseReader,
    question: &LocalQuery,
    out: &mut dyn Write,
) -> Result<(), QueryError> {
    let timeout = Duration::from_millis(question.timeout_ms);
    let mut rows = RowWriter::new(question.format, out);
    let (schema, truncated) = reader.stream(&question.sql, usize::MAX, timeout, &mut |batch| {
        rows.batch(&batch)?;
        Ok(true)
    })?;
    rows.finish(&schema, truncated)?;
    Ok(())
}
