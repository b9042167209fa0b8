//! A history with an event an hour: a commit has a bound of files, and all readers find all rows.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use duckdb::Connection;

use crate::common::{Job, NOW_MICROS};
use crate::job::{check_whole, log};

const HOUR: i64 = 3_600_000_000;
/// Files of events that a commit has at most: `FILES_MAX` of the engine.
const FILES_MAX: usize = 64;

/// A job over a file of readings, an event an hour, each twice.
fn readings(hours: i64) -> Job {
    let job = Job::from_text(
        r#"
version = 1
name = "readings"
[source]
kind = "files"
path = "in"
follow = true
[storage]
url = "file:data"
[warehouse]
url = "duckdb:warehouse.duckdb"
table = "readings"
[schema]
at = { type = "timestamp", required = true }
meter = { type = "int64", required = true }
value = "int64"
[event-time]
field = "at"
column = "at"
delay = "48h"
[deduplication]
key = ["meter", "at"]
[[windows]]
name = "daily"
size = "24h"
[windows.aggregates]
n = "count(*)"
total = "sum(value)"
"#,
    );
    std::fs::create_dir(job.path("in")).unwrap();
    let mut lines = String::new();
    for hour in 0..hours {
        let at =
            chrono::DateTime::from_timestamp_micros(NOW_MICROS - (hours - hour) * HOUR).unwrap();
        for meter in [1, 2, 1] {
            writeln!(
                lines,
                r#"{{"at":"{}","meter":{meter},"value":{hour}}}"#,
                at.to_rfc3339()
            )
            .unwrap();
        }
    }
    std::fs::write(job.path("in/history.ndjson"), lines).unwrap();
    job
}

/// The most that a process has had of something.
#[derive(Debug, Default)]
struct Most {
    memory_bytes: u64,
    open_files: usize,
}

/// Processes what the source holds, and says what that took.
fn catch_up_watched(job: &Job) -> Most {
    let mut child = job
        .command(&["run", "--until-caught-up"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let process = format!("/proc/{}", child.id());
    let mut most = Most::default();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        // It may be gone between two looks.
        let files = std::fs::read_dir(format!("{process}/fd")).map_or(0, Iterator::count);
        most.open_files = most.open_files.max(files);
        let memory = std::fs::read_to_string(format!("{process}/status")).unwrap_or_default();
        let line = memory.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().split(' ').next());
        let bytes = kib.map_or(0, |kib| kib.parse::<u64>().unwrap() << 10);
        most.memory_bytes = most.memory_bytes.max(bytes);
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "{status}");
    most
}

/// Bytes that a run of a few megabytes may take, and files that it may have open.
const MEMORY_MAX: u64 = 1 << 30;
const OPEN_FILES_MAX: usize = 256;

#[test]
fn many_partitions_of_many_hours_stay_within_memory_and_open_files() {
    let (partitions, hours) = (400, 50);
    let job = readings(0).set("source.follow", false);
    for partition in 0..partitions {
        let line = |hour: i64| {
            let at = NOW_MICROS - (hours - hour) * HOUR;
            let at = chrono::DateTime::from_timestamp_micros(at).unwrap();
            let at = at.to_rfc3339();
            format!("{{\"at\":\"{at}\",\"meter\":{partition},\"value\":{hour}}}\n")
        };
        let lines: String = (0..hours).map(line).collect();
        std::fs::write(job.path(&format!("in/{partition:03}.ndjson")), lines).unwrap();
    }
    let most = catch_up_watched(&job);
    assert!(most.memory_bytes < MEMORY_MAX, "{most:?}");
    assert!(most.open_files < OPEN_FILES_MAX, "{most:?}");
    let warehouse = Connection::open(job.path("warehouse.duckdb")).unwrap();
    let sql = "SELECT count(*), count(DISTINCT meter) FROM readings";
    assert_eq!(ask(&warehouse, sql), [partitions * hours, partitions]);
    drop(warehouse);
    check_whole(&job);
}

fn ask(connection: &Connection, sql: &str) -> Vec<i64> {
    let mut statement = connection.prepare(sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    let row = rows.next().unwrap().unwrap();
    let columns = row.as_ref().column_count();
    (0..columns)
        .map(|column| row.get(column).unwrap())
        .collect()
}

#[test]
fn a_sparse_history_makes_few_files_and_loses_nothing() {
    let hours = 5_000;
    let job = readings(hours);
    let most = catch_up_watched(&job);
    assert!(most.memory_bytes < MEMORY_MAX, "{most:?}");
    assert!(most.open_files < OPEN_FILES_MAX, "{most:?}");
    let (state, records) = log(&job);
    let totals = (state.totals.events, state.totals.duplicates);
    assert_eq!(totals, (2 * hours as u64, hours as u64));
    for record in &records {
        let events = record.files.iter().filter(|file| file.dataset == "events");
        assert!(events.count() <= FILES_MAX, "record {}", record.seq);
    }
    check_whole(&job);
    // The loader, and its windows.
    let warehouse = Connection::open(job.path("warehouse.duckdb")).unwrap();
    let sum = hours * (hours - 1);
    let sql = "SELECT count(*), sum(value)::BIGINT, count(DISTINCT \"at\") FROM readings";
    assert_eq!(ask(&warehouse, sql), [2 * hours, sum, hours]);
    // But for the first one, which begins within a day, each has all its readings.
    let sql = "SELECT min(n)::BIGINT, max(n)::BIGINT FROM daily WHERE window_start > (SELECT min(window_start) FROM daily)";
    assert_eq!(ask(&warehouse, sql), [48, 48]);
    // Who lists the folder as a data set by hours.
    let sql = format!(
        "SELECT count(*), sum(value)::BIGINT FROM read_parquet('{}/**/*.parquet', hive_partitioning = true, \
         hive_types = {{'year': INT, 'month': VARCHAR, 'day': VARCHAR, 'hour': VARCHAR}})",
        job.path("data/data/events").display()
    );
    assert_eq!(ask(&warehouse, &sql), [2 * hours, sum]);
    drop(warehouse);
    // State is rebuilt from such files as from any others: the same again are repeats.
    let again = std::fs::read_to_string(job.path("in/history.ndjson")).unwrap();
    let last: Vec<&str> = again.lines().rev().take(60).collect();
    std::fs::write(job.path("in/history_again.ndjson"), last.join("\n") + "\n").unwrap();
    let summary = job.catch_up();
    assert_eq!(summary["status"]["events"], 2 * hours, "{summary}");
    assert_eq!(summary["status"]["duplicates"], hours + 60, "{summary}");
}
