//! More than one answer has room for: commits, and bytes of a row.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_base::clock::Clock;
use tidegate_log::{CommitLog, Counts, Draft, FileEntry, OpenOptions, Record, Span, WriterId};
use tidegate_storage::{Storage, StorageOptions};

use crate::common::{Job, NOW_MICROS, repository_file};
use crate::server::Server;

/// The log of a job that does not run, and the last record with events. The first run has closed
/// all windows, so that what the second one has read is late.
async fn log(job: &Job, clock: Clock) -> (CommitLog, Record) {
    let url = format!("file:{}", job.path("data").display());
    let storage = Storage::open_existing(&StorageOptions::new(url)).unwrap();
    let options = OpenOptions {
        job_name: "transactions".to_owned(),
        writer: WriterId::new(),
        clock,
        keep: Duration::ZERO,
        snapshot_every: 1_000,
    };
    let log = CommitLog::open(storage.clone(), options).await.unwrap();
    let records = tidegate_log::read_records(&storage, 1, 100).await.unwrap();
    let mut with_events = records
        .into_iter()
        .rev()
        .filter(|record| record.counts.events + record.counts.late > 0);
    (log, with_events.next().unwrap())
}

/// Adds commits to a job that does not run, each with the events of the last one.
fn commit_more(job: &Job, commits: u64) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (mut log, last) = log(job, Clock::manual(NOW_MICROS)).await;
        let mut draft = Draft {
            partitions: last.partitions.clone(),
            counts: last.counts,
            rejected_by: last.rejected_by.clone(),
            files: last.files.clone(),
            ..Draft::default()
        };
        for _ in 0..commits {
            let on = |span: &mut Span| {
                (span.from, span.to) = (span.to, 2 * span.to - span.from);
            };
            draft.partitions.iter_mut().for_each(on);
            log.commit(draft.clone()).await.unwrap();
        }
    });
}

const SECOND: i64 = 1_000_000;
/// Where the offsets of [`commit_late`] begin.
const LATE: i64 = 1_000_000;

/// Adds commits to a job that does not run, a second apart, each with one late event.
fn commit_late(job: &Job, commits: i64) {
    let clock = Clock::manual(NOW_MICROS);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (mut log, last) = log(job, clock.clone()).await;
        let late = last.files.iter().find(|file| file.dataset == "late");
        let late = late.unwrap().clone();
        let data = job.path("data");
        let rows = duckdb::Connection::open_in_memory().unwrap();
        let table = format!(
            "CREATE TABLE late AS SELECT * FROM read_parquet('{}', hive_partitioning = false) LIMIT 1",
            data.join(&late.path).display()
        );
        rows.execute_batch(&table).unwrap();
        let span = last.partitions[0].clone();
        for number in 1..=commits {
            let path = format!("data/late/more-{number}.parquet");
            let copy = format!(
                "COPY (SELECT * REPLACE (({LATE} + {number})::BIGINT AS source_offset, \
                 to_timestamp({}) AS processing_timestamp) FROM late) TO '{}' (FORMAT parquet)",
                NOW_MICROS / SECOND + number,
                data.join(&path).display()
            );
            rows.execute_batch(&copy).unwrap();
            clock.set(NOW_MICROS + number * SECOND);
            let to = span.to + number;
            let draft = Draft {
                partitions: vec![Span {
                    from: to - 1,
                    to,
                    ..span.clone()
                }],
                counts: Counts {
                    read: 1,
                    late: 1,
                    ..Counts::default()
                },
                files: vec![FileEntry {
                    rows: 1,
                    bytes: fs::metadata(data.join(&path)).unwrap().len(),
                    path,
                    // So long ago that a start does not look into it.
                    event_time: Some((0, 0)),
                    ..late.clone()
                }],
                ..Draft::default()
            };
            log.commit(draft).await.unwrap();
        }
    });
}

