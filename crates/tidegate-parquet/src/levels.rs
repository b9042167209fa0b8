//! Repetition or definition levels of a page.

use crate::pack::{hybrid, repeats, width_of};

/// Levels of the page at hand.
#[derive(Debug)]
pub(crate) struct Levels {
    max: u8,
    count: usize,
    /// The level of all, while `levels` is empty.
    same: u8,
    levels: Vec<u8>,
}

impl Levels {
    /// None yet. Where `max` is zero nothing is stored of them.
    pub(crate) fn new(max: u8) -> Self {
        Levels {
            max,
            count: 0,
            same: 0,
            levels: Vec::new(),
        }
    }

    pub(crate) fn max(&self) -> u8 {
        self.max
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Adds a level a number of times.
    pub(crate) fn push(&mut self, level: u8, count: usize) {
        debug_assert!(level <= self.max);
        if self.count == 0 {
            self.same = level;
        }
        self.count += count;
        if !self.levels.is_empty() || level != self.same {
            self.spell_out(self.count - count);
            self.levels.resize(self.count, level);
        }
    }

    /// Adds levels one by one.
    pub(crate) fn extend(&mut self, levels: &[u8]) {
        self.spell_out(self.count);
        self.levels.extend_from_slice(levels);
        self.count += levels.len();
    }

    fn spell_out(&mut self, count: usize) {
        if self.levels.is_empty() {
            self.levels.resize(count, self.same);
        }
    }

    /// Appends them as a page of version 1 has them, their length in four bytes before them, and
    /// begins anew.
    pub(crate) fn take(&mut self, out: &mut Vec<u8>) {
        if self.max > 0 {
            let begin = out.len();
            out.extend_from_slice(&[0; 4]);
            let width = width_of(self.max.into());
            if self.levels.is_empty() {
                repeats(self.same, self.count, width, out);
            } else {
                hybrid(&self.levels, width, out);
            }
            let length = (out.len() - begin - 4) as u32;
            out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
        }
        self.count = 0;
        self.levels.clear();
    }
}
