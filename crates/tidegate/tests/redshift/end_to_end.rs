//! From a source to the tables of Redshift.

use std::fs;
use std::process::Command;

use tidegate_testkit::{Kafka, S3};

use crate::common::{Job, NOW_MICROS, repository_file};
use crate::compare::Reference;
use crate::world::{World, from, write_input};

#[test]
fn files_become_the_rows_that_duckdb_has() {
    let Some(world) = World::new(1) else { return };
    let job = world.job("files");
    write_input(&job.job, 20_000, 4, 1);
    // Text that is wider than new columns are, of many bytes a character, and a payload that no
    // column can hold.
    let at = "2026-03-02T11:00:00+00:00";
    let line = |id: u32, merchant: &str| {
        format!(
            r#"{{"transaction_id":"TXN_{id}_0001","customer_id":"CUST_000001","amount":12.5,"currency":"EUR","merchant":"{merchant}","category":"ü","status":"PENDING","timestamp":"{at}","metadata":{{"device":"i\"os","note":"\u00fc 😀"}}}}"#
        )
    };
    let wide = line(900_000_001, &"😀".repeat(500));
    let lines = [
        wide,
        line(900_000_002, "it's \\ \" here"),
        format!("{{\"x\":\"{}\"}}", "y".repeat(70_000)),
    ];
    fs::write(job.input().join("z-wide.jsonl"), lines.join("\n")).unwrap();
    job.done(&["run", "--until-caught-up"]);
    job.check_ledger();
    let cut = job.number("SELECT count(*) FROM rejected WHERE payload_encoding = 'utf8,cut' AND length(payload) = 65535");
    assert_eq!(cut, 1);

    let reference = Reference::over(&job.input());
    reference.check(&world, &job.schema);
}

#[test]
fn a_topic_becomes_the_rows_that_duckdb_has() {
    let (Some(kafka), Some(world)) = (Kafka::shared(), World::new(2)) else {
        return;
    };
    let topic = kafka.new_topic("redshift", 4, &[]);
    let produced = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args([
            "produce", "--topic", &topic, "--count", "20000", "--rate", "0",
        ])
        .args(["--brokers", kafka.brokers()])
        .output()
        .unwrap();
    assert!(
        produced.status.success(),
        "{}",
        String::from_utf8_lossy(&produced.stderr)
    );
    let source = |group| {
        [
            ("brokers", kafka.brokers()),
            ("topic", topic.as_str()),
            ("group", group),
        ]
    };
    let mut job = world.job_from("topic", &source("into-redshift"));
    let now = far_enough();
    job.job = job.job.with_now(now.clone());
    job.done(&["run", "--until-caught-up"]);
    job.check_ledger();

    let example = fs::read_to_string(repository_file("examples/transactions.toml")).unwrap();
    let duckdb = from(Job::from_text(&example), &source("into-duckdb"))
        .set("storage.url", "file:data")
        .set("warehouse.url", "duckdb:warehouse.duckdb")
        .with_now(now);
    duckdb.catch_up();
    Reference::of(duckdb).check(&world, &job.schema);
}

/// A present after all events of the generator, which begins at the machine's.
fn far_enough() -> String {
    let now = std::time::SystemTime::now();
    let micros = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_micros() as i64;
    assert!(micros > NOW_MICROS);
    let time = chrono::DateTime::from_timestamp_micros(micros + 3_600_000_000).unwrap();
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

#[test]
fn a_bucket_without_credentials_is_an_error_that_says_so() {
    let Some(world) = World::new(3) else { return };
    let job = world.job("nobody");
    write_input(&job.job, 100, 1, 3);
    let mut command = job.command(&["run", "--until-caught-up"]);
    for (name, _) in S3::environment() {
        command.env_remove(name);
    }
    command
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("HOME", job.job.path("nowhere"));
    command.env("AWS_REGION", "us-east-1");
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("credential"), "{err}");
}
