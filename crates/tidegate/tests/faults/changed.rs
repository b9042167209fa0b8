//! A job that goes on with another configuration: each change is taken as if nothing had happened,
//! taken with a word, or refused with exit code 78 and the way out.

use std::fmt::Write as _;
use std::process::Output;

use duckdb::Connection;
use serde_json::Value;

use crate::check;
use crate::common::Job;
use crate::job::{check_whole, log, record, records};
use crate::running::Running;

/// Microseconds.
const SECOND: i64 = 1_000_000;
/// The event time of the first event of [`orders`].
const START: i64 = 1_772_445_600 * SECOND;

/// A job over files; each test changes it.
pub(crate) fn orders() -> Job {
    let job = Job::from_text(
        r#"
version = 1
name = "orders"
[source]
kind = "files"
path = "in"
follow = true
[storage]
url = "file:data"
[warehouse]
url = "duckdb:warehouse.duckdb"
table = "orders"
[schema]
at = { type = "timestamp", required = true }
id = { type = "int32", required = true }
shop = "string"
amount = "int64"
[event-time]
field = "at"
column = "happened_at"
delay = "1m"
[deduplication]
key = ["id"]
[upsert]
key = ["id"]
[[windows]]
name = "by_shop"
size = "1m"
group-by = ["shop"]
[windows.aggregates]
n = "count(*)"
"#,
    );
    std::fs::create_dir(job.path("in")).unwrap();
    job
}

/// Writes a file of events, ten a second of event time, numbered from `from` on.
pub(crate) fn write(job: &Job, name: &str, events: std::ops::Range<i64>) {
    let mut lines = String::new();
    for id in events {
        let at = chrono::DateTime::from_timestamp_micros(START + id * SECOND / 10).unwrap();
        let shop = ["north", "south", "west"][(id % 3) as usize];
        writeln!(
            lines,
            r#"{{"at":"{}","id":{id},"shop":"{shop}","amount":{}}}"#,
            at.to_rfc3339(),
            id % 100
        )
        .unwrap();
    }
    std::fs::write(job.path("in").join(name), lines).unwrap();
}

fn run(job: &Job) -> Output {
    job.output(&["run", "--until-caught-up", "--summary", "json"])
}

/// Runs, and returns the status and what was written to standard error.
#[track_caller]
pub(crate) fn catch_up(job: &Job) -> (Value, String) {
    let output = run(job);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    let mut report: Value = serde_json::from_slice(&output.stdout).unwrap();
    (report["summary"]["status"].take(), text)
}

fn ask(job: &Job, sql: &str) -> Vec<i64> {
    let connection = Connection::open(job.path("warehouse.duckdb")).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    let row = rows.next().unwrap().unwrap();
    let columns = row.as_ref().column_count();
    (0..columns)
        .map(|column| row.get(column).unwrap())
        .collect()
}

/// A job that has read 3,000 events: five minutes.
fn started() -> Job {
    let job = orders();
    write(&job, "1.ndjson", 0..3000);
    catch_up(&job);
    job
}

/// Checks that a change is refused with a word, that nothing was written, and that `validate` says
/// it too.
#[track_caller]
fn refused(job: &Job, says: &[&str]) {
    let before = records(job);
    check(&run(job), 78, says);
    check(&job.output(&["validate"]), 78, says);
    assert_eq!(records(job), before);
}

