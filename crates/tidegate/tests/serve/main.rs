//! A running job over HTTP: every tier gives the same answer, which is that of SQL over the input;
//! what is lost or away shows; and no question does harm.

#![allow(unreachable_pub, clippy::unwrap_used)] // A helper that cannot do its part ends the test.

#[path = "../oracle/answer.rs"]
#[allow(dead_code)]
mod answer;
#[path = "../common/mod.rs"]
mod common;
mod demo;
mod described;
mod harm;
mod health;
mod much;
mod outside;
mod push;
mod redis;
mod removed;
mod server;
mod stopped;
mod values;

use std::fs;
use std::path::Path;

use answer::{Answer, Lanes};
use common::{Job, NOW_MICROS};
use serde_json::{Value, json};
use server::Server;
use tidegate_base::clock::Clock;
use tidegate_generator::{FileFormat, GeneratorOptions, generate_files};
use tidegate_testkit::{Redis, S3};

const TRANSACTIONS: &str = include_str!("../oracle/transactions.sql");
const HOUR: i64 = 3_600_000_000;
const RECORDS: u64 = 60_000;
/// All windows of the stream.
const RANGE: &str = "from=2026-03-01T00:00:00Z&to=2026-03-03T00:00:00Z";

/// A stream of an hour and a half, in three files.
fn write_input(dir: &Path) {
    let options = GeneratorOptions {
        event_rate: 10,
        count: Some(RECORDS),
        seed: 21,
        start_time: Some(NOW_MICROS - 3 * HOUR),
        duplicates: 0.03,
        updates: 0.03,
        late: 0.01,
        malformed: 0.005,
        rule_breaking: 0.005,
        ..GeneratorOptions::default()
    };
    fs::create_dir(dir).unwrap();
    generate_files(
        dir,
        3,
        FileFormat::Plain,
        &options,
        &Clock::manual(NOW_MICROS),
    )
    .unwrap();
}

/// A job that goes on waiting for files.
fn job() -> Job {
    let job = Job::new("transactions")
        .set("source.follow", true)
        .set("batch.interval", "200ms")
        .set("load.interval", "200ms")
        .set("hot.keep", "48h");
    write_input(&job.path("in"));
    job
}

fn records(job: &Job) -> u64 {
    let lines = |file: std::io::Result<fs::DirEntry>| {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        bytes.iter().filter(|byte| **byte == b'\n').count() as u64
    };
    fs::read_dir(job.path("in")).unwrap().map(lines).sum()
}

fn aggregates(server: &Server, view: &str, more: &str) -> Value {
    server.get(&format!(
        "/v1/aggregates?view={view}&{RANGE}&limit=100000{more}"
    ))
}

/// Rows without what tiers may differ in: the last bit of a sum of floats, and whether a window is
/// known to be final.
fn rounded(rows: &Value, finals_only: bool) -> Vec<Value> {
    let rows = rows
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| !finals_only || row["final"] == true);
    let round = |row: &Value| {
        let mut row = row.clone();
        row.as_object_mut().unwrap().remove("final");
        for name in ["total_amount", "avg_amount"] {
            row[name] = json!(format!("{:.9e}", row[name].as_f64().unwrap()));
        }
        row
    };
    rows.map(round).collect()
}

/// Compares rows with the answer of SQL over the input.
fn check(job: &Job, view: &str, rows: &Value, final_to: Option<&str>) {
    let answer = Answer::work_out(&job.path("in"), Lanes::One, TRANSACTIONS);
    let file = job.path(&format!("{view}.json"));
    fs::write(&file, rows.to_string()).unwrap();
    answer.run(&format!(
        "CREATE SCHEMA tidegate; CREATE TABLE tidegate.{view} AS SELECT window_start::TIMESTAMP AS window_start, \
         window_end::TIMESTAMP AS window_end, * EXCLUDE (window_start, window_end) FROM read_json('{}')",
        file.display()
    ));
    if let Some(to) = final_to {
        answer.run(&format!(
            "DELETE FROM expected_{view} WHERE window_end_us > epoch_us(TIMESTAMPTZ '{to}')"
        ));
    }
    let exact = [
        "window_start_us",
        "window_end_us",
        "status",
        "transaction_count",
        "max_amount",
        "min_amount",
    ];
    answer.same_aggregates(view, &exact, &["total_amount", "avg_amount"]);
}

