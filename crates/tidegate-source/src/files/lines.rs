//! Bytes in, chunks of lines out.

use std::io::{self, Read};

use tidegate_base::chunk::{Chunk, LineLimits, Payload};

use super::trail::{Mark, Trail};

/// Bytes that are read at once: large enough that system calls do not count, small enough to stay
/// in the processor's cache until its lines are copied into a chunk.
const BLOCK_BYTES: usize = 256 << 10;

/// A mark that some programs put before the first byte of a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Cuts a stream of bytes into lines. Holds no more than one block, or one line up to the limit
/// for a record: what is beyond the limit is thrown away as it comes.
pub(super) struct LineReader<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// What is to be passed over before the first line that is wanted.
    skip: Skip,
    /// Whether the beginning of a line that is not wanted was passed over.
    within_skipped: bool,
    /// Whether the line that was passed over or taken last had no end, which may come.
    open: bool,
    /// Whether what was passed over is not what was to be.
    differs: bool,
    /// A line that is too long, whose rest is being passed over.
    long: Option<Long>,
    /// What is finished with, from the file's first byte on.
    trail: Trail,
    ended: bool,
    /// A fault that came after bytes that are still to be used.
    fault: Option<io::Error>,
}

/// What is to be passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    /// So many lines more.
    Lines(u64),
    /// What this mark was taken of.
    Read(Mark),
}

/// A line that is too long.
struct Long {
    /// Its beginning.
    head: Vec<u8>,
    /// Whether there has been nothing but white space in it, so that it is no record.
    is_blank: bool,
    /// What was before it.
    before: Trail,
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

/// What comes after the last line that has an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing but white space, or what stays as it is whatever comes: a whole JSON object, or what
    /// is no beginning of one.
    Line,
    /// What may be the beginning of an object.
    Part,
}

impl<R: Read> LineReader<R> {
    /// Reads `input` from after `trail` on; `open` if the line before that had no end.
    pub(super) fn new(input: R, trail: Trail, skip: Skip, open: bool) -> Self {
        LineReader {
            input,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            skip,
            within_skipped: false,
            open,
            differs: false,
            long: None,
            trail,
            ended: false,
            fault: None,
        }
    }

    pub(super) fn input(&self) -> &R {
        &self.input
    }

    /// What is finished with: always ends at a line's end, or where one is open.
    pub(super) fn trail(&self) -> &Trail {
        self.long.as_ref().map_or(&self.trail, |long| &long.before)
    }

    /// Whether the last line that was finished with had no end so far.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether something is still to be passed over.
    pub(super) fn skips(&self) -> bool {
        match self.skip {
            Skip::Lines(lines) => lines > 0,
            Skip::Read(mark) => self.trail.at() < mark.at,
        }
    }

    /// Lines that are still to be passed over.
    pub(super) fn lines_to_skip(&self) -> u64 {
        match self.skip {
            Skip::Lines(lines) => lines,
            Skip::Read(_) => 0,
        }
    }

    /// Whether what was passed over is something else than what was read before.
    pub(super) fn differs(&self) -> bool {
        self.differs
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
        if !self.skips() && self.long.is_none() {
            self.finish_open();
            let taken = chunk.push_lines(&self.buffer[self.start..self.end], limits);
            self.pass(taken);
            if chunk.len() >= limits.records || chunk.bytes() >= limits.bytes {
                return Ok(Filled::Full);
            }
            // What is left has no newline. One byte more than the limit could be a CR.
            if self.end - self.start > limits.record_bytes + 1 {
                let line = &self.buffer[self.start..self.end];
                self.long = Some(Long {
                    head: line[..limits.truncated_bytes].to_vec(),
                    is_blank: line.trim_ascii().is_empty(),
                    before: self.trail.clone(),
                });
                self.pass(self.end - self.start);
            }
        }
        if self.ended {
            return Ok(Filled::End);
        }
        self.read_block()?;
        Ok(Filled::More)
    }

    /// Whether there is nothing after what was handed over. Reads a block more where that cannot be
    /// known without; a fault then comes with the next call of `fill`.
    pub(super) fn is_spent(&mut self) -> bool {
        if self.start == self.end && !self.ended && self.fault.is_none() {
            self.fault = self.read_block().err();
        }
        self.start == self.end && self.ended && self.fault.is_none() && self.long.is_none()
    }

    /// What is left when there are no more whole lines.
    pub(super) fn rest(&self) -> Rest {
        let line = match &self.long {
            Some(long) => &long.head[..],
            None => &self.buffer[self.start..self.end],
        };
        if self.long.is_none() && is_whole_object(line.trim_ascii()) {
            return Rest::Line;
        }
        match line.trim_ascii_start().first() {
            Some(b'{') => Rest::Part,
            _ => Rest::Line,
        }
    }

    /// Takes what is left when there are no more whole lines as the last line.
    pub(super) fn take_rest(&mut self, chunk: &mut Chunk, limits: &LineLimits) {
        let rest = self.end - self.start;
        if let Some(long) = self.long.take() {
            long.end(chunk);
            self.open = true;
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
            self.open = true;
        }
        self.pass(rest);
    }

