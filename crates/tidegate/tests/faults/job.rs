//! Jobs for these tests, and what they have done.

use std::path::PathBuf;
use std::time::Duration;

use duckdb::Connection;
use tidegate_log::{JobState, Record, path, read_records, recover};
use tidegate_storage::{Storage, StorageOptions};

use crate::common::{Job, repository_file};

/// The transactions example over the generator, without a warehouse and with many commits.
pub(crate) fn generated() -> Job {
    let example = std::fs::read_to_string(repository_file("examples/transactions.toml")).unwrap();
    Job::from_text(&example)
        .set("storage.url", "file:data")
        .set("warehouse.url", "none")
        .set("source.kind", "generator")
        .set("source.partitions", 2)
        .set("batch.interval", "20ms")
        .set("load.interval", "50ms")
}

/// The same, with an end: a few commits.
pub(crate) fn bounded() -> Job {
    generated()
        .set("source.count", 40_000)
        .set("source.event-rate", 100)
        .set("batch.max-rows", 1)
}

/// The same, without an end: 4,000 events a second.
pub(crate) fn endless() -> Job {
    generated()
        .with_the_machines_clock()
        .set("source.rate", 4_000)
}

/// Shops over files of the folder `in`, which is there, with windows of an hour and a delay of ten
/// minutes; an event has a number of its own.
pub(crate) fn shops() -> Job {
    let job = Job::from_text(
        r#"
version = 1
name = "shops"

[source]
kind = "files"
path = "in"

[storage]
url = "file:data"

[warehouse]
url = "duckdb:warehouse.duckdb"

[schema]
id = { type = "int64", required = true }
shop = { type = "string", required = true }
at = { type = "timestamp", required = true }

[event-time]
field = "at"
delay = "10m"

[deduplication]
key = ["id", "at"]

[[windows]]
name = "hourly"
size = "1h"
group-by = ["shop"]

[windows.aggregates]
n = "count(*)"
"#,
    );
    std::fs::create_dir(job.path("in")).unwrap();
    job
}

/// The file of a record.
pub(crate) fn record(job: &Job, seq: u64) -> PathBuf {
    job.path("data").join(path::record(seq))
}

/// Records of the log; 0 if there is none yet.
pub(crate) fn records(job: &Job) -> u64 {
    (1..).take_while(|seq| record(job, *seq).exists()).count() as u64
}

/// What the log says.
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
        (state, read_records(&storage, 1, usize::MAX).await.unwrap())
    })
}

/// Checks that nothing is lost or doubled: the log and all checksums are right, and of each offset
/// that it covers there is one row at most, as many as it counts. Returns how many records were
/// read.
///
/// # Panics
/// If not.
#[track_caller]
pub(crate) fn check_whole(job: &Job) -> u64 {
    let verified = job.output(&["log", "verify"]);
    let text = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success(), "{text}");
    let (state, records) = log(job);
    let covered: i64 = state.partitions.values().map(|p| p.offset).sum();
    assert_eq!(
        covered as u64, state.totals.read,
        "every offset was read once"
    );
    let kept = ["events", "late", "rejected"];
    let paths: Vec<String> = records
        .iter()
        .flat_map(|record| &record.files)
        .filter(|file| kept.contains(&file.dataset.as_str()))
        .map(|file| format!("'{}'", job.path("data").join(&file.path).display()))
        .collect();
    let sql = format!(
        "SELECT count(*), count(DISTINCT (source_partition, source_offset)) FROM \
         read_parquet([{}], union_by_name = true, hive_partitioning = false)",
        paths.join(", ")
    );
    let (rows, places): (u64, u64) = Connection::open_in_memory()
        .unwrap()
        .query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(rows, places, "no offset twice");
    assert_eq!(
        rows,
        state.totals.read - state.totals.duplicates,
        "no offset lost"
    );
    state.totals.read
}

/// Checks that everything that is committed is in the warehouse, each key once.
///
/// # Panics
/// If not.
#[track_caller]
pub(crate) fn check_loaded(job: &Job) {
    let (state, records) = log(job);
    let warehouse = Connection::open(job.path("warehouse.duckdb")).unwrap();
    let loaded: u64 = warehouse
        .query_row("SELECT loaded_seq FROM tidegate_job", [], |row| row.get(0))
        .unwrap();
    assert_eq!(loaded, state.last_seq);
    let of = |dataset: &str| {
        let files = records.iter().flat_map(|record| &record.files);
        let paths: Vec<String> = files
            .filter(|file| file.dataset == dataset)
            .map(|file| format!("'{}'", job.path("data").join(&file.path).display()))
            .collect();
        paths.join(", ")
    };
    let keys = format!(
        "(SELECT count(DISTINCT transaction_id) FROM read_parquet([{}, {}], hive_partitioning = false))",
        of("events"),
        of("late")
    );
    let sql = format!(
        "SELECT count(*), count(DISTINCT transaction_id), {keys}, (SELECT count(*) FROM rejected) \
         FROM transactions"
    );
    let counts: [u64; 4] = warehouse
        .query_row(&sql, [], |row| {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
        })
        .unwrap();
    assert_eq!(counts[0], counts[1], "each transaction once");
    assert_eq!(counts[0], counts[2], "each transaction of the files");
    assert_eq!(counts[3], state.totals.rejected, "each reject");
}
