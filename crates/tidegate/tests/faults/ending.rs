//! Standard error that nobody reads, and signals: a job goes on, and ends when it is asked to.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::check_whole;
use crate::job::{endless, records};
use crate::running::{Running, wait};

fn terminate(child: &Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
}

#[test]
fn a_job_whose_log_nobody_reads_any_more_goes_on_and_ends_when_it_is_asked_to() {
    let job = endless();
    let mut child = job
        .command(&["run", "--summary", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first line is read, as by `head -1`, and then the pipe has no reader.
    let mut first = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut first).unwrap();
    drop(stderr);
    let before = records(&job);
    wait("commits", || records(&job) >= before + 5);
    terminate(&child);
    let mut out = String::new();
    wait("end", || child.try_wait().unwrap().is_some());
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{out}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert!(report["log_lines_lost"].as_u64().unwrap() > 0, "{report}");
    check_whole(&job);
}

#[test]
fn a_job_whose_answer_nobody_reads_ends_well() {
    let job = endless();
    let mut command = job.command(&["run"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    wait("commits", || records(&job) >= 3);
    terminate(&child);
    wait("end", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    check_whole(&job);
}

#[test]
fn two_terminations_within_a_second_are_one() {
    let job = endless().set("warehouse.url", "duckdb:warehouse.duckdb");
    for _ in 0..3 {
        let before = records(&job);
        let mut process = Running::start(job.command(&["run"]));
        process.wait_until("commits", |_| records(&job) >= before + 3);
        // As timeout(1) sends it: to the process, and to its group.
        process.terminate();
        process.terminate();
        let (status, text) = process.end();
        assert_eq!(status.code(), Some(0), "{text}");
    }
    check_whole(&job);
}
