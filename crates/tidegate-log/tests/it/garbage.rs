//! Garbage collection removes what no record can name any more, and nothing else.

use std::fs::File;
use std::time::{Duration, SystemTime};

use tidegate_base::clock::Clock;
use tidegate_log::{GarbageError, GarbageOptions, GarbageReport, collect_garbage, path, verify};
use tidegate_storage::Storage;

use crate::support::{commits, disk, draft, edit, on_each_storage, open, paths};

on_each_storage! {
    files_that_lost_their_record_go_and_named_ones_stay,
    files_that_may_still_be_committed_stay_however_old_they_are,
    nothing_is_removed_while_the_log_is_not_whole,
}

const GRACE: Duration = Duration::from_secs(3600);

/// Collects as someone would `hours` from now.
async fn collect(
    storage: &Storage,
    hours: u64,
    dry_run: bool,
) -> Result<GarbageReport, GarbageError> {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap() + Duration::from_secs(3600 * hours);
    let clock = Clock::manual(i64::try_from(now.as_micros()).unwrap());
    collect_garbage(
        storage,
        &GarbageOptions {
            grace: GRACE,
            dry_run,
            clock,
        },
    )
    .await
}

async fn files_that_lost_their_record_go_and_named_ones_stay(storage: &Storage) {
    let mut winner = open(storage, 1).await.unwrap();
    let loser = open(storage, 2).await.unwrap();
    let lost = draft(&loser, 10).await.files[0].clone();
    commits(&mut winner, 3).await;
    let before = paths(storage, path::DATA).await;
    assert_eq!(before.len(), 4);

    // Younger than the grace time.
    let report = collect(storage, 0, false).await.unwrap();
    assert_eq!(
        (report.named, report.waiting, report.removed.len()),
        (3, 1, 0)
    );
    // Only looked at.
    let dry = collect(storage, 2, true).await.unwrap();
    assert_eq!(paths(storage, path::DATA).await, before);
    let report = collect(storage, 2, false).await.unwrap();
    assert_eq!(report, dry);
    assert_eq!((report.named, report.waiting), (3, 0));
    assert_eq!(
        (report.removed, report.removed_bytes),
        (vec![lost.path], lost.bytes)
    );
    let report = verify(storage, &mut |_| {}).await.unwrap();
    assert!(report.is_good() && report.orphans == 0);
}

async fn files_that_may_still_be_committed_stay_however_old_they_are(storage: &Storage) {
    let mut log = open(storage, 1).await.unwrap();
    commits(&mut log, 1).await;
    // The commit is tried for days, because the storage fails.
    let slow = draft(&log, 10).await;
    let report = collect(storage, 100, false).await.unwrap();
    assert_eq!((report.waiting, report.removed.len()), (1, 0));
    log.commit(slow).await.unwrap();
    assert!(verify(storage, &mut |_| {}).await.unwrap().is_good());
}

#[tokio::test]
async fn what_is_not_a_data_file_stays() {
    let (storage, folder) = disk();
    let mut log = open(&storage, 1).await.unwrap();
    commits(&mut log, 1).await;
    let others = [
        "data/notes.txt",
        "data/events/other.parquet",
        "data/events/00000000000000000001-9f1c03ab-0.txt",
        "elsewhere/00000000000000000001-9f1c03ab-0.parquet",
        "00000000000000000001-9f1c03ab-0.parquet",
    ];
    for other in others {
        storage.put(other, "keep".into()).await.unwrap();
    }
    std::fs::write(folder.path().join("elsewhere/a#1"), "keep").unwrap();
    let report = collect(&storage, 100, false).await.unwrap();
    assert_eq!((report.removed.len(), report.temporary), (0, 0));
    for other in others {
        storage.get(other).await.unwrap();
    }
    assert!(folder.path().join("elsewhere/a#1").exists());
}

#[tokio::test]
async fn stale_temporary_files_go() {
    let (storage, folder) = disk();
    let mut log = open(&storage, 1).await.unwrap();
    commits(&mut log, 1).await;
    let temporary = |name: &str| folder.path().join(name);
    let stale = [
        "log/00000000000000000003.json#17",
        "data/events/a.parquet#18446744073709551615",
    ];
    let keep = ["log/a#b", "log/a#", "data/events/fresh#1"];
    for name in stale.iter().chain(&keep) {
        std::fs::write(temporary(name), "torn").unwrap();
    }
    let tomorrow = SystemTime::now() + Duration::from_secs(24 * 3600);
    File::options()
        .write(true)
        .open(temporary(keep[2]))
        .unwrap()
        .set_modified(tomorrow)
        .unwrap();

    assert_eq!(collect(&storage, 0, false).await.unwrap().temporary, 0);
    assert_eq!(collect(&storage, 2, true).await.unwrap().temporary, 2);
    assert!(stale.iter().all(|name| temporary(name).exists()));
    assert_eq!(collect(&storage, 2, false).await.unwrap().temporary, 2);
    assert!(!stale.iter().any(|name| temporary(name).exists()));
    assert!(keep.iter().all(|name| temporary(name).exists()));
}

async fn nothing_is_removed_while_the_log_is_not_whole(storage: &Storage) {
    let mut winner = open(storage, 1).await.unwrap();
    let loser = open(storage, 2).await.unwrap();
    draft(&loser, 10).await;
    commits(&mut winner, 3).await;
    let before = paths(storage, path::DATA).await;

    let three = storage.get(&path::record(3)).await.unwrap();
    storage.delete(&path::record(3)).await.unwrap();
    let error = collect(storage, 2, false).await.unwrap_err();
    assert!(
        matches!(
            error,
            GarbageError::Hole {
                missing: 3,
                last: 4
            }
        ),
        "{error}"
    );
    storage.put(&path::record(3), three).await.unwrap();
    edit(storage, &path::record(2), "\"read\":10", "\"read\":11").await;
    let error = collect(storage, 2, false).await.unwrap_err();
    assert!(
        error.to_string().starts_with("nothing was removed"),
        "{error}"
    );
    assert_eq!(paths(storage, path::DATA).await, before);
}

#[tokio::test]
async fn an_empty_storage_has_no_garbage() {
    let report = collect(&Storage::open(&"memory:".into()).unwrap(), 2, false)
        .await
        .unwrap();
    assert_eq!(report, GarbageReport::default());
}
