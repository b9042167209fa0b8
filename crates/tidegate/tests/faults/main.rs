//! Faults from outside: another process, a full disk, damaged files, a wrong configuration, a
//! signal. The job says what is wrong, where, and what helps, exits with the code that
//! `docs/cli.md` has for it, and neither loses nor doubles anything.

// What a test cannot do ends it.
#![allow(clippy::unwrap_used)]

mod changed;
#[path = "../common/mod.rs"]
mod common;
mod damage;
mod disk;
mod ending;
mod files;
mod hours;
mod job;
mod lateness;
mod lookups;
mod removed;
mod running;
mod sources;
mod starting;
mod storage;

use std::process::Output;

use job::{bounded, check_loaded, check_whole, endless, log, records};
use running::{Running, wait};

/// Checks how a command ended, and that what it wrote to standard error has all of `says`.
#[track_caller]
fn check(output: &Output, code: i32, says: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in says {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

#[test]
fn the_memory_of_the_warehouse_is_bounded_by_what_the_process_may_have() {
    let limit = |limit: &[&str]| {
        let job = endless().set("warehouse.url", "duckdb:warehouse.duckdb");
        let job = limit
            .iter()
            .fold(job, |job, limit| job.set("warehouse.memory-limit", limit));
        let mut running = Running::start(job.command(&["run"]));
        // A question that comes sooner opens the database itself, with the same limit.
        running.wait_until("a commit", |_| records(&job) >= 1);
        let mut said = String::new();
        running.wait_until("an answer", |_| {
            let sql = "SELECT current_setting('memory_limit')";
            let output = job.output(&["query", "--format", "csv", sql]);
            said = String::from_utf8_lossy(&output.stdout).into_owned();
            output.status.success()
        });
        running.end_well();
        let said = said.lines().last().unwrap().to_owned();
        let (number, unit) = said.split_once(' ').unwrap();
        let units = ["KiB", "MiB", "GiB", "TiB"];
        let power = units.iter().position(|name| *name == unit).unwrap();
        number.parse::<f64>().unwrap() * 1024_f64.powi(i32::try_from(power).unwrap() + 1)
    };
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = meminfo.lines().next().unwrap().split_whitespace().nth(1);
    let half = total.unwrap().parse::<f64>().unwrap() * 1024.0 / 2.0;
    let least = 256.0 * 1024.0 * 1024.0;
    let by_itself = limit(&[]);
    assert!(
        (least * 0.99..(half - least).max(least) * 1.01).contains(&by_itself),
        "{by_itself}"
    );
    let as_told = limit(&["300MiB"]);
    assert!(
        (as_told / (300.0 * 1024.0 * 1024.0) - 1.0).abs() < 0.01,
        "{as_told}"
    );
}

#[test]
fn of_two_processes_on_one_log_one_stops() {
    let job = endless();
    let mut first = Running::start(job.command(&["run"]));
    first.wait_until("commits", |_| records(&job) >= 5);
    let mut second = Running::start(job.command(&["run"]));
    // Whichever loses: that depends on who is the first to write the next record.
    let mut ended = [false; 2];
    wait("an end of one of the two", || {
        ended = [first.has_ended(), second.has_ended()];
        ended != [false; 2]
    });
    let (loser, mut winner) = match ended {
        [true, _] => (first, second),
        _ => (second, first),
    };
    let (status, text) = loser.end();
    assert_eq!(status.code(), Some(3), "{text}");
    assert!(
        text.contains("another process writes to this job: record "),
        "{text}"
    );
    assert!(text.contains("let only one of them run"), "{text}");
    let before = records(&job);
    winner.wait_until("more commits of the other", |_| records(&job) >= before + 5);
    winner.end_well();
    check_whole(&job);
}

#[test]
fn of_two_processes_on_one_warehouse_the_second_does_not_start() {
    let job = endless().set("warehouse.url", "duckdb:warehouse.duckdb");
    let mut first = Running::start(job.command(&["run"]));
    first.wait_until("commits", |_| records(&job) >= 5);
    let second = job.output(&["run"]);
    check(
        &second,
        3,
        &[
            "warehouse.duckdb is in use by another process",
            "tidegate run`",
        ],
    );
    let before = records(&job);
    first.wait_until("more commits", |_| records(&job) >= before + 5);
    first.end_well();
    check_whole(&job);
    check_loaded(&job);
}

#[test]
fn many_processes_that_start_at_once_found_one_job() {
    let job = bounded();
    let all: Vec<Running> = (0..4)
        .map(|_| Running::start(job.command(&["run", "--until-caught-up"])))
        .collect();
    for process in all {
        let (status, text) = process.end();
        assert!(matches!(status.code(), Some(0 | 3)), "{status}\n{text}");
    }
    job.catch_up();
    assert_eq!(check_whole(&job), 40_000);
}

#[test]
fn a_signal_in_the_middle_ends_with_everything_committed_and_loaded() {
    let job = bounded()
        .set("warehouse.url", "duckdb:warehouse.duckdb")
        // So little that what is read is soon committed, and the signal comes in the middle.
        .set("memory.in-flight", "16MiB")
        .set("source.count", 400_000);
    let mut process = Running::start(job.command(&["run"]));
    process.wait_until("commits", |_| records(&job) >= 4);
    process.end_well();
    let (state, _) = log(&job);
    assert!(
        !state.complete && state.totals.read < 400_000,
        "{:?}",
        state.totals
    );
    assert_eq!(check_whole(&job), state.totals.read);
    check_loaded(&job);
    // And it goes on from there.
    job.catch_up();
    assert_eq!(check_whole(&job), 400_000);
    check_loaded(&job);
}

#[test]
fn a_signal_after_another_changes_nothing_that_is_committed() {
    let job = endless().set("warehouse.url", "duckdb:warehouse.duckdb");
    for _ in 0..3 {
        let before = records(&job);
        let mut process = Running::start(job.command(&["run"]));
        process.wait_until("commits", |_| records(&job) >= before + 3);
        process.terminate();
        process.interrupt();
        let (status, text) = process.end();
        // The second one ends at once, unless the first one has done so already.
        assert!(matches!(status.code(), Some(0 | 130)), "{status}\n{text}");
    }
    let mut process = Running::start(job.command(&["run"]));
    let before = records(&job);
    process.wait_until("commits", |_| records(&job) >= before + 3);
    process.end_well();
    check_whole(&job);
    check_loaded(&job);
}

#[test]
fn a_job_of_another_name_is_refused() {
    let job = bounded();
    job.catch_up();
    let before = records(&job);
    let other = job.set("name", "other");
    let says = [
        "belongs to the job `transactions`",
        "this is the job `other`",
    ];
    check(&other.output(&["run", "--until-caught-up"]), 78, &says);
    assert_eq!(records(&other), before);
}

#[test]
fn a_warehouse_of_another_job_is_refused() {
    let first = bounded().set("warehouse.url", "duckdb:warehouse.duckdb");
    first.catch_up();
    let url = format!("duckdb:{}", first.path("warehouse.duckdb").display());
    let second = bounded().set("warehouse.url", url);
    let output = second.output(&["run", "--until-caught-up"]);
    check(
        &output,
        78,
        &[
            "warehouse.duckdb",
            "belongs to another job",
            "Each job needs its own",
        ],
    );
    check_loaded(&first);
}

#[test]
fn a_source_that_cannot_be_read_is_named() {
    let missing = common::Job::new("transactions").set("warehouse.url", "none");
    let output = missing.output(&["run", "--until-caught-up"]);
    check(&output, 1, &["source", "in"]);

    let pattern = missing.set("source.path", "in/*.jsonl");
    std::fs::create_dir(pattern.path("in")).unwrap();
    let output = pattern.output(&["run", "--until-caught-up"]);
    check(&output, 1, &["in/*.jsonl"]);
}

#[test]
fn a_source_of_another_kind_is_refused() {
    let job = bounded();
    job.catch_up();
    let output = job
        .set("source.partitions", 3)
        .output(&["run", "--until-caught-up"]);
    check(&output, 78, &["source.partitions"]);
}

#[test]
fn a_wrong_configuration_makes_nothing() {
    let job = bounded().set("batch.intervall", "1s");
    let says = ["batch.intervall", "interval"];
    check(&job.output(&["run", "--until-caught-up"]), 78, &says);
    assert!(!job.path("data").exists());
}

#[test]
fn storage_that_cannot_be_made_is_named() {
    let job = bounded();
    std::fs::write(job.path("data"), "a file where a folder is to be").unwrap();
    let output = job.output(&["run", "--until-caught-up"]);
    check(
        &output,
        1,
        &["cannot open file:data", "cannot make the folder"],
    );
}
