//! Record batches as a broker stores them. No IO.
//!
//! Source: <https://kafka.apache.org/documentation/#messageformat>, version 2, which all brokers
//! have written since Kafka 0.11.

use std::ops::Range;
use std::sync::Arc;

use super::decompress::{BatchCodec, Decompressor, NotHere};
use super::unpack::{Slice, Unpacking, ValueLimits, unpack};

/// Bytes up to and with the one that says the format: at the same place in all of them.
const FORMAT_END: usize = 17;
/// Bytes before a batch's records.
const HEAD: usize = 61;
/// Bytes up to and with the field that says how long the rest of the batch is.
const LENGTH_END: usize = 12;
/// Where what the checksum is of begins.
const CHECKED: usize = 21;

/// Why a batch cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum BadBatch {
    #[error("it is in a format from before Kafka 0.11 (version {0})")]
    Format(i8),
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it does not decompress: {0}")]
    Compressed(String),
    #[error("a record in it ends early or has an impossible length")]
    Record,
}

/// What a batch says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct KafkaBatch<'a> {
    bytes: &'a [u8],
    /// Offset of the first record that it was written with.
    pub(super) first: i64,
    /// Offset after the last one. Compaction leaves it as it was.
    pub(super) next: i64,
    /// Epoch of the leader that took it.
    pub(super) epoch: i32,
    pub(super) producer: i64,
    attributes: i16,
}

