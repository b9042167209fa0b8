//! The files source, from outside.
#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::{append, files, gzip, open, zstd};
use tidegate_base::chunk::Payload;
use tidegate_source::{
    ChunkLimits, FilesOptions, MissingFiles, Resume, ResumePartition, Source, SourceError,
};
use tidegate_testkit::taken::{self, SMALL, SourceOutput, take_until};

/// Opens the files and takes everything until their end.
fn read_all(
    options: &FilesOptions,
    resume: &Resume,
    limits: ChunkLimits,
) -> Result<SourceOutput, SourceError> {
    taken::read_all(open(options, resume, limits)?.as_mut())
}

fn read(path: &Path) -> Result<SourceOutput, SourceError> {
    read_all(&files(path), &Resume::default(), SMALL)
}

fn resume_at(name: &str, offset: i64) -> Resume {
    let partition = ResumePartition {
        name: name.to_owned(),
        lane: 0,
        offset,
        identity: None,
    };
    Resume {
        partitions: [(0, partition)].into(),
    }
}

fn follow(path: &Path, resume: &Resume) -> Box<dyn Source> {
    let options = FilesOptions {
        follow: true,
        ..files(path)
    };
    open(&options, resume, SMALL).unwrap()
}

#[test]
fn a_folder_is_read_in_the_order_of_names_whatever_the_encoding() {
    let dir = tempfile::tempdir().unwrap();
    let text = "one\n\ntwo\r\n  \nthree";
    fs::write(dir.path().join("b.json"), text).unwrap();
    fs::write(dir.path().join("a.json.gz"), gzip(text.as_bytes())).unwrap();
    fs::write(dir.path().join("c.ZST"), zstd(text.as_bytes())).unwrap();
    fs::write(dir.path().join("_hidden"), text).unwrap();
    fs::write(dir.path().join(".hidden"), text).unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    let taken = read(dir.path()).unwrap();
    let names: Vec<_> = taken.names.values().map(String::as_str).collect();
    assert_eq!(names, ["a.json.gz", "b.json", "c.ZST"]);
    for id in 0..3 {
        assert_eq!(taken.texts(id), ["one", "two", "three"]);
        let offsets: Vec<_> = taken.records[&id]
            .iter()
            .map(|(offset, ..)| *offset)
            .collect();
        assert_eq!(offsets, [0, 2, 4]);
        assert_eq!(taken.ends[&id], 5);
    }
}

#[test]
fn a_pattern_and_a_single_file_are_read_too() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("x/deep")).unwrap();
    fs::write(dir.path().join("x/a.json"), "1\n").unwrap();
    fs::write(dir.path().join("x/deep/b.json"), "2\n").unwrap();
    fs::write(dir.path().join("x/c.txt"), "3\n").unwrap();
    let taken = read(&dir.path().join("**/*.json")).unwrap();
    let names: Vec<_> = taken.names.values().map(String::as_str).collect();
    assert_eq!(names, ["x/a.json", "x/deep/b.json"]);
    let taken = read(&dir.path().join("x/c.txt")).unwrap();
    assert_eq!(
        (taken.names[&0].as_str(), taken.texts(0)),
        ("c.txt", vec!["3".to_owned()])
    );
}

#[test]
fn resuming_at_any_line_gives_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let text: String = (0..40)
        .map(|i| format!("{}{i}\n", "x".repeat(i % 7)))
        .collect();
    for (name, bytes) in [
        ("plain", text.trim_end().as_bytes().to_vec()),
        ("x.gz", gzip(text.as_bytes())),
        ("x.zst", zstd(text.as_bytes())),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let options = files(&path);
        let whole = read_all(&options, &Resume::default(), SMALL).unwrap();
        assert_eq!(whole.records[&0].len(), 40);
        for offset in 0..=40 {
            let rest = read_all(&options, &resume_at(name, offset), SMALL).unwrap();
            let expected = &whole.records[&0][offset as usize..];
            assert_eq!(
                rest.records.get(&0).map(Vec::as_slice).unwrap_or_default(),
                expected
            );
        }
        let error = read_all(&options, &resume_at(name, 41), SMALL).unwrap_err();
        assert!(
            error.to_string().contains("it has 40 lines, but 41 lines"),
            "{error}"
        );
    }
}

#[test]
fn large_files_come_out_as_they_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large");
    let line = |i: usize| format!("{i}:{}", "y".repeat(i * 7919 % 5000));
    let lines: Vec<String> = (0..2000).map(line).collect();
    fs::write(&path, lines.join("\n")).unwrap();
    let limits = ChunkLimits::default();
    let taken = read_all(&files(&path), &Resume::default(), limits).unwrap();
    assert_eq!(taken.texts(0), lines);
    assert!((4..20).contains(&taken.chunks), "{} chunks", taken.chunks);
}

#[test]
fn a_line_that_is_too_long_keeps_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long");
    fs::write(
        &path,
        format!("a\n{}\nb\n{}", "x".repeat(2_000_000), "y".repeat(1001)),
    )
    .unwrap();
    let taken = read(&path).unwrap();
    let kinds: Vec<_> = taken.records[&0]
        .iter()
        .map(|(o, k, p)| (*o, *k, p.len()))
        .collect();
    let (cut, whole) = (Payload::Truncated, Payload::Bytes);
    assert_eq!(
        kinds,
        [(0, whole, 1), (1, cut, 1000), (2, whole, 1), (3, cut, 1000)]
    );
}

