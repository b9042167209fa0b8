//! Storage in S3, where it is more than the contract of every storage.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tidegate_log::{path, put_data, verify};
use tidegate_storage::{Encryption, S3Options, Storage, StorageOptions};
use tidegate_testkit::{Fault, FaultProxy, Rule, S3};

use crate::support::{commits, in_s3, open, s3_options};

/// A server, a proxy in front of it, and the storage that is reached through it.
pub(crate) fn through_proxy(change: impl FnOnce(&mut S3Options)) -> (Storage, FaultProxy, S3) {
    let s3 = S3::start();
    let proxy = FaultProxy::start(s3.address(), 1);
    let mut options = s3_options(proxy.endpoint());
    change(&mut options.s3);
    (Storage::open(&options).unwrap(), proxy, s3)
}

/// Bytes that are nowhere the same.
pub(crate) fn large(size: usize) -> Bytes {
    let words = (0..size.div_ceil(8) as u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    bytes.truncate(size);
    bytes.into()
}

/// How many requests with this method had this in their query.
pub(crate) fn seen(proxy: &FaultProxy, method: &str, query: &str) -> usize {
    let has = |uri: &str| {
        uri.split_once('?')
            .is_some_and(|(_, found)| found.contains(query))
    };
    proxy
        .seen()
        .iter()
        .filter(|request| request.method.as_str() == method && has(&request.uri.to_string()))
        .count()
}

#[tokio::test]
async fn a_large_file_goes_in_parts_and_is_created_once() {
    let (storage, proxy, s3) = through_proxy(|_| {});
    let bytes = large(20 << 20);
    let put = |bytes: Bytes| put_data(&storage, "events", "data/large", 1, None, bytes);
    let entry = put(bytes.clone()).await.unwrap();
    assert_eq!(
        (entry.bytes, entry.crc32c),
        (20 << 20, crc32c::crc32c(&bytes))
    );
    assert_eq!(seen(&proxy, "PUT", "partNumber="), 3);
    assert_eq!(storage.get("data/large").await.unwrap(), bytes);
    // The same again is put; something else is not, and nothing of it stays.
    put(bytes.clone()).await.unwrap();
    let error = put(large((20 << 20) - 1)).await.unwrap_err();
    assert!(error.is_already_exists(), "{error}");
    assert_eq!(storage.get("data/large").await.unwrap(), bytes);
    assert_eq!(s3.open_uploads(), 0);
}

#[tokio::test]
async fn a_record_never_goes_in_parts_however_large_it_is() {
    let (storage, proxy, s3) = through_proxy(|_| {});
    let bytes = large(20 << 20);
    storage.put(&path::record(7), bytes.clone()).await.unwrap();
    assert_eq!(seen(&proxy, "PUT", "partNumber="), 0);
    assert_eq!(storage.get(&path::record(7)).await.unwrap(), bytes);
    // The condition is on the put itself: who comes second is refused.
    let error = storage.put(&path::record(7), large(21 << 20)).await;
    assert!(error.unwrap_err().is_already_exists());
    assert_eq!(storage.get(&path::record(7)).await.unwrap(), bytes);
    assert_eq!(s3.open_uploads(), 0);
}

#[tokio::test]
async fn a_range_of_a_large_file_is_read_alone() {
    use object_store::ObjectStoreExt;
    let (storage, _s3) = in_s3();
    let bytes = large(6 << 20);
    storage.put("data/large", bytes.clone()).await.unwrap();
    let range = 4_000_000..4_000_100;
    let found = storage
        .object_store()
        .get_range(&"data/large".into(), range)
        .await
        .unwrap();
    assert_eq!(found, bytes.slice(4_000_000..4_000_100));
}

#[tokio::test]
async fn more_objects_than_a_page_has_are_listed() {
    let (storage, proxy, _s3) = through_proxy(|_| {});
    let names: Vec<String> = (1..=2500).map(path::record).collect();
    stream::iter(&names)
        .map(|name| storage.put(name, "x".into()))
        .buffer_unordered(16)
        .try_collect::<()>()
        .await
        .unwrap();
    storage.put("snapshot/other", "x".into()).await.unwrap();
    // Pages whose answers break off are asked for again.
    proxy.inject(
        Rule::new(Fault::ResetBody)
            .method("GET")
            .query("list-type=2"),
    );
    proxy.inject(
        Rule::new(Fault::ResetBody)
            .method("GET")
            .query("continuation-token"),
    );
    let list = async |listing: stream::BoxStream<'static, Result<object_store::ObjectMeta, _>>| {
        let found: Vec<_> = listing.try_collect().await.unwrap();
        found
            .into_iter()
            .map(|object| object.location.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(list(storage.list("log")).await, names);
    assert_eq!(proxy.stats().count(Fault::ResetBody), 2);
    assert_eq!(seen(&proxy, "GET", "list-type=2"), 3 + 2);
    let after = list(storage.list_after("log", &path::record(700))).await;
    assert_eq!(after, names[700..]);
    assert!(list(storage.list("lo")).await.is_empty());
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_read_on() {
    let (storage, proxy, _s3) = through_proxy(|_| {});
    let bytes = large(3 << 20);
    storage.put("data/a", bytes.clone()).await.unwrap();
    proxy.inject(Rule::new(Fault::ResetBody).method("GET").times(3));
    assert_eq!(storage.get("data/a").await.unwrap(), bytes);
    proxy.inject(Rule::new(Fault::ResetBody).method("GET").times(2));
    let pieces: Vec<Bytes> = storage
        .get_stream("data/a")
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(pieces.concat(), bytes);
    assert_eq!(proxy.stats().count(Fault::ResetBody), 5);
}

#[tokio::test]
async fn encryption_is_asked_for_whenever_something_is_put() {
    let key = "arn:aws:kms:eu-central-1:111122223333:key/abc";
    let kms = Encryption::Kms {
        key: Some(key.to_owned()),
        bucket_key: Some(true),
    };
    let with_default_key = Encryption::Kms {
        key: None,
        bucket_key: None,
    };
    let name = |suffix: &str| format!("x-amz-server-side-encryption{suffix}");
    for (encryption, expected) in [
        (Encryption::Bucket, [None, None, None]),
        (Encryption::S3, [Some("AES256"), None, None]),
        (kms, [Some("aws:kms"), Some(key), Some("true")]),
        (with_default_key, [Some("aws:kms"), None, None]),
    ] {
        let (storage, proxy, _s3) = through_proxy(|options| options.encryption = encryption);
        storage.put("log/a", "a".into()).await.unwrap();
        storage.replace("log/a", "b".into()).await.unwrap();
        storage.put("data/large", large(9 << 20)).await.unwrap();
        let mut asked = 0;
        for request in proxy.seen() {
            let query = request.uri.query().unwrap_or_default();
            let begins = match request.method.as_str() {
                "PUT" => !query.contains("partNumber"), // S3 refuses the headers with parts
                "POST" => query.contains("uploads"),
                _ => false,
            };
            let found = ["", "-aws-kms-key-id", "-bucket-key-enabled"].map(|suffix| {
                request
                    .headers
                    .get(name(suffix))
                    .map(|value| value.to_str().unwrap())
            });
            assert_eq!(
                found,
                if begins { expected } else { [None; 3] },
                "{request:?}"
            );
            asked += u32::from(begins);
        }
        assert_eq!(asked, 3);
    }
}

#[tokio::test]
async fn a_wrong_key_and_a_missing_bucket_are_told_and_not_taken_for_an_empty_job() {
    let s3 = S3::start();
    let mut options = s3_options(s3.endpoint());
    options.s3.keys.as_mut().unwrap().secret = "wrong".to_owned();
    let error = open(&Storage::open(&options).unwrap(), 1)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("SignatureDoesNotMatch"),
        "{error}"
    );
    let missing = StorageOptions {
        url: "s3://elsewhere/job".to_owned(),
        ..s3_options(s3.endpoint())
    };
    let error = open(&Storage::open(&missing).unwrap(), 1)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_in_bounded_time() {
    let mut options = s3_options("http://127.0.0.1:1".to_owned());
    options.s3.retry_for = Duration::from_millis(500);
    let started = std::time::Instant::now();
    let error = Storage::open(&options)
        .unwrap()
        .put("a", "a".into())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("s3://tidegate/job/a"), "{error}");
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn jobs_share_a_bucket_and_a_bucket_without_a_prefix_is_a_job() {
    let s3 = S3::start();
    let at = |url: &str| {
        let options = StorageOptions {
            url: url.to_owned(),
            ..s3_options(s3.endpoint())
        };
        Storage::open(&options).unwrap()
    };
    let (one, deep) = (at("s3://tidegate/one/"), at("s3://tidegate/one/b"));
    let whole = at("s3://tidegate");
    for storage in [&one, &deep, &whole] {
        let mut log = open(storage, 1).await.unwrap();
        commits(&mut log, 2).await;
        assert_eq!(log.state().last_seq, 3);
    }
    for storage in [&one, &deep, &whole] {
        let report = verify(storage, &mut |_| {}).await.unwrap();
        assert!(report.is_good() && report.orphans == 0, "{report:?}");
    }
    let file = s3.folder().join("one/b").join(path::record(3));
    assert_eq!(
        std::fs::read(file).unwrap(),
        deep.get(&path::record(3)).await.unwrap()
    );
    assert_eq!(deep.local_path("a"), None);
}