/// More commits than one question may read: each page reads those that it shows, and no others.
#[test]
fn late_events_behind_any_number_of_commits_are_shown_page_by_page() {
    const COMMITS: i64 = 5_200;
    let mut job = generated();
    job.catch_up();
    job.change("source.count", 20);
    job.catch_up();
    commit_late(&job, COMMITS);
    // By a clock that stands, no other event is due.
    job.change("source.count", 1_000_000);
    job.change("source.rate", 1);
    let server = Server::start(&job);
    server.until("/v1/status", |status| {
        status["last_seq"].as_u64() > Some(COMMITS as u64)
    });
    let page = |before: &str, limit: usize| {
        let path = format!("/v1/late?limit={limit}{before}");
        loop {
            let (status, page) = server.request("GET", &path, "");
            if status == 503 {
                std::thread::sleep(Duration::from_millis(200));
                continue;
            }
            assert_eq!(
                (status, &page["served_by"]),
                (200, &json!("cold")),
                "{page}"
            );
            let rows = page["late"].as_array().unwrap().iter();
            let offsets = rows.map(|row| row["source_offset"].as_i64().unwrap() - LATE);
            let next = page["next"].as_str().map(|next| format!("&before={next}"));
            return (offsets.collect::<Vec<_>>(), next);
        }
    };
    let newest_first = |from: i64, rows: i64| (from - rows + 1..=from).rev().collect::<Vec<_>>();
    let (mut from, mut before) = (COMMITS, String::new());
    for limit in [1, 7, 50, 50, 3] {
        let (offsets, next) = page(&before, limit);
        assert_eq!(offsets, newest_first(from, limit as i64));
        from -= limit as i64;
        before = next.unwrap();
    }
    // From a time on, far from the newest.
    let at = |number: i64| {
        format!(
            "&before=2026-03-02T12:{:02}:{:02}Z",
            number / 60,
            number % 60
        )
    };
    let (offsets, next) = page(&at(2_600), 3);
    assert_eq!(offsets, [2_599, 2_598, 2_597]);
    assert_eq!(page(&next.unwrap(), 2).0, [2_596, 2_595]);
    // And to the end, where the events of the second run are.
    let (mut rest, mut next) = page(&at(100), 30);
    while let Some(before) = next {
        let (offsets, more) = page(&before, 30);
        rest.extend(offsets);
        next = more;
    }
    let older = rest.split_off(99);
    assert_eq!(rest, newest_first(99, 99));
    let mut sorted = older.clone();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted.dedup();
    assert_eq!(older, sorted);
    assert!(!older.is_empty());
}

/// A loss that was committed in the last hour is told by a process that is started after it,
/// however many commits came since; an older one is not.
#[test]
fn offsets_that_expired_in_the_last_hour_are_told_after_a_restart() {
    const MINUTE: i64 = 60 * SECOND;
    // More than are read at a time.
    const SINCE: i64 = 150;
    let mut job = generated();
    job.catch_up();
    let clock = Clock::manual(NOW_MICROS);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (mut log, last) = log(&job, clock.clone()).await;
        let first = last.partitions[0].to;
        for number in 0..=SINCE {
            // The first of them at ten past twelve, the others a minute later.
            clock.set(NOW_MICROS + 10 * MINUTE + i64::from(number > 0) * MINUTE);
            let (gone, read) = if number == 0 { (1, 0) } else { (0, 1) };
            let span = Span {
                from: first + number,
                to: first + number + 1,
                gone,
                ..last.partitions[0].clone()
            };
            let draft = Draft {
                partitions: vec![span],
                counts: Counts {
                    read,
                    duplicates: read,
                    gone,
                    ..Counts::default()
                },
                ..Draft::default()
            };
            log.commit(draft).await.unwrap();
        }
    });
    job.change("source.count", 1_000_000);
    job.change("source.rate", 1);
    let series = "tidegate_offsets_gone_timestamp_seconds";
    let job = job.with_now("2026-03-02T13:09:00Z".to_owned());
    let server = Server::start(&job);
    let status = server.until("/v1/status", |status| status["gone_at"].is_string());
    assert_eq!(
        (&status["gone_at"], &status["gone"]),
        (&json!("2026-03-02T12:10:00.000000Z"), &json!(1))
    );
    let at = (NOW_MICROS + 10 * MINUTE) as f64 / 1e6;
    assert_eq!(server.metric(series), Some(at));
    drop(server);
    let job = job.with_now("2026-03-02T13:10:01Z".to_owned());
    let server = Server::start(&job);
    server.until_ready(true);
    // It has been looked for by then.
    std::thread::sleep(Duration::from_secs(2));
    let status = server.get("/v1/status");
    assert_eq!(
        (&status["gone_at"], &status["gone"]),
        (&Value::Null, &json!(1))
    );
    assert_eq!(server.metric(series), Some(0.0));
}

/// A job over generated events, whose files alone are asked.
fn generated() -> Job {
    let example = fs::read_to_string(repository_file("examples/transactions.toml")).unwrap();
    Job::from_text(&example)
        .set("storage.url", "file:data")
        .set("warehouse.url", "duckdb:warehouse.duckdb")
        .set("load.separate", true)
        .set("source.kind", "generator")
        .set("source.partitions", 1)
        .set("source.rate", 0)
        .set("source.count", 1)
}

