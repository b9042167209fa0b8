//! The generator as a source.

use std::collections::{BTreeMap, VecDeque};
use std::thread;
use std::time::{Duration, Instant};

use tidegate_base::chunk::{Chunk, Payload};
use tidegate_base::clock::Clock;

use super::{Generator, GeneratorOptions};
use tidegate_source::{ChunkLimits, Resume, Source, SourceError, SourceEvent};

/// How far back a stream begins that is generated as fast as possible, at most: within the seven
/// days that the transactions' rules allow.
const START_BACK_MICROS: i64 = 6 * 86_400_000_000;
/// Bytes of a record, about.
const RECORD_BYTES: usize = 320;

/// A source of synthetic transactions; see the module.
pub struct GeneratorSource {
    generator: Generator,
    limits: ChunkLimits,
    clock: Clock,
    /// Whether events come at their rate, or as fast as possible.
    paced: bool,
    count: Option<u64>,
    /// Offset of the next record, by partition.
    offsets: Vec<i64>,
    /// Whether the partition's end was said in this round, since its last chunk.
    at_end: Vec<bool>,
    /// Where each partition ends for this round: it hands out what is below, then waits.
    due: Vec<i64>,
    next: usize,
    round_began: Option<Instant>,
    /// Records that were there when the source was opened, by partition.
    opened_with: Vec<i64>,
    caught_up: bool,
    ended: bool,
    ready: VecDeque<SourceEvent>,
    scratch: Vec<u8>,
}

impl GeneratorSource {
    /// Sets the stream up; its start comes from `resume`, the options, or the clock.
    ///
    /// # Errors
    /// If an option is out of its range, or `resume` is from another source.
    pub fn open(
        options: &GeneratorOptions,
        resume: &Resume,
        limits: ChunkLimits,
        clock: &Clock,
    ) -> Result<Self, SourceError> {
        limits.check()?;
        let start_time = match resumed_start(options, resume)? {
            Some(start_time) => start_time,
            None => first_start(options, clock.now_micros()),
        };
        let generator = Generator::new(options, start_time)?;
        let partitions = options.partitions as usize;
        let mut source = GeneratorSource {
            generator,
            limits,
            clock: clock.clone(),
            paced: options.rate > 0,
            count: options.count,
            offsets: vec![0; partitions],
            at_end: vec![false; partitions],
            due: Vec::new(),
            next: 0,
            round_began: None,
            opened_with: Vec::new(),
            caught_up: false,
            ended: false,
            ready: VecDeque::new(),
            scratch: Vec::with_capacity(2 * RECORD_BYTES),
        };
        for (id, partition) in &resume.partitions {
            source.offsets[*id as usize] = partition.offset;
        }
        source.due = source.holds();
        // A stream that ends holds all of its records; one that does not holds those that are due.
        source.opened_with = match options.count {
            Some(count) => source.bounds(count),
            None if source.paced => source.due.clone(),
            None => source.offsets.clone(),
        };
        for id in 0..options.partitions {
            let name = partition_name(id, options.partitions, start_time);
            source
                .ready
                .push_back(SourceEvent::Partition { id, lane: id, name });
            if !resume.partitions.contains_key(&id) {
                // Covers nothing, so that the log knows each partition from its first record on:
                // one that it does not know is taken for new, and begins where the others have got
                // to.
                let empty = Chunk::new(id, id, source.offsets[id as usize]);
                source.ready.push_back(SourceEvent::Chunk(empty));
            }
        }
        Ok(source)
    }

    fn bounds(&self, count: u64) -> Vec<i64> {
        (0..self.generator.partitions())
            .map(|p| self.generator.share_of(count, p))
            .collect()
    }

    /// Where each partition ends now.
    fn holds(&self) -> Vec<i64> {
        let due = if self.paced {
            self.generator.due(self.clock.now_micros())
        } else {
            u64::MAX
        };
        self.bounds(self.count.map_or(due, |count| due.min(count)))
    }

    /// The next chunk of this round, taking the partitions in turn.
    fn next_chunk(&mut self) -> Option<Chunk> {
        let partitions = self.offsets.len();
        for step in 0..partitions {
            let p = (self.next + step) % partitions;
            let (from, due) = (self.offsets[p], self.due[p]);
            if from < due {
                self.next = (p + 1) % partitions;
                let chunk = self.chunk(p, from, due);
                self.offsets[p] = chunk.to;
                self.at_end[p] = false;
                return Some(chunk);
            }
        }
        None
    }

