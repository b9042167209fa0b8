//! How far a file was read, and what can be said about the rest.

use std::path::PathBuf;

use tidegate_core::chunk::Chunk;

use super::discover::Facts;
use super::input::Encoding;
use crate::{ChunkLimits, SourceError};

/// One file as far as it was read.
pub(super) struct FileState {
    pub(super) id: i32,
    pub(super) encoding: Encoding,
    pub(super) facts: Facts,
    pub(super) announced: bool,
    /// Lines that were handed over, and so the number of the next one.
    pub(super) line: i64,
    /// Byte at which that line starts, once it is known (plain files only).
    pub(super) at: Option<u64>,
    /// Nothing more is to come.
    pub(super) done: bool,
}

/// How many lines were in how many bytes, for estimates.
#[derive(Default)]
pub(super) struct Volume {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

impl Volume {
    fn lines_in(&self, bytes: u64) -> u64 {
        let lines = u128::from(bytes) * u128::from(self.lines) / u128::from(self.bytes.max(1));
        u64::try_from(lines).unwrap_or(u64::MAX)
    }
}

impl FileState {
    pub(super) fn new(id: i32, name: &str, facts: Facts) -> Self {
        let encoding = Encoding::of(name.as_ref());
        FileState {
            id,
            encoding,
            facts,
            announced: false,
            line: 0,
            at: None,
            done: false,
        }
    }

    /// Whether all of it was handed over, as far as it was there.
    pub(super) fn is_read(&self) -> bool {
        self.done || self.at == Some(self.facts.bytes)
    }

    /// Lines that are left, about.
    pub(super) fn lines_left(&self, volume: &Volume) -> u64 {
        match self.at {
            _ if self.done => 0,
            Some(at) => volume.lines_in(self.facts.bytes.saturating_sub(at)),
            None => volume
                .lines_in(self.facts.bytes)
                .saturating_sub(u64::try_from(self.line).unwrap_or(0)),
        }
    }

    /// Whether what is under the name now can be the file that was read.
    pub(super) fn compare(&self, facts: &Facts, path: PathBuf) -> Result<(), SourceError> {
        let message = if facts.identity != self.facts.identity && self.line > 0 {
            "another file has taken its place. Give each file a name of its own"
        } else if self.at.is_some_and(|at| facts.bytes < at) {
            "it is shorter than what was read of it. Files may grow, but what is written stays"
        } else if self.done && facts.bytes != self.facts.bytes {
            "it is compressed and was read to its end, but has another size now. Write compressed \
             files under a name that starts with `.` and rename them when they are complete"
        } else {
            return Ok(());
        };
        Err(SourceError::FileChanged {
            path,
            message: message.to_owned(),
        })
    }

    /// Makes room for what the next chunk will probably hold.
    pub(super) fn reserve(&self, chunk: &mut Chunk, at: u64, limits: &ChunkLimits) {
        const LINE_BYTES: usize = 128;
        let bytes = match self.encoding {
            Encoding::Plain => {
                usize::try_from(self.facts.bytes.saturating_sub(at)).unwrap_or(usize::MAX)
            }
            _ => usize::try_from(self.facts.bytes)
                .unwrap_or(usize::MAX)
                .saturating_mul(8),
        };
        let bytes = bytes.min(limits.bytes);
        chunk.reserve(
            limits.records.min(bytes / LINE_BYTES + 1),
            bytes + LINE_BYTES,
        );
    }
}
