//! Everything that a job has brought about, so that two jobs can be compared byte for byte.
//!
//! Left out is what is different in each run: sequence numbers, the job's id, and the times at
//! which records were processed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use duckdb::Connection;
use tidegate_log::{FileEntry, JobState, Record, read_records, recover};
use tidegate_storage::{Storage, StorageOptions};

use crate::common::Job;
use crate::extras::{self, is_extra};

/// Columns with the job's id, or with the time of processing.
const DIFFERENT: &str = "'job', 'processing_timestamp', 'rejected_at'";
/// Tables with sequence numbers and times; what has to hold for them is checked on its own.
const OWN: [&str; 3] = ["tidegate_job", "tidegate_ledger", "tidegate_maintenance"];
/// Differences that are shown.
const SHOWN_MAX: usize = 5;

/// Sorted lines, under the name of what they are of.
pub(crate) struct Outcome(BTreeMap<String, Vec<String>>);

impl Outcome {
    /// Reads it all.
    ///
    /// Left out are windows and columns that only some starts have: see [`Extras::check`].
    ///
    /// # Panics
    /// If something contradicts itself: the log and its files, or the log and the ledger.
    pub(crate) fn of(job: &Job) -> Self {
        let (state, records) = log(job);
        let mut parts = BTreeMap::from([("the log".to_owned(), describe(&state))]);
        let mut files: BTreeMap<&str, Vec<&FileEntry>> = BTreeMap::new();
        for file in records.iter().flat_map(|record| &record.files) {
            files.entry(&file.dataset).or_default().push(file);
        }
        let memory = Connection::open_in_memory().unwrap();
        for (dataset, files) in files.into_iter().filter(|(name, _)| !is_extra(name)) {
            let list: Vec<String> = files
                .iter()
                .map(|file| format!("'{}'", job.path("data").join(&file.path).display()))
                .collect();
            let rows = lines(
                &memory,
                &format!(
                    "read_parquet([{}], hive_partitioning = false, union_by_name = true)",
                    list.join(", ")
                ),
            );
            let promised: u64 = files.iter().map(|file| file.rows).sum();
            assert_eq!(rows.len() as u64, promised, "{dataset}: rows of files");
            parts.insert(format!("the files of `{dataset}`"), rows);
        }
        let warehouse = Connection::open(job.path("warehouse.duckdb")).unwrap();
        check_ledger(&warehouse, &state, &records);
        for table in tables(&warehouse) {
            let rows = lines(&warehouse, &format!("\"{table}\""));
            parts.insert(format!("the table or view `{table}`"), rows);
        }
        Outcome(parts)
    }

    /// Number of files that the log names.
    pub(crate) fn files(job: &Job) -> usize {
        log(job).1.iter().map(|record| record.files.len()).sum()
    }

    /// What is different, for people; none if nothing is.
    pub(crate) fn difference(&self, other: &Outcome) -> Option<String> {
        let mut text = String::new();
        let names: std::collections::BTreeSet<&String> =
            self.0.keys().chain(other.0.keys()).collect();
        for name in names {
            let nothing = Vec::new();
            let expected = self.0.get(name).unwrap_or(&nothing);
            let found = other.0.get(name).unwrap_or(&nothing);
            if expected == found {
                continue;
            }
            let _ = writeln!(
                text,
                "{name}: {} lines, expected {}",
                found.len(),
                expected.len()
            );
            for (what, line) in differences(expected, found).into_iter().take(SHOWN_MAX) {
                let _ = writeln!(text, "  {what} {line}");
            }
        }
        (!text.is_empty()).then_some(text)
    }

    /// # Panics
    /// If the stream does not have everything that the comparison is for.
    pub(crate) fn check_is_interesting(&self) {
        let expected = [
            ("the files of `events`", 1_000),
            ("the files of `late`", 100),
            ("the files of `rejected`", 100),
            ("the files of `window:transactions_1m`", 60),
            ("the files of `window:transactions_5m`", 60),
            ("the table or view `transactions`", 1_000),
            ("the table or view `rejected`", 100),
            ("the table or view `transactions_1m`", 60),
            ("the table or view `transactions_5m`", 60),
            ("the table or view `tidegate_watermarks`", 1),
        ];
        for (name, least) in expected {
            let lines = self.0.get(name).map_or(0, Vec::len);
            assert!(
                lines >= least,
                "{name}: only {lines} lines; there are {:?}",
                self.0.keys()
            );
        }
        let late_in_table =
            self.0["the files of `events`"].len() + self.0["the files of `late`"].len();
        let table = self.0["the table or view `transactions`"].len();
        assert!(table < late_in_table, "there are no updates");
        let log = &self.0["the log"];
        assert!(log.contains(&"complete true".to_owned()), "{log:?}");
        assert!(
            !log.iter().any(|line| line.contains("duplicates: 0")),
            "{log:?}"
        );
    }
}

