//! Looks whether storage is there, where nothing is written or read that would show it.

use std::time::Duration;

use tidegate_log::{ReadError, path, read_records};
use tidegate_storage::{Storage, StorageError};

use crate::shared::Shared;

/// Time between two looks.
pub(crate) const LOOK: Duration = Duration::from_secs(10);
/// Longest wait for the answer to one.
const LOOK_WAIT: Duration = Duration::from_secs(10);

/// Looks whether storage answers, and shows it. The error is that it is away; what else may be
/// wrong is said where records are read. `next` is a record of the log, which may be there or not.
pub(crate) async fn look(storage: &Storage, next: u64, shared: &Shared) -> Result<(), String> {
    let found = ask(storage, next).await;
    let (now, mut outside) = (shared.clock.now_micros(), shared.outside());
    match &found {
        Ok(()) => outside.storage.find(),
        Err(away) => outside.storage.lose(now, away.clone()),
    }
    found
}

async fn ask(storage: &Storage, next: u64) -> Result<(), String> {
    match tokio::time::timeout(LOOK_WAIT, read_records(storage, next, 1)).await {
        Ok(Err(ReadError::Storage(error))) => Err(error.to_string()),
        Ok(_) => find_folder(storage).map_err(|error| error.to_string()),
        Err(_) => Err(format!(
            "{} has not answered for {} s",
            storage.url(),
            LOOK_WAIT.as_secs()
        )),
    }
}

/// Checks that the folder of the log is there, if storage is a folder.
pub(crate) fn find_folder(storage: &Storage) -> Result<(), StorageError> {
    let Some(folder) = storage.local_path(path::LOG) else {
        return Ok(());
    };
    match std::fs::metadata(&folder) {
        Ok(_) => Ok(()),
        Err(error) => Err(StorageError::Store {
            action: "find",
            url: storage.url().to_owned(),
            path: path::LOG.to_owned(),
            source: Box::new(object_store::Error::NotFound {
                path: folder.display().to_string(),
                source: Box::new(error),
            }),
        }),
    }
}
