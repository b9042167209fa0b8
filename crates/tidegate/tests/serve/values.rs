//! Floats that are no numbers, and zeros of both signs: every tier has the same answer, and it is
//! the right one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use crate::common::{Job, NOW_MICROS};
use crate::server::Server;

const CONFIG: &str = r#"
version = 1
name = "values"
[source]
kind = "files"
path = "in"
[storage]
url = "file:data"
[warehouse]
url = "duckdb:warehouse.duckdb"
table = "ratios"
[schema]
id = { type = "int64", required = true }
at = { type = "timestamp_us", required = true }
a = "float64"
b = "float64"
d = "decimal(38,30)"
[event-time]
field = "at"
column = "at"
[enrich]
ratio = "a / b"
[deduplication]
key = ["id", "at"]
[[windows]]
name = "ratios_1h"
size = "1h"
group-by = ["ratio"]
[windows.aggregates]
n = "count(*)"
least = "min(a)"
exact = "sum(d)"
"#;

const HOUR: i64 = 3_600_000_000;
/// Dividend, divisor, and a decimal whose sums have room for one event of a group only.
const RATIOS: [(&str, &str, &str); 7] = [
    ("0.0", "1.0", "1"),
    ("-0.0", "1.0", "2"),
    ("0.0", "0.0", "3"),
    ("1.0", "0.0", "4"),
    ("-1.0", "0.0", "5"),
    ("6.0", "1.0", "99000000"),
    ("4.0", "1.0", "0.000000000000000000000000000001"),
];
const TIMES: usize = 10;

