//! Files that are damaged or gone.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::check;
use crate::common::Job;
use crate::job::{bounded, check_whole, log, record};
use crate::running::Running;

/// Checks that `log verify` finds something, and what it says of it.
#[track_caller]
fn check_verify(job: &Job, says: &[&str]) {
    let Output { status, stdout, .. } = job.output(&["log", "verify"]);
    let text = String::from_utf8_lossy(&stdout);
    assert_eq!(status.code(), Some(4), "{text}");
    for part in says {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

/// Changes a file, and puts it back afterwards.
fn with_change(path: &Path, change: impl FnOnce(&mut Vec<u8>), test: impl FnOnce()) {
    let good = fs::read(path).unwrap();
    let mut bad = good.clone();
    change(&mut bad);
    fs::write(path, bad).unwrap();
    test();
    fs::write(path, good).unwrap();
}

#[test]
fn a_record_with_a_wrong_byte_is_named() {
    let job = bounded();
    job.catch_up();
    let last = log(&job).0.last_seq;
    for seq in [1, last / 2, last] {
        let path = record(&job, seq);
        let length = fs::read(&path).unwrap().len();
        for at in [0, length / 3, length - 2] {
            let flip = |bytes: &mut Vec<u8>| bytes[at] ^= 1;
            with_change(&path, flip, || check_broken(&job, seq));
        }
        for cut in [0, 1, length / 2] {
            with_change(
                &path,
                |bytes| bytes.truncate(cut),
                || check_broken(&job, seq),
            );
        }
    }
    check_whole(&job);
}

#[track_caller]
fn check_broken(job: &Job, seq: u64) {
    let name = format!("record {seq} (log/{seq:020}.json) cannot be used");
    let output = job.output(&["run", "--until-caught-up"]);
    check(&output, 4, &[&name, "`tidegate log verify`"]);
    check_verify(job, &[&format!("record {seq}")]);
    check(&job.output(&["log", "inspect"]), 4, &[&name]);
}

/// A run refuses it, and `log verify` says so too: without calling what is left of it harmless,
/// without the advice to run `log verify`, and each number once.
#[test]
fn of_a_newest_record_that_is_cut_or_gone_there_is_one_judgement() {
    let job = bounded().set("warehouse.url", "duckdb:warehouse.duckdb");
    job.catch_up();
    let state = log(&job).0;
    let last = state.last_seq;
    let path = record(&job, last);
    let named = format!("record {last} (log/{last:020}.json) cannot be used");
    let judge = |run: &[&str], found: &[&str]| {
        check(&job.output(&["run", "--until-caught-up"]), 4, run);
        check_verify(&job, found);
        let output = job.output(&["log", "verify"]);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        for part in [
            "harmless",
            "tidegate log verify",
            "good",
            &format!("record {last}: record"),
        ] {
            assert!(!text.contains(part), "`{part}` is in:\n{text}");
        }
        assert!(text.contains("docs/runbook.md"), "{text}");
    };
    with_change(
        &path,
        |bytes| bytes.truncate(bytes.len() / 2),
        || {
            judge(
                &[&named],
                &[&format!("problem    record {last}: log/"), "keep them"],
            )
        },
    );
    let aside = job.path("aside");
    fs::rename(&path, &aside).unwrap();
    let ahead =
        format!("the warehouse has commits up to record {last}, but the commit log ends at record");
    judge(&[&ahead], &[&ahead, "for records after the last one"]);
    fs::rename(&aside, &path).unwrap();
    check_whole(&job);
}

#[test]
fn a_missing_record_is_named() {
    let job = bounded();
    job.catch_up();
    let last = log(&job).0.last_seq;
    for seq in [1, 2, last - 1] {
        let (path, aside) = (record(&job, seq), job.path("aside"));
        fs::rename(&path, &aside).unwrap();
        let says = [
            &format!("record {seq} (log/{seq:020}.json) is missing"),
            "`tidegate log verify`",
        ];
        check(
            &job.output(&["run", "--until-caught-up"]),
            4,
            &says.map(|s| s as &str),
        );
        check_verify(&job, &[&format!("record {seq} is missing")]);
        fs::rename(&aside, &path).unwrap();
    }
    check_whole(&job);
}

#[test]
fn exchanged_records_are_named() {
    let job = bounded();
    job.catch_up();
    let other = bounded().set("source.seed", 2);
    other.catch_up();
    let path = record(&job, 3);
    let theirs = fs::read(record(&other, 3)).unwrap();
    with_change(
        &path,
        |bytes| *bytes = theirs,
        || {
            check(&job.output(&["run", "--until-caught-up"]), 4, &["record 3"]);
            check_verify(&job, &["record 3"]);
        },
    );
    check_whole(&job);
}

#[test]
fn a_flipped_bit_in_a_data_file_is_found() {
    let job = bounded();
    job.catch_up();
    let (_, records) = log(&job);
    for dataset in ["events", "late", "rejected", "window:transactions_1m"] {
        let mut files = records.iter().flat_map(|record| &record.files);
        let file = files.rfind(|file| file.dataset == dataset).unwrap();
        let path = job.path("data").join(&file.path);
        let middle = |bytes: &mut Vec<u8>| {
            let at = bytes.len() / 2;
            bytes[at] ^= 0x10;
        };
        let says = [file.path.as_str(), "checksum"];
        with_change(&path, middle, || check_verify(&job, &says));
        with_change(
            &path,
            |bytes| bytes.truncate(bytes.len() - 1),
            || {
                check_verify(&job, &[file.path.as_str(), "bytes"]);
            },
        );
        let aside = job.path("aside");
        fs::rename(&path, &aside).unwrap();
        check_verify(&job, &[file.path.as_str(), "missing"]);
        fs::rename(&aside, &path).unwrap();
    }
    check_whole(&job);
}

#[test]
fn state_is_not_rebuilt_from_a_damaged_file() {
    // Not at its end, so that there is state to be rebuilt.
    let job = bounded().set("source.event-rate", 20_000);
    job.catch_up();
    let (_, records) = log(&job);
    let mut files = records.iter().flat_map(|record| &record.files);
    let file = files.rfind(|file| file.dataset == "events").unwrap();
    let path = job.path("data").join(&file.path);
    let flip = |bytes: &mut Vec<u8>| bytes[100] ^= 1;
    with_change(&path, flip, || {
        let says = [
            "cannot rebuild the state",
            &file.path,
            "`tidegate log verify`",
        ];
        check(&job.output(&["run", "--until-caught-up"]), 4, &says);
    });
    job.catch_up();
    check_whole(&job);
}

#[test]
fn a_damaged_file_is_not_loaded() {
    let job = bounded();
    job.catch_up();
    let (_, records) = log(&job);
    let mut files = records.iter().flat_map(|record| &record.files);
    let file = files.rfind(|file| file.dataset == "late").unwrap();
    let path = job.path("data").join(&file.path);
    let job = job.set("warehouse.url", "duckdb:warehouse.duckdb");
    with_change(
        &path,
        |bytes| bytes.truncate(bytes.len() - 1),
        || {
            let says = [file.path.as_str(), "`tidegate log verify`"];
            check(&job.output(&["run", "--until-caught-up"]), 4, &says);
        },
    );
    job.catch_up();
    crate::job::check_loaded(&job);
}

/// Runs to the end, which has to come, and checks the exit code and what it says.
#[track_caller]
fn check_run(job: &Job, code: i32, says: &str) {
    let (status, text) = Running::start(job.command(&["run", "--until-caught-up"])).end();
    assert_eq!(status.code(), Some(code), "{text}");
    assert!(text.contains(says), "`{says}` is not in:\n{text}");
}

/// With each of these files missing, cut and changed in turn, the start ends with 4 and names the
/// file.
fn check_each_file(job: &Job, paths: &[String]) {
    for path in paths {
        let file = job.path("data").join(path);
        let length = fs::read(&file).unwrap().len();
        let change: [fn(&mut Vec<u8>); 3] = [
            |bytes| bytes.truncate(bytes.len() / 2),
            |bytes| bytes.clear(),
            |bytes| bytes[4] ^= 1,
        ];
        for change in change {
            with_change(&file, change, || check_run(job, 4, path));
        }
        with_change(
            &file,
            |bytes| bytes[length - 1] ^= 1,
            || check_run(job, 4, path),
        );
        let aside = job.path("aside");
        fs::rename(&file, &aside).unwrap();
        check_run(job, 4, path);
        fs::rename(&aside, &file).unwrap();
    }
}

/// A small job whose state needs all its files of events, which are many for the threads that read
/// them.
fn of_many_files() -> Job {
    bounded()
        .set("source.count", 100_000)
        // All of it is within the horizon.
        .set("event-time.delay", "48h")
        .set("engine.threads", 3)
}

#[test]
fn a_missing_cut_or_changed_file_ends_the_start_wherever_it_is() {
    let job = of_many_files();
    job.catch_up();
    let (_, records) = log(&job);
    let files = records.iter().flat_map(|record| &record.files);
    let events = files.filter(|file| file.dataset == "events");
    let paths: Vec<String> = events.map(|file| file.path.clone()).collect();
    assert!(paths.len() > 10, "{paths:?}");
    check_each_file(&job, &paths);
    check_run(&job, 0, "");
    check_whole(&job);
}

#[test]
fn a_missing_cut_or_changed_file_that_is_to_be_loaded_ends_the_run_whatever_it_holds() {
    let job = bounded();
    job.catch_up();
    let (_, records) = log(&job);
    let last = |dataset: &str| {
        let mut files = records.iter().flat_map(|record| &record.files);
        files
            .rfind(|file| file.dataset == dataset)
            .unwrap()
            .path
            .clone()
    };
    let paths = ["events", "late", "rejected", "window:transactions_1m"].map(last);
    let job = job.set("warehouse.url", "duckdb:warehouse.duckdb");
    check_each_file(&job, &paths);
    job.catch_up();
    crate::job::check_loaded(&job);
}
