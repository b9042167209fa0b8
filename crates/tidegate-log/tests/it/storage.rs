//! Storage: URLs, and puts that are whole or not there.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use tidegate_log::put_data;
use tidegate_storage::{Storage, StorageError, StorageOptions};

use crate::support::{Fault, Faulty, disk, files, on_each_storage, paths};

on_each_storage! {
    puts_are_whole_and_create_or_replace,
    of_many_that_create_one_object_exactly_one_does,
}

fn refusal(url: &str) -> String {
    Storage::open(&url.into()).unwrap_err().to_string()
}

#[tokio::test]
async fn urls_name_folders_and_memory() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("deep/er");
    for url in [
        format!("file:{}", at.display()),
        format!("file://{}", at.display()),
    ] {
        let storage = Storage::open(&StorageOptions::new(url.clone())).unwrap();
        assert_eq!(storage.url(), url);
        assert_eq!(storage.local_root(), Some(&*at.canonicalize().unwrap()));
        let file = storage.local_path("data/a.parquet").unwrap();
        assert_eq!(file, at.canonicalize().unwrap().join("data/a.parquet"));
        storage.replace("data/a.parquet", "a".into()).await.unwrap();
        assert_eq!(std::fs::read(file).unwrap(), b"a");
        assert_eq!(storage.local_path("../a"), None);
    }
}

#[tokio::test]
async fn memory_is_shared_by_name_only() {
    let named = Storage::open(&"memory:memory_is_shared".into()).unwrap();
    named.put("a", "1".into()).await.unwrap();
    let same = Storage::open(&"memory:memory_is_shared".into()).unwrap();
    assert_eq!(same.get("a").await.unwrap(), "1");
    for url in ["memory:", "memory:memory_is_not_shared"] {
        let other = Storage::open(&url.into()).unwrap();
        assert_eq!(other.get_if_there("a").await.unwrap(), None);
        assert_eq!(other.local_path("a"), None);
    }
}

#[test]
fn other_urls_are_refused_with_a_hint() {
    assert!(refusal("s3:bucket").contains("did you mean `s3://bucket`"));
    assert!(refusal("s3a://bucket/a").contains("did you mean `s3://bucket/a`"));
    assert!(refusal("s3:///prefix").contains("the bucket is missing"));
    assert!(refusal("s3://bucket/a//b").contains("no part is empty"));
    assert!(refusal("/var/staging").contains("did you mean `file:/var/staging`"));
    assert!(refusal("file://staging").contains("`file:staging`"));
    assert!(refusal("file:").contains("the path is missing"));
    assert!(refusal("ftp://host").contains("is not a storage URL"));
    assert!(refusal("").contains("is not a storage URL"));
}

#[test]
fn commands_that_only_read_make_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file:{}/missing", folder.path().display());
    let error = Storage::open_existing(&StorageOptions::new(url.clone())).unwrap_err();
    assert!(matches!(error, StorageError::Missing { .. }), "{error}");
    assert!(files(folder.path()).is_empty());
    Storage::open(&StorageOptions::new(url.clone())).unwrap();
    Storage::open_existing(&StorageOptions::new(url)).unwrap();
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let url = format!("file:{}/file/below", folder.path().display());
    assert!(
        refusal(&url).contains("cannot make the folder"),
        "{}",
        refusal(&url)
    );
}

async fn puts_are_whole_and_create_or_replace(storage: &Storage) {
    storage.put("data/x/a", "1".into()).await.unwrap();
    let error = storage.put("data/x/a", "2".into()).await.unwrap_err();
    assert!(
        error.is_already_exists() && !error.is_not_found(),
        "{error}"
    );
    assert_eq!(storage.get("data/x/a").await.unwrap(), "1");
    storage.replace("data/x/a", "3".into()).await.unwrap();
    storage.replace("data/b", "4".into()).await.unwrap();
    assert_eq!(storage.get("data/x/a").await.unwrap(), "3");
    assert_eq!(paths(storage, "data").await, ["data/b", "data/x/a"]);
    assert!(paths(storage, "elsewhere").await.is_empty());
    let after: Vec<_> = storage
        .list_after("data", "data/b")
        .try_collect()
        .await
        .unwrap();
    assert_eq!(after.len(), 1);
    let pieces: Vec<Bytes> = storage
        .get_stream("data/b")
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(pieces.concat(), b"4");
    storage.settle("data/b").await.unwrap();
    storage.delete("data/b").await.unwrap();
    storage.delete("data/b").await.unwrap();
    let error = storage.get("data/b").await.unwrap_err();
    assert!(
        error.is_not_found() && !error.is_already_exists(),
        "{error}"
    );
    assert_eq!(storage.get_if_there("data/b").await.unwrap(), None);
    let error = storage.put("data//b", "".into()).await.unwrap_err();
    assert!(matches!(error, StorageError::Path { .. }), "{error}");
}

#[tokio::test]
async fn what_is_deleted_leaves_nothing_on_the_disk() {
    let (storage, folder) = disk();
    puts_are_whole_and_create_or_replace(&storage).await;
    assert_eq!(files(folder.path()), ["a"]);
}

