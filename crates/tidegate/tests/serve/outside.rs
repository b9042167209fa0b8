//! What a job says of what is outside of it: a source, storage or warehouse that is away, and a
//! loader of its own.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tidegate_testkit::S3;

use crate::common::{Job, repository_file};
use crate::server::Server;

const ORDERS: &str = r#"
version = 1
name = "orders"

[source]
kind = "files"
path = "in"
follow = true
poll-interval = "100ms"

[storage]
url = "file:data"

[warehouse]
url = "duckdb:warehouse.duckdb"

[batch]
interval = "100ms"

[load]
interval = "100ms"

[http]
ready-after = "1s"

[schema]
order_id = { type = "string", required = true }
buyer = "struct<name: string>"
at = { type = "timestamp", required = true }

[event-time]
field = "at"

[rules]
named = "buyer IS NOT NULL"
"#;

/// A job with so many orders in its first file; each has two fields that the schema does not have.
pub fn orders(count: u32) -> Job {
    let job = Job::from_text(ORDERS);
    fs::create_dir(job.path("in")).unwrap();
    add_orders(&job, "1", 0, count);
    job
}

pub fn add_orders(job: &Job, file: &str, from: u32, to: u32) {
    let order = |id: u32| {
        let order = json!({
            "order_id": format!("o-{id}"),
            "surprise": 1,
            "buyer": { "name": "Ada", "age": 36 },
            "at": "2026-03-01T10:00:00Z",
        });
        format!("{order}\n")
    };
    let text: String = (from..to).map(order).collect();
    let part = job.path("part");
    fs::write(&part, text).unwrap();
    fs::rename(part, job.path("in").join(format!("{file}.ndjson"))).unwrap();
}

#[test]
fn a_broker_that_was_never_reachable_is_said_everywhere() {
    let example = fs::read_to_string(repository_file("examples/transactions.toml")).unwrap();
    let job = Job::from_text(&example)
        .set("source.brokers", "127.0.0.1:1")
        .set("storage.url", "file:data")
        .set("warehouse.url", "duckdb:warehouse.duckdb")
        .set("http.ready-after", "1s");
    let server = Server::start(&job);
    let said = server.until_ready(false);
    let said = if said.contains("away") {
        said
    } else {
        // It was still starting.
        server.until_ready(true);
        server.until_ready(false)
    };
    assert!(said.starts_with("running\nsource away for "), "{said}");
    assert_eq!(server.metric("tidegate_source_reachable"), Some(0.0));
    assert_eq!(server.metric("tidegate_storage_reachable"), Some(1.0));
    let source = server.get("/v1/status")["source"].clone();
    assert_eq!(source["reachable"], false);
    assert!(
        source["since"].is_string() && source["error"].is_string(),
        "{source}"
    );
    assert_eq!(server.request("GET", "/healthz", "").0, 200);
}

