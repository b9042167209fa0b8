//! A file is known by what was read of it, whatever its name is.
#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

mod common;

use std::fs;

use common::{Job, gzip, lines, zstd};
use tidegate_source::{ChangedFiles, MissingFiles, SourceError};

/// Log files, and what their rotation makes of them.
fn logs() -> Job {
    Job::new("app.log*")
}

/// What a program does that copies a file and cuts it off, and who writes on.
fn copy_and_truncate(job: &Job, to: &str, text: &str) {
    fs::copy(job.path("app.log"), job.path(to)).unwrap();
    job.write("app.log", text);
}

fn changed(result: Result<(), SourceError>, name: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, SourceError::FileChanged { .. }), "{error}");
    assert!(error.to_string().contains(&format!("{name}`")), "{error}");
}

#[test]
fn a_file_that_is_renamed_while_the_job_is_down_is_found_again() {
    let mut job = logs();
    job.append("app.log", lines(0, 10));
    job.run().unwrap();
    job.append("app.log", lines(10, 12));
    job.rename("app.log", "app.log.1");
    job.append("app.log", lines(12, 40));
    job.run().unwrap();
    job.has_read(0, 40);
    assert_eq!(job.partitions(), ["app.log", "app.log#2"]);

    // And once more.
    job.rename("app.log.1", "app.log.2");
    job.rename("app.log", "app.log.1");
    job.append("app.log", lines(40, 41));
    job.append("app.log.1", lines(41, 42));
    job.run().unwrap();
    job.has_read(0, 42);
    assert_eq!(job.partitions(), ["app.log", "app.log#2", "app.log#3"]);
}

#[test]
fn a_file_that_is_renamed_while_the_job_runs_is_found_again() {
    let mut job = logs();
    job.append("app.log", lines(0, 3));
    let mut run = job.follow().unwrap();
    run.until_lines(3).unwrap();
    job.append("app.log", lines(3, 5));
    job.rename("app.log", "app.log.1");
    job.append("app.log", lines(5, 30));
    run.until_lines(30).unwrap();
    run.some_looks().unwrap();
    job.end(run);
    job.has_read(0, 30);
    job.run().unwrap();
    job.has_read(0, 30);
}

#[test]
fn a_file_that_is_copied_and_cut_off_is_read_on_in_the_copy() {
    for running in [false, true] {
        let mut job = logs();
        job.append("app.log", lines(0, 3));
        let mut run = job.follow().unwrap();
        run.until_lines(3).unwrap();
        job.append("app.log", lines(3, 5));
        if !running {
            job.end(run);
            copy_and_truncate(&job, "app.log.1", &lines(5, 100));
            run = job.follow().unwrap();
            run.until_lines(97).unwrap();
        } else {
            // The same inode, and longer again before anybody looks.
            copy_and_truncate(&job, "app.log.1", &lines(5, 100));
            run.until_lines(100).unwrap();
        }
        run.some_looks().unwrap();
        job.end(run);
        job.has_read(0, 100);
        job.run().unwrap();
        job.has_read(0, 100);
    }
}

#[test]
fn a_copy_that_is_there_with_its_original_is_not_read() {
    let mut job = logs();
    job.append("app.log", lines(0, 50));
    let mut run = job.follow().unwrap();
    run.until_lines(50).unwrap();
    job.write("app.log.1", lines(0, 20));
    run.some_looks().unwrap();
    fs::copy(job.path("app.log"), job.path("app.log.1")).unwrap();
    run.some_looks().unwrap();
    job.write("app.log", lines(50, 52));
    run.until_lines(52).unwrap();
    run.some_looks().unwrap();
    job.end(run);
    job.has_read(0, 52);
    job.run().unwrap();
    job.has_read(0, 52);
}

#[test]
fn a_copy_without_the_last_lines_is_known_after_a_restart_too() {
    let mut job = logs();
    job.append("app.log", lines(0, 50));
    let mut run = job.follow().unwrap();
    run.until_lines(50).unwrap();
    fs::copy(job.path("app.log"), job.path("app.log.1")).unwrap();
    run.some_looks().unwrap();
    job.append("app.log", lines(50, 60));
    run.until_lines(60).unwrap();
    job.write("app.log", lines(60, 61));
    run.until_lines(61).unwrap();
    job.end(run);
    job.run().unwrap();
    job.has_read(0, 61);
    assert_eq!(job.partitions(), ["app.log", "app.log.1", "app.log#2"]);
}

