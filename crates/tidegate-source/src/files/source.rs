//! The source: which file is read when.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use tidegate_base::chunk::Chunk;

use super::FilesOptions;
use super::ahead::{Ahead, Look};
use super::cut::CutOff;
use super::discover::{Facts, SearchPath};
use super::input::{Encoding, Input, MarkMatch};
use super::judge::Judged;
use super::known::FileRegistry;
use super::lines::{Filled, LineReader, Skip};
use super::reading::{Reading, Stop};
use super::state::{FileState, Volume};
use super::trail::Trail;
use crate::{ChunkLimits, Resume, Source, SourceError, SourceEvent};

/// The lane of all files.
const LANE: i32 = 0;

/// A folder is not listed in one instant, so that a file that is being renamed can be missed. What
/// is not found is looked for once more after this time.
const SECOND_LOOK: Duration = Duration::from_millis(50);

/// Files without new lines that the log is told of after one look at most: a folder can be emptied
/// at once, and a commit record stays small.
const NOTES: usize = 500;

/// A source over files; see the module.
pub struct FilesSource {
    options: FilesOptions,
    limits: ChunkLimits,
    place: SearchPath,
    known: FileRegistry,
    /// Files that have something to read.
    todo: BTreeSet<String>,
    cut: CutOff,
    reading: Option<Reading>,
    ahead: Ahead,
    ready: VecDeque<SourceEvent>,
    /// Files that cannot be read on, and why: the others are read before that is an error.
    faults: BTreeMap<String, SourceError>,
    /// A file is not what it was: the place is to be looked at before anything is read.
    rescan: bool,
    at_end: bool,
    caught_up: bool,
    scanned: Instant,
    plain: Volume,
    compressed: Volume,
}

impl FilesSource {
    /// Looks at what is there.
    ///
    /// # Errors
    /// If the path is not there or cannot be read, or a file of `resume` is gone or replaced.
    pub fn open(
        options: &FilesOptions,
        resume: &Resume,
        limits: ChunkLimits,
    ) -> Result<Self, SourceError> {
        limits.check()?;
        if options.poll_interval.is_zero() {
            return Err(SourceError::option(
                "source.poll-interval",
                "it has to be more than zero",
            ));
        }
        let place = SearchPath::of(&options.path)?;
        let known = FileRegistry::resume(place.base(), options, resume)?;
        let mut source = FilesSource {
            options: options.clone(),
            limits,
            place,
            known,
            todo: BTreeSet::new(),
            cut: CutOff::default(),
            reading: None,
            ahead: Ahead::default(),
            ready: VecDeque::new(),
            faults: BTreeMap::new(),
            rescan: false,
            at_end: false,
            caught_up: false,
            scanned: Instant::now(),
            plain: Volume::default(),
            compressed: Volume::default(),
        };
        let found = source.find_known()?;
        if found.is_empty() && !options.follow {
            if matches!(source.place, SearchPath::Glob { .. }) {
                return Err(SourceError::NoInput {
                    path: options.path.clone(),
                    message: "the pattern matches no file. Correct `source.path`, or set \
                              `source.follow = true` to wait for files"
                        .to_owned(),
                });
            }
            tracing::warn!(path = %options.path, "there are no files to read");
        }
        source.todo.extend(source.known.take_in(&found)?);
        // One that waits for more never comes to the end of a file, and so to the next one.
        if !options.follow {
            let files = &source.known.files;
            let new = |name: &&String| files.get(*name).is_some_and(FileState::is_unread);
            let later = source.todo.iter().skip(1).filter(new).cloned();
            source.ahead = Ahead::over(later);
        }
        source.tell();
        Ok(source)
    }

    /// Looks for new files and for growth.
    fn scan(&mut self) -> Result<(), SourceError> {
        self.scanned = Instant::now();
        self.rescan = true;
        self.at_end = false;
        let found = self.find_known()?;
        if self.options.follow {
            self.todo.extend(self.known.take_in(&found)?);
        }
        self.rescan = false;
        self.tell();
        Ok(())
    }

