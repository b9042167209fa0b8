//! What the tests share: storages of each kind, commits with real files, a store that fails.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tempfile::TempDir;
use tidegate_base::clock::Clock;
use tidegate_log::{
    CommitLog, Counts, Draft, OpenError, OpenOptions, Record, Span, WriterId, path, put_data,
};
use tidegate_storage::{Keys, S3Options, Storage, StorageOptions};
use tidegate_testkit::S3;

/// When the tests' clock starts: 2026-11-23 05:00 UTC.
pub(crate) const NOW: i64 = 1_795_410_000_000_000;

/// A storage on disk and the folder that it lives in.
pub(crate) fn disk() -> (Storage, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(&StorageOptions::new(format!(
        "file:{}",
        folder.path().display()
    )))
    .unwrap();
    (storage, folder)
}

/// A storage in a bucket, and the server that the bucket is on.
pub(crate) fn in_s3() -> (Storage, S3) {
    let s3 = S3::start();
    let storage = Storage::open(&s3_options(s3.endpoint())).unwrap();
    (storage, s3)
}

/// How the job's prefix on a server for tests is opened.
pub(crate) fn s3_options(endpoint: String) -> StorageOptions {
    StorageOptions {
        url: format!("s3://{}/job", S3::BUCKET),
        s3: S3Options {
            endpoint: Some(endpoint),
            allow_http: true,
            keys: Some(Keys {
                id: S3::ACCESS_KEY.to_owned(),
                secret: S3::SECRET_KEY.to_owned(),
            }),
            ..S3Options::default()
        },
    }
}

/// Makes tests of functions that take a `&Storage`: one for each kind of storage.
macro_rules! on_each_storage {
    ($($name:ident,)*) => {
        mod on_disk {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                let (storage, _folder) = crate::support::disk();
                super::$name(&storage).await;
            }
        )*}
        mod in_memory {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                super::$name(&tidegate_storage::Storage::open(&"memory:".into()).unwrap()).await;
            }
        )*}
        mod in_s3 {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                let (storage, _s3) = crate::support::in_s3();
                super::$name(&storage).await;
            }
        )*}
    };
}
pub(crate) use on_each_storage;

pub(crate) fn options(unique: u32) -> OpenOptions {
    OpenOptions {
        job_name: "job".to_owned(),
        writer: WriterId::from_parts("host", 1234, unique),
        clock: Clock::manual(NOW),
        keep: Duration::from_secs(600),
        snapshot_every: 0,
    }
}

pub(crate) async fn open(
    storage: &Storage,
    unique: u32,
) -> std::result::Result<CommitLog, OpenError> {
    CommitLog::open(storage.clone(), options(unique)).await
}

/// A commit of `events` events that goes on where the log stands; its file is put.
pub(crate) async fn draft(log: &CommitLog, events: u64) -> Draft {
    let seq = log.state().last_seq + 1;
    let path = path::data("events", seq, log.writer(), 0, NOW);
    let content = Bytes::from(format!("{events} rows of record {seq} by {}", log.writer()));
    let time = NOW + i64::try_from(seq).unwrap();
    let times = Some((time, time));
    let file = put_data(log.storage(), "events", &path, events, times, content)
        .await
        .unwrap();
    let from = log
        .state()
        .partitions
        .get(&0)
        .map_or(0, |partition| partition.offset);
    let to = from + i64::try_from(events).unwrap();
    Draft {
        partitions: vec![Span {
            id: 0,
            lane: 0,
            name: "topic-0".to_owned(),
            from,
            to,
            gone: 0,
            identity: None,
        }],
        watermarks: [(0, time - 1000)].into(),
        counts: Counts {
            read: events,
            events,
            ..Counts::default()
        },
        files: vec![file],
        ..Draft::default()
    }
}

/// Makes `count` commits of ten events each.
pub(crate) async fn commits(log: &mut CommitLog, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    for _ in 0..count {
        let draft = draft(log, 10).await;
        records.push(log.commit(draft).await.unwrap());
    }
    records
}

/// The paths below `prefix`, sorted.
pub(crate) async fn paths(storage: &Storage, prefix: &str) -> Vec<String> {
    let objects: Vec<_> = storage.list(prefix).try_collect().await.unwrap();
    let mut paths: Vec<_> = objects
        .into_iter()
        .map(|object| object.location.to_string())
        .collect();
    paths.sort();
    paths
}

/// The names of all files below a folder of the disk, temporary ones included.
pub(crate) fn files(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    found.sort();
    found
}

/// Replaces `old` by `new` in an object, as someone with an editor would.
pub(crate) async fn edit(storage: &Storage, path: &str, old: &str, new: &str) {
    let bytes = storage.get(path).await.unwrap();
    let text = str::from_utf8(&bytes).unwrap();
    assert!(text.contains(old), "{path} has no {old}: {text}");
    storage
        .replace(path, text.replacen(old, new, 1).into())
        .await
        .unwrap();
}

/// What a [`Faulty`] store does to the next put.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Fails, without having put anything.
    Before,
    /// Fails, after having put the object.
    After,
    /// Fails because there is no room.
    DiskFull,
}

/// A store in memory that fails when it is told to.
#[derive(Debug, Default, Clone)]
pub(crate) struct Faulty {
    inner: Arc<InMemory>,
    next: Arc<Mutex<Option<Fault>>>,
}

impl Faulty {
    pub(crate) fn storage(&self) -> Storage {
        Storage::from_store(Arc::new(self.clone()), "faulty:")
    }

    pub(crate) fn fail_next_put(&self, fault: Fault) {
        *self.next.lock().unwrap() = Some(fault);
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

fn broken(source: std::io::Error) -> Error {
    Error::Generic {
        store: "faulty",
        source: Box::new(source),
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let fault = self.next.lock().unwrap().take();
        match fault {
            None => self.inner.put_opts(at, payload, options).await,
            Some(Fault::Before) => Err(broken(std::io::ErrorKind::TimedOut.into())),
            Some(Fault::DiskFull) => Err(broken(std::io::Error::from_raw_os_error(28))),
            Some(Fault::After) => {
                self.inner.put_opts(at, payload, options).await?;
                Err(broken(std::io::ErrorKind::TimedOut.into()))
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
