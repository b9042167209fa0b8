//! What people and programs do to a folder of files, at random, while a job reads it, is killed and
//! started again: each line is read once, or the job stops and names the file.
//!
//! `TIDEGATE_TEST_LONG=1` runs many more seeds; `TIDEGATE_TEST_SEEDS=200..320` names them.
#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{append, files, gzip, open, text, zstd};
use tidegate_source::{
    ChangedFiles, ChunkLimits, FilesOptions, Resume, ResumePartition, Source, SourceError,
    SourceEvent,
};
use tidegate_testkit::Random;
use tidegate_testkit::taken::SMALL;

const BASES: [&str; 2] = ["app.log", "day.ndjson"];

/// One chunk that the source has handed over.
struct Handed {
    partition: i32,
    name: String,
    to: i64,
    identity: Option<String>,
    lines: Vec<String>,
}

struct World {
    random: Random,
    folder: tempfile::TempDir,
    options: FilesOptions,
    limits: ChunkLimits,
    source: Option<Box<dyn Source>>,
    /// Whether the source, a bounded one, has ended.
    has_ended: bool,
    names: BTreeMap<i32, String>,
    handed: Vec<Handed>,
    /// Chunks that are committed for certain.
    committed: usize,
    next: u32,
    written: BTreeSet<String>,
    /// Lines of files to which something was done that may lose lines.
    harmed: BTreeSet<String>,
    harmed_files: BTreeSet<String>,
    /// What is still to be written of the last line of each base.
    half: [String; 2],
    uploads: Vec<(PathBuf, Vec<u8>)>,
    steps: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let options = FilesOptions {
            poll_interval: Duration::from_millis(1),
            follow: true,
            on_changed_files: if random.one_in(2) {
                ChangedFiles::Fail
            } else {
                ChangedFiles::ReadAnew
            },
            ..files(folder.path())
        };
        let limits = ChunkLimits {
            records: 1 + random.place(20),
            bytes: 1 + random.place(2000),
            ..SMALL
        };
        World {
            random,
            folder,
            options,
            limits,
            source: None,
            has_ended: false,
            names: BTreeMap::new(),
            handed: Vec::new(),
            committed: 0,
            next: 0,
            written: BTreeSet::new(),
            harmed: BTreeSet::new(),
            harmed_files: BTreeSet::new(),
            half: Default::default(),
            uploads: Vec::new(),
            steps: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn step(&mut self, text: impl Into<String>) {
        self.steps.push(text.into());
    }

    fn lines(&mut self, most: usize) -> String {
        let mut text = String::new();
        for _ in 0..1 + self.random.place(most) {
            let long = if self.random.one_in(30) { 2500 } else { 30 };
            let pad = "x".repeat(self.random.place(long));
            let line = format!("{{\"n\":{},\"pad\":\"{pad}\"}}", self.next);
            self.next += 1;
            text += &line;
            text.push('\n');
            self.written.insert(line);
        }
        text
    }

    /// Names of the files that are there, without those that are hidden.
    fn there(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        names
    }

    fn content(&self, name: &str) -> Vec<String> {
        let text = text(&self.path(name));
        text.lines().map(str::to_owned).collect()
    }

    fn base(&mut self) -> usize {
        self.random.place(BASES.len())
    }

    fn append(&mut self) {
        let base = self.base();
        let text = self.lines(12);
        let mut text = std::mem::take(&mut self.half[base]) + &text;
        if self.random.one_in(3) {
            let last = text.trim_end().rfind('\n').map_or(0, |i| i + 1);
            let cut = last + self.random.place(text.len() - last);
            self.half[base] = text.split_off(cut);
        }
        self.step(format!(
            "append {} bytes to {}, {} are to come",
            text.len(),
            BASES[base],
            self.half[base].len()
        ));
        append(&self.path(BASES[base]), text);
    }

    fn finish_half(&mut self, base: usize) {
        let half = std::mem::take(&mut self.half[base]);
        if !half.is_empty() {
            append(&self.path(BASES[base]), half);
        }
    }

    /// Gives all rotated files of a base the next number. False if there is nothing to rotate.
    fn shift(&mut self, base: usize) -> bool {
        if !self.path(BASES[base]).exists() {
            return false;
        }
        self.finish_half(base);
        for n in (1..30).rev() {
            for ending in ["", ".gz", ".zst"] {
                let name = |n| format!("{}.{n}{ending}", BASES[base]);
                let from = self.path(&name(n));
                if from.exists() {
                    fs::rename(from, self.path(&name(n + 1))).unwrap();
                }
            }
        }
        true
    }

    fn rename(&mut self) {
        let base = self.base();
        if self.shift(base) {
            self.step(format!("rename {}", BASES[base]));
            let to = self.path(&format!("{}.1", BASES[base]));
            fs::rename(self.path(BASES[base]), to).unwrap();
        }
    }

    fn copy_and_truncate(&mut self) {
        let base = self.base();
        if self.shift(base) {
            let to = self.path(&format!("{}.1", BASES[base]));
            fs::copy(self.path(BASES[base]), to).unwrap();
            if self.random.one_in(3) {
                self.look();
            }
            let most = 1 + self.random.place(60);
            let text = if self.random.one_in(3) {
                String::new()
            } else {
                self.lines(most)
            };
            self.step(format!(
                "copy and truncate {}, {} bytes",
                BASES[base],
                text.len()
            ));
            fs::write(self.path(BASES[base]), text).unwrap();
        }
    }

    fn is_rotated(name: &str) -> bool {
        BASES.iter().any(|base| {
            let number = name.strip_prefix(base).and_then(|n| n.strip_prefix('.'));
            number.is_some_and(|n| n.parse::<u32>().is_ok())
        })
    }

    /// Compresses a rotated file; the original goes at once, or later.
    fn compress(&mut self) {
        let plain: Vec<String> = self.there();
        let plain: Vec<&String> = plain.iter().filter(|n| World::is_rotated(n)).collect();
        if plain.is_empty() {
            return;
        }
        let name = plain[self.random.place(plain.len())].clone();
        if ["gz", "zst"]
            .iter()
            .any(|e| self.path(&format!("{name}.{e}")).exists())
        {
            self.step(format!("remove {name}, which is compressed"));
            fs::remove_file(self.path(&name)).unwrap();
            return;
        }
        let text = fs::read(self.path(&name)).unwrap();
        let (ending, bytes) = if self.random.one_in(2) {
            ("gz", gzip(&text))
        } else {
            ("zst", zstd(&text))
        };
        self.step(format!("compress {name} to {ending}"));
        fs::write(self.path(".packing"), bytes).unwrap();
        fs::rename(
            self.path(".packing"),
            self.path(&format!("{name}.{ending}")),
        )
        .unwrap();
        if self.random.one_in(2) {
            self.step(format!("remove {name}"));
            fs::remove_file(self.path(&name)).unwrap();
        }
    }

    /// Begins or finishes the upload of a file of its own.
    fn upload(&mut self) {
        if self.random.one_in(2)
            && let Some((path, rest)) = self.uploads.pop()
        {
            self.step(format!("finish {}", path.display()));
            append(&path, rest);
            return;
        }
        let text = self.lines(60);
        let (name, mut bytes) = match self.random.place(3) {
            0 => ("ndjson", text.into_bytes()),
            1 => ("ndjson.gz", gzip(text.as_bytes())),
            _ => ("ndjson.zst", zstd(text.as_bytes())),
        };
        let path = self.path(&format!("up-{}.{name}", self.next));
        let rest = bytes.split_off(self.random.place(bytes.len() + 1));
        self.step(format!(
            "upload {} of {} bytes to {}",
            bytes.len(),
            bytes.len() + rest.len(),
            path.display()
        ));
        fs::write(&path, bytes).unwrap();
        self.uploads.push((path, rest));
    }

    /// Removes a file that was read whole, as archives do.
    fn archive(&mut self) {
        self.settle();
        self.committed = self.handed.len();
        let read: BTreeSet<String> = self.handed.iter().flat_map(|h| h.lines.clone()).collect();
        let uploading = |name: &str| self.uploads.iter().any(|(path, _)| path.ends_with(name));
        let anew = self.options.on_changed_files == ChangedFiles::ReadAnew;
        let done: Vec<String> = self
            .there()
            .into_iter()
            .filter(|name| anew || !BASES.contains(&name.as_str()))
            .filter(|name| !uploading(name))
            .filter(|name| {
                BASES
                    .iter()
                    .zip(&self.half)
                    .all(|(b, h)| b != name || h.is_empty())
            })
            .filter(|name| self.content(name).iter().all(|line| read.contains(line)))
            .collect();
        if !done.is_empty() {
            let name = &done[self.random.place(done.len())];
            self.step(format!("archive {name}"));
            fs::remove_file(self.path(name)).unwrap();
            if !anew {
                self.settle();
                self.committed = self.handed.len();
            }
        }
    }

    /// Does what loses lines, or may.
    fn harm(&mut self) {
        let there = self.there();
        if there.is_empty() {
            return;
        }
        let name = there[self.random.place(there.len())].clone();
        if self.uploads.iter().any(|(path, _)| path.ends_with(&name)) {
            return;
        }
        if let Some(base) = BASES.iter().position(|base| *base == name) {
            self.finish_half(base);
        }
        self.harmed.extend(self.content(&name));
        self.harmed_files.insert(name.clone());
        let path = self.path(&name);
        match self.random.place(4) {
            0 => {
                self.step(format!("remove {name}"));
                fs::remove_file(path).unwrap();
            }
            1 => {
                self.step(format!("hide {name}"));
                fs::rename(path, self.path(&format!(".{}", self.next))).unwrap();
            }
            2 if BASES.contains(&name.as_str()) => {
                let text = self.lines(60);
                self.step(format!("write {name} anew"));
                fs::write(path, text).unwrap();
            }
            _ if BASES.contains(&name.as_str()) => {
                let text = self.lines(60);
                self.step(format!("replace {name}"));
                fs::write(self.path(".new"), text).unwrap();
                fs::rename(self.path(".new"), path).unwrap();
            }
            _ => {}
        }
    }

    fn resume(&self) -> Resume {
        let mut resume = Resume::default();
        for handed in &self.handed {
            resume.partitions.insert(
                handed.partition,
                ResumePartition {
                    name: handed.name.clone(),
                    lane: 0,
                    offset: handed.to,
                    identity: handed.identity.clone(),
                },
            );
        }
        resume
    }

    /// Kills the job: what was handed over and not committed is forgotten.
    fn kill(&mut self) {
        let kept = self.committed + self.random.place(self.handed.len() + 1 - self.committed);
        self.step(format!(
            "kill; {kept} of {} chunks were committed",
            self.handed.len()
        ));
        self.handed.truncate(kept);
        self.committed = kept;
        self.source = None;
    }

    fn poll(&mut self, wait: Duration) -> Result<bool, SourceError> {
        if self.source.is_none() {
            self.names.clear();
            self.has_ended = false;
            let resume = self.resume();
            self.source = Some(open(&self.options, &resume, self.limits)?);
        }
        let source = self.source.as_mut().unwrap();
        match source.poll(wait)? {
            SourceEvent::Partition { id, name, .. } => {
                if let Some(known) = self.handed.iter().find(|h| h.partition == id) {
                    assert_eq!(known.name, name, "a partition keeps its name");
                }
                assert!(self.names.insert(id, name).is_none());
            }
            SourceEvent::Chunk(chunk) => {
                let before = self
                    .handed
                    .iter()
                    .rev()
                    .find(|h| h.partition == chunk.partition);
                if let Some(before) = before {
                    assert_eq!(before.to, chunk.from, "no gap and no overlap");
                }
                let text = |i| String::from_utf8_lossy(chunk.payload(i)).into_owned();
                self.handed.push(Handed {
                    partition: chunk.partition,
                    name: self.names[&chunk.partition].clone(),
                    to: chunk.to,
                    identity: chunk.identity.as_deref().map(str::to_owned),
                    lines: (0..chunk.len()).map(text).collect(),
                });
            }
            SourceEvent::Ended => {
                self.has_ended = true;
                return Ok(false);
            }
            // The end of a lane is told again whenever there is nothing more.
            SourceEvent::Nothing | SourceEvent::AtEnd { .. } => return Ok(false),
            SourceEvent::Ahead(_) | SourceEvent::CaughtUp => {}
        }
        Ok(true)
    }

    fn look(&mut self) {
        let n = self.random.place(20);
        for _ in 0..n {
            self.try_poll();
        }
    }

    fn try_poll(&mut self) -> bool {
        match self.poll(Duration::from_millis(1)) {
            Ok(more) => more,
            Err(error) => self.stopped(&error),
        }
    }

    /// Reads until nothing comes for some looks at the folder.
    fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 8 {
            quiet = if self.try_poll() { 0 } else { quiet + 1 };
        }
    }