    /// Lists the place and finds the known files in it.
    fn find_known(&mut self) -> Result<BTreeMap<String, Facts>, SourceError> {
        let mut found = self.place.list()?;
        let mut placed = self.known.place(&found);
        if placed.is_err() {
            thread::sleep(SECOND_LOOK.min(self.options.poll_interval));
            found = self.place.list()?;
            placed = self.known.place(&found);
        }
        placed?;
        for name in std::mem::take(&mut self.known.placed) {
            self.cut.remove(&name);
            if let (Some(state), Some(facts)) = (self.known.files.get(&name), found.get(&name))
                && state.has_more(facts)
            {
                self.todo.insert(name);
            }
        }
        self.todo.extend(self.cut.settled(&found));
        let files = &self.known.files;
        self.todo.retain(|name| files.contains_key(name));
        for (name, state) in &mut self.known.files {
            let Some(facts) = found.get(name) else {
                continue;
            };
            if state.facts != Some(*facts) {
                state.facts = Some(*facts);
                if !self.cut.contains(name) {
                    self.todo.insert(name.clone());
                }
            }
        }
        Ok(found)
    }

    /// Tells the commit log what it has to know without a new line.
    fn tell(&mut self) {
        let known = &mut self.known;
        let states = known.files.values_mut().chain(&mut known.absent);
        // What is still to be looked into is told then; where only lines are known, it is.
        let todo = &self.todo;
        let due = |state: &&mut FileState| {
            let looked_into = state.facts.is_none() || !todo.contains(&state.name);
            state.note && looked_into && !state.is_unread()
        };
        for state in states.filter(due).take(NOTES) {
            let chunk = Chunk::new(state.id, LANE, state.line);
            hand_over(&mut self.ready, state, chunk);
        }
    }

    /// Looks into a file that is read later. What keeps its lines from being read is told when they
    /// are.
    fn look_ahead(&mut self, look: &Look) -> Option<Chunk> {
        let state = self.known.files.get(&look.name)?;
        let path = self.place.base().join(&look.name);
        let input = Input::open(&path, state.encoding).ok()?;
        let chunk = look.read(input, Chunk::new(state.id, LANE, look.line), &self.limits);
        let has_news = !chunk.is_empty() || look.line > 0;
        self.ahead.has_looked(look, &chunk);
        has_news.then_some(chunk)
    }

    /// Opens the next file that has something to read. False if there is none.
    fn next_file(&mut self) -> Result<bool, SourceError> {
        let Some(name) = self.todo.first().cloned() else {
            return Ok(false);
        };
        let path = self.place.base().join(&name);
        let Some(state) = self.known.files.get(&name) else {
            self.todo.remove(&name);
            return Ok(true);
        };
        let input = match Input::open(&path, state.encoding) {
            Ok(input) => input,
            Err(SourceError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                self.look_again(&name);
                return Ok(true);
            }
            Err(e) => {
                self.set_aside(name, e);
                return Ok(true);
            }
        };
        let failed = |e| SourceError::io("read", &path, e);
        let facts = input.facts().map_err(failed)?;
        if state.inode() != Some(facts.inode) {
            self.look_again(&name);
            return Ok(true);
        }
        if state.encoding != Encoding::Plain && facts.bytes == 0 {
            self.wait_for_rest(&name, facts);
            return Ok(true);
        }
        if state.is_unread() {
            match self.known.judge(&name, &facts)? {
                Judged::New => {}
                Judged::Copy => {
                    self.todo.remove(&name);
                    return Ok(true);
                }
                Judged::Unclear => {
                    self.rescan = true;
                    return Ok(true);
                }
            }
        }
        self.start(name, path, input)?;
        Ok(true)
    }

    /// Begins to read an open file, after what was read of it.
    fn start(&mut self, name: String, path: PathBuf, mut input: Input) -> Result<(), SourceError> {
        let failed = |e| SourceError::io("read", &path, e);
        let Some(state) = self.known.files.get(&name) else {
            return Ok(());
        };
        let plain = state.encoding == Encoding::Plain;
        let mut trail = Trail::default();
        let skip = match state.mark {
            Some(mark) if plain => match input.find(&mark).map_err(failed)? {
                MarkMatch::Same(found) => {
                    trail = found;
                    Skip::Read(mark)
                }
                _ => {
                    self.look_again(&name);
                    return Ok(());
                }
            },
            Some(mark) => {
                if state.whole && state.raw == Some(input.stored().map_err(failed)?) {
                    self.todo.remove(&name);
                    return Ok(());
                }
                Skip::Read(mark)
            }
            None => Skip::Lines(u64::try_from(state.line).unwrap_or(0)),
        };
        self.todo.remove(&name);
        self.faults.remove(&name);
        self.at_end = false;
        self.reading = Some(Reading {
            accounted: if plain { trail.at() } else { 0 },
            lines: LineReader::new(input, trail, skip, state.open),
            name,
            path,
        });
        Ok(())
    }

