//! Bytes in, chunks of lines out.

use std::io::{self, Read};

use tidegate_core::chunk::{Chunk, LineLimits, Payload};

/// Bytes that are read at once: large enough that system calls do not count, small enough to stay
/// in the processor's cache until its lines are copied into a chunk.
const BLOCK_BYTES: usize = 256 << 10;

/// Cuts a stream of bytes into lines. Holds no more than one block, or one line up to the limit
/// for a record: what is beyond the limit is thrown away as it comes.
pub(super) struct LineReader<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Lines that are still to be passed over before the first one that is wanted.
    skip: u64,
    /// Whether the beginning of a line that is not wanted was passed over.
    within_skipped: bool,
    /// A line that is too long, whose rest is being passed over.
    long: Option<Long>,
    /// Bytes of whole lines, and of what counted as one, that were consumed.
    consumed: u64,
    ended: bool,
    /// A fault that came after bytes that are still to be used.
    fault: Option<io::Error>,
}

/// A line that is too long.
struct Long {
    /// Its beginning.
    head: Vec<u8>,
    /// Whether there has been nothing but white space in it, so that it is no record.
    is_blank: bool,
}

impl Long {
    fn end(self, chunk: &mut Chunk) {
        if self.is_blank {
            chunk.to += 1;
        } else {
            chunk.push(chunk.to, None, Payload::Truncated, &self.head);
        }
    }
}

/// Why [`LineReader::fill`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    /// The chunk is full.
    Full,
    /// One block was read; there may be more.
    More,
    /// There are no more whole lines.
    End,
}

impl<R: Read> LineReader<R> {
    /// Reads `input`, whose first `skip` lines are not wanted.
    pub(super) fn new(input: R, skip: u64) -> Self {
        LineReader {
            input,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            skip,
            within_skipped: false,
            long: None,
            consumed: 0,
            ended: false,
            fault: None,
        }
    }

    pub(super) fn input(&self) -> &R {
        &self.input
    }

    /// Bytes of input, decompressed, that are finished with: always ends at a line's end.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Lines that are still to be passed over.
    pub(super) fn to_skip(&self) -> u64 {
        self.skip
    }

    /// Whether the last byte that was passed over is within a line.
    pub(super) fn within_skipped(&self) -> bool {
        self.within_skipped
    }

    /// Appends whole lines to `chunk` from what is there, or reads one block more. The caller
    /// repeats it as long as it returns [`Filled::More`].
    ///
    /// # Errors
    /// If reading or decompressing fails; the whole lines before the fault are in the chunk.
    pub(super) fn fill(&mut self, chunk: &mut Chunk, limits: &LineLimits) -> io::Result<Filled> {
        if chunk.len() >= limits.records || chunk.bytes() >= limits.bytes {
            return Ok(Filled::Full);
        }
        self.pass_over();
        self.finish_long(chunk);
        if self.skip == 0 && self.long.is_none() {
            let taken = chunk.push_lines(&self.buffer[self.start..self.end], limits);
            self.start += taken;
            self.consumed += taken as u64;
            if chunk.len() >= limits.records || chunk.bytes() >= limits.bytes {
                return Ok(Filled::Full);
            }
            // What is left has no newline. One byte more than the limit could be a CR.
            if self.end - self.start > limits.record_bytes + 1 {
                let line = &self.buffer[self.start..self.end];
                self.long = Some(Long {
                    head: line[..limits.truncated_bytes].to_vec(),
                    is_blank: line.trim_ascii().is_empty(),
                });
                self.consumed += (self.end - self.start) as u64;
                self.start = self.end;
            }
        }
        if self.ended {
            return Ok(Filled::End);
        }
        self.read_block()?;
        Ok(Filled::More)
    }

    /// Takes what is left when the input has ended without a newline as the last line. If that
    /// line was to be passed over, it is.
    pub(super) fn take_last(&mut self, chunk: &mut Chunk, limits: &LineLimits) {
        let rest = self.end - self.start;
        if self.skip > 0 {
            self.skip -= u64::from(self.within_skipped);
            self.within_skipped = false;
        } else if let Some(long) = self.long.take() {
            long.end(chunk);
        } else if rest > 0 {
            let mut line = &self.buffer[self.start..self.end];
            if let [head @ .., b'\r'] = line {
                line = head;
            }
            if line.trim_ascii().is_empty() {
                chunk.to += 1;
            } else if line.len() > limits.record_bytes {
                chunk.push(
                    chunk.to,
                    None,
                    Payload::Truncated,
                    &line[..limits.truncated_bytes],
                );
            } else {
                chunk.push(chunk.to, None, Payload::Bytes, line);
            }
        }
        self.long = None;
        self.consumed += rest as u64;
        self.start = self.end;
    }

    /// Passes over the lines that are not wanted.
    fn pass_over(&mut self) {
        if self.skip == 0 {
            return;
        }
        let block = &self.buffer[self.start..self.end];
        let lines = memchr::memchr_iter(b'\n', block).count() as u64;
        let passed = if lines <= self.skip {
            self.skip -= lines;
            if self.skip == 0 {
                self.within_skipped = false;
                memchr::memrchr(b'\n', block).map_or(0, |i| i + 1)
            } else {
                self.within_skipped = block.last().map_or(self.within_skipped, |b| *b != b'\n');
                block.len()
            }
        } else {
            let last = usize::try_from(self.skip - 1).unwrap_or(usize::MAX);
            self.skip = 0;
            memchr::memchr_iter(b'\n', block)
                .nth(last)
                .map_or(block.len(), |i| i + 1)
        };
        self.start += passed;
        self.consumed += passed as u64;
    }