#[test]
fn a_bounded_run_reads_a_file_that_is_cut_off_as_far_as_it_goes_and_then_fails() {
    let dir = tempfile::tempdir().unwrap();
    let text: String = (0..100_000).map(|i| format!("{{\"n\":{i}}}\n")).collect();
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    for (name, bytes) in [
        ("x.gz", cut(gzip(text.as_bytes()))),
        ("x.zst", cut(zstd(text.as_bytes()))),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let options = files(&path);
        let limits = ChunkLimits::default();
        let mut source = open(&options, &Resume::default(), limits).unwrap();
        let mut taken = SourceOutput::default();
        let error = take_until(source.as_mut(), &mut taken, |_| false).unwrap_err();
        let texts = taken.texts(0);
        assert!(texts.len() > 1000, "{}", texts.len());
        assert!(
            texts
                .iter()
                .enumerate()
                .all(|(i, t)| *t == format!("{{\"n\":{i}}}"))
        );
        let message = error.to_string();
        assert!(
            message.contains(&format!("{name}` is cut off after line {}", texts.len())),
            "{message}"
        );
        assert!(
            source.poll(Duration::from_secs(60)).is_err(),
            "it stays cut off"
        );
        // Replaced by the whole file, it goes on without loss or repetition.
        let whole = if name == "x.gz" {
            gzip(text.as_bytes())
        } else {
            zstd(text.as_bytes())
        };
        fs::write(&path, whole).unwrap();
        let rest = read_all(&options, &taken.resume(), limits).unwrap();
        assert_eq!(texts.len() + rest.texts(0).len(), 100_000);
    }
}

#[test]
fn following_waits_for_whole_lines_and_new_files() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    append(&a, "1\n2\nincompl");
    let mut source = follow(dir.path(), &Resume::default());
    let mut taken = SourceOutput::default();
    take_until(source.as_mut(), &mut taken, |t| t.caught_up).unwrap();
    assert_eq!(taken.texts(0), ["1", "2"]);
    append(&a, "ete\n3\n");
    append(&b, "x\n");
    fs::write(dir.path().join("c.gz"), gzip(b"packed\n")).unwrap();
    take_until(source.as_mut(), &mut taken, |t| t.records.len() == 3).unwrap();
    assert_eq!(taken.texts(0), ["1", "2", "incomplete", "3"]);
    assert_eq!(
        (taken.texts(1), taken.texts(2)),
        (vec!["x".to_owned()], vec!["packed".to_owned()])
    );
    assert!(!taken.ended);

    // And again after a restart, with what came meanwhile.
    drop(source);
    append(&a, "4\n");
    append(&dir.path().join("0"), "first by name, last by number\n");
    let mut source = follow(dir.path(), &taken.resume());
    let mut rest = SourceOutput::default();
    take_until(source.as_mut(), &mut rest, |t| t.caught_up).unwrap();
    assert_eq!(
        rest.names,
        [(0, "a".to_owned()), (3, "0".to_owned())].into()
    );
    assert_eq!(rest.records[&0], [(4, Payload::Bytes, b"4".to_vec())]);
}

#[test]
fn a_file_that_has_lost_what_was_read_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    append(&path, "1\n2\n3\n");
    let mut source = follow(dir.path(), &Resume::default());
    let mut taken = SourceOutput::default();
    take_until(source.as_mut(), &mut taken, |t| t.caught_up).unwrap();
    fs::write(&path, "1\n").unwrap();
    let error = take_until(source.as_mut(), &mut taken, |_| false).unwrap_err();
    assert!(matches!(error, SourceError::FileChanged { .. }), "{error}");
}

#[test]
fn a_file_that_is_gone_is_an_error_unless_it_is_to_be_ignored() {
    let dir = tempfile::tempdir().unwrap();
    append(&dir.path().join("b"), "1\n");
    let mut options = files(dir.path());
    let resume = resume_at("a", 7);
    let error = read_all(&options, &resume, SMALL).unwrap_err();
    assert!(
        matches!(error, SourceError::FileGone { line: 7, .. }),
        "{error}"
    );
    options.on_missing_files = MissingFiles::Ignore;
    let taken = read_all(&options, &resume, SMALL).unwrap();
    assert_eq!(
        taken.names,
        [(1, "b".to_owned())].into(),
        "the number is not given again"
    );
}

#[test]
fn what_is_not_there_is_said() {
    let dir = tempfile::tempdir().unwrap();
    for missing in ["nothing", "*.json"] {
        let error = read(&dir.path().join(missing)).unwrap_err();
        assert!(matches!(error, SourceError::NoInput { .. }), "{error}");
    }
    let taken = read(dir.path()).unwrap();
    assert!(
        taken.ended && taken.records.is_empty(),
        "an empty folder holds nothing"
    );
}

#[test]
fn lag_is_estimated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    append(&path, "0123456789\n".repeat(1000));
    let options = files(&path);
    let limits = ChunkLimits {
        records: 100,
        ..SMALL
    };
    let mut source = open(&options, &Resume::default(), limits).unwrap();
    let mut taken = SourceOutput::default();
    take_until(source.as_mut(), &mut taken, |t| {
        t.ends.get(&0).is_some_and(|e| *e >= 90)
    })
    .unwrap();
    assert_eq!(source.lag()[&0] as i64, 1000 - taken.ends[&0]);
    take_until(source.as_mut(), &mut taken, |t| t.ended).unwrap();
    assert!(source.lag().is_empty());
}