    /// What is under the name is not what it was: the known files are to be found again.
    fn look_again(&mut self, name: &str) {
        self.todo.remove(name);
        self.rescan = true;
        if let Some(state) = self.known.files.get_mut(name) {
            state.facts = None;
        }
    }

    /// The file is compressed and not whole. It is read on when it has changed.
    fn wait_for_rest(&mut self, name: &str, facts: Facts) {
        self.todo.remove(name);
        let line = self.known.files.get(name).map_or(0, |state| state.line);
        tracing::warn!(
            path = %self.place.base().join(name).display(), line,
            "a compressed file is cut off: it is still being written, or was not copied whole. It is \
             read on when it is whole"
        );
        self.cut.insert(name, facts);
    }

    /// The file cannot be read on. It is an error when all others have been read.
    fn set_aside(&mut self, name: String, fault: SourceError) {
        self.todo.remove(&name);
        tracing::warn!("{fault}. The other files that are there are read first");
        self.faults.insert(name, fault);
    }

    /// Reads on in the open file until a chunk is full, the file has no more, or it is `deadline`
    /// and nothing but passing over known lines was done.
    fn read(&mut self, deadline: Instant) -> Result<(), SourceError> {
        let (Some(reading), limits) = (&mut self.reading, self.limits.lines()) else {
            return Ok(());
        };
        let Some(state) = self.known.files.get_mut(&reading.name) else {
            self.reading = None;
            return Ok(());
        };
        let mut chunk = Chunk::new(state.id, LANE, state.line);
        state.reserve(&mut chunk, reading.lines.trail().at(), &self.limits);
        let waits = self.options.follow && state.encoding == Encoding::Plain;
        let stop = loop {
            let filled = reading.lines.fill(&mut chunk, &limits);
            match filled {
                Ok(Filled::Full) => break Stop::Full,
                Ok(Filled::End) => break Stop::End,
                Ok(Filled::More) if reading.lines.skips() => {
                    if Instant::now() >= deadline {
                        return Ok(());
                    }
                }
                Ok(Filled::More) => {
                    // What has grown since the last look waits for the next one, so that a file
                    // that never stops growing does not keep the others from being read.
                    let seen = state.facts.map_or(0, |facts| facts.bytes);
                    if waits && reading.lines.trail().at() >= seen {
                        break Stop::End;
                    }
                }
                Err(e) => break reading.stopped(state, chunk.to, e),
            }
        };
        if matches!(stop, Stop::End) {
            reading.take_rest(state, &mut chunk, &limits, self.options.follow);
            if reading.lines.skips() {
                self.is_too_short();
                return Ok(());
            }
        }
        let name = reading.name.clone();
        let done = match reading.is_true_to(state) {
            Ok(true) => self.accept(chunk, stop),
            Ok(false) => {
                self.reading = None;
                self.look_again(&name);
                Ok(())
            }
            Err(e) => Err(e),
        };
        if done.is_err() {
            // What was not handed over is read again.
            self.reading = None;
            self.todo.insert(name);
        }
        done
    }

    /// Takes over what was read, and hands it over.
    fn accept(&mut self, chunk: Chunk, stop: Stop) -> Result<(), SourceError> {
        let Some(reading) = &mut self.reading else {
            return Ok(());
        };
        let Some(state) = self.known.files.get_mut(&reading.name) else {
            return Ok(());
        };
        let volume = if state.encoding == Encoding::Plain {
            &mut self.plain
        } else {
            &mut self.compressed
        };
        reading.account(state.encoding, &chunk, volume);
        let skips = reading.lines.skips();
        if !skips {
            reading.update(state, &stop, chunk.to)?;
        }
        let news = state.note || (state.whole && !state.told_whole);
        if chunk.to > chunk.from || (news && !skips && !state.is_unread()) {
            hand_over(&mut self.ready, state, chunk);
        }
        let name = reading.name.clone();
        match stop {
            Stop::Full => {}
            Stop::End => self.reading = None,
            Stop::CutOff => {
                // As it was before it was read: what came while it was read is a change.
                let now = reading.lines.input().facts();
                let now = now.map_err(|e| SourceError::io("read", &reading.path, e))?;
                let facts = state.facts.unwrap_or(now);
                self.reading = None;
                self.wait_for_rest(&name, facts);
            }
            Stop::Fault(fault) => {
                self.reading = None;
                self.set_aside(name, fault);
            }
        }
        Ok(())
    }

