//! The source: which file is read when.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use tidegate_core::chunk::Chunk;

use super::discover::{Facts, Place};
use super::input::{Encoding, Input};
use super::lines::{Filled, LineReader};
use super::state::{FileState, Volume};
use super::{FilesOptions, MissingFiles};
use crate::{ChunkLimits, Resume, Source, SourceError, SourceEvent};

/// The lane of all files.
const LANE: i32 = 0;

/// A source over files; see the module.
pub struct FilesSource {
    options: FilesOptions,
    limits: ChunkLimits,
    place: Place,
    files: BTreeMap<String, FileState>,
    next_id: i32,
    /// Files that have something to read.
    todo: BTreeSet<String>,
    /// Compressed files that may still be written to, as they were when last seen.
    settling: BTreeMap<String, Facts>,
    /// Those of them that were there when the source was opened.
    settling_at_open: BTreeSet<String>,
    reading: Option<Reading>,
    ready: VecDeque<SourceEvent>,
    fault: Option<SourceError>,
    at_end: bool,
    caught_up: bool,
    scanned: Instant,
    plain: Volume,
    compressed: Volume,
}

/// The file that is being read.
struct Reading {
    name: String,
    path: PathBuf,
    lines: LineReader<Input>,
    /// Byte at which reading began.
    opened_at: u64,
    /// Bytes that [`Volume`] knows of.
    accounted: u64,
}

impl FilesSource {
    /// Looks at what is there.
    ///
    /// # Errors
    /// If the path is not there or cannot be read, or a file of `resume` is gone.
    pub fn open(
        options: &FilesOptions,
        resume: &Resume,
        limits: ChunkLimits,
    ) -> Result<Self, SourceError> {
        if options.poll_interval.is_zero() {
            return Err(SourceError::option(
                "source.poll-interval",
                "it has to be more than zero",
            ));
        }
        let place = Place::of(&options.path)?;
        let mut source = FilesSource {
            options: options.clone(),
            limits,
            place,
            files: BTreeMap::new(),
            next_id: 0,
            todo: BTreeSet::new(),
            settling: BTreeMap::new(),
            settling_at_open: BTreeSet::new(),
            reading: None,
            ready: VecDeque::new(),
            fault: None,
            at_end: false,
            caught_up: false,
            scanned: Instant::now(),
            plain: Volume::default(),
            compressed: Volume::default(),
        };
        source.resume(resume)?;
        Ok(source)
    }

    fn resume(&mut self, resume: &Resume) -> Result<(), SourceError> {
        let found = self.place.list()?;
        if found.is_empty() && !self.options.follow {
            if matches!(self.place, Place::Glob { .. }) {
                return Err(SourceError::NoInput {
                    path: self.options.path.clone(),
                    message: "the pattern matches no file. Correct `source.path`, or set \
                              `source.follow = true` to wait for files"
                        .to_owned(),
                });
            }
            tracing::warn!(path = %self.options.path, "there are no files to read");
        }
        // Ascending by number: of two files that had the same name one after the other, the later
        // one is the one that is there.
        for (id, partition) in &resume.partitions {
            self.next_id = self.next_id.max(id + 1);
            let Some(facts) = found.get(&partition.name) else {
                self.gone(&partition.name, partition.offset)?;
                continue;
            };
            let mut state = FileState::new(*id, &partition.name, *facts);
            state.line = partition.offset;
            self.files.insert(partition.name.clone(), state);
            self.todo.insert(partition.name.clone());
        }
        self.take_in(&found)?;
        self.settling_at_open = self.settling.keys().cloned().collect();
        Ok(())
    }

    /// Takes in the files of `found` that are not known yet.
    fn take_in(&mut self, found: &BTreeMap<String, Facts>) -> Result<(), SourceError> {
        self.settling.retain(|name, _| found.contains_key(name));
        for (name, facts) in found {
            if self.files.contains_key(name) {
                continue;
            }
            let compressed = Encoding::of(name.as_ref()) != Encoding::Plain;
            if self.options.follow && compressed {
                if self.settling.insert(name.clone(), *facts) != Some(*facts) {
                    continue;
                }
                self.settling.remove(name);
            }
            let id = self.next_id;
            self.next_id = id.checked_add(1).ok_or_else(|| {
                SourceError::option("source.path", "more files than there are partition numbers")
            })?;
            self.files
                .insert(name.clone(), FileState::new(id, name, *facts));
            self.todo.insert(name.clone());
        }
        let settling = &self.settling;
        self.settling_at_open
            .retain(|name| settling.contains_key(name));
        Ok(())
    }