    /// At the end of the input: a line without an end that was to be passed over is.
    pub(super) fn pass_over_last(&mut self) {
        if let Skip::Lines(lines @ 1..) = self.skip
            && self.within_skipped
        {
            self.skip = Skip::Lines(lines - 1);
            self.within_skipped = false;
            self.open = true;
        }
    }

    /// Is done with the next `n` bytes of the buffer.
    fn pass(&mut self, n: usize) {
        self.trail.pass(&self.buffer[self.start..self.start + n]);
        self.start += n;
    }

    /// Passes over what is not wanted, and over a byte order mark.
    fn pass_over(&mut self) {
        let block = &self.buffer[self.start..self.end];
        let passed = match self.skip {
            Skip::Lines(0) => 0,
            Skip::Read(mark) => {
                let left = mark.at.saturating_sub(self.trail.at());
                usize::try_from(left).map_or(block.len(), |left| left.min(block.len()))
            }
            Skip::Lines(wanted) => {
                let lines = memchr::memchr_iter(b'\n', block).count() as u64;
                if lines < wanted {
                    self.skip = Skip::Lines(wanted - lines);
                    self.within_skipped = block.last().map_or(self.within_skipped, |b| *b != b'\n');
                    block.len()
                } else {
                    let last = usize::try_from(wanted - 1).unwrap_or(usize::MAX);
                    self.skip = Skip::Lines(0);
                    self.within_skipped = false;
                    memchr::memchr_iter(b'\n', block)
                        .nth(last)
                        .map_or(block.len(), |i| i + 1)
                }
            }
        };
        self.pass(passed);
        if let Skip::Read(mark) = self.skip
            && mark.at == self.trail.at()
        {
            self.differs = self.trail.mark() != mark;
            self.skip = Skip::Lines(0);
        }
        if self.trail.at() == 0 && self.buffer[self.start..self.end].starts_with(BYTE_ORDER_MARK) {
            self.pass(BYTE_ORDER_MARK.len());
        }
    }

    /// Passes over the end of a line that was taken before its end came. What else is there is a
    /// record of its own.
    fn finish_open(&mut self) {
        if !self.open {
            return;
        }
        let block = &self.buffer[self.start..self.end];
        let other = |b: &u8| *b == b'\n' || !b.is_ascii_whitespace();
        let passed = match block.iter().position(other) {
            Some(i) => {
                self.open = false;
                i + usize::from(block[i] == b'\n')
            }
            None => block.len(),
        };
        self.pass(passed);
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
                self.pass(i + 1);
            }
            None => {
                long.is_blank &= block.trim_ascii().is_empty();
                self.long = Some(long);
                self.pass(self.end - self.start);
            }
        }
    }

    /// Reads more after what is left over.
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

/// Whether `line` opens a brace with its first byte and closes it with its last. No part of a JSON
/// object does that, from its beginning on, but the whole.
fn is_whole_object(line: &[u8]) -> bool {
    if line.first() != Some(&b'{') {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for (i, byte) in line.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => {
                depth -= 1;
                if depth == 0 {
                    return i + 1 == line.len();
                }
            }
            _ => {}
        }
    }
    false
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
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
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
        let start = Trail::default();
        let mut reader = LineReader::new(Drip(text, drip), start, Skip::Lines(skip), false);
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
                reader.pass_over_last();
                if !reader.is_open() {
                    reader.take_rest(&mut chunk, limits);
                }
            }
            for i in 0..chunk.len() {
                let long = chunk.kind(i) == Payload::Truncated;
                lines.push((chunk.offsets()[i], long, chunk.payload(i).to_vec()));
            }
            from = chunk.to;
            if filled == Filled::End {
                assert_eq!(reader.trail().at(), text.len() as u64);
                return lines;
            }
        }
    }

    proptest! {
        #[test]
        fn lines_are_those_of_a_simple_model(
            marked in any::<bool>(),
            text in proptest::collection::vec(prop_oneof![
                4 => Just(b'x'), 1 => Just(b'\n'), 1 => Just(b'\r'), 1 => Just(b' '),
            ], 0..200),
            drip in 1usize..50,
            records in 1usize..10,
            record_bytes in 1usize..20,
            skip in 0u64..30,
        ) {
            let text = [if marked { BYTE_ORDER_MARK } else { b"" }, &text].concat();
            let ended = text.last().is_none_or(|b| *b == b'\n');
            let lines = text.iter().filter(|b| **b == b'\n').count() + usize::from(!ended);
            let skip = skip.min(lines as u64);
            let limits = LineLimits { records, bytes: 64, record_bytes, truncated_bytes: record_bytes.min(3) };
            prop_assert_eq!(read(&text, drip, skip, &limits), model(&text, skip, &limits));
        }
    }

    #[test]
    fn the_beginning_of_an_object_is_told_from_a_whole_one() {
        let object = br#"{"a":"}{\"]","b":[{"c":{}}],"d":1}"#;
        assert!(is_whole_object(object));
        for cut in 0..object.len() {
            assert!(!is_whole_object(&object[..cut]), "{cut}");
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
        let mut reader = LineReader::new(&text[..], Trail::default(), Skip::Lines(0), false);
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