#[test]
fn a_file_that_was_replaced_stops_the_job_or_is_read_anew() {
    for running in [false, true] {
        for text in [lines(100, 350), lines(100, 102)] {
            let mut job = Job::new("");
            job.write("export.ndjson", lines(0, 100));
            let mut run = job.follow().unwrap();
            run.until_lines(100).unwrap();
            let replace = || {
                job.write(".new", &text);
                job.rename(".new", "export.ndjson");
            };
            if running {
                replace();
                changed(run.some_looks(), "export.ndjson");
                changed(run.some_looks(), "export.ndjson");
                job.end(run);
            } else {
                replace();
                job.end(run);
            }
            changed(job.run(), "export.ndjson");
            job.has_read(0, 100);

            job.options.on_changed_files = ChangedFiles::ReadAnew;
            job.run().unwrap();
            let to = 100 + u32::try_from(text.lines().count()).unwrap();
            job.has_read(0, to);
            // What was decided stays so.
            job.options.on_changed_files = ChangedFiles::Fail;
            job.run().unwrap();
            job.append("export.ndjson", lines(to, to + 1));
            job.run().unwrap();
            job.has_read(0, to + 1);
            assert_eq!(job.partitions(), ["export.ndjson", "export.ndjson#2"]);
        }
    }
}

#[test]
fn a_file_that_was_written_anew_in_its_place_is_noticed() {
    for text in [lines(100, 350), lines(100, 102), String::new()] {
        let mut job = Job::new("export.ndjson");
        job.write("export.ndjson", lines(0, 100));
        let mut run = job.follow().unwrap();
        run.until_lines(100).unwrap();
        job.write("export.ndjson", &text);
        changed(run.some_looks(), "export.ndjson");
        job.end(run);
        job.options.on_changed_files = ChangedFiles::ReadAnew;
        let mut run = job.follow().unwrap();
        run.until_lines(text.lines().count()).unwrap();
        job.end(run);
        job.has_read(0, 100 + u32::try_from(text.lines().count()).unwrap());
    }
}

#[test]
fn a_file_that_was_replaced_by_a_longer_one_with_its_lines_goes_on() {
    let mut job = Job::new("");
    job.write("export.ndjson", lines(0, 100));
    job.run().unwrap();
    job.write(".new", lines(0, 120));
    job.rename(".new", "export.ndjson");
    job.run().unwrap();
    job.has_read(0, 120);
    assert_eq!(job.partitions(), ["export.ndjson"]);
}

#[test]
fn a_file_that_is_compressed_after_it_was_read_is_recognised() {
    for running in [false, true] {
        for (name, pack) in [
            ("day.ndjson.gz", gzip as fn(&[u8]) -> Vec<u8>),
            ("day.ndjson.zst", zstd),
        ] {
            let mut job = Job::new("");
            job.append("day.ndjson", lines(0, 500));
            let mut run = job.follow().unwrap();
            run.until_lines(500).unwrap();
            if !running {
                job.end(run);
                run = job.follow().unwrap();
            }
            let has = if running { 500 } else { 0 };
            job.append("day.ndjson", lines(500, 510));
            // Both are there for a while, and the one that is made is not whole at first.
            let packed = pack(lines(0, 510).as_bytes());
            job.write(name, &packed[..packed.len() / 2]);
            run.until_lines(has + 10).unwrap();
            run.some_looks().unwrap();
            job.write(name, &packed);
            run.some_looks().unwrap();
            job.remove("day.ndjson");
            run.some_looks().unwrap();
            job.end(run);
            job.has_read(0, 510);
            job.run().unwrap();
            job.has_read(0, 510);
        }
    }
}

#[test]
fn a_file_that_was_read_in_part_is_read_on_in_its_compressed_form() {
    let mut job = Job::new("");
    job.append("day.ndjson", lines(0, 500));
    job.run().unwrap();
    job.remove("day.ndjson");
    job.write("day.ndjson.gz", gzip(lines(0, 800).as_bytes()));
    job.run().unwrap();
    job.has_read(0, 800);
    assert_eq!(job.partitions(), ["day.ndjson"]);
}

#[test]
fn a_file_that_is_decompressed_after_it_was_read_is_recognised() {
    let mut job = Job::new("");
    job.write("day.ndjson.gz", gzip(lines(0, 500).as_bytes()));
    job.run().unwrap();
    job.write("day.ndjson", lines(0, 500));
    job.run().unwrap();
    job.remove("day.ndjson.gz");
    job.append("day.ndjson", lines(500, 510));
    job.run().unwrap();
    job.has_read(0, 510);
}

