//! Raw records on their way from a source to decode.

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
    data: Vec<u8>,
    ends: Vec<u32>,
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

impl Chunk {
    /// An empty chunk that covers nothing yet.
    pub fn new(partition: i32, lane: i32, from: i64) -> Self {
        Chunk { partition, lane, from, to: from, ..Chunk::default() }
    }

    /// Appends a record. `timestamp` is the source's own, in microseconds since the Unix epoch, if
    /// it has one. Moves `to` behind the record.
    ///
    /// # Panics
    /// If the chunk would exceed 4 GiB; sources close a chunk long before.
    pub fn push(&mut self, offset: i64, timestamp: Option<i64>, kind: Payload, payload: &[u8]) {
        debug_assert!(offset >= self.to, "offsets ascend");
        self.data.extend_from_slice(payload);
        let end = u32::try_from(self.data.len()).expect("a chunk stays far below 4 GiB");
        self.ends.push(end);
        self.offsets.push(offset);
        self.timestamps.push(timestamp.unwrap_or(i64::MIN));
        self.kinds.push(kind);
        self.to = offset + 1;
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no record. An empty chunk can still cover offsets.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of payload.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// All payloads, one after the other.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Payload of record `i`.
    ///
    /// # Panics
    /// If `i` is not below [`Chunk::len`].
    pub fn payload(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.data[start..self.ends[i] as usize]
    }

    /// What kind of payload record `i` has.
    ///
    /// # Panics
    /// If `i` is not below [`Chunk::len`].
    pub fn kind(&self, i: usize) -> Payload {
        self.kinds[i]
    }

    /// Offset of each record, ascending.
    pub fn offsets(&self) -> &[i64] {
        &self.offsets
    }

    /// The source's timestamp of record `i`, in microseconds since the Unix epoch.
    ///
    /// # Panics
    /// If `i` is not below [`Chunk::len`].
    pub fn timestamp(&self, i: usize) -> Option<i64> {
        Some(self.timestamps[i]).filter(|t| *t != i64::MIN)
    }
}