    /// Looks for new files and for growth.
    fn scan(&mut self) -> Result<(), SourceError> {
        self.scanned = Instant::now();
        let found = self.place.list()?;
        let mut missing = Vec::new();
        for (name, state) in &mut self.files {
            match found.get(name) {
                None => missing.push((name.clone(), state.line, state.is_read())),
                Some(facts) if facts == &state.facts => {}
                Some(facts) => {
                    let path = self.place.base().join(name);
                    state.compare(facts, path)?;
                    if facts.bytes > state.facts.bytes && !state.done {
                        self.todo.insert(name.clone());
                    }
                    state.facts = *facts;
                }
            }
        }
        for (name, line, is_read) in missing {
            if !is_read {
                self.gone(&name, line)?;
            }
            self.files.remove(&name);
            self.todo.remove(&name);
        }
        self.take_in(&found)
    }

    /// A file that is known is not there: an error, or a line in the log.
    fn gone(&self, name: &str, line: i64) -> Result<(), SourceError> {
        let path = self.place.base().join(name);
        match self.options.on_missing_files {
            MissingFiles::Fail if line > 0 => Err(SourceError::FileGone { path, line }),
            _ => {
                tracing::warn!(path = %path.display(), line, "a file is gone; going on without it");
                Ok(())
            }
        }
    }

    /// Opens the next file that has something to read. False if there is none.
    fn next_file(&mut self) -> Result<bool, SourceError> {
        let Some(name) = self.todo.first().cloned() else {
            return Ok(false);
        };
        let path = self.place.base().join(&name);
        let Some(state) = self.files.get(&name) else {
            self.todo.remove(&name);
            return Ok(true);
        };
        let at = state.at.unwrap_or(0);
        let skip = if state.at.is_some() {
            0
        } else {
            u64::try_from(state.line).unwrap_or(0)
        };
        match Input::open(&path, state.encoding, at) {
            Ok(input) => {
                let lines = LineReader::new(input, skip);
                self.todo.remove(&name);
                self.at_end = false;
                self.reading = Some(Reading {
                    name,
                    path,
                    lines,
                    opened_at: at,
                    accounted: 0,
                });
            }
            Err(SourceError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                self.gone(&name, state.line)?;
                self.todo.remove(&name);
                self.files.remove(&name);
            }
            Err(e) => return Err(e),
        }
        Ok(true)
    }