impl<'a> KafkaBatch<'a> {
    /// The batch at the beginning of `bytes`, and what comes after it; none if it is not whole.
    pub(super) fn split(bytes: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, BadBatch> {
        // A message of an old format may be shorter than the head of a batch.
        if let Some(start) = bytes.first_chunk::<FORMAT_END>()
            && start[FORMAT_END - 1] != 2
        {
            return Err(BadBatch::Format(start[FORMAT_END - 1] as i8));
        }
        let Some(head) = bytes.first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let length = usize::try_from(i32_at(head, 8)).map_err(|_| BadBatch::Record)? + LENGTH_END;
        if length < HEAD {
            return Err(BadBatch::Record);
        }
        let Some((bytes, rest)) = bytes.split_at_checked(length) else {
            return Ok(None);
        };
        let first = i64_at(head, 0);
        let next = first
            .checked_add(i64::from(i32_at(head, 23)))
            .and_then(|last| last.checked_add(1));
        let batch = KafkaBatch {
            bytes,
            first,
            next: next.filter(|next| *next > first).ok_or(BadBatch::Record)?,
            epoch: i32_at(head, 12),
            producer: i64_at(head, 43),
            attributes: i16::from_be_bytes([head[21], head[22]]),
        };
        Ok(Some((batch, rest)))
    }

    /// Checks that it is as its producer made it.
    pub(super) fn check(&self) -> Result<(), BadBatch> {
        if crc32c::crc32c(&self.bytes[CHECKED..]) == i32_at(self.bytes, 17) as u32 {
            Ok(())
        } else {
            Err(BadBatch::Checksum)
        }
    }

    /// Whether it belongs to a transaction.
    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    /// Whether it is no producer's, but the marker of a transaction's end.
    pub(super) fn is_marker(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// Whether it is the marker of an abort.
    pub(super) fn is_abort(&self) -> Result<bool, BadBatch> {
        let mut abort = false;
        // The key: a version, and what kind of marker it is.
        self.decode(&self.bytes[HEAD..], |record| {
            abort |= record.key.is_some_and(|key| key.get(2..4) == Some(&[0, 0]));
        })?;
        Ok(self.is_marker() && abort)
    }

    /// Hands over the records; false if they are too large for that, and [`KafkaBatch::unpack`] has
    /// to be used. Then it may have handed over none.
    pub(super) fn records(
        &self,
        decompressor: &mut Decompressor,
        each: impl FnMut(KafkaRecord<'_>),
    ) -> Result<bool, BadBatch> {
        match decompressor.decompress(self.compression()?, &self.bytes[HEAD..]) {
            Ok(bytes) => self.decode(bytes, each).map(|()| true),
            Err(NotHere::TooLarge) => Ok(false),
            Err(NotHere::Bad(reason)) => Err(BadBatch::Compressed(reason)),
        }
    }

    /// Begins to read the records as they decompress; the batch is at `at` in `response`.
    pub(super) fn unpack(&self, response: &Arc<Vec<u8>>, at: usize) -> Result<Large, BadBatch> {
        let records = Slice::new(response, at + HEAD, at + self.bytes.len());
        let bytes = unpack(self.compression()?, records).map_err(BadBatch::Compressed)?;
        Ok(Large {
            times: self.times(),
            offsets: self.first..self.next,
            left: i32_at(self.bytes, 57),
            from: Unpacking::new(bytes),
        })
    }

    fn compression(&self) -> Result<BatchCodec, BadBatch> {
        let unknown = || BadBatch::Compressed("the compression is unknown".to_owned());
        BatchCodec::new(self.attributes & 7).ok_or_else(unknown)
    }

    fn times(&self) -> Times {
        Times {
            first: i64_at(self.bytes, 27),
            appended: (self.attributes & 8 != 0).then(|| i64_at(self.bytes, 35)),
        }
    }

    fn decode(&self, bytes: &[u8], mut each: impl FnMut(KafkaRecord<'_>)) -> Result<(), BadBatch> {
        let count = i32_at(self.bytes, 57);
        let times = self.times();
        let mut from = RecordReader(bytes);
        for _ in 0..count {
            let length = from.length()?.ok_or(BadBatch::Record)?;
            let mut record = RecordReader(from.take(length)?);
            record.take(1)?;
            let (time, offset) = (record.varint()?, record.varint()?);
            let key = record.bytes()?;
            let value = record.bytes()?;
            let offset = self.first.wrapping_add(offset);
            if !(self.first..self.next).contains(&offset) {
                return Err(BadBatch::Record);
            }
            each(KafkaRecord {
                offset,
                timestamp: times.of(time),
                key,
                value,
                bytes: value.map_or(0, <[u8]>::len),
            });
        }
        Ok(())
    }
}

/// What the times of a batch's records are counted from.
#[derive(Debug, Clone, Copy)]
struct Times {
    first: i64,
    /// When the broker got it, where that is the time of all its records.
    appended: Option<i64>,
}

impl Times {
    /// The time of the record that has this one.
    fn of(self, time: i64) -> Option<i64> {
        let millis = self
            .appended
            .unwrap_or_else(|| self.first.wrapping_add(time));
        Some(millis).filter(|millis| *millis != -1)
    }
}

/// A batch that is read as it decompresses.
pub(super) struct Large {
    times: Times,
    offsets: Range<i64>,
    /// Records that are left.
    left: i32,
    from: Unpacking,
}

impl Large {
    /// Hands over records, of some `bytes` bytes; whether they were the last ones.
    pub(super) fn records(
        &mut self,
        limits: ValueLimits,
        bytes: usize,
        mut each: impl FnMut(KafkaRecord<'_>),
    ) -> Result<bool, BadBatch> {
        let mut done = 0;
        while self.left > 0 && done < bytes {
            let record = self.from.record(limits)?;
            let offset = self.offsets.start.wrapping_add(record.offset);
            if !self.offsets.contains(&offset) {
                return Err(BadBatch::Record);
            }
            done += record.value.map_or(0, <[u8]>::len) + RECORD_COST;
            each(KafkaRecord {
                offset,
                timestamp: self.times.of(record.time),
                key: None,
                value: record.value,
                bytes: record.bytes,
            });
            self.left -= 1;
        }
        Ok(self.left <= 0)
    }
}

/// Bytes that a record costs beyond its value, so that there are not too many of them at a time.
const RECORD_COST: usize = 64;

/// One record of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KafkaRecord<'a> {
    pub(super) offset: i64,
    /// Milliseconds since 1970.
    pub(super) timestamp: Option<i64>,
    key: Option<&'a [u8]>,
    /// None of a tombstone.
    pub(super) value: Option<&'a [u8]>,
    /// Bytes of the value, of which `value` may be only the beginning.
    pub(super) bytes: usize,
}

/// Reads what is in records.
struct RecordReader<'a>(&'a [u8]);

impl<'a> RecordReader<'a> {
    /// A signed number in groups of seven bits, the least first, the sign in the lowest bit.
    #[inline]
    fn varint(&mut self) -> Result<i64, BadBatch> {
        let sign = |bits: u64| (bits >> 1) as i64 ^ -((bits & 1) as i64);
        match *self.0 {
            [a, ref rest @ ..] if a < 0x80 => {
                self.0 = rest;
                Ok(sign(u64::from(a)))
            }
            [a, b, ref rest @ ..] if b < 0x80 => {
                self.0 = rest;
                Ok(sign(u64::from(a & 0x7f) | u64::from(b) << 7))
            }
            _ => self.long_varint().map(sign),
        }
    }

    fn long_varint(&mut self) -> Result<u64, BadBatch> {
        let mut bits = 0;
        for (i, byte) in self.0.iter().enumerate().take(10) {
            bits |= u64::from(byte & 0x7f) << (7 * i);
            if *byte < 0x80 {
                self.0 = &self.0[i + 1..];
                return Ok(bits);
            }
        }
        Err(BadBatch::Record)
    }

    /// A length; negative means that there is nothing.
    fn length(&mut self) -> Result<Option<usize>, BadBatch> {
        let length = self.varint()?;
        if length < 0 {
            return Ok(None);
        }
        usize::try_from(length)
            .map(Some)
            .map_err(|_| BadBatch::Record)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], BadBatch> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(BadBatch::Record)?;
        self.0 = rest;
        Ok(taken)
    }

    fn bytes(&mut self) -> Result<Option<&'a [u8]>, BadBatch> {
        match self.length()? {
            Some(length) => self.take(length).map(Some),
            None => Ok(None),
        }
    }
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    i32::from_be_bytes(number)
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    i64::from_be_bytes(number)
}