fn tiers(answer: &Value) -> Vec<&str> {
    answer["served_by"]
        .as_array()
        .unwrap()
        .iter()
        .map(|served| served["tier"].as_str().unwrap())
        .collect()
}

#[test]
fn tiers_agree_with_each_other_and_with_sql_over_the_files() {
    let job = job();
    let server = Server::start(&job);
    let status = server.until_loaded(records(&job));
    let final_to = status["watermarks"]["0"].as_str().unwrap();
    for view in ["transactions_1m", "transactions_5m"] {
        // Live values of all windows, those that are open included.
        let path = format!("/v1/aggregates?view={view}&{RANGE}&limit=100000&tier=hot");
        let hot = server.until(&path, |hot| {
            let finals = hot["rows"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|row| row["final"] == true)
                .count();
            finals > 0 && tiers(hot) == ["hot"]
        });
        let mut last = hot;
        // The hot tier is a moment behind the commit.
        for _ in 0..20 {
            std::thread::sleep(std::time::Duration::from_millis(100));
            last = server.get(&path);
        }
        let hot = last;
        check(&job, view, &hot["rows"], None);
        let warm = warm_and_cold_agree(&job, &server, view, final_to);
        assert_eq!(rounded(&hot["rows"], true), rounded(&warm["rows"], true));
        assert!(
            hot["rows"]
                .as_array()
                .unwrap()
                .iter()
                .any(|row| row["final"] == false),
            "some windows are open"
        );
        // Without a tier, the first that has it.
        let any = aggregates(&server, view, "");
        assert_eq!((&any["rows"], tiers(&any)), (&hot["rows"], vec!["hot"]));
        assert_eq!(any["truncated"], false);
        // Groups and limits are the same in each tier.
        for tier in ["hot", "warm", "cold"] {
            let some = aggregates(
                &server,
                view,
                &format!("&tier={tier}&group.status=PENDING&group.status=none"),
            );
            let rows = some["rows"].as_array().unwrap();
            assert!(
                !rows.is_empty() && rows.iter().all(|row| row["status"] == "PENDING"),
                "{tier}"
            );
            let few = server.get(&format!(
                "/v1/aggregates?view={view}&{RANGE}&limit=3&tier={tier}"
            ));
            assert_eq!(few["rows"].as_array().unwrap().len(), 3);
            assert_eq!(few["truncated"], true, "{tier}");
        }
    }
    other_answers(&job, &server);
}

/// Asks for all final windows of a view, and gives what the warm tier has.
fn warm_and_cold_agree(job: &Job, server: &Server, view: &str, final_to: &str) -> Value {
    let warm = aggregates(server, view, "&tier=warm");
    let cold = aggregates(server, view, "&tier=cold");
    assert_eq!((tiers(&warm), tiers(&cold)), (vec!["warm"], vec!["cold"]));
    check(job, view, &warm["rows"], Some(final_to));
    check(job, view, &cold["rows"], Some(final_to));
    assert_eq!(rounded(&warm["rows"], true), rounded(&cold["rows"], true));
    warm
}

#[test]
fn tiers_agree_where_files_are_in_s3_and_in_memory() {
    let s3 = S3::start();
    let in_s3 = job()
        .set("storage.url", format!("s3://{}/serve", S3::BUCKET))
        .set("storage.endpoint", s3.endpoint())
        .set("storage.allow-http", true)
        .with_variables(S3::environment());
    for job in [in_s3, job().set("storage.url", "memory:")] {
        let server = Server::start(&job);
        let status = server.until_loaded(records(&job));
        let final_to = status["watermarks"]["0"].as_str().unwrap();
        for view in ["transactions_1m", "transactions_5m"] {
            warm_and_cold_agree(&job, &server, view, final_to);
        }
        other_answers(&job, &server);
    }
}