    /// Reads on in the open file until a chunk is full, the file has no more, or it is `deadline`
    /// and nothing but passing over known lines was done.
    fn read(&mut self, deadline: Instant) -> Result<(), SourceError> {
        let (Some(reading), limits) = (&mut self.reading, self.limits.lines()) else {
            return Ok(());
        };
        let Some(state) = self.files.get_mut(&reading.name) else {
            return Ok(());
        };
        let plain = state.encoding == Encoding::Plain;
        let waits = self.options.follow && plain;
        let mut chunk = Chunk::new(state.id, LANE, state.line);
        let at = reading.opened_at + reading.lines.consumed();
        state.reserve(&mut chunk, at, &self.limits);
        let mut finished = loop {
            match reading.lines.fill(&mut chunk, &limits) {
                Ok(Filled::Full) => break false,
                Ok(Filled::End) => break true,
                Ok(Filled::More) if reading.lines.to_skip() > 0 => {
                    if Instant::now() >= deadline {
                        return Ok(());
                    }
                }
                Ok(Filled::More) => {
                    // What has grown since the last look waits for the next one, so that a file
                    // that never stops growing does not keep the others from being read.
                    if waits && reading.opened_at + reading.lines.consumed() >= state.facts.bytes {
                        break true;
                    }
                }
                Err(e) => {
                    let line = chunk.to;
                    self.fault = Some(if plain {
                        SourceError::io("read", &reading.path, e)
                    } else {
                        SourceError::Damaged {
                            path: reading.path.clone(),
                            line,
                            source: e,
                        }
                    });
                    break true;
                }
            }
        };
        let ended = finished && self.fault.is_none();
        if ended && !waits {
            reading.lines.take_last(&mut chunk, &limits);
        }
        let to_skip = reading.lines.to_skip();
        let tail_counted = waits && to_skip == 1 && reading.lines.within_skipped();
        if ended && to_skip > 0 && !tail_counted {
            let has = u64::try_from(state.line).unwrap_or(0) - to_skip;
            self.fault = Some(SourceError::FileChanged {
                path: reading.path.clone(),
                message: format!(
                    "it has {has} lines, but {} lines of it were read before. Put the whole file \
                     back, or start a new job",
                    state.line
                ),
            });
        }
        if self.fault.is_some() {
            self.todo.insert(reading.name.clone());
            finished = true;
        } else if ended && !waits {
            state.done = true;
        }

        let volume = if plain {
            &mut self.plain
        } else {
            &mut self.compressed
        };
        let bytes = if plain {
            reading.lines.consumed()
        } else {
            reading.lines.input().raw_bytes()
        };
        volume.bytes += bytes - reading.accounted;
        volume.lines += u64::try_from(chunk.to - chunk.from).unwrap_or(0);
        reading.accounted = bytes;

        state.line = chunk.to;
        if plain && to_skip == 0 {
            state.at = Some(reading.opened_at + reading.lines.consumed());
        }
        if chunk.to > chunk.from {
            if !state.announced {
                state.announced = true;
                let name = reading.name.clone();
                self.ready.push_back(SourceEvent::Partition {
                    id: state.id,
                    lane: LANE,
                    name,
                });
            }
            self.ready.push_back(SourceEvent::Chunk(chunk));
        }
        if finished {
            self.reading = None;
        }
        Ok(())
    }

    /// There is nothing to read now. False if the caller has waited long enough.
    fn idle(&mut self, deadline: Instant) -> Result<bool, SourceError> {
        if !self.at_end {
            self.at_end = true;
            self.ready.push_back(SourceEvent::AtEnd { lane: LANE });
        }
        if !self.caught_up && self.settling_at_open.is_empty() {
            self.caught_up = true;
            self.ready.push_back(SourceEvent::CaughtUp);
            if !self.options.follow {
                self.ready.push_back(SourceEvent::Ended);
            }
        }
        if !self.ready.is_empty() {
            return Ok(true);
        }
        let now = Instant::now();
        let next = self.scanned + self.options.poll_interval;
        if self.options.follow && now >= next {
            self.scan()?;
            return Ok(true);
        }
        let until = if self.options.follow {
            deadline.min(next)
        } else {
            deadline
        };
        thread::sleep(until.saturating_duration_since(now));
        Ok(Instant::now() < deadline)
    }
}

impl Source for FilesSource {
    fn poll(&mut self, wait: Duration) -> Result<SourceEvent, SourceError> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if let Some(fault) = self.fault.take() {
                return Err(fault);
            }
            if self.reading.is_some() {
                self.read(deadline)?;
                let skips = self.reading.as_ref().is_some_and(|r| r.lines.to_skip() > 0);
                if skips && Instant::now() >= deadline {
                    return Ok(SourceEvent::Nothing);
                }
            } else if !self.next_file()? && !self.idle(deadline)? {
                return Ok(SourceEvent::Nothing);
            }
        }
    }

    fn committed(&mut self, _positions: &BTreeMap<i32, i64>) {}

    fn lag(&self) -> BTreeMap<i32, u64> {
        let lag = |state: &FileState| {
            let plain = state.encoding == Encoding::Plain;
            state.lines_left(if plain { &self.plain } else { &self.compressed })
        };
        self.files
            .values()
            .map(|s| (s.id, lag(s)))
            .filter(|(_, lag)| *lag > 0)
            .collect()
    }
}