pub(crate) fn log(job: &Job) -> (JobState, Vec<Record>) {
    let storage = Storage::open_existing(&StorageOptions::new(format!(
        "file:{}",
        job.path("data").display()
    )))
    .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let state = recover(&storage, Duration::ZERO).await.unwrap().unwrap();
        let records = read_records(&storage, 1, usize::MAX).await.unwrap();
        assert_eq!(records.len() as u64, state.last_seq);
        (state, records)
    })
}

fn describe(state: &JobState) -> Vec<String> {
    let mut lines = vec![
        format!("name {}", state.name),
        format!("complete {}", state.complete),
        format!("totals {:?}", state.totals),
    ];
    let (partitions, watermarks) = (&state.partitions, &state.watermarks);
    lines.extend(
        partitions
            .iter()
            .map(|(id, at)| format!("partition {id} {at:?}")),
    );
    lines.extend(
        watermarks
            .iter()
            .map(|(lane, at)| format!("watermark {lane} {at}")),
    );
    lines.extend(
        state
            .rejected_by
            .iter()
            .map(|(code, n)| format!("rejected by {code} {n}")),
    );
    lines.sort();
    lines
}

/// First and last record of all loads, and their rows, in their order.
fn ledger(warehouse: &Connection) -> Vec<(u64, u64, u64)> {
    let mut statement = warehouse
        .prepare("SELECT first_seq, last_seq, rows FROM tidegate_ledger ORDER BY first_seq")
        .unwrap();
    statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// Every record is loaded, each once.
fn check_ledger(warehouse: &Connection, state: &JobState, records: &[Record]) {
    let loaded: u64 = warehouse
        .query_row("SELECT loaded_seq FROM tidegate_job", [], |row| row.get(0))
        .unwrap();
    assert_eq!(loaded, state.last_seq, "the last record that is loaded");
    let mut next = 1;
    for (first, last, rows) in ledger(warehouse) {
        assert_eq!(first, next, "a load that follows the one before it");
        let covered = &records[first as usize - 1..last as usize];
        let files = covered.iter().flat_map(|record| &record.files);
        assert_eq!(
            rows,
            files.map(|file| file.rows).sum::<u64>(),
            "rows of {first} to {last}"
        );
        next = last + 1;
    }
    assert_eq!(next, state.last_seq + 1, "the end of the ledger");
}

fn tables(warehouse: &Connection) -> Vec<String> {
    warehouse
        .prepare("SELECT table_name FROM information_schema.tables WHERE table_schema = 'main'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .filter(|name: &String| !OWN.contains(&name.as_str()) && !is_extra(name))
        .collect()
}

/// Every row as text. DuckDB writes floats in the shortest form that reads back, so that two that
/// differ in their last bit differ here.
fn lines(connection: &Connection, from: &str) -> Vec<String> {
    let sql = format!(
        "SELECT CAST(line AS VARCHAR) AS text FROM \
         (SELECT COLUMNS(name -> name NOT IN ({DIFFERENT}, {})) FROM {from}) AS line ORDER BY text",
        extras::COLUMNS
    );
    connection
        .prepare(&sql)
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// Lines of one that the other has not, of two that are sorted.
fn differences<'a>(expected: &'a [String], found: &'a [String]) -> Vec<(&'static str, &'a String)> {
    let (mut all, mut left, mut right) = (Vec::new(), 0, 0);
    loop {
        match (expected.get(left), found.get(right)) {
            (None, None) => return all,
            (Some(a), Some(b)) if a == b => (left, right) = (left + 1, right + 1),
            (Some(a), b) if b.is_none_or(|b| a < b) => {
                all.push(("missing:", a));
                left += 1;
            }
            (_, b) => {
                all.extend(b.map(|b| ("too much:", b)));
                right += 1;
            }
        }
    }
}
