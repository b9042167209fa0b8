//! The local disk as an object store whose puts are on stable storage when they return.
//!
//! `object_store`'s own `LocalFileSystem` does not call fsync, so a commit could be lost, or be
//! torn, when the power fails. Here a put writes a temporary file beside the target, syncs it,
//! gives it the target's name, and syncs the folder: under a final name there is always a whole
//! file.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Location;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use uuid::Uuid;

use tidegate_base::lock::lock;

use crate::disk::Disk;

/// Folders whose way down from the root is known to be on stable storage are remembered up to here.
const FOLDERS_MAX: usize = 4096;

/// A folder of the local disk; see the module's documentation.
#[derive(Debug, Clone)]
pub(crate) struct DurableLocal {
    inner: LocalFileSystem,
    folders: Arc<Folders>,
}

/// What went wrong, and with which file.
#[derive(Debug, thiserror::Error)]
enum LocalError {
    #[error("cannot make the folder {}: {source}", path.display())]
    MakeFolder { path: PathBuf, source: io::Error },
    #[error("the folder {} has gone, in which storage was opened: bring it back", path.display())]
    RootGone { path: PathBuf },
    #[error("cannot bring the folder {} to stable storage: {source}", path.display())]
    SyncFolder { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot name the file {}: {source} (the file system must support hard links)", path.display())]
    Link { path: PathBuf, source: io::Error },
    #[error("cannot rename to {}: {source}", path.display())]
    Rename { path: PathBuf, source: io::Error },
    #[error("it is there already")]
    Exists { path: PathBuf },
}

impl From<LocalError> for Error {
    fn from(error: LocalError) -> Self {
        match &error {
            LocalError::Exists { path } => Error::AlreadyExists {
                path: path.display().to_string(),
                source: Box::new(error),
            },
            _ => Error::Generic {
                store: "local disk",
                source: Box::new(error),
            },
        }
    }
}

impl DurableLocal {
    /// Opens the folder `root` on a disk, and makes it if it is missing.
    pub(crate) fn open(disk: Arc<dyn Disk>, root: &Path) -> Result<Self> {
        make_root(&*disk, root)?;
        let root = root
            .canonicalize()
            .map_err(|source| LocalError::MakeFolder {
                path: root.to_owned(),
                source,
            })?;
        let inner = LocalFileSystem::new_with_prefix(&root)?;
        Ok(DurableLocal {
            inner,
            folders: Arc::new(Folders {
                disk,
                root,
                durable: Mutex::default(),
            }),
        })
    }

    /// The folder, absolute and without symbolic links.
    pub(crate) fn root(&self) -> &Path {
        &self.folders.root
    }

    /// Brings a file that is there already, and its name, to stable storage.
    pub(crate) async fn settle(&self, location: &Location) -> Result<()> {
        let path = self.inner.path_to_filesystem(location)?;
        let folders = Arc::clone(&self.folders);
        blocking(move || {
            let synced = folders.disk.sync_file(&path);
            synced.map_err(|source| LocalError::Write {
                path: path.clone(),
                source,
            })?;
            let folder = folder_of(&path);
            folders.make(folder)?;
            sync_folder(&*folders.disk, folder)
        })
        .await
    }

    fn unsupported(&self, operation: &str) -> Error {
        Error::NotImplemented {
            operation: operation.to_owned(),
            implementer: self.to_string(),
        }
    }
}

impl fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "local disk at {}", self.root().display())
    }
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(
        &self,
        location: &Location,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if !options.attributes.is_empty() {
            return Err(self.unsupported("put with attributes"));
        }
        let create = match options.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => {
                return Err(self.unsupported("put with a condition on the old version"));
            }
        };
        let target = self.inner.path_to_filesystem(location)?;
        let folders = Arc::clone(&self.folders);
        blocking(move || put(&folders, &target, &payload, create)).await?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn put_multipart_opts(
        &self,
        _location: &Location,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(self.unsupported("multipart upload, which would not be durable; use put"))
    }

    async fn get_opts(&self, location: &Location, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Location, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Location>>,
    ) -> BoxStream<'static, Result<Location>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Location>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Location>,
        offset: &Location,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Location>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        _from: &Location,
        _to: &Location,
        _options: CopyOptions,
    ) -> Result<()> {
        Err(self.unsupported("copy, which would not be durable; use get and put"))
    }
}

/// Runs blocking IO where it does not hold up the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, LocalError> + Send + 'static,
) -> Result<T> {
    Ok(tokio::task::spawn_blocking(work).await??)
}