    /// A bounded run: to the end of what is there.
    fn bounded(&mut self) {
        self.step("bounded run");
        self.kill();
        self.options.follow = false;
        self.has_ended = false;
        while !self.has_ended {
            match self.poll(Duration::from_millis(1)) {
                Ok(_) => {}
                Err(SourceError::CutOff { path, .. }) => {
                    let waits = self.uploads.iter().any(|(upload, _)| *upload == path);
                    assert!(waits, "{}", path.display());
                    break;
                }
                Err(error) => {
                    self.stopped(&error);
                }
            }
        }
        self.options.follow = true;
        self.committed = self.handed.len();
        self.source = None;
    }

    /// The job stops: it may do so where a file was harmed. The test then ends.
    fn stopped(&self, error: &SourceError) -> bool {
        let path = match error {
            SourceError::FileGone { path, .. } | SourceError::FileChanged { path, .. } => path,
            other => panic!("{other}"),
        };
        let name = path.file_name().unwrap().to_str().unwrap();
        // Which name a harmed file had when it was last seen is the reader's to know.
        let base = BASES.iter().find(|base| name.starts_with(**base));
        let harmed = self
            .harmed_files
            .iter()
            .any(|harmed| harmed == name || base.is_some_and(|base| harmed.starts_with(base)));
        assert!(harmed, "nothing was done to it: {error}");
        std::panic::panic_any(Stopped);
    }

