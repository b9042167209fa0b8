//! Raw records on their way from a source to decode.

use std::ops::Range;
use std::sync::Arc;

/// A few thousand records of one source partition, as one contiguous buffer.
///
/// A chunk covers the offsets `from..to` of its partition: every record that the source holds in
/// that range is in it. Offsets without a record (transaction markers, compacted records) are
/// covered all the same; offsets that the source lost before they were read are counted in
/// [`Chunk::gone`].
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    /// Partition of the source.
    pub partition: i32,
    /// The lane whose state (watermark, deduplication, windows) these records belong to. Kafka and
    /// the generator have a lane for each partition; files share lane 0.
    pub lane: i32,
    /// First offset that is covered: where the chunk before it ended.
    pub from: i64,
    /// Offset at which reading goes on after this chunk.
    pub to: i64,
    /// Offsets in `from..to` that expired at the source before they could be read.
    pub gone: u64,
    /// What the source recognises its partition by at [`Chunk::to`]; it comes back to the source
    /// when the job starts again. Only the source looks into it.
    pub identity: Option<Arc<str>>,
    data: Vec<u8>,
    spans: Vec<(u32, u32)>,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    kinds: Vec<Payload>,
}

/// What kind of payload a record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Bytes, possibly none.
    Bytes,
    /// A null payload: in Kafka a tombstone.
    Tombstone,
    /// The record was larger than the source accepts; what is kept is its beginning.
    Truncated,
}

/// How much [`Chunk::push_lines`] takes at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineLimits {
    /// Records that the chunk may hold in all.
    pub records: usize,
    /// Bytes that the chunk may hold in all; a single line may exceed it.
    pub bytes: usize,
    /// A line with more bytes than this becomes [`Payload::Truncated`].
    pub record_bytes: usize,
    /// Bytes that are kept of such a line.
    pub truncated_bytes: usize,
}

impl Chunk {
    /// An empty chunk that covers nothing yet.
    pub fn new(partition: i32, lane: i32, from: i64) -> Self {
        Chunk {
            partition,
            lane,
            from,
            to: from,
            ..Chunk::default()
        }
    }

    /// Appends a record. `timestamp` is the source's own, in microseconds since the Unix epoch, if
    /// it has one. Moves `to` past the record.
    ///
    /// # Panics
    /// If the chunk would exceed 4 GiB; sources close a chunk long before.
    #[inline]
    pub fn push(&mut self, offset: i64, timestamp: Option<i64>, kind: Payload, payload: &[u8]) {
        debug_assert!(offset >= self.to, "offsets ascend");
        let start = position(self.data.len());
        self.data.extend_from_slice(payload);
        self.spans.push((start, position(self.data.len())));
        self.offsets.push(offset);
        self.timestamps.push(timestamp.unwrap_or(i64::MIN));
        self.kinds.push(kind);
        self.to = offset + 1;
    }

    /// Makes room for `records` more records with `bytes` bytes in all.
    #[inline]
    pub fn reserve(&mut self, records: usize, bytes: usize) {
        self.data.reserve(bytes);
        self.spans.reserve(records);
        self.offsets.reserve(records);
        self.timestamps.reserve(records);
        self.kinds.reserve(records);
    }

