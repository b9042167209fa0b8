//! The other engine: DuckDB over the input files, and the comparison of its answer with a
//! warehouse.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use duckdb::{Connection, params};
use flate2::read::MultiGzDecoder;

use crate::common::NOW_MICROS;

/// Relative difference that sums of floats may have: they are added up in another order.
const TOLERANCE: f64 = 1e-9;
/// Rows of each side that a failed comparison shows.
const SHOWN: usize = 5;

/// How the input is divided into lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lanes {
    /// All files share one, as in the files source.
    One,
    /// Each file stands for a partition with a lane of its own.
    Each,
}

/// A database in memory that holds what a job's tables have to be.
pub struct Answer {
    connection: Connection,
}

impl Answer {
    /// Lets DuckDB work out the answer: `sql` over the lines of all files of the folder `input`,
    /// which are `lines(part, lane, off, bytes)`. Each file is a partition, in the order of their
    /// names, and a line's number is its offset.
    pub fn work_out(input: &Path, lanes: Lanes, sql: &str) -> Self {
        let connection = Connection::open_in_memory().unwrap();
        let answer = Answer { connection };
        answer.run(&format!(
            "SET TimeZone = 'UTC'; SET VARIABLE now = {NOW_MICROS}; \
             CREATE TABLE lines (part INTEGER, lane INTEGER, off BIGINT, bytes BLOB);"
        ));
        let mut lines = answer.connection.appender("lines").unwrap();
        let mut paths: Vec<PathBuf> = fs::read_dir(input)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        for (part, path) in paths.iter().enumerate() {
            let lane = if lanes == Lanes::Each { part } else { 0 };
            let bytes = content(path);
            let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            for (off, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
                let row = params![part as i32, lane as i32, off as i64, line];
                lines.append_row(row).unwrap();
            }
        }
        drop(lines);
        answer.run(include_str!("documents.sql"));
        answer.run(sql);
        answer
    }

    /// Opens the warehouse of a job that has ended, as the schema `name`.
    pub fn attach(&self, warehouse: &Path, name: &str) {
        self.run(&format!(
            "ATTACH '{}' AS {name} (READ_ONLY)",
            warehouse.display()
        ));
    }

    /// Runs statements.
    #[track_caller]
    pub fn run(&self, sql: &str) {
        if let Err(error) = self.connection.execute_batch(sql) {
            panic!("{error}\nin:\n{}", &sql[..sql.len().min(1000)]);
        }
    }

    /// One number.
    #[track_caller]
    pub fn number(&self, sql: &str) -> i64 {
        self.connection
            .query_row(sql, [], |row| row.get(0))
            .unwrap_or_else(|error| panic!("{error}\nin:\n{sql}"))
    }

    /// Names and types of a table's columns, as `a VARCHAR, b INTEGER`.
    pub fn columns(&self, table: &str) -> String {
        self.texts(&format!(
            "SELECT column_name || ' ' || column_type FROM (DESCRIBE {table})"
        ))
        .join(", ")
    }

    /// Both queries have the same rows, as often, in any order; and the answer is not empty.
    #[track_caller]
    pub fn same_rows(&self, expected: &str, actual: &str) {
        self.run(&format!(
            "CREATE OR REPLACE TEMP TABLE e AS {expected}; CREATE OR REPLACE TEMP TABLE a AS {actual};"
        ));
        let rows = self.number("SELECT count(*) FROM e");
        assert!(rows > 0, "no rows are expected: {expected}");
        let only_in = |one: &str, other: &str| {
            self.texts(&format!(
                "SELECT to_json(d)::VARCHAR FROM (FROM {one} EXCEPT ALL FROM {other}) AS d ORDER BY 1"
            ))
        };
        let (missing, wrong) = (only_in("e", "a"), only_in("a", "e"));
        assert!(
            missing.is_empty() && wrong.is_empty(),
            "{rows} rows are expected by\n{expected}\nand\n{actual}\nhas {}.\n{} are missing:\n{}\n{} are too many:\n{}",
            self.number("SELECT count(*) FROM a"),
            missing.len(),
            missing[..missing.len().min(SHOWN)].join("\n"),
            wrong.len(),
            wrong[..wrong.len().min(SHOWN)].join("\n"),
        );
    }

    /// The table `tidegate.<table>` has the rows of `expected_<table>`: the columns of `exact` are
    /// the same, and those of `near` up to the order in which floats are added up. `exact`
    /// identifies a row.
    #[track_caller]
    pub fn same_aggregates(&self, table: &str, exact: &[&str], near: &[&str]) {
        let exact_of = |times: bool| {
            let columns: Vec<String> = exact
                .iter()
                .map(|column| match column.strip_suffix("_us") {
                    Some(time) if times => format!("epoch_us({time}) AS {column}"),
                    _ => (*column).to_owned(),
                })
                .collect();
            columns.join(", ")
        };
        let expected = format!("SELECT {} FROM expected_{table}", exact_of(false));
        let actual = format!("SELECT {} FROM tidegate.{table}", exact_of(true));
        self.same_rows(&expected, &actual);
        let joined = format!(
            "expected_{table} AS e JOIN (SELECT {}, {} FROM tidegate.{table}) AS a ON {}",
            exact_of(true),
            near.join(", "),
            exact
                .iter()
                .map(|column| format!("e.{column} IS NOT DISTINCT FROM a.{column}"))
                .collect::<Vec<_>>()
                .join(" AND ")
        );
        for column in near {
            let differs = format!(
                "(e.{column} IS NULL) <> (a.{column} IS NULL) \
                 OR abs(e.{column} - a.{column}) > {TOLERANCE:e} * greatest(abs(e.{column}), 1e-300)"
            );
            let wrong = self.texts(&format!(
                "SELECT to_json(e)::VARCHAR || ' has ' || coalesce(a.{column}::VARCHAR, 'NULL') FROM {joined} WHERE {differs}"
            ));
            assert!(
                wrong.is_empty(),
                "{table}.{column} differs in {} rows:\n{}",
                wrong.len(),
                wrong[..wrong.len().min(SHOWN)].join("\n")
            );
        }
        assert_eq!(
            self.number(&format!("SELECT count(*) FROM {joined}")),
            self.number(&format!("SELECT count(*) FROM expected_{table}")),
            "{exact:?} does not identify a row of {table}"
        );
    }

    /// The summary of a run has the counts of `expected_counts`.
    #[track_caller]
    pub fn same_counts(&self, summary: &serde_json::Value) {
        for name in ["read", "events", "late", "rejected", "duplicates"] {
            let expected = self.number(&format!("SELECT {name} FROM expected_counts"));
            assert_eq!(
                summary["status"][name].as_i64(),
                Some(expected),
                "{name} in {summary}"
            );
        }
    }

    #[track_caller]
    fn texts(&self, sql: &str) -> Vec<String> {
        let mut statement = self
            .connection
            .prepare(sql)
            .unwrap_or_else(|error| panic!("{error}\nin:\n{sql}"));
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

/// What is in a file, without its compression.
fn content(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("gz") => {
            let mut plain = Vec::new();
            MultiGzDecoder::new(&bytes[..])
                .read_to_end(&mut plain)
                .unwrap();
            plain
        }
        Some("zst") => zstd::decode_all(&bytes[..]).unwrap(),
        _ => bytes,
    }
}