#[tokio::test]
async fn a_data_file_is_described_by_its_entry_and_can_be_put_again() {
    let faulty = Faulty::default();
    for storage in [disk().0, faulty.storage()] {
        faulty.fail_next_put(Fault::After);
        let put = |bytes: &'static str| {
            put_data(&storage, "events", "data/a", 3, Some((1, 2)), bytes.into())
        };
        let first = put("rows").await;
        assert_eq!(first.is_err(), storage.local_root().is_none());
        let entry = put("rows").await.unwrap();
        assert_eq!(
            (&*entry.dataset, &*entry.path, entry.rows),
            ("events", "data/a", 3)
        );
        assert_eq!((entry.bytes, entry.crc32c), (4, crc32c::crc32c(b"rows")));
        assert_eq!(entry.event_time, Some((1, 2)));
        assert!(put("other").await.unwrap_err().is_already_exists());
        assert_eq!(storage.get("data/a").await.unwrap(), "rows");
        faulty.fail_next_put(Fault::Before);
    }
}

async fn of_many_that_create_one_object_exactly_one_does(storage: &Storage) {
    for round in 0..20 {
        let path = format!("race/{round}/object");
        let tries: Vec<_> = (0..8)
            .map(|n| {
                let (storage, path) = (storage.clone(), path.clone());
                tokio::spawn(async move {
                    let content = n.to_string().repeat(10_000);
                    storage.put(&path, content.into()).await.map(|()| n)
                })
            })
            .collect();
        let mut winners = Vec::new();
        for result in tries {
            match result.await.unwrap() {
                Ok(n) => winners.push(n),
                Err(error) => assert!(error.is_already_exists(), "{error}"),
            }
        }
        let [winner] = winners[..] else {
            panic!("winners: {winners:?}")
        };
        let content = storage.get(&path).await.unwrap();
        assert_eq!(content, winner.to_string().repeat(10_000));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_temporary_file_stays_behind() {
    let (storage, folder) = disk();
    of_many_that_create_one_object_exactly_one_does(&storage).await;
    assert_eq!(files(folder.path()), vec!["object"; 20]);
}

#[tokio::test]
async fn a_put_that_fails_leaves_nothing_behind() {
    let (storage, folder) = disk();
    // A folder where the object is to be.
    std::fs::create_dir_all(folder.path().join("data/taken")).unwrap();
    assert!(
        storage
            .put("data/taken", "a".into())
            .await
            .unwrap_err()
            .is_already_exists()
    );
    let error = storage.replace("data/taken", "a".into()).await.unwrap_err();
    assert!(error.to_string().contains("cannot rename"), "{error}");
    // A file where a folder is to be.
    storage.put("file", "a".into()).await.unwrap();
    let error = storage.put("file/below", "a".into()).await.unwrap_err();
    assert!(!error.is_already_exists(), "{error}");
    assert_eq!(files(folder.path()), ["file"]);
}

#[tokio::test]
async fn a_folder_that_was_removed_is_made_again() {
    let (storage, folder) = disk();
    storage.put("data/x/a", "1".into()).await.unwrap();
    std::fs::remove_dir_all(folder.path().join("data")).unwrap();
    storage.put("data/x/a", "2".into()).await.unwrap();
    assert_eq!(storage.get("data/x/a").await.unwrap(), "2");
}

/// A log that goes on in another folder is in two pieces.
#[tokio::test]
async fn nothing_begins_anew_where_the_folder_of_the_storage_was_moved_away() {
    let parent = tempfile::tempdir().unwrap();
    let (root, away) = (parent.path().join("job"), parent.path().join("away"));
    let options = StorageOptions::new(format!("file:{}", root.display()));
    let storage = Storage::open(&options).unwrap();
    storage.put("log/1", "1".into()).await.unwrap();
    std::fs::rename(&root, &away).unwrap();
    for path in ["log/2", "data/x"] {
        let error = storage.put(path, "2".into()).await.unwrap_err();
        assert!(error.to_string().contains("bring it back"), "{error}");
    }
    assert!(!root.exists());
    std::fs::rename(&away, &root).unwrap();
    storage.put("log/2", "2".into()).await.unwrap();
    assert_eq!(storage.get("log/1").await.unwrap(), "1");
}

#[tokio::test]
async fn temporary_files_are_not_listed_and_not_objects() {
    let (storage, folder) = disk();
    storage.put("data/a", "1".into()).await.unwrap();
    std::fs::write(folder.path().join("data/b#17"), "torn").unwrap();
    assert_eq!(paths(&storage, "data").await, ["data/a"]);
    assert!(storage.get("data/b#17").await.is_err());
}

#[tokio::test]
async fn what_would_not_be_durable_is_refused() {
    let (storage, folder) = disk();
    storage.put("a", "1".into()).await.unwrap();
    let store = storage.object_store();
    let (a, b) = (Path::from("a"), Path::from("b"));
    let update = PutMode::Update(UpdateVersion {
        e_tag: None,
        version: None,
    });
    for error in [
        store.put_multipart(&b).await.map(|_| ()).unwrap_err(),
        store.copy(&a, &b).await.unwrap_err(),
        store.rename(&a, &b).await.unwrap_err(),
        store
            .put_opts(&a, "2".into(), PutOptions::from(update))
            .await
            .map(|_| ())
            .unwrap_err(),
    ] {
        assert!(
            matches!(error, object_store::Error::NotImplemented { .. }),
            "{error}"
        );
    }
    assert_eq!(files(folder.path()), ["a"]);
}
