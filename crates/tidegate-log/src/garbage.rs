//! Garbage collection: removes data files that no record names, and temporary files, that crashes
//! left behind.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use futures::{StreamExt, TryStreamExt, stream};
use tidegate_base::clock::Clock;

use crate::path;
use crate::read::{ReadError, read_records};
use crate::recover::micros;
use crate::verify::{Named, last_seq};
use tidegate_storage::{Storage, StorageError};

/// Records that are held in memory at a time.
const BATCH: usize = 256;

/// Files that are deleted at the same time.
const DELETED_AT_ONCE: usize = 16;

/// How garbage is collected.
#[derive(Debug, Clone)]
pub struct GarbageOptions {
    /// Files younger than this are left alone. It must be longer than a commit takes, retries
    /// included, and than a reader of an older record needs.
    pub grace: Duration,
    /// Only count.
    pub dry_run: bool,
    /// What the age of files is measured by.
    pub clock: Clock,
}

/// What was collected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GarbageReport {
    /// Data files that records name.
    pub named: u64,
    /// Files that were removed; in a dry run, that would be.
    pub removed: Vec<String>,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Data files that no record names, but that may still get a record: they are younger than the
    /// grace time, or their record's turn has not come.
    pub waiting: u64,
    /// Temporary files on the local disk that were removed; in a dry run, that would be.
    pub temporary: u64,
}

/// Why garbage was not, or not fully, collected.
#[derive(Debug, thiserror::Error)]
pub enum GarbageError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log is not whole, so what it names is not known. Nothing was removed.
    #[error("nothing was removed, because the log cannot be read: {0}")]
    Read(ReadError),
    /// A record is missing, so what the log names is not known. Nothing was removed.
    #[error(
        "nothing was removed, because record {missing} is missing and record {last} is there; \
         `tidegate log verify` lists what is wrong"
    )]
    Hole {
        /// Sequence number of the missing record.
        missing: u64,
        /// The last record that is there.
        last: u64,
    },
    /// A temporary file cannot be removed.
    #[error("cannot remove temporary files below {}: {source}", path.display())]
    Temporary {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Removes what crashes left behind; safe while a job runs.
///
/// A data file is removed if no record names it, it is older than the grace time, its name is of
/// the form that [`path::data`] gives, and the record that its name announces has been written (by
/// someone, without it). Temporary files are removed below `log`, `snapshot` and `data` if they are
/// older than the grace time, and so is what a storage was probed with. Nothing else is touched.
///
/// # Errors
/// If the storage fails, or the log is not whole; in the second case nothing is removed.
pub async fn collect_garbage(
    storage: &Storage,
    options: &GarbageOptions,
) -> Result<GarbageReport, GarbageError> {
    let oldest_kept = options
        .clock
        .now_micros()
        .saturating_sub(micros(options.grace));
    // First the files, then the log: a file that a record names is there before the record, so
    // every record that names a file in this list is in the log when it is read.
    let mut files = Vec::new();
    let mut listing = storage.list(path::DATA);
    while let Some(object) = listing.try_next().await? {
        if let Some(seq) = path::seq_of_data(object.location.as_ref()) {
            let old = object.last_modified.timestamp_micros() < oldest_kept;
            files.push((object.location.to_string(), object.size, seq, old));
        }
    }
    let (named, last) = read_names(storage).await?;
    let mut report = GarbageReport::default();
    for (path, bytes, seq, old) in files {
        if named.contains(&path) {
            report.named += 1;
        } else if !old || seq > last {
            report.waiting += 1;
        } else {
            report.removed.push(path);
            report.removed_bytes += bytes;
        }
    }
    // Left there by a process that was killed while it probed the storage.
    let mut listing = storage.list(path::PROBE);
    while let Some(object) = listing.try_next().await? {
        if object.last_modified.timestamp_micros() < oldest_kept {
            report.removed.push(object.location.to_string());
            report.removed_bytes += object.size;
        }
    }
    if !options.dry_run {
        stream::iter(&report.removed)
            .map(|path| storage.delete(path))
            .buffer_unordered(DELETED_AT_ONCE)
            .try_collect::<()>()
            .await?;
    }
    if let Some(root) = storage.local_root() {
        for folder in [path::LOG, path::SNAPSHOT, path::DATA] {
            let folder = root.join(folder);
            let (path, dry_run) = (folder.clone(), options.dry_run);
            let removed = tokio::task::spawn_blocking(move || {
                remove_temporary(&folder, oldest_kept, dry_run)
            })
            .await;
            report.temporary += removed
                .map_err(io::Error::other)
                .flatten()
                .map_err(|source| GarbageError::Temporary { path, source })?;
        }
    }
    Ok(report)
}

/// All paths that the log names, and the number of its last record.
async fn read_names(storage: &Storage) -> Result<(Named, u64), GarbageError> {
    let mut named = Named::default();
    let mut last = 0;
    loop {
        let records =
            read_records(storage, last + 1, BATCH)
                .await
                .map_err(|error| match error {
                    ReadError::Storage(error) => GarbageError::Storage(error),
                    error => GarbageError::Read(error),
                })?;
        last += records.len() as u64;
        records
            .iter()
            .flat_map(|record| &record.files)
            .for_each(|file| named.insert(&file.path));
        if records.len() == BATCH {
            continue;
        }
        let listed = last_seq(storage).await?;
        if listed <= last {
            return Ok((named, last));
        }
        if storage
            .get_if_there(&path::record(last + 1))
            .await?
            .is_none()
        {
            return Err(GarbageError::Hole {
                missing: last + 1,
                last: listed,
            });
        }
        // Another record was committed since we looked: go on.
    }
}

/// Removes the temporary files below `folder` that were last written before `oldest_kept`
/// (microseconds since the Unix epoch), and returns how many.
fn remove_temporary(folder: &Path, oldest_kept: i64, dry_run: bool) -> io::Result<u64> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            removed += remove_temporary(&entry.path(), oldest_kept, dry_run)?;
        } else if kind.is_file() && is_temporary(&entry.file_name()) {
            let metadata = match entry.metadata() {
                // Its writer has just removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            let age = metadata
                .modified()?
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            if micros(age) >= oldest_kept {
                continue;
            }
            if !dry_run && let Err(error) = fs::remove_file(entry.path()) {
                if error.kind() == io::ErrorKind::NotFound {
                    continue;
                }
                return Err(error);
            }
            removed += 1;
        }
    }
    Ok(removed)
}

/// Whether a name is one that `tidegate-storage` gives to temporary files: `<name>#<digits>`.
fn is_temporary(name: &OsStr) -> bool {
    name.to_str()
        .and_then(|name| name.rsplit_once('#'))
        .is_some_and(|(_, number)| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
}
