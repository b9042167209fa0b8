//! The process is killed at each failpoint and at random instants; afterwards the log is whole.
//!
//! The test binary starts itself: the child runs only `crash::child`, which commits until it is
//! killed or done.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use tidegate_base::clock::Clock;
use tidegate_base::failpoint;
use tidegate_log::{CommitLog, GarbageOptions, OpenOptions, collect_garbage, verify};
use tidegate_storage::{Storage, StorageOptions};
use tidegate_testkit::S3;

use crate::support::{commits, files, open, options, s3_options};

/// Tells the child where to commit to.
const URL: &str = "TIDEGATE_LOG_CRASH_URL";

/// Tells the child where S3 is. Its credentials are in its environment, where the AWS chain finds
/// them.
const ENDPOINT: &str = "TIDEGATE_LOG_CRASH_ENDPOINT";

/// How many records the child makes the log have.
const RECORDS: u64 = 10;

#[tokio::test]
async fn child() {
    let Ok(url) = std::env::var(URL) else {
        return;
    };
    let _failpoints = failpoint::setup();
    let mut place = StorageOptions::new(url);
    place.s3.endpoint = std::env::var(ENDPOINT).ok();
    place.s3.allow_http = true;
    let storage = Storage::open(&place).unwrap();
    let options = OpenOptions {
        snapshot_every: 3,
        ..options(std::process::id())
    };
    let mut log = CommitLog::open(storage, options).await.unwrap();
    while log.state().last_seq < RECORDS {
        commits(&mut log, 1).await;
    }
}

fn start(place: &StorageOptions, failpoints: &str) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["crash::child", "--exact"])
        .env(URL, &place.url)
        .env("FAILPOINTS", failpoints)
        .stdout(Stdio::null());
    if let Some(endpoint) = &place.s3.endpoint {
        command.env(ENDPOINT, endpoint).envs(S3::environment());
    }
    command.spawn().unwrap()
}

fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(libc::SIGKILL)
}

fn at(folder: &Path) -> StorageOptions {
    StorageOptions::new(format!("file:{}", folder.display()))
}

/// Lets a child finish what was begun, and checks that everything is as if nothing had happened.
async fn check_whole(place: &StorageOptions) {
    assert!(start(place, "").wait().unwrap().success());
    let storage = Storage::open(place).unwrap();
    let log = open(&storage, 0).await.unwrap();
    assert_eq!(
        (log.state().last_seq, log.state().totals.read),
        (RECORDS, 10 * (RECORDS - 1))
    );
    assert_eq!(log.state().partitions[&0].offset, 10 * (RECORDS as i64 - 1));
    let options = GarbageOptions {
        grace: Duration::ZERO,
        dry_run: false,
        clock: Clock::System,
    };
    let garbage = collect_garbage(&storage, &options).await.unwrap();
    assert_eq!((garbage.named, garbage.waiting), (RECORDS - 1, 0));
    let report = verify(&storage, &mut |_| {}).await.unwrap();
    assert!(report.is_good(), "{:?}", report.problems);
    assert_eq!((report.orphans, &*report.snapshots_unusable), (0, &[][..]));
    if let Some(folder) = storage.local_root() {
        let files = files(folder);
        assert!(!files.iter().any(|name| name.contains('#')), "{files:?}");
    }
}

/// The failpoints, and how often a child that is not disturbed arrives at each.
const FAILPOINTS: [(&str, u64); 6] = [
    ("log.put.before", RECORDS),
    ("log.put.after", RECORDS),
    ("data.put.before", RECORDS - 1),
    ("data.put.after", RECORDS - 1),
    ("snapshot.before", RECORDS / 3),
    ("snapshot.after", RECORDS / 3),
];

#[tokio::test]
async fn killed_at_each_failpoint_the_log_is_whole() {
    for (point, hits) in FAILPOINTS {
        for hit in 0..hits {
            let folder = tempfile::tempdir().unwrap();
            let place = at(folder.path());
            let failpoints = format!("{point}={hit}*off->return");
            let status = start(&place, &failpoints).wait().unwrap();
            assert!(was_killed(status), "{point} {hit}: {status}");
            check_whole(&place).await;
        }
    }
}

#[tokio::test]
async fn killed_at_any_instant_the_log_is_whole() {
    for micros in (0..100).map(|n| n * 300) {
        let folder = tempfile::tempdir().unwrap();
        let place = at(folder.path());
        let mut child = start(&place, "");
        tokio::time::sleep(Duration::from_micros(micros)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        check_whole(&place).await;
    }
}

#[tokio::test]
async fn killed_while_it_writes_to_s3_the_log_is_whole() {
    let s3 = S3::start();
    for (n, (point, hits)) in FAILPOINTS.into_iter().enumerate() {
        for hit in [0, hits - 1] {
            let mut place = s3_options(s3.endpoint());
            place.url = format!("s3://{}/{n}-{hit}", S3::BUCKET);
            let failpoints = format!("{point}={hit}*off->return");
            let status = start(&place, &failpoints).wait().unwrap();
            assert!(was_killed(status), "{point} {hit}: {status}");
            check_whole(&place).await;
        }
    }
    for millis in (0..20).map(|n| n * 5) {
        let mut place = s3_options(s3.endpoint());
        place.url = format!("s3://{}/after-{millis}", S3::BUCKET);
        let mut child = start(&place, "");
        tokio::time::sleep(Duration::from_millis(millis)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        check_whole(&place).await;
    }
}
