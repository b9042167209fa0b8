//! Recovery: the newest good snapshot, then the records after it.

use std::time::Duration;

use futures::TryStreamExt;

use crate::fold::{FoldError, JobState, fold};
use crate::path;
use crate::probe::Careless;
use crate::read::{ReadError, get_record, read_records};
use crate::snapshot::{self, Snapshot};
use tidegate_storage::{Storage, StorageError};

/// Records that are held in memory at a time while recovering.
const BATCH: usize = 256;

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A record cannot be read.
    #[error(transparent)]
    Read(ReadError),
    /// A record breaks an invariant of the log.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// A record is missing between others.
    #[error(
        "record {missing} ({}) is missing, but record {present} is there: a record was lost. \
         Restore it from a copy; `tidegate log verify` lists what is wrong", path::record(*.missing)
    )]
    Hole {
        /// Sequence number of the missing record.
        missing: u64,
        /// A later one that is there.
        present: u64,
    },
    /// The job was founded, and its record is not there.
    #[error("record 1 was put and is not there: the storage loses what is put")]
    Vanished,
    /// A snapshot was made of a record that the log does not have.
    #[error(
        "{} was made after record {seq}, which is not in the log, or not as it was then: records were lost or \
         replaced. Restore the log from a copy; or, if it was cut on purpose, delete the folder `snapshot`",
        path::snapshot(*.seq)
    )]
    SnapshotAhead {
        /// Sequence number of the snapshot and the record.
        seq: u64,
    },
    /// The storage does not keep two processes from overwriting each other's records.
    #[error(
        "the S3 service at {service} cannot hold a commit log ({url}): {what}. A put with `If-None-Match: *` must be \
         refused where the object is there, or two processes overwrite each other's commits. Nothing was written. \
         Use a service that honours it (docs/configuration.md lists those that were tried), or `file:PATH`"
    )]
    Careless {
        /// The storage.
        url: String,
        /// Its endpoint.
        service: String,
        /// What it does.
        what: Careless,
    },
    /// The log belongs to a job of another name.
    #[error(
        "{url} belongs to the job `{found}`, and this is the job `{expected}`: give each job a \
         storage.url of its own, or keep the job's name"
    )]
    OtherJob {
        /// The storage.
        url: String,
        /// The name in the configuration.
        expected: String,
        /// The name in the log.
        found: String,
    },
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Storage(error) => OpenError::Storage(error),
            error => OpenError::Read(error),
        }
    }
}

/// Where the job stands; none if the log is empty. Writes nothing.
///
/// `keep` is how far behind the slowest watermark files of events count as recent.
///
/// # Errors
/// If the storage fails, or the log is not whole: a record is missing, was changed, or breaks an
/// invariant.
pub async fn recover(storage: &Storage, keep: Duration) -> Result<Option<JobState>, OpenError> {
    let keep_micros = micros(keep);
    let mut state = newest_snapshot(storage, keep_micros).await?;
    loop {
        let next = state
            .as_ref()
            .map_or(1, |state| state.last_seq.saturating_add(1));
        let records = read_records(storage, next, BATCH).await?;
        for record in &records {
            state = Some(fold(state, record, keep_micros)?);
        }
        if records.len() == BATCH {
            continue;
        }
        // No next record: the end, unless there is a later one.
        let missing = next.saturating_add(records.len() as u64);
        let Some(present) = first_from(storage, missing).await? else {
            return Ok(state);
        };
        if get_record(storage, missing).await?.is_none() {
            return Err(OpenError::Hole { missing, present });
        }
        // Another writer committed since we looked: go on.
    }
}

/// The least sequence number, from `seq` on, whose record is there.
async fn first_from(storage: &Storage, seq: u64) -> Result<Option<u64>, StorageError> {
    let after = path::record(seq.saturating_sub(1));
    let listing = storage.list_after(path::LOG, &after);
    listing
        .try_fold(None, async |least: Option<u64>, object| {
            let found = path::seq_of_json(object.location.as_ref()).filter(|found| *found >= seq);
            Ok([least, found].into_iter().flatten().min())
        })
        .await
}

/// The state of the newest snapshot that can be used; none if there is none.
async fn newest_snapshot(
    storage: &Storage,
    keep_micros: i64,
) -> Result<Option<JobState>, OpenError> {
    for seq in snapshot::list(storage).await? {
        let path = path::snapshot(seq);
        // It may have been deleted since it was listed.
        let Some(bytes) = storage.get_if_there(&path).await? else {
            continue;
        };
        let snapshot = match Snapshot::decode(&bytes) {
            Ok(snapshot) if snapshot.state.last_seq == seq => snapshot,
            Ok(_) => {
                tracing::warn!(
                    path,
                    "a snapshot is in another one's place; recovering without it"
                );
                continue;
            }
            Err(error) => {
                tracing::warn!(path, %error, "a snapshot cannot be used; recovering without it");
                continue;
            }
        };
        if snapshot.keep_micros < keep_micros {
            tracing::info!(
                path,
                "a snapshot keeps too few files for the new horizon; recovering without it"
            );
            continue;
        }
        let mut state = snapshot.state.into_owned();
        match get_record(storage, seq).await? {
            Some(record) if record.crc32c == state.last_crc32c => {}
            _ => return Err(OpenError::SnapshotAhead { seq }),
        }
        state.forget_files(keep_micros);
        return Ok(Some(state));
    }
    Ok(None)
}

/// A duration in microseconds; one that does not fit is as good as forever.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
