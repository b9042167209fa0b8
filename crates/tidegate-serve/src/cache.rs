//! Data files of the log on this machine: where they are, or fetched into a folder that is bounded.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use futures::{StreamExt, TryStreamExt, stream};
use tidegate_base::lock::lock;
use tidegate_log::FileEntry;
use tidegate_storage::{Storage, StorageError};
use tidegate_warehouse::scratch::{self, Scratch};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OnceCell;

/// Bytes that the folder holds, at most, and that one question may need.
pub(crate) const BYTES_MAX: u64 = 1 << 30;
/// How the names of the folders begin.
const FOLDER: &str = "tidegate-serve-";
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
    /// A file is not what the log says.
    #[error(
        "{path} has {found} instead of {wanted}: it was changed or cut; `tidegate log verify` says what else is"
    )]
    Changed {
        /// The file.
        path: String,
        /// What it has.
        found: String,
        /// What the log says.
        wanted: String,
    },
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
    folder: Scratch,
    held: Mutex<Held>,
}

/// A file on this machine. It stays there as long as this is held.
#[derive(Debug)]
pub(crate) struct CachedFile {
    path: PathBuf,
    /// Set once the file is whole: one who asks fetches it, and the others wait.
    fetched: OnceCell<()>,
}

impl CachedFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

#[derive(Debug, Default)]
struct Held {
    files: HashMap<String, CacheEntry>,
    bytes: u64,
    /// Counts uses, so that the oldest is known.
    clock: u64,
    /// Names files.
    next: u64,
}

#[derive(Debug)]
struct CacheEntry {
    file: Arc<CachedFile>,
    bytes: u64,
    used: u64,
}

