//! A storage that does not keep two writers apart is refused, before anything is written there.

use std::time::{Duration, Instant, SystemTime};

use tidegate_base::clock::Clock;
use tidegate_log::probe::{Careless, probe};
use tidegate_log::{GarbageOptions, OpenError, collect_garbage, path};
use tidegate_storage::Storage;
use tidegate_testkit::{Conditions, Fault, Rule, S3};

use crate::s3::through_proxy;
use crate::s3_faults::OF_PUTS;
use crate::support::{commits, in_s3, on_each_storage, open, paths, s3_options};

on_each_storage! {
    a_storage_that_creates_once_is_taken_and_nothing_stays_of_the_probe,
}

async fn a_storage_that_creates_once_is_taken_and_nothing_stays_of_the_probe(storage: &Storage) {
    for _ in 0..3 {
        assert_eq!(probe(storage).await.unwrap(), None);
    }
    let mut log = open(storage, 1).await.unwrap();
    commits(&mut log, 2).await;
    open(storage, 2).await.unwrap();
    assert_eq!(paths(storage, "").await.len(), 3 + 2, "records and data");
}

fn storage_on(s3: &S3) -> Storage {
    Storage::open(&s3_options(s3.endpoint())).unwrap()
}

#[track_caller]
fn check_refused(error: &OpenError, s3: &S3, says: &str) {
    assert!(matches!(error, OpenError::Careless { .. }), "{error:?}");
    let (text, endpoint) = (error.to_string(), s3.endpoint());
    for part in [
        endpoint.as_str(),
        "s3://tidegate/job",
        says,
        "docs/configuration.md",
    ] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_ignores_the_condition_is_refused_when_a_job_is_founded() {
    let s3 = S3::start_with(Conditions::Ignored);
    let storage = storage_on(&s3);
    assert_eq!(probe(&storage).await.unwrap(), Some(Careless::Replaces));
    let error = open(&storage, 1).await.unwrap_err();
    check_refused(&error, &s3, "it replaces an object that is there");
    assert!(paths(&storage, "").await.is_empty(), "nothing is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_keeps_the_condition_only_alone_is_refused() {
    let s3 = S3::start_with(Conditions::KeptAlone);
    let storage = storage_on(&s3);
    storage.put("alone", "a".into()).await.unwrap();
    let error = storage.put("alone", "b".into()).await.unwrap_err();
    assert!(error.is_already_exists(), "{error}");
    let error = open(&storage, 1).await.unwrap_err();
    check_refused(&error, &s3, "at the same time, it told ");
    assert_eq!(paths(&storage, "").await, ["alone"], "nothing is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_log_that_moved_to_a_server_that_ignores_the_condition_is_not_opened() {
    let (storage, _kept) = in_s3();
    commits(&mut open(&storage, 1).await.unwrap(), 2).await;
    let s3 = S3::start_with(Conditions::Ignored);
    let moved = storage_on(&s3);
    for name in paths(&storage, "").await {
        let bytes = storage.get(&name).await.unwrap();
        moved.replace(&name, bytes).await.unwrap();
    }
    let error = open(&moved, 2).await.unwrap_err();
    check_refused(&error, &s3, "it replaces an object that is there");
    // Who only reads does not ask for more than reading needs.
    let read = tidegate_log::read_records(&moved, 1, 10).await.unwrap();
    assert_eq!(read.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_happens_to_its_puts_a_server_that_creates_once_is_taken() {
    let at = format!("/{}/job/{}/", S3::BUCKET, path::PROBE);
    for fault in OF_PUTS {
        let (storage, proxy, _s3) = through_proxy(|_| {});
        proxy.inject(Rule::new(fault).method("PUT").path(&at).times(5));
        open(&storage, 1).await.unwrap();
        assert_eq!(proxy.stats().count(fault), 5, "{fault:?}");
    }
}

/// Some servers answer `501` to `POST ?delete`, which a client takes for a fault that passes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_cannot_delete_holds_up_no_start() {
    let fault = Fault::InternalError;
    let (storage, proxy, _s3) = through_proxy(|s3| s3.retry_for = Duration::from_secs(60));
    proxy.inject(Rule::new(fault).method("POST").query("delete").times(1000));
    for writer in 1..3 {
        let began = Instant::now();
        open(&storage, writer).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    assert!(proxy.stats().count(fault) > 0);
}

#[tokio::test]
async fn what_a_killed_process_left_of_its_probe_is_garbage() {
    let (storage, _s3) = in_s3();
    open(&storage, 1).await.unwrap();
    let left = format!("{}/left", path::PROBE);
    storage.put(&left, "x".into()).await.unwrap();
    let collect = async |hours| {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap()
            + Duration::from_secs(3600 * u64::try_from(hours).unwrap());
        let options = GarbageOptions {
            grace: Duration::from_secs(3600),
            dry_run: false,
            clock: Clock::manual(i64::try_from(now.as_micros()).unwrap()),
        };
        collect_garbage(&storage, &options).await.unwrap().removed
    };
    assert!(collect(0).await.is_empty(), "its process may live");
    assert_eq!(collect(2).await, [left]);
}