    /// Ends a line that is too long, if its newline has come.
    fn finish_long(&mut self, chunk: &mut Chunk) {
        let Some(mut long) = self.long.take() else {
            return;
        };
        let block = &self.buffer[self.start..self.end];
        match memchr::memchr(b'\n', block) {
            Some(i) => {
                long.is_blank &= block[..i].trim_ascii().is_empty();
                long.end(chunk);
                self.start += i + 1;
                self.consumed += i as u64 + 1;
            }
            None => {
                long.is_blank &= block.trim_ascii().is_empty();
                self.long = Some(long);
                self.consumed += block.len() as u64;
                self.start = self.end;
            }
        }
    }

    /// Reads more behind what is left over.
    fn read_block(&mut self) -> io::Result<()> {
        let rest = self.end - self.start;
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, rest);
        let size = if rest < BLOCK_BYTES / 2 {
            BLOCK_BYTES
        } else {
            2 * rest
        };
        if self.buffer.len() != size {
            self.buffer.resize(size, 0);
            self.buffer.shrink_to(2 * size);
        }
        // All of the room, however little the input gives at once, because a line that does not
        // end is searched from its start after each block.
        while self.end < size && !self.ended {
            if let Some(fault) = self.fault.take() {
                return Err(fault);
            }
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(n) => {
                    self.end += n;
                    self.ended = n == 0;
                }
                Err(e) if self.end == rest => return Err(e),
                Err(e) => {
                    self.fault = Some(e);
                    break;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Hands out a few bytes at a time.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    type Line = (i64, bool, Vec<u8>);

    fn model(text: &[u8], skip: u64, limits: &LineLimits) -> Vec<Line> {
        let mut lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
        if lines.last().is_some_and(|l| l.is_empty()) {
            lines.pop();
        }
        let numbered = (0..).zip(lines).skip(skip as usize);
        let records = numbered.map(|(n, l)| (n, l.strip_suffix(b"\r").unwrap_or(l)));
        records
            .filter(|(_, l)| !l.trim_ascii().is_empty())
            .map(|(n, l)| match l.len() > limits.record_bytes {
                true => (n, true, l[..limits.truncated_bytes].to_vec()),
                false => (n, false, l.to_vec()),
            })
            .collect()
    }

    fn read(text: &[u8], drip: usize, skip: u64, limits: &LineLimits) -> Vec<Line> {
        let mut reader = LineReader::new(Drip(text, drip), skip);
        let mut lines = Vec::new();
        let mut from = skip as i64;
        loop {
            let mut chunk = Chunk::new(0, 0, from);
            let filled = loop {
                match reader.fill(&mut chunk, limits).unwrap() {
                    Filled::More => {}
                    filled => break filled,
                }
            };
            if filled == Filled::End {
                reader.take_last(&mut chunk, limits);
            }
            for i in 0..chunk.len() {
                let long = chunk.kind(i) == Payload::Truncated;
                lines.push((chunk.offsets()[i], long, chunk.payload(i).to_vec()));
            }
            from = chunk.to;
            if filled == Filled::End {
                assert_eq!(reader.consumed(), text.len() as u64);
                return lines;
            }
        }
    }

    proptest! {
        #[test]
        fn lines_are_those_of_a_simple_model(
            text in proptest::collection::vec(prop_oneof![
                4 => Just(b'x'), 1 => Just(b'\n'), 1 => Just(b'\r'), 1 => Just(b' '),
            ], 0..200),
            drip in 1usize..50,
            records in 1usize..10,
            record_bytes in 1usize..20,
            skip in 0u64..30,
        ) {
            let ended = text.last().is_none_or(|b| *b == b'\n');
            let lines = text.iter().filter(|b| **b == b'\n').count() + usize::from(!ended);
            let skip = skip.min(lines as u64);
            let limits = LineLimits { records, bytes: 64, record_bytes, truncated_bytes: record_bytes.min(3) };
            prop_assert_eq!(read(&text, drip, skip, &limits), model(&text, skip, &limits));
        }
    }

    #[test]
    fn a_long_line_of_white_space_is_no_record_wherever_it_ends() {
        let limits = LineLimits {
            records: 10,
            bytes: 100,
            record_bytes: 4,
            truncated_bytes: 2,
        };
        let blank = [b' '; BLOCK_BYTES + 10];
        let text = [&blank[..], b"\n", &blank, b"x\n", &blank, b"\r"].concat();
        assert_eq!(read(&text, 1000, 0, &limits), [(1, true, b"  ".to_vec())]);
    }

    #[test]
    fn a_long_line_is_not_held_in_memory() {
        let mut text = vec![b'x'; 10 << 20];
        text.extend_from_slice(b"\ny\n");
        let limits = LineLimits {
            records: 10,
            bytes: 100,
            record_bytes: 1000,
            truncated_bytes: 10,
        };
        let mut reader = LineReader::new(&text[..], 0);
        let mut chunk = Chunk::new(0, 0, 0);
        while reader.fill(&mut chunk, &limits).unwrap() == Filled::More {
            assert!(reader.buffer.capacity() <= 2 * BLOCK_BYTES);
        }
        assert_eq!(chunk.len(), 2);
        assert_eq!(
            (chunk.payload(0), chunk.payload(1)),
            (&[b'x'; 10][..], &b"y"[..])
        );
    }
}
