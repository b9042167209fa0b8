//! The process is killed at each failpoint and at random instants; afterwards the log is whole.
//!
//! The test binary starts itself: the child runs only `crash::child`, which commits until it is killed
//! or done.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use tidegate_core::clock::Clock;
use tidegate_log::{
    CommitLog, GarbageOptions, OpenOptions, Storage, collect_garbage, failpoint, verify,
};

use crate::support::{commits, files, open, options};

/// Tells the child which folder to commit to.
const FOLDER: &str = "TIDEGATE_LOG_CRASH_FOLDER";

/// How many records the child makes the log have.
const RECORDS: u64 = 10;

#[tokio::test]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let _failpoints = failpoint::setup();
    let storage = Storage::open(&format!("file:{folder}")).unwrap();
    let options = OpenOptions {
        snapshot_every: 3,
        ..options(std::process::id())
    };
    let mut log = CommitLog::open(storage, options).await.unwrap();
    while log.state().last_seq < RECORDS {
        commits(&mut log, 1).await;
    }
}

fn start(folder: &Path, failpoints: &str) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact"])
        .env(FOLDER, folder)
        .env("FAILPOINTS", failpoints)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(libc::SIGKILL)
}

/// Lets a child finish what was begun, and checks that everything is as if nothing had happened.
async fn check_whole(folder: &Path) {
    assert!(start(folder, "").wait().unwrap().success());
    let storage = Storage::open(&format!("file:{}", folder.display())).unwrap();
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
    assert!(
        !files(folder).iter().any(|name| name.contains('#')),
        "{:?}",
        files(folder)
    );
}

#[tokio::test]
async fn killed_at_each_failpoint_the_log_is_whole() {
    for (point, hits) in [
        ("log.put.before", RECORDS),
        ("log.put.after", RECORDS),
        ("data.put.before", RECORDS - 1),
        ("data.put.after", RECORDS - 1),
        ("snapshot.before", RECORDS / 3),
        ("snapshot.after", RECORDS / 3),
    ] {
        for hit in 0..hits {
            let folder = tempfile::tempdir().unwrap();
            let status = start(folder.path(), &format!("{point}={hit}*off->return"))
                .wait()
                .unwrap();
            assert!(was_killed(status), "{point} {hit}: {status}");
            check_whole(folder.path()).await;
        }
    }
}

#[tokio::test]
async fn killed_at_any_instant_the_log_is_whole() {
    for micros in (0..100).map(|n| n * 300) {
        let folder = tempfile::tempdir().unwrap();
        let mut child = start(folder.path(), "");
        tokio::time::sleep(Duration::from_micros(micros)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        check_whole(folder.path()).await;
    }
}