    fn chunk(&mut self, partition: usize, from: i64, to: i64) -> Chunk {
        let p = partition as i32;
        let mut chunk = Chunk::new(p, p, from);
        let wanted = usize::try_from(to - from)
            .unwrap_or(usize::MAX)
            .min(self.limits.records);
        let bytes = self.limits.bytes.min(wanted.saturating_mul(RECORD_BYTES)) + 2 * RECORD_BYTES;
        chunk.reserve(wanted, bytes);
        let mut offset = from;
        while offset < to && chunk.len() < self.limits.records && chunk.bytes() < self.limits.bytes
        {
            self.scratch.clear();
            self.generator.write_event(p, offset, &mut self.scratch);
            let too_long = self.scratch.len() > self.limits.record_bytes_max;
            let (kind, payload) = if too_long {
                (
                    Payload::Truncated,
                    &self.scratch[..self.limits.truncated_bytes()],
                )
            } else {
                (Payload::Bytes, &self.scratch[..])
            };
            chunk.push(
                offset,
                Some(self.generator.event_time(p, offset)),
                kind,
                payload,
            );
            offset += 1;
        }
        chunk
    }

    /// Says which partitions have come to their end, and what follows from it.
    fn say_ends(&mut self) {
        for (p, said) in self.at_end.iter_mut().enumerate() {
            if self.offsets[p] >= self.due[p] && !*said {
                *said = true;
                self.ready.push_back(SourceEvent::AtEnd { lane: p as i32 });
            }
        }
        let reached = |ends: &[i64]| self.offsets.iter().zip(ends).all(|(at, end)| at >= end);
        if !self.caught_up && reached(&self.opened_with) {
            self.caught_up = true;
            self.ready.push_back(SourceEvent::CaughtUp);
        }
        if self.caught_up && !self.ended && self.count.is_some_and(|n| reached(&self.bounds(n))) {
            self.ended = true;
            self.ready.push_back(SourceEvent::Ended);
        }
    }
}

impl Source for GeneratorSource {
    fn poll(&mut self, wait: Duration) -> Result<SourceEvent, SourceError> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if let Some(chunk) = self.next_chunk() {
                self.say_ends();
                return Ok(SourceEvent::Chunk(chunk));
            }
            self.say_ends();
            if !self.ready.is_empty() {
                continue;
            }
            // A round begins when what has become due was given time to become a chunk of some
            // size.
            let now = Instant::now();
            let next_round = self
                .round_began
                .map_or(now, |began| began + self.limits.linger);
            if self.paced && !self.ended && now >= next_round {
                self.round_began = Some(now);
                self.due = self.holds();
                self.at_end.fill(false);
                if self.offsets.iter().zip(&self.due).any(|(at, due)| at < due) {
                    continue;
                }
            }
            let pause = self
                .limits
                .linger
                .clamp(Duration::from_millis(1), Duration::from_millis(20));
            thread::sleep(deadline.saturating_duration_since(now).min(pause));
            if Instant::now() >= deadline {
                return Ok(SourceEvent::Nothing);
            }
        }
    }

    fn committed(&mut self, _positions: &BTreeMap<i32, i64>) {}

    fn lag(&self) -> BTreeMap<i32, u64> {
        let holds = match (self.paced, self.count) {
            (false, None) => self.offsets.clone(),
            _ => self.holds(),
        };
        let behind = holds
            .iter()
            .zip(&self.offsets)
            .map(|(end, at)| end.saturating_sub(*at));
        (0..)
            .zip(behind.map(|n| u64::try_from(n).unwrap_or(0)))
            .collect()
    }
}

/// When a stream begins that has not begun yet.
pub fn first_start(options: &GeneratorOptions, now: i64) -> i64 {
    let back = if options.rate > 0 {
        0
    } else {
        let span = |count: u64| {
            let micros = u128::from(count) * 1_000_000 / u128::from(options.event_rate.max(1));
            i64::try_from(micros).unwrap_or(i64::MAX)
        };
        options
            .count
            .map_or(START_BACK_MICROS, span)
            .min(START_BACK_MICROS)
    };
    options.start_time.unwrap_or(now - back)
}

fn partition_name(id: i32, partitions: i32, start_time: i64) -> String {
    format!("p{id}/{partitions}@{start_time}")
}

/// When the stream began whose partitions are in `resume`, if there are any.
fn resumed_start(options: &GeneratorOptions, resume: &Resume) -> Result<Option<i64>, SourceError> {
    let mut start_time = None;
    for (id, partition) in &resume.partitions {
        let other = |message| Err(SourceError::OtherSource { message });
        let parsed = partition
            .name
            .split_once('@')
            .and_then(|(_, at)| at.parse().ok());
        let Some(began) = parsed else {
            return other(format!(
                "`{}` is not a partition of the generator",
                partition.name
            ));
        };
        let expected = partition_name(*id, options.partitions, *start_time.get_or_insert(began));
        if partition.name != expected || !(0..options.partitions).contains(id) {
            return other(format!(
                "it has a generator's partition `{}`, and with `source.partitions = {}` there is \
                 none of this name",
                partition.name, options.partitions
            ));
        }
    }
    Ok(start_time)
}
