//! The two ends of what was read of a file: by them it is recognised, whatever its name is.

use xxhash_rust::xxh3::xxh3_64;

/// Bytes at either end that count.
pub(super) const END_BYTES: usize = 1024;

/// What was read of a file, decompressed: how much, its beginning, and the end of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Trail {
    at: u64,
    /// The first bytes, [`END_BYTES`] at most.
    head: Vec<u8>,
    /// The last bytes before `at`, [`END_BYTES`] at most.
    tail: Vec<u8>,
}

/// A [`Trail`] as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Bytes that were read.
    pub(super) at: u64,
    /// Checksum of the first of them.
    pub(super) head: u64,
    /// Checksum of the last of them.
    pub(super) tail: u64,
}

impl Trail {
    /// What was read, from its ends. Each is as long as [`Mark::end_bytes`] says.
    pub(super) fn of(at: u64, head: Vec<u8>, tail: Vec<u8>) -> Self {
        Trail { at, head, tail }
    }

    /// Bytes that were read.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    pub(super) fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Goes on after `bytes`.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        self.at += bytes.len() as u64;
        let room = END_BYTES - self.head.len();
        self.head.extend_from_slice(&bytes[..room.min(bytes.len())]);
        let kept = END_BYTES.saturating_sub(bytes.len());
        self.tail.drain(..self.tail.len().saturating_sub(kept));
        let last = bytes.len().saturating_sub(END_BYTES);
        self.tail.extend_from_slice(&bytes[last..]);
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            at: self.at,
            head: xxh3_64(&self.head),
            tail: xxh3_64(&self.tail),
        }
    }
}

impl Mark {
    /// Bytes that each of the two checksums is over.
    pub(super) fn end_bytes(&self) -> usize {
        usize::try_from(self.at).map_or(END_BYTES, |at| at.min(END_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_ends_are_the_same_however_the_bytes_come(
            text in proptest::collection::vec(any::<u8>(), 0..5000),
            cuts in proptest::collection::vec(0usize..5000, 0..6),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut trail = Trail::default();
            for pair in cuts.windows(2) {
                trail.pass(&text[pair[0]..pair[1]]);
            }
            let end = text.len().min(END_BYTES);
            prop_assert_eq!(trail.at(), text.len() as u64);
            prop_assert_eq!(trail.head(), &text[..end]);
            prop_assert_eq!(trail.tail(), &text[text.len() - end..]);
            prop_assert_eq!(trail.mark().end_bytes(), end);
        }
    }
}
