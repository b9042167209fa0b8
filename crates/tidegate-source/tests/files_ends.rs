//! Where files begin and end: half-written lines, uploads in progress, byte order marks, and in
//! which order files are read.
#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

mod common;

use common::{Job, gzip, lines, zstd};
use tidegate_source::SourceError;

#[test]
fn a_bounded_run_leaves_a_half_written_line_and_takes_it_when_it_is_whole() {
    let mut job = Job::new("");
    job.write("a.ndjson", lines(0, 2) + "{\"n\"");
    job.write("b.ndjson", lines(3, 5));
    job.run().unwrap();
    assert_eq!(job.read.len(), 4);
    job.append("a.ndjson", ":2}");
    job.run().unwrap();
    job.has_read(0, 5);
    // Its end comes later still, with more.
    job.append("a.ndjson", "\n".to_owned() + &lines(5, 7));
    job.run().unwrap();
    job.has_read(0, 7);
}

#[test]
fn an_export_without_a_final_newline_is_read_whole_and_once() {
    let mut job = Job::new("");
    job.write("a.ndjson", lines(0, 9).trim_end());
    for _ in 0..2 {
        job.run().unwrap();
        job.has_read(0, 9);
    }
    let mut run = job.follow().unwrap();
    job.append("a.ndjson", " \r\n".to_owned() + &lines(9, 12));
    run.until_lines(3).unwrap();
    job.end(run);
    job.has_read(0, 12);
    job.remove("a.ndjson");
    job.run().unwrap();
}

#[test]
fn what_follows_a_line_that_was_taken_is_not_lost() {
    let mut job = Job::new("");
    job.write("a.ndjson", "{\"n\":0}");
    job.run().unwrap();
    job.append("a.ndjson", "{\"n\":1}\n");
    job.run().unwrap();
    job.has_read(0, 2);
}

#[test]
fn an_upload_in_progress_is_waited_for_and_other_files_go_on() {
    for (name, whole) in [
        ("a.ndjson.gz", gzip(lines(0, 20_000).as_bytes())),
        ("a.ndjson.zst", zstd(lines(0, 20_000).as_bytes())),
    ] {
        for have in [0, 1, 5, 20, whole.len() / 2, whole.len() - 3] {
            let mut job = Job::new("");
            job.write(name, &whole[..have]);
            job.write("b.ndjson", lines(20_000, 20_010));
            let mut run = job.follow().unwrap();
            run.until(|taken| taken.caught_up).unwrap();
            let read = run.lines();
            assert!(read.iter().any(|line| line == "{\"n\":20009}"));
            assert!(read.len() < 20_010 || have > whole.len() / 2);
            run.some_looks().unwrap();
            job.append("b.ndjson", lines(20_010, 20_011));
            job.append(name, &whole[have..]);
            run.until_lines(20_011).unwrap();
            run.some_looks().unwrap();
            job.end(run);
            job.has_read(0, 20_011);
        }
    }
}

#[test]
fn a_bounded_run_reads_all_others_and_then_says_what_is_cut_off() {
    let whole = gzip(lines(0, 20_000).as_bytes());
    let mut job = Job::new("");
    job.write("a.ndjson.gz", &whole[..whole.len() / 2]);
    job.write("b.ndjson", lines(20_000, 20_001));
    let error = job.run().unwrap_err();
    assert!(matches!(error, SourceError::CutOff { .. }), "{error}");
    assert!(error.to_string().contains("a.ndjson.gz` is cut off"));
    assert_eq!(job.read["{\"n\":20000}"], 1);
    job.write("a.ndjson.gz", &whole);
    job.run().unwrap();
    job.has_read(0, 20_001);
}

#[test]
fn an_empty_compressed_file_is_passed_over_until_there_is_something_in_it() {
    let mut job = Job::new("");
    job.write("a.ndjson.gz", "");
    job.write("b.ndjson.zst", "");
    job.write("c.ndjson", lines(2, 3));
    job.run().unwrap();
    assert_eq!(job.read.len(), 1);
    job.write("a.ndjson.gz", gzip(lines(0, 1).as_bytes()));
    job.write("b.ndjson.zst", zstd(lines(1, 2).as_bytes()));
    job.run().unwrap();
    job.has_read(0, 3);
}

#[test]
fn what_is_added_to_a_compressed_file_is_read() {
    let mut job = Job::new("");
    job.write("a.ndjson.gz", gzip(lines(0, 500).as_bytes()));
    let mut run = job.follow().unwrap();
    run.until_lines(500).unwrap();
    job.append("a.ndjson.gz", gzip(lines(500, 600).as_bytes()));
    run.until_lines(600).unwrap();
    job.end(run);
    job.append("a.ndjson.gz", gzip(lines(600, 700).as_bytes()));
    job.run().unwrap();
    job.has_read(0, 700);
}

#[test]
fn the_order_of_names_is_held_between_plain_and_compressed_files() {
    for follow in [false, true] {
        let mut job = Job::new("");
        job.write("day3.ndjson", lines(20, 30));
        job.write("day1.ndjson.gz", gzip(lines(0, 10).as_bytes()));
        job.write("day2.ndjson.zst", zstd(lines(10, 20).as_bytes()));
        if follow {
            let mut run = job.follow().unwrap();
            run.until(|taken| taken.caught_up).unwrap();
            job.end(run);
        } else {
            job.run().unwrap();
        }
        job.has_read(0, 30);
        let names = ["day1.ndjson.gz", "day2.ndjson.zst", "day3.ndjson"];
        assert_eq!(job.partitions(), names);
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_record() {
    let text = |from, to| "\u{feff}".to_owned() + &lines(from, to);
    let mut job = Job::new("");
    job.write("a.ndjson", text(0, 5));
    job.write("b.ndjson.gz", gzip(text(5, 10).as_bytes()));
    job.write("c.ndjson.zst", zstd(text(10, 15).as_bytes()));
    job.write("d.ndjson", "\u{feff}");
    job.write("e.ndjson", "\u{feff}{\"n\":16}");
    job.run().unwrap();
    job.append("a.ndjson", lines(15, 16));
    job.append("d.ndjson", lines(17, 18));
    job.run().unwrap();
    job.has_read(0, 18);
}
