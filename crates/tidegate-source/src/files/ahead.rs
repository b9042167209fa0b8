//! A look into files that are read later, for the event time at which they begin.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;

use tidegate_base::chunk::{Chunk, LineLimits};

use super::lines::{Filled, LineReader, Skip};
use super::trail::Trail;
use crate::ChunkLimits;

/// Lines of the first look: more than one, because the first may not be valid.
const FIRST_LINES: usize = 16;

/// Looks into one file at most. After the first, each takes twice as much as the one before it, and
/// passes over what was looked at.
const LOOKS_MAX: u32 = 5;

/// The files that are to be looked into.
#[derive(Default)]
pub(super) struct Ahead {
    due: VecDeque<Look>,
    /// What the next look into a partition would be.
    next: BTreeMap<i32, Look>,
}

/// A look into a file.
pub(super) struct Look {
    pub(super) name: String,
    /// The line that it begins with.
    pub(super) line: i64,
    /// Looks before it.
    before: u32,
}

impl Ahead {
    /// Looks into these files.
    pub(super) fn over(names: impl Iterator<Item = String>) -> Self {
        let look = |name| Look {
            name,
            line: 0,
            before: 0,
        };
        Ahead {
            due: names.map(look).collect(),
            next: BTreeMap::new(),
        }
    }

    /// The next look.
    pub(super) fn next(&mut self) -> Option<Look> {
        self.due.pop_front()
    }

    /// `chunk` is what was seen.
    pub(super) fn has_looked(&mut self, look: &Look, chunk: &Chunk) {
        if look.before + 1 < LOOKS_MAX {
            let next = Look {
                name: look.name.clone(),
                line: chunk.to,
                before: look.before + 1,
            };
            self.next.insert(chunk.partition, next);
        }
    }

    /// What was seen of the partition was not enough.
    pub(super) fn look_further(&mut self, partition: i32) {
        self.due.extend(self.next.remove(&partition));
    }
}

impl Look {
    /// Reads lines into `chunk`. What is after a fault is not seen.
    pub(super) fn read(&self, input: impl Read, mut chunk: Chunk, limits: &ChunkLimits) -> Chunk {
        let lines = limits.lines();
        let limits = match self.before.checked_sub(1) {
            None => LineLimits {
                records: FIRST_LINES,
                ..lines
            },
            Some(doubled) => LineLimits {
                records: lines.records << doubled,
                bytes: lines.bytes << doubled,
                ..lines
            },
        };
        let skip = Skip::Lines(self.line.unsigned_abs());
        let mut reader = LineReader::new(input, Trail::default(), skip, false);
        loop {
            match reader.fill(&mut chunk, &limits) {
                Ok(Filled::More) => {}
                Ok(Filled::End) if !reader.skips() => {
                    reader.take_rest(&mut chunk, &limits);
                    return chunk;
                }
                Ok(_) | Err(_) => return chunk,
            }
        }
    }
}