/// What a process answers that is not ready yet, once it listens.
fn ask(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn a_storage_that_is_away_at_the_start_is_said_everywhere() {
    for (command, key) in [("run", "http.listen"), ("load", "load.listen")] {
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap().to_string();
        drop(port);
        let job = orders(10)
            .set("storage.url", "s3://bucket/orders")
            .set("storage.endpoint", "http://127.0.0.1:1")
            .set("storage.allow-http", true)
            .with_variables(S3::environment());
        let mut child = job
            .command(&[command, "--set", &format!("{key}={address}")])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begin = Instant::now();
        let until = |path: &str, wanted: &str| loop {
            let answer = ask(&address, path).unwrap_or_default();
            if answer.contains(wanted) {
                return answer;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(30),
                "{path}: {answer}"
            );
            std::thread::sleep(Duration::from_millis(50));
        };
        let said = until("/readyz", "storage away for ");
        assert!(
            said.contains(" 503 ") && said.contains("\nstarting\n"),
            "{said}"
        );
        until(
            "/metrics",
            "tidegate_storage_reachable{pipeline=\"orders\"} 0",
        );
        until("/healthz", "ok\n");
        until("/v1/status", "\"reachable\":false");
        until(
            "/v1/aggregates",
            if command == "run" {
                "starting"
            } else {
                "not_found"
            },
        );
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let ending = Instant::now();
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        let status = child.wait().unwrap();
        assert!(ending.elapsed() < Duration::from_secs(5), "{command}");
        assert_eq!(status.code(), Some(143), "{command}: {said}");
        assert!(said.contains("stopped while it was starting"), "{said}");
        let told = said.matches("storage cannot be reached").count();
        assert_eq!(told, 1, "{said}");
    }
}

#[test]
fn an_idle_job_that_loads_nothing_sees_that_its_storage_is_away() {
    let job = orders(10).set("warehouse.url", "none");
    let server = Server::start(&job);
    server.until_ready(true);
    let (data, away) = (job.path("data"), job.path("away"));
    fs::rename(&data, &away).unwrap();
    fs::write(&data, "no folder").unwrap();
    let said = server.until_ready(false);
    assert!(said.contains("\nstorage away for "), "{said}");
    fs::remove_file(&data).unwrap();
    fs::rename(&away, &data).unwrap();
    server.until_ready(true);
}

#[test]
fn a_storage_that_is_away_makes_the_job_not_ready_until_it_is_back() {
    let job = orders(10);
    let server = Server::start(&job);
    server.until_loaded(10);
    assert_eq!(server.until_ready(true), "running\n");
    let (data, away) = (job.path("data"), job.path("away"));
    fs::rename(&data, &away).unwrap();
    fs::write(&data, "no folder").unwrap();
    add_orders(&job, "2", 10, 20);
    let said = server.until_ready(false);
    assert!(said.contains("\nstorage away for "), "{said}");
    assert_eq!(server.metric("tidegate_storage_reachable"), Some(0.0));
    assert_eq!(server.metric("tidegate_source_reachable"), Some(1.0));
    let status = server.get("/v1/status");
    assert_eq!(status["storage"]["reachable"], false, "{status}");
    assert_eq!(status["storage"]["error"], status["commit_error"]);

    fs::remove_file(&data).unwrap();
    fs::rename(&away, &data).unwrap();
    server.until_ready(true);
    let status = server.until_loaded(20);
    assert_eq!(status["storage"]["since"], json!(null));
    assert_eq!(server.metric("tidegate_storage_reachable"), Some(1.0));
}

#[test]
fn every_series_is_there_from_the_start() {
    let job = orders(0);
    let server = Server::start(&job);
    server.until_ready(true);
    for reason in [
        "decode.wrong_type",
        "record.tombstone",
        "event_time.invalid",
        "rule.named",
    ] {
        let series = format!("tidegate_reject_reasons_total{{reason=\"{reason}\"}}");
        assert_eq!(server.metric(&series), Some(0.0), "{reason}");
    }
    for series in [
        "tidegate_offsets_gone_total",
        "tidegate_offsets_gone_timestamp_seconds",
        "tidegate_unknown_fields_total",
        "tidegate_latency_seconds_count{stage=\"queryable\"}",
        "tidegate_lateness_seconds_count",
    ] {
        assert_eq!(server.metric(series), Some(0.0), "{series}");
    }
    assert_eq!(server.metric("tidegate_contract_seconds"), Some(300.0));
}

#[test]
fn fields_that_the_schema_does_not_have_are_counted_by_name() {
    let job = orders(50);
    let server = Server::start(&job);
    let status = server.until_loaded(50);
    assert_eq!(
        status["unknown_fields"],
        json!({ "buyer.age": 50, "surprise": 50 })
    );
    assert_eq!(status["unknown_fields_total"], 100);
    assert_eq!(server.metric("tidegate_unknown_fields_total"), Some(100.0));
}

#[test]
fn late_events_of_a_healthy_job_are_no_breach_of_its_contract() {
    let job = orders(100).set("contract.queryable", "30s");
    let server = Server::start(&job);
    server.until_loaded(100);
    let status = server.until("/v1/status", |status| {
        status["latency"]["queryable"]["p99"].is_number()
    });
    assert!(status["latency"]["queryable"]["p99"].as_f64().unwrap() < 30.0);
    assert!(status["lateness"]["p50"].as_f64().unwrap() > 86_400.0);
    assert_eq!(server.get("/v1/job")["contract_seconds"], 30.0);
}

#[test]
fn a_loader_of_its_own_is_seen_and_the_other_process_says_nothing_of_loads() {
    let job = orders(30).set("load.separate", true);
    let run = Server::start(&job);
    run.until("/v1/status", |status| status["read"] == 30);
    let load = Server::start_load(&job);
    let status = load.until("/v1/status", |status| status["rows_loaded"] == 30);
    assert_eq!(status["warehouse"]["reachable"], true, "{status}");
    assert_eq!(load.until_ready(true), "running\n");
    assert_eq!(load.metric("tidegate_load_failing"), Some(0.0));
    assert!(load.metric("tidegate_loaded_sequence") >= Some(2.0));
    assert_eq!(load.metric("tidegate_commit_sequence"), None);
    let queryable = "tidegate_latency_seconds_count{stage=\"queryable\"}";
    assert_eq!(load.metric(queryable), Some(30.0));
    let (code, answer) = load.request("GET", "/v1/aggregates?view=x", "");
    assert_eq!(code, 404);
    assert!(
        answer
            .to_string()
            .contains("ask the process of `tidegate run`"),
        "{answer}"
    );

    assert_eq!(run.metric("tidegate_load_separate"), Some(1.0));
    for series in [
        "tidegate_load_failing",
        "tidegate_loads_total",
        "tidegate_loaded_sequence",
        queryable,
    ] {
        assert_eq!(run.metric(series), None, "{series}");
    }
    let status = run.get("/v1/status");
    for member in [
        "warehouse",
        "loads",
        "loaded_seq",
        "load_error",
        "last_load",
    ] {
        assert_eq!(status[member], json!(null), "{member}");
    }
    assert_eq!(run.get("/v1/job")["loads"], false);
}

#[test]
fn a_loader_that_cannot_read_the_log_is_not_ready_until_it_can() {
    let job = orders(30).set("load.separate", true);
    let run = Server::start(&job);
    run.until("/v1/status", |status| status["read"] == 30);
    let load = Server::start_load(&job);
    load.until("/v1/status", |status| status["rows_loaded"] == 30);
    // It reads the log at each interval, whether there is anything to load or not.
    let (data, away) = (job.path("data/log"), job.path("log"));
    fs::rename(&data, &away).unwrap();
    fs::write(&data, "no folder").unwrap();
    let said = load.until_ready(false);
    assert!(said.contains("\nstorage away for "), "{said}");
    assert_eq!(load.metric("tidegate_storage_reachable"), Some(0.0));
    assert_eq!(load.metric("tidegate_load_failing"), Some(1.0));
    fs::remove_file(&data).unwrap();
    fs::rename(&away, &data).unwrap();
    load.until_ready(true);
    assert_eq!(load.metric("tidegate_load_failing"), Some(0.0));
}

#[test]
fn a_loader_without_an_address_of_its_own_loads_all_the_same_and_says_that_nobody_sees_it() {
    let job = orders(30).set("load.separate", true);
    let run = Server::start(&job);
    run.until("/v1/status", |status| status["read"] == 30);
    let taken = format!("http.listen={}", run.address);
    let mut load = job
        .command(&["load", "--set", &taken])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(load.stderr.take().unwrap()).lines();
    let mut said = String::new();
    let loaded = lines.map_while(Result::ok).any(|line| {
        said = format!("{said}{line}\n");
        line.contains("rows=30")
    });
    let _ = load.kill();
    let _ = load.wait();
    assert!(
        loaded && said.contains("set load.listen to another address"),
        "{said}"
    );
}
