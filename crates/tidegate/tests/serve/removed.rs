//! Windows that were taken out of the configuration: what was committed of them is answered.

use std::fmt::Write as _;
use std::fs;

use duckdb::Connection;
use serde_json::{Value, json};

use crate::common::Job;
use crate::push;
use crate::server::Server;

const VISITS: &str = r#"
version = 1
name = "visits"
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
[hot]
keep = "48h"
[schema]
at = { type = "timestamp", required = true }
page = "string"
cost = "decimal(18,2)"
[event-time]
field = "at"
delay = "1m"
"#;

const STAYS: &str = r#"
[[windows]]
name = "stays"
size = "1m"
[windows.aggregates]
n = "count(*)"
"#;

const GONE: &str = r#"
[[windows]]
name = "gone"
size = "1m"
group-by = ["page"]
[windows.aggregates]
n = "count(*)"
total = "sum(cost)"
mean = "avg(cost)"
latest = "max(at)"
"#;

const RANGE: &str = "from=2026-03-02T00:00:00Z&to=2026-03-03T00:00:00Z";
const MINUTES: u64 = 10;

/// A job with both windows, that has committed some minutes; then one of them is taken out.
fn job() -> Job {
    let job = Job::from_text(&format!("{VISITS}{GONE}{STAYS}"));
    fs::create_dir(job.path("in")).unwrap();
    add(&job, "1", 0);
    job
}

/// A file of two visits a minute, from a minute after ten o'clock on.
fn add(job: &Job, name: &str, from: u64) {
    let mut lines = String::new();
    for minute in from..from + MINUTES {
        for (page, cost) in [("/", "1.10"), ("/about", "2.25")] {
            writeln!(
                lines,
                r#"{{"at":"2026-03-02T10:{minute:02}:30Z","page":"{page}","cost":{cost}}}"#
            )
            .unwrap();
        }
    }
    fs::write(job.path("in").join(format!("{name}.ndjson")), lines).unwrap();
}

fn take_out(job: &Job) {
    fs::write(job.path("tidegate.toml"), format!("{VISITS}{STAYS}")).unwrap();
}

fn aggregates(server: &Server, view: &str, more: &str) -> Value {
    server.get(&format!("/v1/aggregates?view={view}&{RANGE}{more}"))
}

/// The rows of an answer that are final.
fn finals(answer: &Value) -> Vec<Value> {
    let rows = answer["rows"].as_array().unwrap().iter();
    rows.filter(|row| row["final"] == true).cloned().collect()
}

fn query(server: &Server, tier: &str, sql: &str) -> Value {
    let body = json!({ "sql": sql, "tier": tier }).to_string();
    let (status, answer) = server.request("POST", "/v1/query", &body);
    assert_eq!(status, 200, "{tier}: {answer}");
    answer["rows"].clone()
}

/// Runs a job until all is loaded, and gives the final windows of the one that is to go.
fn before(job: &Job, is_separate: bool) -> Vec<Value> {
    let server = Server::start(job);
    let status = server.until("/v1/status", |status| status["read"] == 2 * MINUTES);
    if is_separate {
        let load = Server::start_load(job);
        let last = status["last_seq"].clone();
        load.until("/v1/status", |status| status["loaded_seq"] == last);
    } else {
        server.until_loaded(2 * MINUTES);
    }
    let answer = server.until(
        &format!("/v1/aggregates?view=gone&{RANGE}&tier=cold"),
        |answer| !finals(answer).is_empty(),
    );
    // The last event is at 09:30; the watermark is a minute before it.
    let rows = finals(&answer);
    assert_eq!(rows.len(), 16, "{answer}");
    assert_eq!(rows[0]["latest"], "2026-03-02T10:00:30.000000Z", "{answer}");
    rows
}

