//! A folder that files come and go in, and a job that reads it over several runs.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tidegate_source::{ChunkLimits, FilesOptions, FilesSource, Resume, Source, SourceError};

use tidegate_testkit::taken::{SMALL, SourceOutput, take_until};

pub(crate) fn files(path: &Path) -> FilesOptions {
    FilesOptions {
        path: path.to_str().unwrap().to_owned(),
        poll_interval: Duration::from_millis(20),
        ..FilesOptions::default()
    }
}

pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(text).unwrap();
    out.finish().unwrap()
}

pub(crate) fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).unwrap()
}

/// What a file holds, by its ending; of one that is not whole, what can be had.
pub(crate) fn text(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    let mut text = Vec::new();
    match path.extension().and_then(OsStr::to_str) {
        Some("gz") => {
            let _ = flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text);
        }
        Some("zst") => {
            if let Ok(mut decoder) = zstd::Decoder::new(&bytes[..]) {
                let _ = decoder.read_to_end(&mut text);
            }
        }
        _ => text = bytes,
    }
    String::from_utf8(text).unwrap()
}

pub(crate) fn append(path: &Path, text: impl AsRef<[u8]>) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_ref()).unwrap();
}

/// Lines with the numbers `from..to`, each another.
pub(crate) fn lines(from: u32, to: u32) -> String {
    (from..to).map(|n| format!("{{\"n\":{n}}}\n")).collect()
}

/// Opens the files.
pub(crate) fn open(
    options: &FilesOptions,
    resume: &Resume,
    limits: ChunkLimits,
) -> Result<Box<dyn Source>, SourceError> {
    Ok(Box::new(FilesSource::open(options, resume, limits)?))
}

/// A job over a folder: what it has read, and where it goes on.
pub(crate) struct Job {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) options: FilesOptions,
    pub(crate) resume: Resume,
    /// How often each line was read.
    pub(crate) read: BTreeMap<String, usize>,
}

impl Job {
    /// A job that reads the files that `pattern` matches.
    pub(crate) fn new(pattern: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = files(&folder.path().join(pattern));
        Job {
            folder,
            options,
            resume: Resume::default(),
            read: BTreeMap::new(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        append(&self.path(name), text);
    }

    pub(crate) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Reads what is there, to the end.
    pub(crate) fn run(&mut self) -> Result<(), SourceError> {
        self.options.follow = false;
        let mut run = self.start()?;
        let result = run.until(|taken| taken.ended);
        self.end(run);
        result
    }

    /// Begins to follow the folder.
    pub(crate) fn follow(&mut self) -> Result<Run, SourceError> {
        self.options.follow = true;
        self.start()
    }

    fn start(&self) -> Result<Run, SourceError> {
        Ok(Run {
            source: open(&self.options, &self.resume, SMALL)?,
            taken: SourceOutput::default(),
        })
    }

    /// Takes over what a run has read, as if all of it were committed.
    #[expect(clippy::needless_pass_by_value, reason = "it does not go on")]
    pub(crate) fn end(&mut self, run: Run) {
        for line in run.lines() {
            *self.read.entry(line).or_insert(0) += 1;
        }
        self.resume.partitions.extend(run.taken.resume().partitions);
    }

    /// Checks that the lines `from..to` were read, each once, and no others.
    #[track_caller]
    pub(crate) fn has_read(&self, from: u32, to: u32) {
        let expected = lines(from, to);
        let expected = expected.lines().map(|line| (line.to_owned(), 1));
        assert_eq!(self.read, expected.collect());
    }

    /// Names of the partitions.
    pub(crate) fn partitions(&self) -> Vec<&str> {
        let partitions = self.resume.partitions.values();
        partitions.map(|p| p.name.as_str()).collect()
    }
}

/// A run of a job.
pub(crate) struct Run {
    pub(crate) source: Box<dyn Source>,
    pub(crate) taken: SourceOutput,
}

impl Run {
    pub(crate) fn until(
        &mut self,
        wanted: impl Fn(&SourceOutput) -> bool,
    ) -> Result<(), SourceError> {
        take_until(self.source.as_mut(), &mut self.taken, wanted)
    }

    /// Reads until there are `n` lines in all.
    pub(crate) fn until_lines(&mut self, n: usize) -> Result<(), SourceError> {
        self.until(|taken| taken.records.values().map(Vec::len).sum::<usize>() >= n)
    }

    /// Goes on for some looks at the folder.
    pub(crate) fn some_looks(&mut self) -> Result<(), SourceError> {
        let until = Instant::now() + Duration::from_millis(150);
        while Instant::now() < until {
            self.taken.take(self.source.poll(Duration::from_millis(5))?);
        }
        Ok(())
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let ids = self.taken.records.keys();
        ids.flat_map(|id| self.taken.texts(*id)).collect()
    }
}
