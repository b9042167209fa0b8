//! A snapshot: the fold up to a record, so that recovery does not begin at the first one.
//!
//! Snapshots are derived from the log and can be deleted at any time. One that cannot be read is
//! passed over, with a warning.

use std::borrow::Cow;

use bytes::Bytes;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::fold::JobState;
use crate::path;
use tidegate_base::failpoint;
use tidegate_storage::{Storage, StorageError};

/// Version of the snapshot's format that this program writes, and the newest that it reads.
pub const SNAPSHOT_VERSION: u32 = 2;

/// How many snapshots are kept.
const KEPT: usize = 2;

/// The fold up to a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot<'a> {
    /// Version of the format.
    pub version: u32,
    /// How far behind the slowest watermark files counted as recent, in microseconds.
    pub keep_micros: i64,
    /// The fold's result.
    pub state: Cow<'a, JobState>,
}

impl Snapshot<'_> {
    /// The bytes that are stored for it.
    pub fn encode(&self) -> Bytes {
        codec::encode(self).0
    }

    /// Reads what [`Snapshot::encode`] made.
    ///
    /// # Errors
    /// If the bytes were cut or changed, or are from a newer program.
    pub fn decode(bytes: &[u8]) -> Result<Snapshot<'static>, CodecError> {
        Ok(codec::decode(bytes, SNAPSHOT_VERSION)?.0)
    }
}

/// Puts the snapshot of `state` and deletes those that it makes needless.
pub(crate) async fn write(
    storage: &Storage,
    state: &JobState,
    keep_micros: i64,
) -> Result<(), StorageError> {
    let snapshot = Snapshot {
        version: SNAPSHOT_VERSION,
        keep_micros,
        state: Cow::Borrowed(state),
    };
    failpoint("snapshot.before");
    storage
        .replace(&path::snapshot(state.last_seq), snapshot.encode())
        .await?;
    failpoint("snapshot.after");
    let seqs = list(storage).await?;
    for seq in seqs
        .into_iter()
        .filter(|seq| *seq < state.last_seq)
        .skip(KEPT - 1)
    {
        storage.delete(&path::snapshot(seq)).await?;
    }
    Ok(())
}

/// The sequence numbers of the snapshots that are there, the newest first.
pub(crate) async fn list(storage: &Storage) -> Result<Vec<u64>, StorageError> {
    let objects: Vec<_> = storage.list(path::SNAPSHOT).try_collect().await?;
    let mut seqs: Vec<u64> = objects
        .iter()
        .filter_map(|object| path::seq_of_json(object.location.as_ref()))
        .collect();
    seqs.sort_unstable_by(|a, b| b.cmp(a));
    Ok(seqs)
}