    fn check(&self, at_end: bool) {
        let mut seen = BTreeSet::new();
        for line in self.handed.iter().flat_map(|h| &h.lines) {
            // A line that was cut for its length is known by its beginning.
            let line = if line.len() == 1000 {
                self.written.iter().find(|w| w.starts_with(line.as_str()))
            } else {
                self.written.get(line)
            };
            let line = line.expect("a line that was written");
            assert!(seen.insert(line), "read twice: {line}");
        }
        if at_end {
            let missing: Vec<_> = self
                .written
                .iter()
                .filter(|line| !seen.contains(line) && !self.harmed.contains(*line))
                .collect();
            assert!(missing.is_empty(), "not read: {missing:?}");
        }
    }

    fn live(&mut self, harms: bool) {
        for _ in 0..40 {
            match self.random.place(if harms { 26 } else { 24 }) {
                0..6 => self.append(),
                6..8 => self.rename(),
                8..10 => self.copy_and_truncate(),
                10..13 => self.compress(),
                13..15 => self.upload(),
                15 => self.archive(),
                16..18 => self.kill(),
                18 => self.bounded(),
                24.. => self.harm(),
                _ => self.look(),
            }
            self.check(false);
        }
        for base in 0..BASES.len() {
            self.finish_half(base);
        }
        for (path, rest) in std::mem::take(&mut self.uploads) {
            append(&path, rest);
        }
        self.step("end");
        let end = Instant::now() + Duration::from_secs(20);
        let all = |world: &World| world.handed.iter().map(|h| h.lines.len()).sum::<usize>();
        while all(self) + self.harmed.len() < self.written.len() && Instant::now() < end {
            self.settle();
        }
        self.settle();
        self.check(true);
        self.committed = self.handed.len();
        let read = all(self);
        self.bounded();
        assert_eq!(all(self), read, "a restart reads nothing again");
        self.check(true);
    }
}

