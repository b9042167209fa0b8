//! `tidegate query`: a question to the warehouse, through the process that has it open if there is one.

use std::io::{self, BufWriter, Read as _, Write};
use std::path::Path;
use std::time::Duration;

use tidegate_warehouse::format::{Format, RowWriter};
use tidegate_warehouse::{QueryError, WarehouseReader};

use super::{failures, load_config};
use crate::cli::{QueryArgs, QueryFormat};
use crate::exit::{Exit, Failure, chain};
use crate::socket::{self, AskError, Question};

/// Bytes of SQL on standard input, at most.
const SQL_BYTES_MAX: u64 = 1 << 20;

/// Asks, and prints the answer.
pub(super) fn query(args: &QueryArgs) -> Result<Exit, Failure> {
    let config = load_config(&args.config)?.config;
    let Some(warehouse) = &config.warehouse else {
        return Err(
            Failure::other("this job has no warehouse: warehouse.url is \"none\"")
                .hint("its files are Parquet: ask them with a tool of your own"),
        );
    };
    let Some(file) = warehouse.file() else {
        return Err(Failure::other(
            "this job's warehouse is Redshift, which has clients of its own",
        )
        .hint("ask it with the query editor, psql, or `aws redshift-data execute-statement`"));
    };
    let question = Question {
        sql: if args.sql == "-" {
            read_sql()?
        } else {
            args.sql.clone()
        },
        format: args.format,
        timeout_ms: u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let asked = match socket::ask(file, &question, &mut out) {
        Err(AskError::NotRunning) => ask_file(file, &question, &mut out),
        Err(AskError::Out(error)) => writing(&error),
        Err(error) => Err(failures::other(&error)),
        Ok(()) => Ok(()),
    };
    asked.and(out.flush().or_else(|error| writing(&error)))?;
    Ok(Exit::Success)
}

fn ask_file(path: &Path, question: &Question, out: &mut dyn Write) -> Result<(), Failure> {
    let reader =
        WarehouseReader::open_read_only(path).map_err(|error| failures::database(&error))?;
    match answer(&reader, question, out) {
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
pub(super) fn answerer(reader: WarehouseReader) -> socket::Answer {
    std::sync::Arc::new(move |question, out| {
        answer(&reader, question, out).map_err(|error| chain(&error))
    })
}

/// Runs a query and writes its rows as they come. Blocks.
fn answer(
    reader: &WarehouseReader,
    question: &Question,
    out: &mut dyn Write,
) -> Result<(), QueryError> {
    let format = match question.format {
        QueryFormat::Table => Format::Table,
        QueryFormat::Csv => Format::Csv,
        QueryFormat::Json => Format::Json,
    };
    let timeout = Duration::from_millis(question.timeout_ms);
    let mut rows = RowWriter::new(format, out);
    let (schema, truncated) = reader.stream(&question.sql, usize::MAX, timeout, &mut |batch| {
        rows.batch(&batch)?;
        Ok(true)
    })?;
    rows.finish(&schema, truncated)?;
    Ok(())
}