#[test]
fn an_event_is_found_behind_any_number_of_commits() {
    let mut job = generated();
    job.catch_up();
    let sql = format!(
        "SELECT transaction_id FROM read_parquet('{}/**/*.parquet')",
        job.path("data/data/events").display()
    );
    let files = duckdb::Connection::open_in_memory().unwrap();
    let key: String = files.query_row(&sql, [], |row| row.get(0)).unwrap();
    job.change("source.count", 20);
    job.catch_up();
    commit_more(&job, 5_200);
    // By a clock that stands, no other event is due.
    job.change("source.count", 1_000_000);
    job.change("source.rate", 1);

    let server = Server::start(&job);
    // The log's index comes a moment after the log.
    server.until("/v1/status", |status| {
        status["last_seq"].as_u64() > Some(5_200)
    });
    let mut before = String::new();
    let mut pages = 0;
    let event = loop {
        let path = format!("/v1/events/{key}{before}");
        let (status, page) = server.request("GET", &path, "");
        if status == 503 {
            std::thread::sleep(Duration::from_millis(200));
            continue;
        }
        assert_eq!(
            (status, &page["served_by"]),
            (200, &json!("cold")),
            "{page}"
        );
        pages += 1;
        if let Some(event) = page["events"].as_array().unwrap().first() {
            break event.clone();
        }
        let next = page["next"].as_u64();
        before = format!("?before={}", next.expect("there are older commits"));
        assert!(pages < 100, "{page}");
    };
    assert_eq!(event["transaction_id"], key);
    // One that is not there is not found, to the end.
    let (mut before, mut next) = (String::new(), Value::Bool(true));
    while !next.is_null() {
        let page = server.get(&format!("/v1/events/none{before}"));
        assert_eq!(page["events"], json!([]));
        next = page["next"].clone();
        before = format!("?before={next}");
    }
}

#[test]
fn late_events_that_are_large_are_all_shown_page_by_page() {
    const EVENTS: usize = 60;
    const BYTES: usize = 4 << 20;
    /// Bytes that two answers may take, beside what the process needs anyhow.
    const MEMORY: u64 = 1 << 30;
    let job = Job::new("transactions")
        .set("source.follow", true)
        .set("batch.interval", "200ms")
        .set("load.interval", "200ms")
        .set("warehouse.url", "none");
    fs::create_dir(job.path("in")).unwrap();
    let event = |id: usize, at: &str, merchant: &str| {
        let event = json!({
            "transaction_id": format!("TXN_{id}_0001"),
            "customer_id": "CUST_000001",
            "amount": 1.5,
            "currency": "USD",
            "merchant": merchant,
            "status": "COMPLETED",
            "timestamp": at,
        });
        format!("{event}\n")
    };
    let mut lines = event(0, "2026-03-02T11:30:00Z", "x");
    let large = "x".repeat(BYTES);
    for id in 1..=EVENTS {
        write!(lines, "{}", event(id, "2026-03-02T10:00:00Z", &large)).unwrap();
    }
    fs::write(job.path("part"), lines).unwrap();
    fs::rename(job.path("part"), job.path("in/large.ndjson")).unwrap();
    let server = Server::start(&job);
    server.until("/v1/status", |status| status["late"] == EVENTS);
    server.until("/v1/late?limit=1", |late| {
        !late["late"].as_array().unwrap().is_empty()
    });
    let before = server.memory_max();
    let ask = || {
        let (mut seen, mut more) = (Vec::new(), String::new());
        loop {
            let page = server.get(&format!("/v1/late?limit=1000{more}"));
            for row in page["late"].as_array().unwrap() {
                assert_eq!(row["merchant"].as_str().map(str::len), Some(BYTES));
                seen.push(row["transaction_id"].as_str().unwrap().to_owned());
            }
            match page["next"].as_str() {
                Some(next) => more = format!("&before={next}"),
                None => return seen,
            }
        }
    };
    #[expect(clippy::disallowed_methods, reason = "it has no channel")]
    let both = std::thread::scope(|scope| {
        let both = [scope.spawn(ask), scope.spawn(ask)];
        both.map(|one| one.join().unwrap())
    });
    let wanted: Vec<String> = (1..=EVENTS)
        .rev()
        .map(|id| format!("TXN_{id}_0001"))
        .collect();
    assert_eq!(both, [wanted.clone(), wanted]);
    let more = server.memory_max() - before;
    assert!(more < MEMORY, "{} MiB", more >> 20);
}