fn put(
    folders: &Folders,
    target: &Path,
    payload: &PutPayload,
    create: bool,
) -> std::result::Result<(), LocalError> {
    let disk = &*folders.disk;
    let folder = folder_of(target);
    folders.make(folder)?;
    let temp = TempFile::named(disk, target);
    match disk.write_new(&temp.path, &mut payload.iter()) {
        // Someone removed the folder since we made it: make it again.
        Err(e) if e.kind() == ErrorKind::NotFound => {
            folders.forget();
            folders.make(folder)?;
            disk.write_new(&temp.path, &mut payload.iter())
        }
        other => other,
    }
    .and_then(|()| disk.sync_file(&temp.path))
    .map_err(|source| LocalError::Write {
        path: target.to_owned(),
        source,
    })?;
    if create {
        // Unlike a rename, a hard link fails if the name is taken.
        disk.link(&temp.path, target)
            .map_err(|source| match source.kind() {
                ErrorKind::AlreadyExists => LocalError::Exists {
                    path: target.to_owned(),
                },
                _ => LocalError::Link {
                    path: target.to_owned(),
                    source,
                },
            })?;
        drop(temp);
    } else {
        temp.rename(target)?;
    }
    sync_folder(disk, folder)
}

/// A temporary file, removed when it is dropped unless it was renamed. The name ends in `#` and
/// digits, which `LocalFileSystem` leaves out of listings.
struct TempFile<'a> {
    disk: &'a dyn Disk,
    path: PathBuf,
    renamed: bool,
}

impl<'a> TempFile<'a> {
    /// The name of one beside `target`; the file is not written yet.
    fn named(disk: &'a dyn Disk, target: &Path) -> Self {
        let mut name = target.as_os_str().to_owned();
        name.push(format!("#{}", Uuid::new_v4().as_u64_pair().0));
        TempFile {
            disk,
            path: PathBuf::from(name),
            renamed: false,
        }
    }

    fn rename(mut self, target: &Path) -> std::result::Result<(), LocalError> {
        let renamed = self.disk.rename(&self.path, target);
        renamed.map_err(|source| LocalError::Rename {
            path: target.to_owned(),
            source,
        })?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for TempFile<'_> {
    fn drop(&mut self) {
        if !self.renamed
            && let Err(error) = self.disk.remove(&self.path)
            && error.kind() != ErrorKind::NotFound
        {
            // Harmless: the garbage collector removes it later.
            tracing::warn!(path = %self.path.display(), %error, "a temporary file stays behind");
        }
    }
}

/// Makes folders below the root, durably, each only once.
#[derive(Debug)]
struct Folders {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    durable: Mutex<HashSet<PathBuf>>,
}

impl Folders {
    /// Makes `folder` and brings the names on the way from the root down to it to stable storage.
    fn make(&self, folder: &Path) -> std::result::Result<(), LocalError> {
        let known = || lock(&self.durable);
        if known().contains(folder) {
            return Ok(());
        }
        // What was opened may have been moved: nothing may begin anew in its place.
        if !self.root.exists() {
            return Err(LocalError::RootGone {
                path: self.root.clone(),
            });
        }
        let made = self.disk.make_folder(folder);
        made.map_err(|source| LocalError::MakeFolder {
            path: folder.to_owned(),
            source,
        })?;
        // Also those that another thread or process just made, and may not have synced yet.
        for parent in folder
            .ancestors()
            .skip(1)
            .take_while(|path| path.starts_with(&self.root))
        {
            sync_folder(&*self.disk, parent)?;
        }
        let mut known = known();
        if known.len() >= FOLDERS_MAX {
            known.clear();
        }
        known.insert(folder.to_owned());
        Ok(())
    }

    fn forget(&self) {
        lock(&self.durable).clear();
    }
}

/// Makes the root folder and brings the names of the folders that it made to stable storage.
fn make_root(disk: &dyn Disk, root: &Path) -> std::result::Result<(), LocalError> {
    let failed = |source| LocalError::MakeFolder {
        path: root.to_owned(),
        source,
    };
    let absolute = std::path::absolute(root).map_err(failed)?;
    let missing: Vec<&Path> = absolute
        .ancestors()
        .take_while(|path| !path.exists())
        .collect();
    disk.make_folder(&absolute).map_err(failed)?;
    missing
        .into_iter()
        .try_for_each(|path| sync_folder(disk, folder_of(path)))
}

fn sync_folder(disk: &dyn Disk, folder: &Path) -> std::result::Result<(), LocalError> {
    let synced = disk.sync_folder(folder);
    synced.map_err(|source| LocalError::SyncFolder {
        path: folder.to_owned(),
        source,
    })
}

/// The folder that a file or a folder is in.
fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
