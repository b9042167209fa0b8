//! What a start costs, however long the log is.

use std::path::Path;
use std::time::Duration;

use tidegate_base::clock::Clock;
use tidegate_log::{CommitLog, Counts, Draft, OpenOptions, Span, WriterId, read_records};
use tidegate_storage::{Storage, StorageOptions};
use tidegate_testkit::{Fault, FaultProxy, Rule, S3};

use crate::common::{Job, NOW_MICROS, repository_file};

/// The last record of a week and of a year with a commit an hour. Both are as far after a snapshot.
const WEEK: u64 = 170;
const YEAR: u64 = 8_770;
/// As the program makes them.
const SNAPSHOT_EVERY: u64 = 100;
/// Requests of a start over a week, with those that commit and load a few events; and how many a
/// longer log may add, because the loader looks for more every second.
const REQUESTS_MAX: u64 = 300;
const MORE_MAX: u64 = 20;

/// Adds commits without files to a job that does not run, up to a record; gives the offset after
/// the last one.
fn extend(folder: &Path, last_seq: u64) -> i64 {
    let url = format!("file:{}", folder.display());
    let storage = Storage::open_existing(&StorageOptions::new(url)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = OpenOptions {
            job_name: "transactions".to_owned(),
            writer: WriterId::new(),
            clock: Clock::manual(NOW_MICROS),
            // Longer than any horizon here, so that the snapshots can be used.
            keep: Duration::from_secs(86_400),
            snapshot_every: SNAPSHOT_EVERY,
        };
        let mut log = CommitLog::open(storage.clone(), options).await.unwrap();
        let records = read_records(&storage, 1, 100).await.unwrap();
        let mut spans = records.iter().rev().flat_map(|record| &record.partitions);
        let mut span = spans.next().unwrap().clone();
        while log.state().last_seq < last_seq {
            span = Span {
                from: span.to,
                to: span.to + 1,
                ..span
            };
            let draft = Draft {
                partitions: vec![span.clone()],
                counts: Counts {
                    read: 1,
                    duplicates: 1,
                    ..Counts::default()
                },
                ..Draft::default()
            };
            log.commit(draft).await.unwrap();
        }
        span.to
    })
}

/// Requests to S3 of a run that finds a log of so many records, and adds a few events.
fn requests(s3: &S3, proxy: &FaultProxy, last_seq: u64) -> u64 {
    let name = format!("start-{last_seq}");
    let folder = s3.folder().join(&name);
    let example = std::fs::read_to_string(repository_file("examples/transactions.toml")).unwrap();
    let mut job = Job::from_text(&example)
        .set("storage.url", format!("file:{}", folder.display()))
        .set("warehouse.url", "duckdb:warehouse.duckdb")
        .set("source.kind", "generator")
        .set("source.partitions", 1)
        .set("source.rate", 0)
        .set("source.count", 20)
        .with_variables(S3::environment());
    job.catch_up();
    let offset = extend(&folder, last_seq);
    // The warehouse has all of it then.
    job.change("source.count", offset);
    job.catch_up();
    job.change("source.count", offset + 5);
    job.change("storage.url", format!("s3://{}/{name}", S3::BUCKET));
    let job = job
        .set("storage.endpoint", proxy.endpoint())
        .set("storage.allow-http", true);
    let before = proxy.stats().requests;
    let summary = job.catch_up();
    assert_eq!(summary["read"], 5, "{summary}");
    proxy.stats().requests - before
}

#[test]
fn a_start_over_a_year_of_commits_asks_storage_no_more_than_one_over_a_week() {
    let s3 = S3::start();
    let proxy = FaultProxy::start(s3.address(), 1);
    // A storage that is far away.
    proxy.set_stall(Duration::from_millis(100));
    proxy.inject(Rule::new(Fault::Stall).chance(1.0));
    let week = requests(&s3, &proxy, WEEK);
    let year = requests(&s3, &proxy, YEAR);
    assert!(week < REQUESTS_MAX, "{week} requests");
    assert!(
        year <= week + MORE_MAX,
        "{week} requests over a week, {year} over a year"
    );
}
