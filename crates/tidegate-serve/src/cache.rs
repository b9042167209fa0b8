//! Data files of the log on this machine: where they are, or fetched into a folder that is bounded.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt, stream};
use tempfile::TempDir;
use tidegate_log::{FileEntry, Storage, StorageError};

/// Bytes that the folder holds, at most, and that one question may need.
pub(crate) const BYTES_MAX: u64 = 1 << 30;
/// Files that are fetched at the same time.
const FETCHED_AT_ONCE: usize = 8;

/// Why files are not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    /// They are too much.
    #[error(
        "the files of this range have {0} bytes, and one question may read {BYTES_MAX}; ask for less"
    )]
    TooMuch(u64),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The disk failed.
    #[error("cannot keep {path} in {}: {source}", folder.display())]
    Keep {
        /// The file.
        path: String,
        /// Where it was to be.
        folder: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Fetched files. They never change, so one that is there is good.
#[derive(Debug)]
pub(crate) struct FileCache {
    storage: Storage,
    folder: TempDir,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    files: HashMap<String, (Arc<PathBuf>, u64, u64)>,
    bytes: u64,
    /// Counts uses, so that the oldest is known.
    clock: u64,
    /// Names files.
    next: u64,
}

impl FileCache {
    /// An empty folder.
    pub(crate) fn new(storage: Storage) -> std::io::Result<Self> {
        let folder = TempDir::with_prefix("tidegate-serve-")?;
        Ok(FileCache {
            storage,
            folder,
            held: Mutex::default(),
        })
    }

    /// The folders below which files are.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let local = self.storage.local_root().map(Path::to_owned);
        local
            .into_iter()
            .chain([self.folder.path().to_owned()])
            .collect()
    }

    /// Where these files are on this machine. They stay there as long as the result is held.
    pub(crate) async fn get(&self, files: &[&FileEntry]) -> Result<Vec<Arc<PathBuf>>, CacheError> {
        let bytes = files.iter().map(|file| file.bytes).sum();
        if bytes > BYTES_MAX {
            return Err(CacheError::TooMuch(bytes));
        }
        let fetches: Vec<_> = files.iter().map(|file| self.one(file)).collect();
        stream::iter(fetches)
            .buffered(FETCHED_AT_ONCE)
            .try_collect()
            .await
    }

    async fn one(&self, file: &FileEntry) -> Result<Arc<PathBuf>, CacheError> {
        if let Some(path) = self.storage.local_path(&file.path) {
            return Ok(Arc::new(path));
        }
        let target = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.clock += 1;
            let clock = held.clock;
            if let Some((path, _, used)) = held.files.get_mut(&file.path) {
                *used = clock;
                return Ok(Arc::clone(path));
            }
            held.next += 1;
            self.folder.path().join(format!("{}.parquet", held.next))
        };
        let bytes = self.storage.get(&file.path).await?;
        let keep = |source| CacheError::Keep {
            path: file.path.clone(),
            folder: self.folder.path().to_owned(),
            source,
        };
        tokio::fs::write(&target, &bytes).await.map_err(keep)?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let path = Arc::new(target);
        let clock = held.clock;
        if let Some((older, size, _)) = held
            .files
            .insert(file.path.clone(), (Arc::clone(&path), file.bytes, clock))
        {
            // Another question has fetched it at the same time.
            held.bytes -= size;
            remove(&older);
        }
        held.bytes += file.bytes;
        held.shrink();
        Ok(path)
    }
}

impl Held {
    /// Lets go of what was used longest ago and is not in use.
    fn shrink(&mut self) {
        while self.bytes > BYTES_MAX {
            let unused = self
                .files
                .iter()
                .filter(|(_, (path, ..))| Arc::strong_count(path) == 1);
            let Some(oldest) = unused
                .min_by_key(|(_, (_, _, used))| *used)
                .map(|(name, _)| name.clone())
            else {
                return;
            };
            if let Some((path, size, _)) = self.files.remove(&oldest) {
                self.bytes -= size;
                remove(&path);
            }
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "cannot remove a cached file");
    }
}
