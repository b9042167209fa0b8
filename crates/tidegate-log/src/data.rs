//! Data files, put before the record that names them.

use bytes::Bytes;
use tidegate_base::failpoint;
use tidegate_storage::{Storage, StorageError};

use crate::record::FileEntry;

/// Puts a data file and returns the entry that names it in a commit record.
///
/// `path` is from [`crate::path::data`]. `rows` is how many rows the file has, `event_time`
/// their least and greatest event time (inclusive, microseconds since the Unix epoch).
///
/// # Errors
/// If the store fails. Trying again is safe: a file that is there with the same content counts
/// as put.
pub async fn put_data(
    storage: &Storage,
    dataset: &str,
    path: &str,
    rows: u64,
    event_time: Option<(i64, i64)>,
    bytes: Bytes,
) -> Result<FileEntry, StorageError> {
    let entry = FileEntry {
        dataset: dataset.to_owned(),
        path: path.to_owned(),
        rows,
        bytes: bytes.len() as u64,
        crc32c: crc32c::crc32c(&bytes),
        event_time,
        lanes: Vec::new(),
    };
    failpoint("data.put.before");
    if let Err(error) = storage.put(path, bytes.clone()).await {
        if !error.is_already_exists() || storage.get(path).await? != bytes {
            return Err(error);
        }
        storage.settle(path).await?;
    }
    failpoint("data.put.after");
    Ok(entry)
}
