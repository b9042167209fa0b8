//! Where a job's files are: an object store, chosen by a URL.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path as FsPath, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use tidegate_base::lock::lock;

use crate::disk::{Disk, System};
use crate::local::DurableLocal;
use crate::options::StorageOptions;
use crate::place::StorageLocation;
use crate::s3;

/// A job's prefix in an object store. Cheap to clone; clones share the store.
///
/// Paths are relative to the prefix, with `/` between their parts. The methods that do IO need a
/// Tokio runtime.
#[derive(Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    url: String,
    local: Option<DurableLocal>,
    /// Who keeps the objects, if it is a service: its endpoint, or AWS.
    service: Option<String>,
}

/// Why storage did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The URL does not say which kind of storage it means.
    #[error(
        "`{url}` is not a storage URL; use `file:PATH`, `s3://BUCKET/PREFIX` or `memory:`{hint}"
    )]
    UnknownScheme {
        /// What was given.
        url: String,
        /// What was probably meant; may be empty.
        hint: String,
    },
    /// Nothing says in which region the bucket is.
    #[error(
        "`{url}`: the bucket's region is not known; set storage.region, or the environment variable AWS_REGION"
    )]
    NoRegion {
        /// What was given.
        url: String,
    },
    /// A storage that was to be there already is not.
    #[error(
        "there is nothing at `{url}`; check the path, or start the job once so that it is made"
    )]
    Missing {
        /// What was given.
        url: String,
    },
    /// A path is not of the form that object stores take.
    #[error("`{path}` is not a valid path below {url}: {source}")]
    Path {
        /// The storage.
        url: String,
        /// The path.
        path: String,
        /// What is wrong with it.
        source: object_store::path::Error,
    },
    /// The store reported an error.
    #[error("cannot {action} {url}/{path}: {source}")]
    Store {
        /// What was to be done: `put`, `get`...
        action: &'static str,
        /// The storage.
        url: String,
        /// The path below the storage.
        path: String,
        /// What the store says.
        source: Box<object_store::Error>,
    },
}

