//! A commit record: what one commit covers, adds and counts.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::codec::{self, CodecError, hex};

/// Version of the record's format that this program writes, and the newest that it reads.
///
/// The format is persisted. To change it, raise this, keep reading what the samples in
/// `tests/samples/` show, and add a sample of the new version. Version 2 has not been released yet:
/// until then it can grow.
pub const RECORD_VERSION: u32 = 2;

/// One commit. Its place in the log is `log/<seq>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of the format: [`RECORD_VERSION`] when it was written.
    pub version: u32,
    /// Sequence number, from 1 on without gaps.
    pub seq: u64,
    /// The job that this log belongs to.
    pub job: JobId,
    /// Who wrote it: see [`crate::WriterId`].
    pub writer: String,
    /// When it was written, in microseconds since the Unix epoch.
    pub written_at: i64,
    /// Checksum of the record before it; 0 in the first.
    #[serde(with = "hex")]
    pub prev_crc32c: u32,
    /// Version of the schema that the rows of its files have.
    pub schema_version: u32,
    /// What it covers of each partition that moved or is new.
    pub partitions: Vec<Span>,
    /// The watermark of each lane that moved: microseconds since the Unix epoch.
    pub watermarks: BTreeMap<i32, i64>,
    /// Lanes that have nothing to read from about this record on (true), or get something again
    /// (false). How long a lane has been idle is counted from here on. Since version 2.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub idle: BTreeMap<i32, bool>,
    /// The meaning of the rows from this record on, where it differs from the records before: keys,
    /// event time, windows. The log does not look into it. Since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<serde_json::Value>,
    /// What became of the source's records.
    pub counts: Counts,
    /// How often each reason for a reject occurred; a record can have several.
    pub rejected_by: BTreeMap<String, u64>,
    /// The files that it adds.
    pub files: Vec<FileEntry>,
    /// Whether the source is bounded and has ended with this record.
    pub complete: bool,
    /// What founds the job; in the first record, and only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub founding: Option<Founding>,
    /// Checksum of the record itself, as it is stored. Not part of the JSON: [`Record::seal`] and
    /// [`Record::decode`] set it.
    #[serde(skip)]
    pub crc32c: u32,
}

/// Names a job, whatever its prefix is called: a UUID.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub String);

/// What a record covers of one partition of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// Partition of the source.
    pub id: i32,
    /// The lane whose state the partition's records belong to.
    pub lane: i32,
    /// What the source calls the partition: `topic-3`, or a file's path.
    pub name: String,
    /// First offset that is covered.
    pub from: i64,
    /// The offset after the last one that is covered.
    pub to: i64,
    /// How many of these offsets the source had lost before they were read.
    pub gone: u64,
    /// What the source recognises the partition by when the job starts again, for example a topic's
    /// id. Only the source looks into it. Since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}

/// What became of the source's records: `read = events + late + rejected + duplicates`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Records that the source handed over.
    pub read: u64,
    /// Records that became rows of the dataset `events`.
    pub events: u64,
    /// Records behind the watermark: rows of the dataset `late`.
    pub late: u64,
    /// Records that did not decode or broke a rule: rows of the dataset `rejected`.
    pub rejected: u64,
    /// Exact repeats, which are dropped.
    pub duplicates: u64,
    /// Offsets that the source had lost before they were read; not in `read`.
    pub gone: u64,
}

/// A data file of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// What the rows are: `events`, `late`, `rejected` or `window:<name>`.
    pub dataset: String,
    /// Where it is, below the job's prefix.
    pub path: String,
    /// Number of rows.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// Checksum of the whole file.
    #[serde(with = "hex")]
    pub crc32c: u32,
    /// Least and greatest event time of its rows, inclusive, in microseconds since the Unix epoch;
    /// none where rows have no event time.
    pub event_time: Option<(i64, i64)>,
    /// The lanes whose rows are in it, ascending; empty where that is not known, as in files of
    /// version 1. Since version 2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<i32>,
}

/// What founds a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Founding {
    /// The job's name in its configuration.
    pub name: String,
    /// Seed of the fingerprints of deduplication keys, so that no one can prepare collisions.
    pub fingerprint_seed: u64,
    /// When the job was founded, in microseconds since the Unix epoch.
    pub created_at: i64,
}

impl Record {
    /// The record with its checksum set, and the bytes that are stored for it.
    pub fn seal(mut self) -> (Record, Bytes) {
        let (bytes, crc32c) = codec::encode(&self);
        self.crc32c = crc32c;
        (self, bytes)
    }

    /// Reads what [`Record::seal`] made.
    ///
    /// # Errors
    /// If the bytes were cut or changed, or are from a newer program. Whether the record makes
    /// sense is for [`crate::fold()`] to say.
    pub fn decode(bytes: &[u8]) -> Result<Record, CodecError> {
        let (mut record, crc32c): (Record, u32) = codec::decode(bytes, RECORD_VERSION)?;
        record.crc32c = crc32c;
        Ok(record)
    }

    /// Whether both say the same; when they were written, and so their checksum, may differ.
    pub(crate) fn same_content(&self, other: &Record) -> bool {
        let mut other = other.clone();
        other.written_at = self.written_at;
        other.crc32c = self.crc32c;
        *self == other
    }
}

impl JobId {
    /// A new random name.
    pub(crate) fn random() -> Self {
        JobId(Uuid::new_v4().to_string())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Counts {
    /// Whether every record that was read ended in exactly one place.
    pub fn is_balanced(&self) -> bool {
        let parts = [self.events, self.late, self.rejected, self.duplicates];
        u128::from(self.read) == parts.into_iter().map(u128::from).sum::<u128>()
    }

    /// The sum; none if a count does not fit.
    pub fn checked_add(&self, other: &Counts) -> Option<Counts> {
        Some(Counts {
            read: self.read.checked_add(other.read)?,
            events: self.events.checked_add(other.events)?,
            late: self.late.checked_add(other.late)?,
            rejected: self.rejected.checked_add(other.rejected)?,
            duplicates: self.duplicates.checked_add(other.duplicates)?,
            gone: self.gone.checked_add(other.gone)?,
        })
    }
}