#[test]
fn a_window_that_was_taken_out_answers_with_what_was_committed() {
    let job = job();
    let rows = before(&job, false);
    take_out(&job);
    add(&job, "2", MINUTES);
    let server = Server::start(&job);
    server.until_loaded(4 * MINUTES);

    let views = server.get("/v1/job")["views"].clone();
    let names = |views: &Value| -> Vec<(String, bool)> {
        let views = views.as_array().unwrap().iter();
        let name = |view: &Value| view["name"].as_str().unwrap().to_owned();
        views
            .map(|view| (name(view), view["computed"].as_bool().unwrap()))
            .collect()
    };
    let both = [("stays".to_owned(), true), ("gone".to_owned(), false)];
    assert_eq!(names(&views), both);
    assert_eq!(
        views[1]["groups"],
        json!([{ "name": "page", "type": "string" }])
    );
    assert_eq!(views[1]["aggregates"][1]["type"], "decimal(38,2)");

    for (more, tier) in [("", "warm"), ("&tier=warm", "warm"), ("&tier=cold", "cold")] {
        let answer = aggregates(&server, "gone", more);
        assert_eq!(finals(&answer), rows, "{more}");
        assert_eq!(answer["rows"].as_array().unwrap().len(), 16);
        assert_eq!(answer["served_by"][0]["tier"], tier, "{answer}");
    }
    let one = aggregates(&server, "gone", "&group.page=/about");
    assert_eq!(finals(&one).len(), 8);
    // There are no live values, and the answer says who else has some.
    let hot = aggregates(&server, "gone", "&tier=hot");
    assert_eq!(hot["rows"], json!([]));
    let reason = hot["fallbacks"][0]["reason"].as_str().unwrap();
    for part in ["`gone`", "taken out of the configuration", "warm and cold"] {
        assert!(reason.contains(part), "{reason}");
    }
    let path = format!("/v1/aggregates?view=missing&{RANGE}");
    let (status, answer) = server.request("GET", &path, "");
    assert_eq!(status, 404);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("there are stays, gone"), "{message}");

    for table in ["gone", "gone__parts"] {
        let sql = format!("SELECT count(*), sum(n)::BIGINT, max(total)::VARCHAR FROM {table}");
        let warm = query(&server, "warm", &sql);
        assert_eq!(query(&server, "cold", &sql), warm, "{table}");
        assert_eq!(warm[0][2], "2.25", "{table}: {warm}");
    }

    let mut socket = push::open(&server);
    push::next(&mut socket);
    push::subscribe(&mut socket, &["view:gone"]);
    let bye = push::next(&mut socket);
    let reason = bye["reason"].as_str().unwrap();
    assert!(reason.contains("taken out of the configuration"), "{bye}");
    // The one that stays goes on.
    assert_eq!(
        finals(&aggregates(&server, "stays", "&tier=warm")).len(),
        18
    );
}

/// Where another process loads the warehouse, the files answer.
#[test]
fn a_window_that_was_taken_out_answers_from_the_files_where_another_process_loads() {
    let job = job().set("load.separate", true);
    let rows = before(&job, true);
    take_out(&job);
    let server = Server::start(&job);
    let answer = server.until(&format!("/v1/aggregates?view=gone&{RANGE}"), |answer| {
        !finals(answer).is_empty()
    });
    assert_eq!(finals(&answer), rows);
    assert_eq!(answer["served_by"][0]["tier"], "cold");
    let sql = "SELECT count(*) FROM gone__parts";
    assert_eq!(query(&server, "cold", sql), json!([[16]]));
}

#[test]
fn a_window_that_was_taken_out_and_dropped_answers_from_the_files() {
    let job = job();
    let rows = before(&job, false);
    take_out(&job);
    drop(Server::start(&job));
    let warehouse = Connection::open(job.path("warehouse.duckdb")).unwrap();
    let drop_it = "DROP VIEW gone; DROP TABLE gone__parts";
    warehouse.execute_batch(drop_it).unwrap();
    drop(warehouse);
    let server = Server::start(&job);
    let answer = server.until(&format!("/v1/aggregates?view=gone&{RANGE}"), |answer| {
        !finals(answer).is_empty()
    });
    assert_eq!(finals(&answer), rows);
    assert_eq!(answer["served_by"][0]["tier"], "cold", "{answer}");
}

/// What SQL over the files sees is what the warehouse has, columns that were taken out included.
#[test]
fn columns_that_were_taken_out_are_in_the_files_as_in_the_warehouse() {
    let job = job();
    before(&job, false);
    let config = format!("{VISITS}{STAYS}").replace("cost = \"decimal(18,2)\"\n", "");
    fs::write(job.path("tidegate.toml"), config).unwrap();
    let server = Server::start(&job);
    server.until_loaded(2 * MINUTES);
    let sql = "SELECT count(cost), typeof(any_value(cost)), sum(cost)::VARCHAR FROM visits";
    let warm = query(&server, "warm", sql);
    assert_eq!(warm, json!([[20, "DECIMAL(18,2)", "33.50"]]));
    server.until("/v1/status", |_| {
        query(&server, "cold", "SELECT count(*) FROM visits") == json!([[20]])
    });
    assert_eq!(query(&server, "cold", sql), warm);
}
