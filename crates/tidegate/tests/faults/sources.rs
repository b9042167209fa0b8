//! Sources that fail on the way: what was read before is committed and loaded, and no window is
//! final by that.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::ops::Range;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::common::Job;
use crate::job::shops;
use crate::{check, check_whole};

/// Lines of the first five minutes of an hour.
fn lines(ids: Range<u32>) -> String {
    let mut text = String::new();
    for id in ids {
        let (minute, second) = (id % 5, id % 60);
        let _ = writeln!(
            text,
            r#"{{"id":{id},"shop":"berlin","at":"2026-03-02T05:{minute:02}:{second:02}Z"}}"#
        );
    }
    text
}

fn gzip(text: &str) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(text.as_bytes()).unwrap();
    out.finish().unwrap()
}

/// A job with a whole file before and after `a.ndjson.gz`, which has 20,000 of the 20,020 lines.
fn job(file: &[u8]) -> Job {
    let job = shops();
    fs::write(job.path("in/0.ndjson"), lines(0..10)).unwrap();
    fs::write(job.path("in/a.ndjson.gz"), file).unwrap();
    fs::write(job.path("in/z.ndjson"), lines(20_010..20_020)).unwrap();
    job
}

fn query(job: &Job, sql: &str) -> Value {
    let output = job.output(&["query", "--format", "json", sql]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Checks that the table has all lines of the files that are whole, and that the run after the file
/// is whole has the rest, each once, in a window of all.
fn check_goes_on(job: &Job, file: &[u8]) {
    let whole = "SELECT count(*) AS n FROM shops WHERE id < 10 OR id >= 20010";
    assert_eq!(query(job, whole), json!([{"n": 20}]));
    assert_eq!(
        query(job, "SELECT count(*) AS n FROM hourly"),
        json!([{"n": 0}])
    );
    check_whole(job);
    fs::write(job.path("in/a.ndjson.gz"), file).unwrap();
    let report = job.catch_up();
    assert_eq!(report["status"]["late"], 0, "{report}");
    let all = "SELECT count(*) AS n, count(DISTINCT id) AS ids FROM shops";
    assert_eq!(query(job, all), json!([{"n": 20_020, "ids": 20_020}]));
    assert_eq!(query(job, "SELECT n FROM hourly"), json!([{"n": 20_020}]));
    assert_eq!(check_whole(job), 20_020);
}

#[test]
fn a_bounded_run_keeps_what_it_read_beside_a_file_that_is_cut_off() {
    let whole = gzip(&lines(10..20_010));
    let job = job(&whole[..whole.len() / 2]);
    let said = ["a.ndjson.gz` is cut off", "all other files were read"];
    let run = || job.output(&["run", "--until-caught-up"]);
    check(&run(), 1, &said);
    let before = crate::log(&job).0.totals.read;
    assert!((20..20_020).contains(&before), "{before}");
    // Nothing new comes of another run.
    check(&run(), 1, &said);
    assert_eq!(crate::log(&job).0.totals.read, before);
    check_goes_on(&job, &whole);
}

#[test]
fn a_damaged_file_keeps_nobody_from_reading_the_others() {
    let whole = gzip(&lines(10..20_010));
    let mut damaged = whole.clone();
    let checksum = damaged.len() - 8;
    damaged[checksum] ^= 1;
    for follow in [false, true] {
        let mut job = job(&damaged).set("source.follow", follow);
        for _ in 0..2 {
            let said = ["a.ndjson.gz` is damaged", "all other files were read"];
            check(&job.output(&["run"]), 1, &said);
        }
        job.change("source.follow", false);
        check_goes_on(&job, &whole);
    }
}
