//! The requests that fetching needs, and their responses, as bytes. No IO.
//!
//! Source: Kafka's protocol guide, <https://kafka.apache.org/protocol>. All versions used here have
//! been there since Kafka 2.3, are there in Kafka 4, and are from before compact encodings.

use std::ops::Range;

const FETCH: i16 = 1;
const FETCH_VERSION: i16 = 11;
const API_VERSIONS: i16 = 18;
const EPOCH_END: i16 = 23;
const EPOCH_END_VERSION: i16 = 3;

/// A response that cannot be what was asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the broker's answer ends early or has an impossible length")]
pub(super) struct Garbled;

/// Where to go on in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FetchPosition {
    pub(super) partition: i32,
    /// Offset of the next record that is wanted.
    pub(super) offset: i64,
    /// Leader epoch of the last batch that was fetched; -1 before the first.
    pub(super) epoch: i32,
    pub(super) trust: Trust,
}

/// Whether the leader has what was read of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// It has to be asked, before anything more is fetched.
    Unchecked,
    /// It was, and nothing has been fetched since.
    Fresh,
    /// It was, and is still the leader as far as its batches say.
    Settled,
}

/// Where a leader epoch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EpochEnd {
    pub(super) error: i16,
    pub(super) partition: i32,
    /// The greatest epoch up to the one that was asked for; -1 if there is none.
    pub(super) epoch: i32,
    /// Its end.
    pub(super) end: i64,
}

/// Bounds of one response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// How long the broker may wait for records, in milliseconds.
    pub(super) wait_ms: i32,
    /// Bytes in all, and of one partition. A first batch that is larger comes all the same.
    pub(super) bytes: i32,
    pub(super) partition_bytes: i32,
    pub(super) read_committed: bool,
}

/// What a broker has of one partition.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PartitionResponse {
    pub(super) partition: i32,
    pub(super) error: i16,
    /// Offset of the next record that is written.
    pub(super) high: i64,
    /// First offset of a transaction that is open; records from there on are not read with
    /// `read_committed`.
    pub(super) last_stable: i64,
    /// Producer and first offset of each aborted transaction that may be in the records.
    pub(super) aborted: Vec<(i64, i64)>,
    /// Where in the response the record batches are; the last one may be cut off.
    pub(super) records: Range<usize>,
}

/// Asks which requests the broker knows.
pub(super) fn request_versions(out: &mut Vec<u8>, client: &str) {
    begin(out, API_VERSIONS, 0, client);
    finish(out);
}

/// Whether a broker knows the versions that are used here.
pub(super) fn knows_versions(response: &[u8]) -> Result<bool, Garbled> {
    let mut from = ResponseReader::new(response)?;
    if from.i16()? != 0 {
        return Ok(false);
    }
    let mut known = 0;
    for _ in 0..from.count(6)? {
        let (key, min, max) = (from.i16()?, from.i16()?, from.i16()?);
        let wanted = match key {
            FETCH => FETCH_VERSION,
            EPOCH_END => EPOCH_END_VERSION,
            _ => continue,
        };
        known += u32::from((min..=max).contains(&wanted));
    }
    Ok(known == 2)
}

/// Asks for records. What comes first in `wanted` is served first.
pub(super) fn request_records<'a>(
    out: &mut Vec<u8>,
    client: &str,
    topic: &str,
    wanted: impl ExactSizeIterator<Item = &'a FetchPosition>,
    bounds: &Bounds,
) {
    begin(out, FETCH, FETCH_VERSION, client);
    put(out, (-1i32).to_be_bytes()); // this is no replica
    put(out, bounds.wait_ms.to_be_bytes());
    put(out, 1i32.to_be_bytes()); // bytes for which it is worth to answer
    put(out, bounds.bytes.to_be_bytes());
    out.push(u8::from(bounds.read_committed));
    put(out, 0i32.to_be_bytes()); // no session:
    put(out, (-1i32).to_be_bytes()); // every request names all partitions
    put(out, 1i32.to_be_bytes());
    put_text(out, topic);
    put(out, (wanted.len() as i32).to_be_bytes());
    for FetchPosition {
        partition, offset, ..
    } in wanted
    {
        put(out, partition.to_be_bytes());
        put(out, (-1i32).to_be_bytes()); // the leader's epoch is not known
        put(out, offset.to_be_bytes());
        put(out, (-1i64).to_be_bytes()); // only a replica has a log of its own
        put(out, bounds.partition_bytes.to_be_bytes());
    }
    put(out, 0i32.to_be_bytes()); // nothing to forget in a session
    put_text(out, ""); // no rack
    finish(out);
}