    /// Appends the whole lines of `block` until the chunk is full, and returns how many bytes of
    /// `block` that took: what is after the last newline is left, always.
    ///
    /// A line's offset is the one at which the chunk ends so far. Its end, LF or CRLF, is not part
    /// of the payload. A line of nothing but white space is covered without being a record.
    ///
    /// # Panics
    /// If the chunk would exceed 4 GiB; sources close a chunk long before.
    pub fn push_lines(&mut self, block: &[u8], limits: &LineLimits) -> usize {
        let base = self.data.len();
        position(base + block.len());
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', block) {
            if self.spans.len() >= limits.records || base + start >= limits.bytes {
                break;
            }
            let mut line = &block[start..end];
            if let [head @ .., b'\r'] = line {
                line = head;
            }
            let blank = line.first().is_none_or(|b| *b <= b' ') && line.trim_ascii().is_empty();
            if !blank {
                let (kind, len) = if line.len() > limits.record_bytes {
                    (Payload::Truncated, limits.truncated_bytes.min(line.len()))
                } else {
                    (Payload::Bytes, line.len())
                };
                let from = (base + start) as u32;
                self.spans.push((from, from + len as u32));
                self.offsets.push(self.to);
                self.timestamps.push(i64::MIN);
                self.kinds.push(kind);
            }
            self.to += 1;
            start = end + 1;
        }
        self.data.extend_from_slice(&block[..start]);
        start
    }

    /// Number of records.
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no record. An empty chunk can still cover offsets.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Bytes that the chunk holds: the payloads, and what is between them.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// All payloads, one after the other, in order; between two of them there can be bytes that
    /// belong to neither (line ends). [`Chunk::span`] says where each is.
    #[inline]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Payload of record `i`.
    ///
    /// # Panics
    /// If `i` is not below [`Chunk::len`].
    #[inline]
    pub fn payload(&self, i: usize) -> &[u8] {
        &self.data[self.span(i)]
    }

    /// Where in [`Chunk::data`] the payload of record `i` is.
    ///
    /// # Panics
    /// If `i` is not below [`Chunk::len`].
    #[inline]
    pub fn span(&self, i: usize) -> Range<usize> {
        let (start, end) = self.spans[i];
        start as usize..end as usize
    }

    /// What kind of payload record `i` has.
    ///
    /// # Panics
    /// If `i` is not below [`Chunk::len`].
    #[inline]
    pub fn kind(&self, i: usize) -> Payload {
        self.kinds[i]
    }

    /// Offset of each record, ascending.
    #[inline]
    pub fn offsets(&self) -> &[i64] {
        &self.offsets
    }

    /// The source's timestamp of record `i`, in microseconds since the Unix epoch.
    ///
    /// # Panics
    /// If `i` is not below [`Chunk::len`].
    #[inline]
    pub fn timestamp(&self, i: usize) -> Option<i64> {
        Some(self.timestamps[i]).filter(|t| *t != i64::MIN)
    }
}

/// A position in a chunk's buffer.
#[inline]
fn position(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a chunk stays far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: LineLimits = LineLimits {
        records: 3,
        bytes: 1000,
        record_bytes: 8,
        truncated_bytes: 4,
    };

    fn payloads(chunk: &Chunk) -> Vec<(i64, &[u8])> {
        (0..chunk.len())
            .map(|i| (chunk.offsets()[i], chunk.payload(i)))
            .collect()
    }

    #[test]
    fn lines_lose_their_ends_and_blank_ones_are_only_covered() {
        let mut chunk = Chunk::new(0, 0, 10);
        let taken = chunk.push_lines(b"a\r\n\n \t\r\nbc\nrest", &LIMITS);
        assert_eq!(taken, 11);
        assert_eq!(chunk.to, 14);
        assert_eq!(payloads(&chunk), [(10, &b"a"[..]), (13, &b"bc"[..])]);
    }

    #[test]
    fn a_full_chunk_takes_no_more_lines() {
        let mut chunk = Chunk::new(0, 0, 0);
        assert_eq!(chunk.push_lines(b"1\n2\n3\n4\n", &LIMITS), 6);
        assert_eq!(chunk.push_lines(b"4\n", &LIMITS), 0);
        assert_eq!(chunk.to, 3);
    }

    #[test]
    fn a_long_line_keeps_its_beginning() {
        let mut chunk = Chunk::new(0, 0, 0);
        chunk.push_lines(b"12345678\n123456789\nx\n", &LIMITS);
        chunk.push(3, Some(7), Payload::Tombstone, b"");
        assert_eq!(
            payloads(&chunk),
            [
                (0, &b"12345678"[..]),
                (1, &b"1234"[..]),
                (2, &b"x"[..]),
                (3, &b""[..])
            ]
        );
        assert_eq!(chunk.kind(1), Payload::Truncated);
        assert_eq!(
            (chunk.kind(3), chunk.timestamp(3)),
            (Payload::Tombstone, Some(7))
        );
    }
}
