//! Answers as text: a table for people, CSV and JSON for programs.
//!
//! In CSV and tables, timestamps are ISO 8601, with `Z` where the type says UTC; decimals are
//! exact; null is empty in CSV and `NULL` in a table. JSON is that of [`json`], as over HTTP.

use std::collections::HashMap;
use std::io::{self, Write};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use serde::{Deserialize, Serialize};

use crate::json;

/// A cell of a table shows at most this many characters.
const CELL_CHARS_MAX: usize = 48;

/// A table shows at most this many rows as one; another head follows. It bounds the memory that the
/// widths of the columns need.
const TABLE_ROWS_MAX: usize = 10_000;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Columns side by side, long cells cut, and the number of rows below. The plan of EXPLAIN is
    /// written whole.
    #[default]
    Table,
    /// RFC 4180, with a head; nested values as JSON.
    Csv,
    /// An array of objects, one a line. Of columns with the same name, those after the first have
    /// a suffix.
    Json,
}

/// Writes a whole answer. `truncated` says that there were more rows.
///
/// # Errors
/// If `out` fails, or a value has no text.
pub fn write(
    format: Format,
    out: &mut dyn Write,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    truncated: bool,
) -> io::Result<()> {
    let mut writer = RowWriter::new(format, out);
    for batch in batches {
        writer.batch(batch)?;
    }
    writer.finish(schema, truncated)
}

/// Writes the rows of an answer as they come.
pub struct RowWriter<'a> {
    format: Format,
    out: &'a mut dyn Write,
    rows: usize,
    /// Names of the columns, once the head is written.
    names: Option<Vec<String>>,
    /// Cells that a table has gathered.
    cells: Vec<Vec<String>>,
}

impl<'a> RowWriter<'a> {
    /// A writer to `out`, which should be buffered.
    pub fn new(format: Format, out: &'a mut dyn Write) -> Self {
        RowWriter {
            format,
            out,
            rows: 0,
            names: None,
            cells: Vec::new(),
        }
    }

    /// Writes some rows.
    ///
    /// # Errors
    /// If the writer fails, or a value has no text.
    pub fn batch(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let schema = batch.schema();
        self.head(&schema)?;
        for row in 0..batch.num_rows() {
            match self.format {
                Format::Csv => self.csv_row(batch, row)?,
                Format::Json => self.json_row(batch, row)?,
                Format::Table if is_plan(&schema) => self.plan_row(batch, row)?,
                Format::Table => {
                    let cells = batch.columns().iter().map(|column| cell(column, row));
                    self.cells.push(cells.collect::<io::Result<_>>()?);
                    if self.cells.len() == TABLE_ROWS_MAX {
                        self.table(&schema)?;
                    }
                }
            }
            self.rows += 1;
        }
        Ok(())
    }

    /// Writes what comes after the last row. `schema` has the columns, in case there was no row.
    ///
    /// # Errors
    /// If the writer fails.
    pub fn finish(mut self, schema: &SchemaRef, truncated: bool) -> io::Result<()> {
        self.head(schema)?;
        match self.format {
            Format::Csv => {}
            Format::Table if is_plan(schema) => {}
            Format::Json => self
                .out
                .write_all(if self.rows == 0 { b"]\n" } else { b"\n]\n" })?,
            Format::Table => {
                if self.rows == 0 || !self.cells.is_empty() {
                    self.table(schema)?;
                }
                let (rows, s) = (self.rows, if self.rows == 1 { "" } else { "s" });
                let more = if truncated { "; there are more" } else { "" };
                writeln!(self.out, "({rows} row{s}{more})")?;
            }
        }
        self.out.flush()
    }

    fn head(&mut self, schema: &SchemaRef) -> io::Result<()> {
        if self.names.is_some() {
            return Ok(());
        }
        self.names = Some(unique(schema));
        match self.format {
            Format::Table => Ok(()),
            Format::Json => self.out.write_all(b"["),
            Format::Csv => {
                let names: Vec<_> = schema
                    .fields()
                    .iter()
                    .map(|field| csv_field(field.name()))
                    .collect();
                writeln!(self.out, "{}", names.join(","))
            }
        }
    }

    fn csv_row(&mut self, batch: &RecordBatch, row: usize) -> io::Result<()> {
        for (i, column) in batch.columns().iter().enumerate() {
            if i > 0 {
                self.out.write_all(b",")?;
            }
            if column.is_null(row) {
                continue;
            }
            let mut text = String::new();
            if column.data_type().is_nested() {
                json::write(&mut text, column, row);
            } else {
                text = plain(column, row)?;
            }
            // An empty text is quoted, so that it is not null.
            let field = if text.is_empty() {
                "\"\"".to_owned()
            } else {
                csv_field(&text)
            };
            self.out.write_all(field.as_bytes())?;
        }
        self.out.write_all(b"\n")
    }