#[test]
fn a_file_that_comes_back_is_known() {
    for running in [false, true] {
        let mut job = Job::new("");
        job.append("day.ndjson", lines(0, 500));
        let mut run = job.follow().unwrap();
        run.until_lines(500).unwrap();
        job.rename("day.ndjson", ".away");
        run.some_looks().unwrap();
        if !running {
            job.end(run);
            run = job.follow().unwrap();
        }
        // It comes little by little, as a restored copy does.
        let packed = gzip(lines(0, 500).as_bytes());
        for (i, end) in [0, 10, packed.len() / 2, packed.len()]
            .into_iter()
            .enumerate()
        {
            let name = ["day.ndjson.gz", "day.ndjson.1"][usize::from(running)];
            let plain = lines(0, 500);
            let text = if running {
                &plain.as_bytes()[..plain.len() * i / 3]
            } else {
                &packed[..end]
            };
            job.write(name, text);
            if i == 0 || i == 3 || !running {
                run.some_looks().unwrap();
            }
        }
        job.end(run);
        job.has_read(0, 500);
        job.run().unwrap();
        job.has_read(0, 500);
    }
}

#[test]
fn the_others_are_read_when_one_was_missed_at_first() {
    let mut job = Job::new("");
    job.write("a.ndjson", lines(0, 10));
    job.write("b.ndjson", lines(10, 20));
    job.run().unwrap();
    job.append("a.ndjson", lines(20, 30));
    job.write("b.ndjson", lines(100, 110));
    changed(job.run(), "b.ndjson");
    job.options.on_changed_files = ChangedFiles::ReadAnew;
    job.options.follow = true;
    let mut run = job.follow().unwrap();
    run.until_lines(20).unwrap();
    job.end(run);
    assert_eq!(job.read.len(), 40);
}

#[test]
fn a_file_that_was_read_whole_may_go() {
    let mut job = Job::new("");
    job.write("a.ndjson", lines(0, 10));
    job.write("b.ndjson.gz", gzip(lines(10, 500).as_bytes()));
    job.write("c.ndjson.zst", zstd(lines(500, 990).as_bytes()));
    job.run().unwrap();
    for name in ["a.ndjson", "b.ndjson.gz", "c.ndjson.zst"] {
        job.remove(name);
    }
    job.write("d.ndjson", lines(990, 995));
    job.run().unwrap();
    job.has_read(0, 995);
}

#[test]
fn a_file_that_was_read_in_part_may_not_go_unless_it_is_to_be_ignored() {
    let mut job = Job::new("");
    job.write("a.ndjson", lines(0, 10) + "{\"n\":");
    job.run().unwrap();
    job.remove("a.ndjson");
    let error = job.run().unwrap_err();
    assert!(
        matches!(error, SourceError::FileGone { line: 10, .. }),
        "{error}"
    );
    job.options.on_missing_files = MissingFiles::Ignore;
    job.run().unwrap();
    // What was decided stays so.
    job.options.on_missing_files = MissingFiles::Fail;
    job.run().unwrap();
    job.has_read(0, 10);
}

#[test]
fn files_that_begin_alike_are_each_read() {
    let mut job = logs();
    job.write("app.log", "{\"n\":0}\n");
    job.write("app.log.1", lines(0, 3));
    job.write("app.log.2", "{\"n\":0}\n".to_owned() + &lines(3, 5));
    job.run().unwrap();
    assert_eq!(job.read["{\"n\":0}"], 3);
    assert_eq!(job.read.values().sum::<usize>(), 7);
}

#[test]
fn a_log_without_identities_goes_on_by_lines_and_then_has_them() {
    for (name, text) in [
        ("a.ndjson", lines(0, 40).into_bytes()),
        ("a.ndjson.gz", gzip(lines(0, 40).as_bytes())),
    ] {
        let mut job = Job::new("");
        job.write(name, text);
        job.run().unwrap();
        let forget = |job: &mut Job| {
            for partition in job.resume.partitions.values_mut() {
                partition.identity = None;
            }
        };
        forget(&mut job);
        job.run().unwrap();
        job.has_read(0, 40);
        assert!(job.resume.partitions[&0].identity.is_some());
        // Nothing says what the file was, so that lines are counted.
        forget(&mut job);
        job.write(name, lines(100, 140));
        if name == "a.ndjson" {
            job.run().unwrap();
            job.has_read(0, 40);
        }
    }
}

#[test]
fn an_identity_of_another_kind_is_refused() {
    let mut job = Job::new("");
    job.write("a.ndjson", lines(0, 4));
    job.run().unwrap();
    if let Some(partition) = job.resume.partitions.get_mut(&0) {
        partition.identity = Some("topic=x epoch=2".to_owned());
    }
    let error = job.run().unwrap_err();
    assert!(matches!(error, SourceError::OtherSource { .. }), "{error}");
}
