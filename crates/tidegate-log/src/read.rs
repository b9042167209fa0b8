//! Reading records by their numbers, without listing.

use futures::{StreamExt, TryStreamExt, stream};

use crate::codec::CodecError;
use crate::path;
use crate::record::Record;
use tidegate_storage::{Storage, StorageError};

/// Records that are requested at the same time, at most.
const CONCURRENT_MAX: u64 = 16;

/// Why records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A record was cut or changed, or is from a newer program.
    #[error(
        "record {seq} ({path}) cannot be used: {source}. `tidegate log verify` checks the whole log"
    )]
    Broken {
        /// Its sequence number.
        seq: u64,
        /// Where it is.
        path: String,
        /// What is wrong with it.
        source: CodecError,
    },
    /// A record is in another one's place.
    #[error(
        "{path} holds record {found}: records were exchanged. `tidegate log verify` checks the whole log"
    )]
    Misplaced {
        /// Where it is.
        path: String,
        /// The number that it says it has.
        found: u64,
    },
    /// A record does not follow the one before it.
    #[error(
        "record {seq} was not written after record {} as it is now: one of them was replaced. \
         `tidegate log verify` checks the whole log",
        .seq - 1
    )]
    Chain {
        /// Sequence number of the later one.
        seq: u64,
    },
}

/// Up to `max` records from number `from_seq` on, in order; fewer if the log ends before.
///
/// Gets them by their numbers and stops at the first that is not there; nothing is listed. A caller
/// that follows the log calls this again with the number after the last one.
///
/// # Errors
/// If the storage fails, or a record is broken or does not follow the one before it.
pub async fn read_records(
    storage: &Storage,
    from_seq: u64,
    max: usize,
) -> Result<Vec<Record>, ReadError> {
    let mut records: Vec<Record> = Vec::new();
    // The first alone: whoever follows a log finds nothing new most of the time.
    let mut width = 1;
    while records.len() < max {
        let left = max - records.len();
        let count = width.min(u64::try_from(left).unwrap_or(u64::MAX));
        let Some(next) = from_seq.checked_add(records.len() as u64) else {
            break;
        };
        let run: Vec<Option<Record>> = stream::iter(next..next.saturating_add(count))
            .map(|seq| get_record(storage, seq))
            .buffered(CONCURRENT_MAX as usize)
            .try_collect()
            .await?;
        let ended = run.iter().any(Option::is_none);
        for record in run.into_iter().map_while(|record| record) {
            if let Some(before) = records.last()
                && before.crc32c != record.prev_crc32c
            {
                return Err(ReadError::Chain { seq: record.seq });
            }
            records.push(record);
        }
        if ended {
            break;
        }
        width = (width * 2).min(CONCURRENT_MAX);
    }
    Ok(records)
}

/// Record `seq`, or none if it is not there.
pub(crate) async fn get_record(storage: &Storage, seq: u64) -> Result<Option<Record>, ReadError> {
    let path = path::record(seq);
    let Some(bytes) = storage.get_if_there(&path).await? else {
        return Ok(None);
    };
    match Record::decode(&bytes) {
        Ok(record) if record.seq == seq => Ok(Some(record)),
        Ok(record) => Err(ReadError::Misplaced {
            path,
            found: record.seq,
        }),
        Err(source) => Err(ReadError::Broken { seq, path, source }),
    }
}