/// Each ratio as often, and an event that closes their window.
fn input() -> String {
    let mut lines = String::new();
    let start = NOW_MICROS / HOUR * HOUR - 5 * HOUR;
    for n in 0..RATIOS.len() * TIMES {
        let (a, b, d) = RATIOS[n % RATIOS.len()];
        let at = start + n as i64;
        writeln!(lines, r#"{{"id":{n},"at":{at},"a":{a},"b":{b},"d":{d}}}"#).unwrap();
    }
    writeln!(lines, r#"{{"id":-1,"at":{}}}"#, start + 4 * HOUR).unwrap();
    lines
}

fn job() -> Job {
    let job = Job::from_text(CONFIG);
    fs::create_dir(job.path("in")).unwrap();
    fs::write(job.path("in/ratios.ndjson"), input()).unwrap();
    job
}

fn count(server: &Server, tier: &str, condition: &str) -> i64 {
    let sql = format!("SELECT count(*) AS n FROM ratios WHERE {condition}");
    let question = json!({ "sql": sql, "tier": tier });
    let (status, answer) = server.request("POST", "/v1/query", &question.to_string());
    assert_eq!(status, 200, "{answer}");
    answer["rows"][0][0].as_i64().unwrap()
}

#[test]
fn no_row_vanishes_by_a_condition_in_any_tier() {
    let job = job()
        .set("source.follow", true)
        .set("batch.interval", "200ms")
        .set("load.interval", "200ms");
    let server = Server::start(&job);
    server.until_loaded(RATIOS.len() as u64 * TIMES as u64 + 1);
    let times = TIMES as i64;
    // NaN is greater than all others, and equal to itself.
    for (condition, ratios) in [
        ("ratio > 5", 3),
        ("ratio < 5", 4),
        ("ratio = 0", 2),
        ("ratio >= 0", 6),
        ("ratio = 'NaN'::DOUBLE", 1),
        ("ratio >= 'inf'::DOUBLE", 2),
        ("ratio <= '-inf'::DOUBLE", 1),
        ("isnan(ratio)", 1),
    ] {
        for tier in ["warm", "cold"] {
            assert_eq!(
                count(&server, tier, condition),
                ratios * times,
                "{condition} in {tier}"
            );
        }
    }
    let mut all: Vec<Vec<String>> = Vec::new();
    // Not hot: it has no window that was final with the first batch.
    for tier in ["warm", "cold"] {
        let path = format!(
            "/v1/aggregates?view=ratios_1h&from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z&limit=100&tier={tier}"
        );
        // Zeros of both signs are one group; so is NaN. The last event has none, and is in a window
        // of its own.
        let finals = |answer: &Value| -> Vec<String> {
            let rows = answer["rows"].as_array().unwrap().iter();
            let rows = rows.filter(|row| row["final"] == true);
            let mut rows: Vec<String> = rows
                .map(|row| {
                    format!(
                        "{} {} {} {}",
                        row["ratio"].as_f64().unwrap_or(-99.0).abs(),
                        row["n"],
                        row["least"].as_f64().unwrap().abs(),
                        row["exact"]
                    )
                })
                .collect();
            rows.sort();
            rows
        };
        let answer = server.until(&path, |answer| finals(answer).len() == 6);
        all.push(finals(&answer));
    }
    assert_eq!(all[0], all[1]);
    // Ten times 99,000,000 has no room with 30 digits after the point; the other groups are there.
    assert!(all[0].iter().any(|row| row == "6 10 6 null"), "{all:?}");
    assert!(
        all[0].iter().any(|row| row.starts_with("0 20 0 30")),
        "{all:?}"
    );
}

#[test]
fn a_mean_is_the_same_to_the_last_bit_in_every_tier() {
    let config = CONFIG.replace("decimal(38,30)", "decimal(12,2)").replace(
        "exact = \"sum(d)\"",
        "cents = \"avg(d)\"\nwhole = \"avg(id)\"\nlong = \"avg(CAST(id AS DECIMAL(38,18)))\"\n\
         far = \"avg(CAST(49999998 + d AS DECIMAL(38,30)))\"\nfar_sum = \"sum(CAST(49999998 + d AS DECIMAL(38,30)))\"",
    );
    let job = Job::from_text(&config)
        .set("source.follow", true)
        .set("batch.interval", "200ms")
        .set("load.interval", "200ms")
        .set("hot.keep", "48h");
    fs::create_dir(job.path("in")).unwrap();
    let start = NOW_MICROS / HOUR * HOUR - 5 * HOUR;
    let mut lines = String::new();
    for n in 0..300_i64 {
        // Sums of ids are beyond what floats hold exactly.
        let (id, group, cents) = ((1 << 60) + n * 7_919, n % 100, 112 + n % 3);
        let (at, units, rest) = (start + n, cents / 100, cents % 100);
        writeln!(
            lines,
            r#"{{"id":{id},"at":{at},"a":{group}.0,"b":1.0,"d":{units}.{rest:02}}}"#
        )
        .unwrap();
    }
    fs::write(job.path("in/1.ndjson"), lines).unwrap();
    let server = Server::start(&job);
    server.until_loaded(300);
    let rows = |tier: &str| {
        let path = format!(
            "/v1/aggregates?view=ratios_1h&from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z&limit=1000&tier={tier}"
        );
        let of_first = |answer: &Value| -> BTreeMap<String, [Value; 5]> {
            let rows = answer["rows"].as_array().unwrap().iter();
            let rows = rows.filter(|row| row["n"] == 3);
            let names = ["cents", "whole", "long", "far", "far_sum"];
            let means = |row: &Value| names.map(|name| row[name].clone());
            rows.map(|row| (row["ratio"].as_f64().unwrap().to_string(), means(row)))
                .collect()
        };
        of_first(&server.until(&path, |answer| of_first(answer).len() == 100))
    };
    let hot = rows("hot");
    // As floats, 3.39 / 3 is 1.1300000000000001.
    assert!(hot.values().all(|means| means[0] == 1.13), "{hot:?}");
    // The sum has 39 digits. As a float, it would make 49999999.129999995.
    let is_near = |means: &[Value; 5]| means[3] == 49_999_999.13 && means[4].is_null();
    assert!(hot.values().all(is_near), "{hot:?}");
    let later = format!("{{\"id\":1,\"at\":{}}}\n", start + 4 * HOUR);
    fs::write(job.path("in/2.ndjson"), later).unwrap();
    assert_eq!(rows("warm"), hot);
    assert_eq!(rows("cold"), hot);
}

#[test]
fn equal_floats_are_one_key_of_an_upsert_and_of_deduplication() {
    let job = job()
        .set("upsert.key", r#"["ratio"]"#)
        .set("deduplication.key", r#"["ratio"]"#);
    let summary = job.catch_up();
    // Of zero, NaN, both infinities, 6, 4, and null.
    assert_eq!(summary["status"]["events"], 7);
    assert_eq!(
        summary["status"]["duplicates"],
        RATIOS.len() as u64 * TIMES as u64 - 6
    );
    let output = job.output(&["query", "--format", "csv", "SELECT count(*) FROM ratios"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().last(), Some("7"), "{text}");
}
