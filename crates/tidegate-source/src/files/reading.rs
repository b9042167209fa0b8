//! The file that is being read.

use std::io;
use std::path::PathBuf;

use tidegate_base::chunk::{Chunk, LineLimits};

use super::input::{Encoding, Input, is_cut_off};
use super::lines::{LineReader, Rest};
use super::state::{FileState, Volume};
use crate::SourceError;

/// The file that is being read.
pub(super) struct Reading {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) lines: LineReader<Input>,
    /// Bytes that [`Volume`] knows of.
    pub(super) accounted: u64,
}

/// Why reading of a file ends for now.
pub(super) enum Stop {
    /// The chunk is full.
    Full,
    /// There are no more whole lines.
    End,
    /// The file is cut off here, or is being written.
    CutOff,
    /// It cannot be read on.
    Fault(SourceError),
}

impl Reading {
    /// Why reading failed: whether more may come.
    pub(super) fn stopped(&self, state: &FileState, line: i64, error: io::Error) -> Stop {
        if state.encoding == Encoding::Plain || error.raw_os_error().is_some() {
            return Stop::Fault(SourceError::io("read", &self.path, error));
        }
        let changes = || {
            let now = self.lines.input().facts().ok();
            now.is_some() && now != state.facts
        };
        if is_cut_off(&error) || changes() {
            return Stop::CutOff;
        }
        Stop::Fault(SourceError::Damaged {
            path: self.path.clone(),
            line,
            source: error,
        })
    }

    /// Decides about what comes after the last newline. A compressed file that was decompressed to
    /// its end is whole. In a plain one a line without an end may be half written: a source that
    /// waits waits for the rest, and one that ends takes what cannot be the beginning of a longer
    /// object.
    pub(super) fn take_rest(
        &mut self,
        state: &FileState,
        chunk: &mut Chunk,
        limits: &LineLimits,
        follow: bool,
    ) {
        self.lines.pass_over_last();
        if self.lines.skips() {
            return;
        }
        let rest = self.lines.rest();
        let plain = state.encoding == Encoding::Plain;
        if !plain || (!follow && rest != Rest::Part) {
            self.lines.take_rest(chunk, limits);
        } else if !follow {
            tracing::warn!(
                path = %self.path.display(), line = chunk.to,
                "the last line of a file has no end and may be half written: it is left, and read by \
                 the next run if it has one then"
            );
        }
    }

    /// Whether the open file is the one that was read before, from its beginning to where it is
    /// now.
    pub(super) fn is_true_to(&self, state: &FileState) -> Result<bool, SourceError> {
        let (lines, trail) = (&self.lines, self.lines.trail());
        if lines.skips() {
            return Ok(true);
        }
        if state.encoding == Encoding::Plain {
            let still = lines.input().still_has(trail);
            return still.map_err(|e| SourceError::io("read", &self.path, e));
        }
        // A compressed one was passed over from its beginning.
        Ok(!lines.differs())
    }

    pub(super) fn account(&mut self, encoding: Encoding, chunk: &Chunk, volume: &mut Volume) {
        let bytes = match encoding {
            Encoding::Plain => self.lines.trail().at(),
            _ => self.lines.input().raw_bytes(),
        };
        volume.bytes += bytes.saturating_sub(self.accounted);
        volume.lines += u64::try_from(chunk.to - chunk.from).unwrap_or(0);
        self.accounted = bytes;
    }

    /// Notes in `state` how far the file was read. Nothing is noted if that fails.
    pub(super) fn update(
        &mut self,
        state: &mut FileState,
        stop: &Stop,
        line: i64,
    ) -> Result<(), SourceError> {
        let failed = |e| SourceError::io("read", &self.path, e);
        if state.encoding == Encoding::Plain {
            let facts = self.lines.input().facts().map_err(failed)?;
            state.whole = facts.bytes <= self.lines.trail().at();
        } else {
            let whole = match stop {
                Stop::Full => self.lines.is_spent(),
                Stop::End => true,
                _ => false,
            };
            let input = self.lines.input();
            let stored = input.stored().map_err(failed)?;
            // What was added after its end was read is still to be read.
            let is_all = whole && input.raw_bytes() == stored.bytes;
            (state.whole, state.raw) = (whole, is_all.then_some(stored));
        }
        state.line = line;
        state.mark = (line > 0).then(|| self.lines.trail().mark());
        state.open = self.lines.is_open();
        Ok(())
    }
}