#[test]
fn another_upsert_key_is_refused_where_a_table_has_rows_of_the_old_one() {
    let mut job = started();
    job.change("upsert.key", r#"["shop"]"#);
    refused(
        &job,
        &[
            "upsert.key was `id` and is `shop` now",
            "Put the old key back",
            "another job",
        ],
    );
    job.change("upsert.key", "[]");
    refused(&job, &["upsert.key was `id`", "rows are appended"]);
    // A warehouse that is new gets all commits with the new key.
    job.change("upsert.key", r#"["shop"]"#);
    job.change("warehouse.url", "duckdb:other.duckdb");
    catch_up(&job);
    std::fs::rename(job.path("other.duckdb"), job.path("warehouse.duckdb")).unwrap();
    assert_eq!(
        ask(&job, "SELECT count(*), count(DISTINCT shop) FROM orders"),
        [3, 3]
    );
    // And from then on that is the key.
    write(&job, "2.ndjson", 3000..3100);
    job.change("warehouse.url", "duckdb:warehouse.duckdb");
    catch_up(&job);
    job.change("upsert.key", r#"["id"]"#);
    refused(&job, &["upsert.key was `shop` and is `id` now"]);
}

#[test]
fn another_deduplication_key_is_refused_and_a_retyped_column_in_it() {
    let mut job = started();
    job.change("deduplication.key", r#"["id", "shop"]"#);
    refused(
        &job,
        &[
            "deduplication.key was id and is id, shop now",
            "run once without [deduplication]",
        ],
    );
    job.change("deduplication.key", r#"["id"]"#);
    job.change("schema.id", r#"{ type = "int64", required = true }"#);
    refused(
        &job,
        &[
            "`id` is in deduplication.key, was int32 and is int64 now",
            "Give `id` its old type back",
        ],
    );
    job.change("schema.id", r#"{ type = "int32", required = true }"#);
    // The way out that is offered works: first no key, then the new one.
    job.change("deduplication.key", "[]");
    write(&job, "2.ndjson", 2990..3000);
    let (status, text) = catch_up(&job);
    assert!(text.contains("deduplication by id ends"), "{text}");
    assert_eq!(status["duplicates"], 0);
    job.change("deduplication.key", r#"["id", "shop"]"#);
    write(&job, "3.ndjson", 2990..3001);
    let (status, text) = catch_up(&job);
    assert!(
        text.contains("deduplication by id, shop begins now"),
        "{text}"
    );
    assert_eq!(
        (&status["duplicates"], &status["events"]),
        (&10.into(), &3011.into())
    );
}

#[test]
fn another_column_for_the_event_time_is_refused() {
    let mut job = started();
    job.change("event-time.column", "at_utc");
    refused(
        &job,
        &[
            "the event time's column was `happened_at` and is `at_utc` now",
            "Set event-time.column to `happened_at`",
        ],
    );
    job.change("event-time.column", "happened_at");
    catch_up(&job);
}

#[test]
fn a_window_that_changes_its_shape_is_refused_with_its_name() {
    let mut job = started();
    job.append(
        "[[windows]]\nname = \"added\"\nsize = \"1m\"\n[windows.aggregates]\nn = \"count(*)\"",
    );
    catch_up(&job);
    write(&job, "2.ndjson", 3000..3100);
    catch_up(&job);
    let path = job.path("tidegate.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let other = config.replace(
        "name = \"added\"\nsize = \"1m\"",
        "name = \"added\"\nsize = \"2m\"",
    );
    std::fs::write(&path, other).unwrap();
    refused(
        &job,
        &[
            "window `added` was 1m every 1m and is 2m every 2m now",
            "Give the new window another name",
        ],
    );
    std::fs::write(&path, config).unwrap();
    job.change("event-time.delay", "30s");
    let (_, text) = catch_up(&job);
    assert!(
        text.contains("judged by a delay of 30s instead of 1m"),
        "{text}"
    );
}

#[test]
fn a_shorter_or_longer_delay_forgets_no_repeat() {
    for delays in [["1m", "10s"], ["1h", "1s"], ["5s", "10h"], ["50s", "10s"]] {
        let mut job = orders();
        job.change("event-time.delay", delays[0]);
        write(&job, "1.ndjson", 0..2000);
        catch_up(&job);
        job.change("event-time.delay", delays[1]);
        write(&job, "2.ndjson", 1994..2000);
        let (status, _) = catch_up(&job);
        assert_eq!(status["duplicates"], 6, "{delays:?}: {status}");
        assert_eq!(status["events"], 2000, "{delays:?}");
        check_whole(&job);
    }
}

#[test]
fn a_window_over_a_new_column_begins_with_its_first_whole_one() {
    let job = started();
    let config = std::fs::read_to_string(job.path("tidegate.toml")).unwrap();
    job.append(
        "[enrich]\nband = \"CASE WHEN amount < 50 THEN 'small' ELSE 'large' END\"\n[[windows]]\nname = \"by_band\"\n\
         size = \"1m\"\nslide = \"30s\"\ngroup-by = [\"band\"]\n[windows.aggregates]\nn = \"count(*)\"",
    );
    write(&job, "2.ndjson", 3000..6000);
    let (status, text) = catch_up(&job);
    assert!(text.contains("window `by_band` is new"), "{text}");
    // The last event without the column is 299.9 seconds after the start.
    let begins = START + 300 * SECOND;
    assert_eq!(status["windows"]["by_band"]["begins"], begins, "{status}");
    assert!(text.contains("2026-03-02T10:05:00"), "{text}");
    let (state, _) = log(&job);
    let windows = &state.plan.unwrap()["windows"];
    assert_eq!(windows[1]["since"], begins, "{windows}");
    // However often it starts again.
    write(&job, "3.ndjson", 6000..9000);
    let (status, text) = catch_up(&job);
    assert_eq!(status["windows"]["by_band"]["begins"], begins);
    assert!(!text.contains("is new"), "{text}");
    let sql = "SELECT count(DISTINCT window_start), min(epoch_us(window_start)), min(n)::BIGINT, max(n)::BIGINT FROM \
               (SELECT window_start, sum(n) AS n FROM by_band GROUP BY window_start)";
    // The watermark is at 839.9 seconds: the last window that has ended began at 750 (ends at 810),
    // and each is whole.
    assert_eq!(ask(&job, sql), [16, begins, 600, 600]);
    let sql = "SELECT count(*), sum(n)::BIGINT FROM (SELECT window_start, sum(n) AS n FROM by_shop GROUP BY ALL)";
    assert_eq!(ask(&job, sql), [13, 7800]);
    check_whole(&job);
    // And back again.
    std::fs::write(job.path("tidegate.toml"), config).unwrap();
    write(&job, "4.ndjson", 9000..9100);
    let (_, text) = catch_up(&job);
    assert!(text.contains("window `by_band` is no more"), "{text}");
}

/// Windows come and go in the configuration of the process that commits; the one that loads has the
/// first one all the time.
#[test]
fn a_loader_apart_loads_the_parts_of_every_window_that_the_log_has() {
    let job = orders()
        .set("load.separate", true)
        .set("load.interval", "20ms");
    write(&job, "1.ndjson", 0..3000);
    catch_up(&job);
    let mut loader = Running::start(job.command(&["load"]));
    let mut loaded = |job: &Job| {
        let last = format!("last_seq={} ", records(job));
        loader.wait_until("load of all records", |text| text.contains(&last));
    };
    loaded(&job);
    let config = std::fs::read_to_string(job.path("tidegate.toml")).unwrap();
    job.append(
        "[[windows]]\nname = \"added\"\nsize = \"1m\"\n[windows.aggregates]\nn = \"count(*)\"\n\
         total = \"sum(amount)\"\nmean = \"avg(amount)\"",
    );
    write(&job, "2.ndjson", 3000..6000);
    catch_up(&job);
    loaded(&job);
    std::fs::write(job.path("tidegate.toml"), config).unwrap();
    write(&job, "3.ndjson", 6000..9000);
    catch_up(&job);
    loaded(&job);
    let said = loader.end_well();
    assert!(!said.contains("no table takes this dataset"), "{said}");
    // It began with the window to 240 seconds, and was taken out when the watermark was at 539.9.
    let sql =
        "SELECT count(*), sum(n)::BIGINT, sum(total)::BIGINT, min(mean * 10)::BIGINT FROM added";
    assert_eq!(ask(&job, sql), [5, 3000, 148_500, 495]);
    let sql = "SELECT count(DISTINCT window_start), sum(n)::BIGINT FROM by_shop";
    assert_eq!(ask(&job, sql), [13, 7800]);
}

/// Makes the log one that says nothing about the meaning of rows, as those of version 1.
fn forget_meaning(job: &Job) {
    let mut before = 0;
    for mut said in log(job).1 {
        said.plan = None;
        said.prev_crc32c = before;
        let (sealed, bytes) = said.seal();
        before = sealed.crc32c;
        std::fs::write(record(job, sealed.seq), bytes).unwrap();
    }
}

#[test]
fn a_log_that_says_nothing_takes_the_present_meaning_as_far_as_its_rows_fit() {
    // A warehouse would know the records by their checksums.
    let mut job = orders().set("warehouse.url", "none");
    write(&job, "1.ndjson", 0..3000);
    catch_up(&job);
    forget_meaning(&job);
    job.change("event-time.column", "at_utc");
    let says = [
        "data/events/",
        "no column `at_utc` with the event time",
        "its old name",
    ];
    check(&run(&job), 78, &says);
    job.change("event-time.column", "happened_at");
    job.change("schema.id", r#"{ type = "int64", required = true }"#);
    let says = [
        "data/events/",
        "its column `id` is int32, and int64 in the configuration",
    ];
    check(&run(&job), 78, &says);
    job.change("schema.id", r#"{ type = "int32", required = true }"#);
    job.append(
        "[enrich]\nband = \"amount % 2\"\n[[windows]]\nname = \"by_band\"\nsize = \"1m\"\ngroup-by = [\"band\"]\n\
         [windows.aggregates]\nn = \"count(*)\"",
    );
    job.change("deduplication.key", r#"["id", "band"]"#);
    write(&job, "2.ndjson", 2990..3010);
    let (status, text) = catch_up(&job);
    assert!(text.contains("their repeats are not recognised"), "{text}");
    assert_eq!(
        (&status["events"], &status["duplicates"]),
        (&3020.into(), &0.into())
    );
    assert_eq!(status["windows"]["by_band"]["begins"], START + 300 * SECOND);
    // From now on it is known.
    job.change("deduplication.key", r#"["id"]"#);
    refused(&job, &["deduplication.key was band, id and is id now"]);
}

#[test]
fn another_type_of_a_column_is_refused_until_the_table_has_it() {
    let mut job = started();
    job.change("schema.amount", "float64");
    let before = records(&job);
    let says = ["`orders`", "`amount`", "ALTER TABLE", "SET DATA TYPE"];
    check(&run(&job), 78, &says);
    let output = job.output(&["validate"]);
    check(&output, 78, &says);
    assert_eq!(records(&job), before);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let statement = said.split(" with: ").nth(1).unwrap();
    let statement = statement.split(" (database ").next().unwrap();
    let connection = Connection::open(job.path("warehouse.duckdb")).unwrap();
    connection.execute_batch(statement).unwrap();
    drop(connection);
    check(&job.output(&["validate"]), 0, &[]);
    catch_up(&job);
}

#[test]
fn what_is_to_be_run_for_another_type_can_be_run() {
    let job = started();
    let copy = job.path("copy.duckdb");
    let url = format!("warehouse.url=duckdb:{}", copy.display());
    for (ty, way) in [
        ("int32", "SET DATA TYPE"),
        ("string", "SET DATA TYPE"),
        ("bool", "SET DATA TYPE"),
        ("date", "RENAME COLUMN"),
        ("timestamp", "RENAME COLUMN"),
        ("list<int64>", "RENAME COLUMN"),
        ("map<string,int64>", "RENAME COLUMN"),
        ("struct<a: int64>", "RENAME COLUMN"),
    ] {
        std::fs::copy(job.path("warehouse.duckdb"), &copy).unwrap();
        let other = format!("schema.amount={ty}");
        let validate = || job.output(&["validate", "--set", &url, "--set", &other]);
        let output = validate();
        check(&output, 78, &["`amount`", way]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let statement = said.split(" with: ").nth(1).unwrap();
        let statement = statement.split(" (database ").next().unwrap();
        let connection = Connection::open(&copy).unwrap();
        let ran = connection.execute_batch(statement);
        assert!(ran.is_ok(), "{ty}: {statement}: {}", ran.unwrap_err());
        drop(connection);
        check(&validate(), 0, &[]);
    }
}

#[test]
fn another_type_is_found_while_the_job_runs() {
    let job = started();
    let says = ["`orders`", "`amount`", "ALTER TABLE", "SET DATA TYPE"];
    let other = ["validate", "--set", "schema.amount=float64"];
    let before = records(&job);
    write(&job, "2.ndjson", 3000..3010);
    let mut running = Running::start(job.command(&["run"]));
    // The process that has the file is asked for its columns.
    running.wait_until("a commit", |_| records(&job) > before);
    check(&job.output(&other), 78, &says);
    let said = |args: &[&str]| {
        let output = job.output(args);
        check(&output, 0, &[]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let same = said(&["validate"]);
    assert!(!same.contains("not compared"), "{same}");
    running.end_well();
    // One that has it and answers nothing: nothing is compared, and that is said.
    let connection = Connection::open(job.path("warehouse.duckdb")).unwrap();
    let unknown = said(&other);
    assert!(unknown.contains("not compared"), "{unknown}");
    assert!(unknown.contains("in use by another process"), "{unknown}");
    drop(connection);
    check(&job.output(&other), 78, &says);
}

#[test]
fn an_interval_is_no_column() {
    let job = orders();
    job.append("[enrich]\nlong = \"interval '1 day'\"");
    write(&job, "1.ndjson", 0..10);
    refused(&job, &["`long`", "Interval"]);
}

#[test]
fn a_lookup_whose_file_is_missing_is_refused() {
    let job = orders();
    job.append(
        "[[lookups]]\nname = \"shops\"\npath = \"shops.csv\"\non = \"shop\"\n\
         columns = { city = { from = \"city\", type = \"string\" } }",
    );
    write(&job, "1.ndjson", 0..10);
    refused(&job, &["shops.csv"]);
    std::fs::write(job.path("shops.csv"), "shop,city\nnorth,Oslo\n").unwrap();
    check(&job.output(&["validate"]), 0, &[]);
    catch_up(&job);
}