/// The job has stopped and said why.
struct Stopped;

/// Runs the seeds; a failed one says what was done.
fn run(seeds: std::ops::Range<u64>, long: std::ops::Range<u64>, harms: bool) {
    let mut stops = 0;
    for seed in tidegate_testkit::seeds(seeds, long) {
        let mut world = World::new(seed);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.live(harms)));
        match result {
            Ok(()) => {}
            Err(panic) if panic.is::<Stopped>() => {
                world.check(false);
                stops += 1;
            }
            Err(_) => {
                let handed = world.handed.iter().map(|h| {
                    let identity = h.identity.as_deref().unwrap_or_default();
                    let lines = h.lines.iter().map(|l| &l[..l.len().min(9)]);
                    let lines: Vec<_> = lines.collect();
                    format!(
                        "{} {} to {}: {identity}: {lines:?}",
                        h.partition, h.name, h.to
                    )
                });
                let handed: Vec<_> = handed.collect();
                let there = world.there();
                panic!("seed {seed}: {:#?} {handed:#?} {there:#?}", world.steps)
            }
        }
    }
    assert!(harms || stops == 0);
}

#[test]
fn each_line_is_read_once_whatever_rotates_compresses_and_kills() {
    run(0..120, 0..20_000, false);
}

#[test]
fn what_is_removed_or_replaced_is_named_and_nothing_is_read_twice() {
    run(0..120, 0..20_000, true);
}