    fn json_row(&mut self, batch: &RecordBatch, row: usize) -> io::Result<()> {
        let mut text = String::from(if self.rows == 0 { "\n{" } else { ",\n{" });
        for (i, column) in batch.columns().iter().enumerate() {
            let names = self.names.as_deref().unwrap_or_default();
            json::member(&mut text, i, names.get(i).map_or("", String::as_str));
            json::write(&mut text, column, row);
        }
        text.push('}');
        self.out.write_all(text.as_bytes())
    }

    /// A plan is a drawing of many lines: a cell would have the first ones.
    fn plan_row(&mut self, batch: &RecordBatch, row: usize) -> io::Result<()> {
        let text = plain(batch.column(1), row)?;
        writeln!(self.out, "{}", text.trim_end())
    }

    /// Writes the gathered cells as a table.
    fn table(&mut self, schema: &SchemaRef) -> io::Result<()> {
        let fields = schema.fields();
        let heads: Vec<String> = fields.iter().map(|field| shorten(field.name())).collect();
        let width = |i: usize| {
            let cells = self.cells.iter().map(|row| row[i].chars().count());
            cells.chain([heads[i].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..fields.len()).map(width).collect();
        let line = |cells: &[String], right: bool| {
            let mut line = String::new();
            for (i, text) in cells.iter().enumerate() {
                let (width, gap) = (widths[i], if i == 0 { " " } else { " | " });
                line.push_str(gap);
                if right && fields[i].data_type().is_numeric() {
                    line.push_str(&format!("{text:>width$}"));
                } else {
                    line.push_str(&format!("{text:<width$}"));
                }
            }
            line.truncate(line.trim_end().len());
            line
        };
        writeln!(self.out, "{}", line(&heads, false))?;
        let rules: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
        writeln!(self.out, "{}", rules.join("+"))?;
        for row in &self.cells {
            writeln!(self.out, "{}", line(row, true))?;
        }
        self.cells.clear();
        Ok(())
    }
}

/// Whether an answer is DuckDB's to EXPLAIN: the name of a plan, then its text.
fn is_plan(schema: &SchemaRef) -> bool {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    names.eq(["explain_key", "explain_value"])
}

/// The names of columns, of which a repeated one has a suffix: `a`, `a_1`. An object has each of
/// its members once.
fn unique(schema: &SchemaRef) -> Vec<String> {
    // With the number that the next suffix has.
    let mut taken: HashMap<String, usize> = HashMap::new();
    let fields = schema.fields().iter();
    let names = fields.map(|field| {
        let mut name = field.name().clone();
        while taken.contains_key(&name) {
            let number = taken.entry(field.name().clone()).or_insert(1);
            name = format!("{}_{number}", field.name());
            *number += 1;
        }
        taken.insert(name.clone(), 1);
        name
    });
    names.collect()
}

/// A cell of a table: one line, not too long.
fn cell(column: &dyn Array, row: usize) -> io::Result<String> {
    if column.is_null(row) {
        return Ok("NULL".to_owned());
    }
    let mut text = String::new();
    if column.data_type().is_nested() {
        json::write(&mut text, column, row);
    } else {
        text = plain(column, row)?;
    }
    Ok(shorten(&text))
}

fn shorten(text: &str) -> String {
    let mut short = String::new();
    for (i, c) in text.chars().enumerate() {
        if i + 1 == CELL_CHARS_MAX && text.chars().nth(CELL_CHARS_MAX).is_some() {
            short.push('…');
            break;
        }
        match c {
            '\n' => short.push('⏎'),
            c if c.is_control() => short.push('·'),
            c => short.push(c),
        }
    }
    short
}

/// The text of a value that is not nested and not null.
fn plain(column: &dyn Array, row: usize) -> io::Result<String> {
    if let DataType::Timestamp(TimeUnit::Microsecond, Some(_)) = column.data_type() {
        // An instant is shown in UTC, whatever zone the session has given to the column.
        let instant = column
            .as_primitive::<TimestampMicrosecondType>()
            .slice(row, 1);
        return Ok(plain(&instant.with_timezone_opt(None::<&str>), 0)? + "Z");
    }
    let format = "%Y-%m-%dT%H:%M:%S%.f";
    let options = FormatOptions::new()
        .with_timestamp_format(Some(format))
        .with_datetime_format(Some(format));
    let formatter = ArrayFormatter::try_new(column, &options).map_err(io::Error::other)?;
    let text = formatter
        .value(row)
        .try_to_string()
        .map_err(io::Error::other)?;
    Ok(text)
}

fn csv_field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