/// The error of the whole response, and what there is of each partition.
pub(super) fn records(response: &[u8]) -> Result<(i16, Vec<PartitionResponse>), Garbled> {
    let mut from = ResponseReader::new(response)?;
    let _throttled = from.i32()?;
    let error = from.i16()?;
    let _session = from.i32()?;
    let mut parts = Vec::new();
    for _ in 0..from.count(6)? {
        from.text()?;
        for _ in 0..from.count(42)? {
            let (partition, error) = (from.i32()?, from.i16()?);
            let (high, last_stable) = (from.i64()?, from.i64()?);
            let _start = from.i64()?;
            let mut aborted = Vec::new();
            for _ in 0..from.count(16)? {
                aborted.push((from.i64()?, from.i64()?));
            }
            let _preferred = from.i32()?;
            parts.push(PartitionResponse {
                partition,
                error,
                high,
                last_stable,
                aborted,
                records: from.bytes()?,
            });
        }
    }
    Ok((error, parts))
}

/// Asks where the leader epochs ended that were read last.
pub(super) fn request_epoch_ends(
    out: &mut Vec<u8>,
    client: &str,
    topic: &str,
    read: &[FetchPosition],
) {
    begin(out, EPOCH_END, EPOCH_END_VERSION, client);
    put(out, (-1i32).to_be_bytes());
    put(out, 1i32.to_be_bytes());
    put_text(out, topic);
    put(out, (read.len() as i32).to_be_bytes());
    for FetchPosition {
        partition, epoch, ..
    } in read
    {
        put(out, partition.to_be_bytes());
        put(out, (-1i32).to_be_bytes()); // the leader's epoch is not known
        put(out, epoch.to_be_bytes());
    }
    finish(out);
}

/// Where they ended.
pub(super) fn epoch_ends(response: &[u8]) -> Result<Vec<EpochEnd>, Garbled> {
    let mut from = ResponseReader::new(response)?;
    let _throttled = from.i32()?;
    let mut ends = Vec::new();
    for _ in 0..from.count(6)? {
        from.text()?;
        for _ in 0..from.count(18)? {
            ends.push(EpochEnd {
                error: from.i16()?,
                partition: from.i32()?,
                epoch: from.i32()?,
                end: from.i64()?,
            });
        }
    }
    Ok(ends)
}

/// A request's head; its length and number are filled in later.
fn begin(out: &mut Vec<u8>, key: i16, version: i16, client: &str) {
    out.clear();
    put(out, 0i32.to_be_bytes());
    put(out, key.to_be_bytes());
    put(out, version.to_be_bytes());
    put(out, 0i32.to_be_bytes());
    put_text(out, client);
}

fn finish(out: &mut [u8]) {
    let length = (out.len() - 4) as i32;
    out[..4].copy_from_slice(&length.to_be_bytes());
}

fn put<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N]) {
    out.extend_from_slice(&bytes);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, (text.len() as i16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Reads a response from its beginning.
struct ResponseReader<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> ResponseReader<'a> {
    /// Behind the number of the request.
    fn new(all: &'a [u8]) -> Result<Self, Garbled> {
        let mut reader = ResponseReader { all, at: 0 };
        reader.i32()?;
        Ok(reader)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Garbled> {
        let bytes = self.all[self.at..].first_chunk::<N>().ok_or(Garbled)?;
        self.at += N;
        Ok(*bytes)
    }

    fn i16(&mut self) -> Result<i16, Garbled> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, Garbled> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Garbled> {
        self.take().map(i64::from_be_bytes)
    }

    /// Length of an array whose elements have at least `least` bytes; none is empty.
    fn count(&mut self, least: usize) -> Result<usize, Garbled> {
        let count = usize::try_from(self.i32()?.max(0)).map_err(|_| Garbled)?;
        if count.saturating_mul(least) > self.all.len() - self.at {
            return Err(Garbled);
        }
        Ok(count)
    }

    fn skip(&mut self, bytes: usize) -> Result<Range<usize>, Garbled> {
        let from = self.at;
        if bytes > self.all.len() - from {
            return Err(Garbled);
        }
        self.at += bytes;
        Ok(from..self.at)
    }

    fn text(&mut self) -> Result<(), Garbled> {
        let length = usize::try_from(self.i16()?).map_err(|_| Garbled)?;
        self.skip(length).map(drop)
    }

    /// Bytes with their length before them; none is empty.
    fn bytes(&mut self) -> Result<Range<usize>, Garbled> {
        let length = usize::try_from(self.i32()?.max(0)).map_err(|_| Garbled)?;
        self.skip(length)
    }
}