impl FileCache {
    /// An empty folder.
    pub(crate) fn new(storage: Storage) -> std::io::Result<Self> {
        scratch::collect(FOLDER);
        let folder = Scratch::new(FOLDER)?;
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
    pub(crate) async fn get(
        &self,
        files: &[&FileEntry],
    ) -> Result<Vec<Arc<CachedFile>>, CacheError> {
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

    async fn one(&self, file: &FileEntry) -> Result<Arc<CachedFile>, CacheError> {
        if let Some(path) = self.storage.local_path(&file.path) {
            let fetched = OnceCell::new_with(Some(()));
            return Ok(Arc::new(CachedFile { path, fetched }));
        }
        let kept = self.held().place(file, self.folder.path());
        let fetch = || self.fetch(file, &kept.path);
        let fetched = kept.fetched.get_or_try_init(fetch).await.map(|_| ());
        match fetched {
            Ok(()) => Ok(kept),
            Err(error) => {
                self.held().forget(file, &kept);
                Err(error)
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }

    /// Fetches a file in pieces, and looks whether it is the one that the log means.
    async fn fetch(&self, file: &FileEntry, target: &Path) -> Result<(), CacheError> {
        let keep = |source| CacheError::Keep {
            path: file.path.clone(),
            folder: self.folder.path().to_owned(),
            source,
        };
        let changed = |found: String, wanted: String| CacheError::Changed {
            path: file.path.clone(),
            found,
            wanted,
        };
        let mut pieces = self.storage.get_stream(&file.path).await?;
        let mut out = tokio::fs::File::create(target).await.map_err(keep)?;
        let (mut checksum, mut bytes) = (0, 0);
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            checksum = crc32c::crc32c_append(checksum, &piece);
            bytes += piece.len() as u64;
            out.write_all(&piece).await.map_err(keep)?;
        }
        out.flush().await.map_err(keep)?;
        if bytes != file.bytes {
            return Err(changed(format!("{bytes} bytes"), file.bytes.to_string()));
        }
        if checksum != file.crc32c {
            return Err(changed(
                format!("the checksum {checksum:08x}"),
                format!("{:08x}", file.crc32c),
            ));
        }
        Ok(())
    }
}

impl Held {
    /// The place of a file, for which others may be waiting already.
    fn place(&mut self, file: &FileEntry, folder: &Path) -> Arc<CachedFile> {
        self.clock += 1;
        if let Some(entry) = self.files.get_mut(&file.path) {
            entry.used = self.clock;
            return Arc::clone(&entry.file);
        }
        self.next += 1;
        let kept = Arc::new(CachedFile {
            path: folder.join(format!("{}.parquet", self.next)),
            fetched: OnceCell::new(),
        });
        let entry = CacheEntry {
            file: Arc::clone(&kept),
            bytes: file.bytes,
            used: self.clock,
        };
        self.files.insert(file.path.clone(), entry);
        self.bytes += file.bytes;
        self.shrink();
        kept
    }

    /// Gives the place of a file up that could not be fetched, unless somebody else is waiting for
    /// it.
    fn forget(&mut self, file: &FileEntry, kept: &Arc<CachedFile>) {
        let is_it = self
            .files
            .get(&file.path)
            .is_some_and(|entry| Arc::ptr_eq(&entry.file, kept));
        if is_it && Arc::strong_count(kept) == 2 && !kept.fetched.initialized() {
            self.remove(&file.path);
        }
    }

    fn remove(&mut self, path: &str) {
        let Some(entry) = self.files.remove(path) else {
            return;
        };
        self.bytes -= entry.bytes;
        match std::fs::remove_file(entry.file.path()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let path = entry.file.path().display();
                tracing::warn!(%error, %path, "cannot remove a cached file");
            }
            _ => {}
        }
    }

    /// Lets go of what was used longest ago and is not in use.
    fn shrink(&mut self) {
        while self.bytes > BYTES_MAX {
            let unused = self
                .files
                .iter()
                .filter(|(_, entry)| Arc::strong_count(&entry.file) == 1);
            let Some(oldest) = unused
                .min_by_key(|(_, entry)| entry.used)
                .map(|(name, _)| name.clone())
            else {
                return;
            };
            self.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use tidegate_storage::{S3Options, StorageOptions};
    use tidegate_testkit::S3;

    use super::*;

    fn storage(s3: &S3) -> Storage {
        let options = StorageOptions {
            url: format!("s3://{}/cache", S3::BUCKET),
            s3: S3Options {
                endpoint: Some(s3.endpoint()),
                allow_http: true,
                keys: Some(tidegate_storage::Keys {
                    id: S3::ACCESS_KEY.to_owned(),
                    secret: S3::SECRET_KEY.to_owned(),
                }),
                ..S3Options::default()
            },
        };
        Storage::open(&options).unwrap()
    }

    async fn put(storage: &Storage, path: &str, content: &'static [u8]) -> FileEntry {
        storage
            .put(path, Bytes::from_static(content))
            .await
            .unwrap();
        FileEntry {
            dataset: "events".to_owned(),
            path: path.to_owned(),
            rows: 1,
            bytes: content.len() as u64,
            crc32c: crc32c::crc32c(content),
            event_time: None,
            lanes: Vec::new(),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn those_who_want_a_file_at_the_same_time_get_the_same_one() {
        let s3 = S3::start();
        let storage = storage(&s3);
        let first = put(&storage, "data/1.parquet", b"one").await;
        let second = put(&storage, "data/2.parquet", b"two").await;
        let cache = Arc::new(FileCache::new(storage).unwrap());
        let asks = (0..32).map(|n| {
            let (cache, first, second) = (Arc::clone(&cache), first.clone(), second.clone());
            tokio::spawn(async move {
                let order = if n % 2 == 0 {
                    [&first, &second]
                } else {
                    [&second, &first]
                };
                let kept = cache.get(&order).await.unwrap();
                // Held by this one alone, others come and go.
                tokio::task::yield_now().await;
                for (entry, kept) in order.iter().zip(&kept) {
                    let found = std::fs::read(kept.path()).unwrap();
                    assert_eq!(crc32c::crc32c(&found), entry.crc32c);
                }
            })
        });
        futures::future::join_all(asks)
            .await
            .into_iter()
            .for_each(|ended| ended.unwrap());
        assert_eq!(std::fs::read_dir(cache.folder.path()).unwrap().count(), 2);
        assert_eq!(cache.held().bytes, first.bytes + second.bytes);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_is_not_the_logs_is_refused_and_fetched_again_next_time() {
        let s3 = S3::start();
        let storage = storage(&s3);
        let entry = put(&storage, "data/1.parquet", b"one").await;
        let cache = FileCache::new(storage).unwrap();
        let mut other = entry.clone();
        other.crc32c ^= 1;
        let error = cache.get(&[&other]).await.unwrap_err().to_string();
        assert!(
            error.contains("data/1.parquet") && error.contains("checksum"),
            "{error}"
        );
        assert_eq!(cache.held().bytes, 0);
        assert_eq!(cache.get(&[&entry]).await.unwrap().len(), 1);
    }
}