/// In pages of seven come the same rows as in one: many are of the same instant.
fn pages_leave_nothing_out(server: &Server, path: &str, all: &[Value]) {
    let field = path.trim_start_matches("/v1/");
    let mut rows = Vec::new();
    let mut before = String::new();
    while rows.len() < all.len() {
        let page = server.get(&format!("{path}?limit=7{before}"));
        rows.extend_from_slice(page[field].as_array().unwrap());
        match page["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    rows.truncate(all.len());
    assert_eq!(rows, all, "{path}");
}

/// Records, commits and history of the same job.
fn other_answers(job: &Job, server: &Server) {
    let answer = Answer::work_out(&job.path("in"), Lanes::One, TRANSACTIONS);
    let number = |sql: &str| answer.number(sql);
    let rejected = server.get("/v1/rejected?limit=1000");
    assert_eq!(
        rejected["rejected"].as_array().unwrap().len() as i64,
        number("SELECT count(*) FROM expected_rejected").min(1000)
    );
    let reason = rejected["rejected"][0]["reasons"][0].as_str().unwrap();
    let some = server.get(&format!("/v1/rejected?limit=5&reason={reason}"));
    for row in some["rejected"].as_array().unwrap() {
        assert!(
            row["reasons"].as_array().unwrap().contains(&json!(reason)),
            "{row}"
        );
        assert_eq!(row["payload_encoding"], "utf8");
    }
    let late = server.get("/v1/late?limit=1000");
    assert_eq!(
        late["late"].as_array().unwrap().len() as i64,
        number("SELECT late FROM expected_counts").min(1000)
    );
    for (path, rows) in [
        ("/v1/rejected", &rejected["rejected"]),
        ("/v1/late", &late["late"]),
    ] {
        pages_leave_nothing_out(server, path, rows.as_array().unwrap());
    }
    let key = late["late"][0]["transaction_id"].as_str().unwrap();
    let event = server.get(&format!("/v1/events/{key}"));
    assert_eq!(event["events"][0]["transaction_id"], key);
    assert_eq!(event["served_by"], "warm");
    let log = server.get("/v1/log?limit=500");
    let committed: u64 = log["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["read"].as_u64().unwrap())
        .sum();
    assert_eq!(committed, records(job));
    assert_eq!(server.get("/v1/log?before=3")["records"][0]["seq"], 2);
    let count = json!([[number("SELECT count(*) FROM expected_transactions")]]);
    for tier in ["warm", "cold"] {
        let question = json!({ "sql": "SELECT count(*) AS n FROM transactions", "tier": tier });
        let (status, answer) = server.request("POST", "/v1/query", &question.to_string());
        assert_eq!(
            (status, &answer["rows"], &answer["tier"]),
            (200, &count, &json!(tier)),
            "{answer}"
        );
        assert_eq!(answer["columns"], json!([{ "name": "n", "type": "int64" }]));
    }
    let history = server.until("/v1/history", |history| {
        !history["times"].as_array().unwrap().is_empty()
    });
    assert_eq!(history["step_seconds"], 10);
    let status = server.get("/v1/status");
    assert_eq!(status["lag_total"], 0);
    assert!(
        status["lateness"]["p99"].as_f64().unwrap() > 3_600.0,
        "the stream is hours old: {status}"
    );
    assert!(
        status["latency"]["queryable"]["p99"].as_f64().unwrap() < 300.0,
        "and nothing waited for long: {status}"
    );
    let job = server.get("/v1/job");
    assert_eq!(
        (&job["hot"], &job["warehouse"]),
        (&json!("memory"), &json!("duckdb"))
    );
    assert_eq!(
        job["views"][0]["aggregates"][0],
        json!({ "name": "transaction_count", "function": "count", "type": "int64" })
    );
}

#[test]
fn a_restart_shows_open_windows_again() {
    let job = job();
    let mut server = Server::start(&job);
    server.until_loaded(records(&job));
    server.kill();
    let server = Server::start(&job);
    // What was closed before is not in the hot tier of this process, and comes from the warehouse.
    let path = format!("/v1/aggregates?view=transactions_1m&{RANGE}&limit=100000");
    let answer = server.until(&path, |answer| tiers(answer) == ["warm", "hot"]);
    check(&job, "transactions_1m", &answer["rows"], None);
    let hot = aggregates(&server, "transactions_1m", "&tier=hot");
    assert!(
        hot["rows"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["final"] == false)
    );
}

#[test]
fn a_redis_that_goes_away_slows_nothing_and_is_filled_again() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let job = job().set("hot.url", redis.url());
    // The second half comes later.
    let held: Vec<_> = fs::read_dir(job.path("in"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    let mut held = held;
    held.sort();
    let last = held.pop().unwrap();
    let (away, name) = (job.path("away"), last.file_name().unwrap());
    fs::rename(&last, &away).unwrap();
    let server = Server::start(&job);
    server.until_loaded(records(&job));
    let path = format!("/v1/aggregates?view=transactions_1m&{RANGE}&limit=100000");
    server.until(&path, |answer| tiers(answer) == ["hot"]);
    assert!(
        redis
            .ask(&["KEYS", "tidegate:transactions:transactions_1m:*"])
            .lines()
            .count()
            > 50
    );

    redis.stop();
    fs::rename(&away, job.path("in").join(name)).unwrap();
    server.until_loaded(records(&job));
    let fallen = server.until(&path, |answer| tiers(answer) == ["warm"]);
    let reason = fallen["fallbacks"][0].to_string();
    assert!(
        reason.contains("Redis") && reason.contains("hot"),
        "{reason}"
    );

    redis.resume();
    let healed = server.until(&path, |answer| tiers(answer) == ["warm", "hot"]);
    check(&job, "transactions_1m", &healed["rows"], None);
}

#[test]
fn parameters_that_make_no_sense_are_explained() {
    let job = job();
    let server = Server::start(&job);
    for (path, status, says) in [
        ("/v1/aggregates", 400, "`view` is missing"),
        (
            "/v1/aggregates?view=x",
            404,
            "there are transactions_1m, transactions_5m",
        ),
        (
            "/v1/aggregates?view=transactions_1m&from=now&to=x",
            400,
            "`from`: `now` is not a time",
        ),
        (
            "/v1/aggregates?view=transactions_1m&from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z",
            400,
            "`from` is after `to`",
        ),
        (
            "/v1/aggregates?view=transactions_1m&from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z&tier=lukewarm",
            400,
            "hot, warm or cold",
        ),
        (
            "/v1/aggregates?view=transactions_1m&from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z&group.x=1",
            400,
            "no parameter `group.x`",
        ),
        ("/v1/rejected?limit=0", 400, "from 1 to 1000"),
        (
            "/v1/late?before=2026-11-25T18:00:00Z,1",
            400,
            "TIME,PARTITION,OFFSET",
        ),
        ("/v1/rejected?limit=1&limit=2", 400, "give it once"),
        ("/v1/log?before=x", 400, "a sequence number"),
        ("/v1/live", 426, "this is a WebSocket"),
        ("/v1/nothing", 404, "there is no `/v1/nothing` here"),
    ] {
        let (code, answer) = server.request("GET", path, "");
        assert_eq!(code, status, "{path}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{path}: {message}");
    }
}

/// What runs beside the answers panics once, each of them. It is started again, and answers are as
/// they would be.
#[cfg(feature = "failpoints")]
#[test]
fn what_panics_beside_the_answers_is_started_again() {
    let job = job().with_variables([(
        "FAILPOINTS",
        "serve.hub=1*panic;serve.index=1*panic;serve.hot=3*off->1*panic->off",
    )]);
    let server = Server::start(&job);
    server.until_loaded(records(&job));
    let whole = |answer: &Value| !answer["rows"].as_array().unwrap().is_empty();
    let question = format!("/v1/aggregates?view=transactions_1m&{RANGE}&limit=100000");
    let warm = server.until(&format!("{question}&tier=warm"), whole);
    // The index follows the log again, and live values are taken again.
    let same = |answer: &Value| rounded(&answer["rows"], true) == rounded(&warm["rows"], true);
    server.until(&format!("{question}&tier=cold"), same);
    server.until(&format!("{question}&tier=hot"), whole);
    let history = |answer: &Value| answer.to_string().len() > 500;
    server.until("/v1/history", history);
}

/// Without answers nobody sees what the job does: it stops, and says why.
#[cfg(feature = "failpoints")]
#[test]
fn a_job_whose_server_panics_stops_with_the_reason() {
    let job = job().with_variables([("FAILPOINTS", "serve.accept=1*panic")]);
    let child = job
        .command(&["run", "--set", "http.listen=127.0.0.1:0"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = child;
    let mut text = String::new();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let address = line.split("address=").nth(1)?.split_whitespace().next()?;
        Some(address.to_owned())
    });
    // The first connection is the one too many.
    let _connection = std::net::TcpStream::connect(address.unwrap()).unwrap();
    for line in lines.map_while(Result::ok) {
        text.push_str(&line);
        text.push('\n');
    }
    assert_eq!(child.wait().unwrap().code(), Some(1), "{text}");
    for part in ["the HTTP server panicked", "start the job again"] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}
