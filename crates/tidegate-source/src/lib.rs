//! What events come from: the trait of all sources, which are replayable from an offset, and files.
//!
//! A source has partitions, each an ordered list of records with ascending offsets, and hands over
//! [`Chunk`]s: consecutive records of one partition. It never looks at a payload, and it keeps no
//! position of its own: where to go on comes from the commit log as a [`Resume`].
//!
//! A source is driven by calling [`Source::poll`] from one thread. Not calling it is how the engine
//! holds a source back: nothing is read ahead without bound.

#![forbid(unsafe_code)]

mod error;
pub mod files;

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_base::chunk::{Chunk, LineLimits};

pub use error::SourceError;
pub use files::{ChangedFiles, FilesOptions, FilesSource, MissingFiles};

/// Something that events come from.
///
/// # Examples
///
/// The lines of a file, from the first to the last:
/// ```
/// use std::time::Duration;
///
/// use tidegate_source::{ChunkLimits, FilesOptions, FilesSource, Resume, Source, SourceEvent};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("events.ndjson");
/// std::fs::write(&path, "{\"amount\": 1}\n{\"amount\": 2}\n")?;
/// let options = FilesOptions {
///     path: path.display().to_string(),
///     ..FilesOptions::default()
/// };
/// // Nothing is known from an earlier run, so that it begins as it is configured.
/// let mut source = FilesSource::open(&options, &Resume::default(), ChunkLimits::default())?;
/// let mut offsets = Vec::new();
/// loop {
///     match source.poll(Duration::from_secs(1))? {
///         SourceEvent::Chunk(chunk) => offsets.extend_from_slice(chunk.offsets()),
///         SourceEvent::Ended => break,
///         _ => {}
///     }
/// }
/// assert_eq!(offsets.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Source: Send {
    /// The next thing, waiting for it up to `wait`. Blocks; called from one thread.
    ///
    /// # Errors
    /// Only when the source cannot go on. What passes by itself (a broker that is unreachable) is
    /// retried and logged, and is an error only where the configuration says so. Everything that
    /// was read before the fault has been handed over; calling again tries again.
    fn poll(&mut self, wait: Duration) -> Result<SourceEvent, SourceError>;

    /// Tells the source that everything below these offsets is committed. Only a courtesy to the
    /// source's own tools (the lag of a consumer group): failures are logged.
    fn committed(&mut self, positions: &BTreeMap<i32, i64>);

    /// Records that the source holds beyond what it has handed over, per partition, as far as it
    /// knows. Files give an estimate. Records that cannot be read yet count too: see
    /// [`Source::held`].
    fn lag(&self) -> BTreeMap<i32, u64>;

    /// Of the lag, the records that wait at the source for the end of a transaction.
    fn held(&self) -> u64 {
        0
    }

    /// None of the records of a partition that came as [`SourceEvent::Ahead`] was accepted, so that
    /// it is not known when it begins: those after them come in the same way, or a chunk without
    /// records if there are no more. Nothing comes once as much was looked at as the source can
    /// afford.
    fn look_further(&mut self, _partition: i32) {}

    /// How often, since it was opened, a partition turned out to have another history than the one
    /// that was read: a topic that was made anew, or a log that was cut off. Where that is to stop
    /// the job, it is an error of [`Source::poll`] instead.
    fn replaced(&self) -> u64 {
        0
    }

    /// Since when, and why, the source cannot be reached; none while it can, or before that is
    /// known. Cheap: it is asked after every poll.
    fn unreachable(&self) -> Option<Unreachable> {
        None
    }
}

/// A source that cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// Since when, in microseconds since the Unix epoch.
    pub since: i64,
    /// Why, and what to do about it.
    pub error: String,
}

/// What a source has to say.
#[derive(Debug)]
pub enum SourceEvent {
    /// Records. A chunk begins where the one before it of the same partition ended.
    Chunk(Chunk),
    /// A partition, announced once before its first chunk, whether it is new or resumed.
    ///
    /// A new one has an empty chunk at once, before the first records of any other: a partition
    /// that the commit log does not know after a restart is taken for one that was added, which
    /// begins at the watermark of the others.
    Partition {
        /// Number of the partition.
        id: i32,
        /// Lane that its records belong to.
        lane: i32,
        /// Name that comes back in [`Resume`].
        name: String,
    },
    /// The first records of a partition that shares its lane with others and is read after them.
    /// They come again when it is its turn: this is only for the lane's clock to know when it
    /// begins. More of them come after [`Source::look_further`].
    Ahead(Chunk),
    /// The lane has handed over all that its source holds now. Once for each time that it gets
    /// there, and then each time that the source was asked for more and had nothing.
    AtEnd {
        /// The lane.
        lane: i32,
    },
    /// Everything that was there when the source was opened has been handed over. Once.
    CaughtUp,
    /// A bounded source has ended. Once, after `CaughtUp`; then `Nothing` for ever.
    Ended,
    /// Nothing came within the time that the caller was ready to wait.
    Nothing,
}

/// Where to go on, from the commit log. Empty: start as configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resume {
    /// The partitions that the log knows.
    pub partitions: BTreeMap<i32, ResumePartition>,
}

/// Where to go on in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumePartition {
    /// Name under which it was announced.
    pub name: String,
    /// Lane under which it was announced.
    pub lane: i32,
    /// Offset of the first record that is wanted.
    pub offset: i64,
    /// What the source gave as [`Chunk::identity`] with the last chunk that was committed; none if
    /// it never did.
    pub identity: Option<String>,
}

/// How large a chunk becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Records in a chunk, at most.
    pub records: usize,
    /// Bytes in a chunk, at most; a single record may exceed it.
    pub bytes: usize,
    /// A partial chunk is handed over after this.
    pub linger: Duration,
    /// A record with more bytes than this is handed over truncated, as
    /// [`Payload::Truncated`](tidegate_base::chunk::Payload::Truncated).
    pub record_bytes_max: usize,
}

/// Bytes that are kept of a record that is too large.
pub const TRUNCATED_BYTES: usize = 64 << 10;

impl Default for ChunkLimits {
    fn default() -> Self {
        ChunkLimits {
            records: 4096,
            bytes: 1 << 20,
            linger: Duration::from_millis(50),
            record_bytes_max: 64 << 20,
        }
    }
}

impl ChunkLimits {
    /// Bytes that are kept of a record that is too large.
    pub fn truncated_bytes(&self) -> usize {
        TRUNCATED_BYTES.min(self.record_bytes_max)
    }

    /// What a chunk of lines takes.
    pub(crate) fn lines(&self) -> LineLimits {
        LineLimits {
            records: self.records,
            bytes: self.bytes,
            record_bytes: self.record_bytes_max,
            truncated_bytes: self.truncated_bytes(),
        }
    }

    /// Checks that a chunk within these limits can be.
    ///
    /// # Errors
    /// [`SourceError::Option`] if there is room for no record, or more than a chunk can address.
    pub fn check(&self) -> Result<(), SourceError> {
        if self.records == 0 || self.bytes == 0 || self.record_bytes_max == 0 {
            return Err(SourceError::option(
                "chunk limits",
                "a chunk needs room for at least one record and one byte",
            ));
        }
        // A chunk addresses its bytes with 32 bits, and one record may exceed `bytes`.
        if self.bytes > 1 << 30 || self.record_bytes_max > 1 << 30 {
            return Err(SourceError::option(
                "chunk limits",
                "a chunk or a record is at most 1 GiB",
            ));
        }
        Ok(())
    }
}