    /// The open file ends before what was read of it.
    fn is_too_short(&mut self) {
        let Some(reading) = self.reading.take() else {
            return;
        };
        let state = self.known.files.get(&reading.name);
        let line = state.map_or(0, |state| state.line);
        let left = reading.lines.lines_to_skip();
        if left == 0 {
            self.look_again(&reading.name);
            return;
        }
        let fault = SourceError::FileChanged {
            path: reading.path,
            message: format!(
                "it has {} lines, but {line} lines of it were read before. Put the whole file back, or \
                 start a new job",
                u64::try_from(line).unwrap_or(0) - left
            ),
        };
        self.set_aside(reading.name, fault);
    }

    /// Says which files have a last line that waits for its end.
    fn say_what_waits(&self) {
        let plain = |state: &&FileState| state.encoding == Encoding::Plain && !state.whole;
        for state in self.known.files.values().filter(plain) {
            if state.facts.is_some_and(|facts| facts.bytes > 0) {
                tracing::info!(
                    path = %self.place.base().join(&state.name).display(), line = state.line,
                    "the last line of a file has no end yet, and waits for it"
                );
            }
        }
    }

    /// There is nothing to read now. False if the caller has waited long enough.
    fn idle(&mut self, deadline: Instant) -> Result<bool, SourceError> {
        if let Some((name, fault)) = self.faults.pop_first() {
            // Who asks again has it read again.
            self.todo.insert(name);
            return Err(fault);
        }
        let unclear = self.known.unclear.keys().next().map(String::as_str);
        if let Some(name) = self.cut.first().or(unclear)
            && !self.options.follow
        {
            let state = self.known.files.get(name);
            return Err(SourceError::CutOff {
                path: self.place.base().join(name),
                line: state.map_or(0, |state| state.line),
            });
        }
        if !self.at_end {
            self.at_end = true;
            self.ready.push_back(SourceEvent::AtEnd { lane: LANE });
        }
        if !self.caught_up {
            self.caught_up = true;
            self.ready.push_back(SourceEvent::CaughtUp);
            if self.options.follow {
                self.say_what_waits();
            } else {
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

/// Hands over a chunk, after the partition's name, and with what the file is recognised by.
fn hand_over(ready: &mut VecDeque<SourceEvent>, state: &mut FileState, mut chunk: Chunk) {
    if !state.announced {
        state.announced = true;
        ready.push_back(SourceEvent::Partition {
            id: state.id,
            lane: LANE,
            name: state.partition.clone(),
        });
    }
    state.note = false;
    state.told_whole = state.whole;
    chunk.identity = Some(state.identity());
    ready.push_back(SourceEvent::Chunk(chunk));
}

impl Source for FilesSource {
    fn poll(&mut self, wait: Duration) -> Result<SourceEvent, SourceError> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if let Some(look) = self.ahead.next() {
                match self.look_ahead(&look) {
                    Some(chunk) => return Ok(SourceEvent::Ahead(chunk)),
                    None => continue,
                }
            }
            if self.rescan {
                self.scan()?;
            } else if self.reading.is_some() {
                self.read(deadline)?;
                let skips = self.reading.as_ref().is_some_and(|r| r.lines.skips());
                if skips && Instant::now() >= deadline {
                    return Ok(SourceEvent::Nothing);
                }
            } else if !self.next_file()? && !self.idle(deadline)? {
                return Ok(SourceEvent::Nothing);
            }
        }
    }

    fn look_further(&mut self, partition: i32) {
        self.ahead.look_further(partition);
    }

    fn committed(&mut self, _positions: &BTreeMap<i32, i64>) {}

    fn lag(&self) -> BTreeMap<i32, u64> {
        let lag = |state: &FileState| {
            let plain = state.encoding == Encoding::Plain;
            state.lines_left(if plain { &self.plain } else { &self.compressed })
        };
        let files = self.known.files.values();
        files
            .map(|s| (s.id, lag(s)))
            .filter(|(_, lag)| *lag > 0)
            .collect()
    }
}