impl StorageError {
    /// Whether the object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(
            self.store_error(),
            Some(object_store::Error::NotFound { .. })
        )
    }

    /// Whether the object is there already, and was to be created.
    pub fn is_already_exists(&self) -> bool {
        matches!(
            self.store_error(),
            Some(object_store::Error::AlreadyExists { .. })
        )
    }

    fn store_error(&self) -> Option<&object_store::Error> {
        match self {
            StorageError::Store { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Whether there is no room: see [`is_disk_full`].
    pub fn is_disk_full(&self) -> bool {
        is_disk_full(self)
    }

    /// Whether a service gave no answer, or not all of it.
    pub fn is_unreachable(&self) -> bool {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(self);
        while let Some(error) = cause {
            if error.is::<object_store::client::HttpError>() {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// Whether `error`, or one of its sources, says that the disk or the quota is full.
pub fn is_disk_full(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        {
            return true;
        }
        cause = error.source();
    }
    false
}

impl Storage {
    /// Opens the storage that the options name, and makes its folder if it is on a disk and
    /// missing.
    ///
    /// - `s3://BUCKET/PREFIX`: everything below the prefix, or in the bucket, which must be there.
    ///   Nothing is asked of it yet; but where the options do not name its region, finding that out
    ///   may take seconds.
    /// - `file:PATH`, relative to the working directory or absolute, or `file:///PATH`. The path is
    ///   taken as it is written, without percent-encoding.
    /// - `memory:` for a new, empty storage in this process's memory; `memory:NAME` for one that
    ///   all who give the same name in this process share, for as long as the process lives.
    ///
    /// # Errors
    /// If the URL is none of these, the folder cannot be made, or the options for S3 are wrong.
    pub fn open(options: &StorageOptions) -> Result<Storage, StorageError> {
        let url = &*options.url;
        match StorageLocation::parse(url)? {
            StorageLocation::Memory(name) => Ok(Storage::from_store(memory(name), url)),
            StorageLocation::Bucket { name, prefix } => {
                let store = s3::open(name, prefix, options)?;
                let endpoint = options.s3.endpoint.clone();
                Ok(Storage {
                    service: Some(endpoint.unwrap_or_else(|| "AWS".to_owned())),
                    ..Storage::from_store(store, url)
                })
            }
            StorageLocation::Folder(path) => Storage::on_disk(Arc::new(System), path, url),
        }
    }

    /// A storage in a folder of any disk; `url` is how errors call it. For tests that take the
    /// power away.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn on_disk(
        disk: Arc<dyn Disk>,
        folder: &FsPath,
        url: &str,
    ) -> Result<Storage, StorageError> {
        let local = DurableLocal::open(disk, folder).map_err(|source| StorageError::Store {
            action: "open",
            url: url.to_owned(),
            path: String::new(),
            source: Box::new(source),
        })?;
        Ok(Storage {
            store: Arc::new(local.clone()),
            url: url.to_owned(),
            local: Some(local),
            service: None,
        })
    }

    /// Opens the storage that the options name without making anything: for commands that only
    /// read.
    ///
    /// # Errors
    /// As [`Storage::open`], and if the folder is not there.
    pub fn open_existing(options: &StorageOptions) -> Result<Storage, StorageError> {
        match StorageLocation::parse(&options.url)? {
            StorageLocation::Folder(path) if !path.is_dir() => Err(StorageError::Missing {
                url: options.url.clone(),
            }),
            _ => Storage::open(options),
        }
    }

    /// A storage over any object store; `url` is how errors call it. For tests that inject faults.
    pub fn from_store(store: Arc<dyn ObjectStore>, url: &str) -> Storage {
        Storage {
            store,
            url: url.to_owned(),
            local: None,
            service: None,
        }
    }

    /// How the storage was named when it was opened.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The service that keeps the objects, if they are neither on a local disk nor in memory: its
    /// endpoint, or `AWS`.
    pub fn service(&self) -> Option<&str> {
        self.service.as_deref()
    }

    /// The store behind it.
    pub fn object_store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The folder on the local disk, if it is there that the storage is.
    pub fn local_root(&self) -> Option<&FsPath> {
        self.local.as_ref().map(DurableLocal::root)
    }

    /// The file behind `path`, if the storage is on the local disk.
    pub fn local_path(&self, path: &str) -> Option<PathBuf> {
        let path = Path::parse(path).ok()?;
        Some(self.local_root()?.join(path.as_ref()))
    }

    /// Puts an object that must not be there yet. When this returns, it is on stable storage.
    ///
    /// # Errors
    /// If it is there already ([`StorageError::is_already_exists`]; nothing was changed), or if the
    /// store fails; then the object may or may not be there, but never a part of it.
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.put_with(path, bytes, PutMode::Create).await
    }

    /// Puts an object in place of the one that is there, if any, as durably as [`Storage::put`].
    ///
    /// # Errors
    /// If the store fails; then either the old object is there or the new one.
    pub async fn replace(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.put_with(path, bytes, PutMode::Overwrite).await
    }

    async fn put_with(&self, path: &str, bytes: Bytes, mode: PutMode) -> Result<(), StorageError> {
        let location = self.location(path)?;
        self.store
            .put_opts(
                &location,
                PutPayload::from_bytes(bytes),
                PutOptions::from(mode),
            )
            .await
            .map_err(|source| self.failed("put", path, source))?;
        Ok(())
    }

    /// Brings an object that is there, but perhaps was not put to the end, to stable storage.
    ///
    /// # Errors
    /// If the object is not there or the disk fails.
    pub async fn settle(&self, path: &str) -> Result<(), StorageError> {
        let location = self.location(path)?;
        match &self.local {
            Some(local) => local
                .settle(&location)
                .await
                .map_err(|e| self.failed("sync", path, e)),
            None => Ok(()), // An object store shows only what it keeps.
        }
    }

    /// The whole object.
    ///
    /// # Errors
    /// If it is not there ([`StorageError::is_not_found`]) or cannot be read.
    pub async fn get(&self, path: &str) -> Result<Bytes, StorageError> {
        let location = self.location(path)?;
        let read = async { self.store.get(&location).await?.bytes().await };
        read.await
            .map_err(|source| self.failed("get", path, source))
    }

    /// The whole object, or none if it is not there.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn get_if_there(&self, path: &str) -> Result<Option<Bytes>, StorageError> {
        match self.get(path).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The object piece by piece, so that a large one does not have to fit in memory.
    ///
    /// # Errors
    /// If it is not there ([`StorageError::is_not_found`]) or cannot be read.
    pub async fn get_stream(
        &self,
        path: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
        let location = self.location(path)?;
        let result = self
            .store
            .get(&location)
            .await
            .map_err(|e| self.failed("get", path, e))?;
        let (storage, path) = (self.clone(), path.to_owned());
        let stream = result
            .into_stream()
            .map_err(move |e| storage.failed("get", &path, e));
        Ok(Box::pin(stream))
    }

    /// All objects below the folder `prefix`, at any depth, in no particular order.
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta, StorageError>> {
        self.listing(prefix, self.store.list(Some(&Path::from(prefix))))
    }

    /// All objects below the folder `prefix` whose paths sort after `after`, in no particular
    /// order.
    pub fn list_after(
        &self,
        prefix: &str,
        after: &str,
    ) -> BoxStream<'static, Result<ObjectMeta, StorageError>> {
        let listing = self
            .store
            .list_with_offset(Some(&Path::from(prefix)), &Path::from(after));
        self.listing(prefix, listing)
    }

    fn listing(
        &self,
        prefix: &str,
        listing: BoxStream<'static, object_store::Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta, StorageError>> {
        let (storage, prefix) = (self.clone(), prefix.to_owned());
        Box::pin(listing.map_err(move |e| storage.failed("list", &prefix, e)))
    }

    /// Deletes an object. One that is not there counts as deleted.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn delete(&self, path: &str) -> Result<(), StorageError> {
        let location = self.location(path)?;
        match self.store.delete(&location).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(self.failed("delete", path, source)),
        }
    }

    fn location(&self, path: &str) -> Result<Path, StorageError> {
        Path::parse(path).map_err(|source| StorageError::Path {
            url: self.url.clone(),
            path: path.to_owned(),
            source,
        })
    }

    fn failed(
        &self,
        action: &'static str,
        path: &str,
        source: object_store::Error,
    ) -> StorageError {
        StorageError::Store {
            action,
            url: self.url.clone(),
            path: path.to_owned(),
            source: Box::new(source),
        }
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Storage").field(&self.url).finish()
    }
}

/// The storage in memory of that name; a new one if the name is empty.
fn memory(name: &str) -> Arc<InMemory> {
    static NAMED: Mutex<Option<HashMap<String, Arc<InMemory>>>> = Mutex::new(None);
    if name.is_empty() {
        return Arc::default();
    }
    let mut named = lock(&NAMED);
    Arc::clone(
        named
            .get_or_insert_default()
            .entry(name.to_owned())
            .or_default(),
    )
}
