//! Verification lists all that is wrong.

use tidegate_log::{
    CommitLog, OpenOptions, Problem, Record, VerifyProgress, VerifyReport, path, verify,
};

use tidegate_storage::Storage;

use crate::support::{commits, draft, edit, on_each_storage, open, options};

on_each_storage! {
    a_whole_log_is_good,
    every_damage_is_listed_at_once,
    orphans_and_useless_snapshots_are_told_but_are_no_problem,
    what_opening_refuses_is_a_problem,
}

async fn report(storage: &Storage) -> VerifyReport {
    verify(storage, &mut |_| {}).await.unwrap()
}

async fn a_whole_log_is_good(storage: &Storage) {
    let mut log = open(storage, 1).await.unwrap();
    commits(&mut log, 5).await;
    let mut seen = Vec::new();
    let report = verify(storage, &mut |progress: &VerifyProgress| {
        seen.push(*progress)
    })
    .await
    .unwrap();
    assert!(report.is_good(), "{:?}", report.problems);
    assert_eq!(
        (
            report.progress.records,
            report.progress.records_total,
            report.progress.files
        ),
        (6, 6, 5)
    );
    assert_eq!((report.orphans, report.orphan_bytes), (0, 0));
    assert_eq!(report.state.unwrap().totals, log.state().totals);
    assert_eq!(seen.len(), 6);
    assert_eq!(seen.last(), Some(&report.progress));
}

#[tokio::test]
async fn an_empty_log_is_good() {
    let report = report(&Storage::open(&"memory:".into()).unwrap()).await;
    assert!(report.is_good() && report.state.is_none());
}

async fn every_damage_is_listed_at_once(storage: &Storage) {
    let mut log = open(storage, 1).await.unwrap();
    let records = commits(&mut log, 8).await;
    let file = |seq: usize| records[seq - 2].files[0].clone();
    storage.delete(&file(2).path).await.unwrap();
    storage
        .replace(&file(3).path, "short".into())
        .await
        .unwrap();
    let mut bytes = storage.get(&file(4).path).await.unwrap().to_vec();
    bytes[0] ^= 1;
    let found = crc32c::crc32c(&bytes);
    storage.replace(&file(4).path, bytes.into()).await.unwrap();
    edit(storage, &path::record(5), "\"read\":10", "\"read\":11").await;
    storage.delete(&path::record(7)).await.unwrap();
    let mut nine = Record::decode(&storage.get(&path::record(9)).await.unwrap()).unwrap();
    nine.counts.read = 11;
    storage
        .replace(&path::record(9), nine.seal().1)
        .await
        .unwrap();

    let report = report(storage).await;
    assert_eq!(
        (
            report.is_good(),
            report.problem_count,
            report.state.is_none()
        ),
        (false, 6, true)
    );
    let [two, three, four, five, seven, nine] = &report.problems[..] else {
        panic!("{:?}", report.problems)
    };
    assert_eq!(
        *two,
        Problem::MissingFile {
            seq: 2,
            path: file(2).path
        }
    );
    let expected = file(3).bytes;
    assert_eq!(
        *three,
        Problem::Size {
            seq: 3,
            path: file(3).path,
            expected,
            found: 5
        }
    );
    let expected = file(4).crc32c;
    assert_eq!(
        *four,
        Problem::Checksum {
            seq: 4,
            path: file(4).path,
            expected,
            found
        }
    );
    assert!(matches!(five, Problem::BadRecord { seq: 5, .. }), "{five}");
    let text = five.to_string();
    let begin = "record 5: log/00000000000000000005.json cannot be used: ";
    assert!(
        text.starts_with(begin) && !text.contains("log verify"),
        "{text}"
    );
    assert_eq!(*seven, Problem::MissingRecord { seq: 7 });
    assert!(matches!(nine, Problem::BadRecord { seq: 9, .. }), "{nine}");
    // Files of records that are gone, or cannot be read, are not garbage.
    let bytes = file(5).bytes + file(7).bytes;
    assert_eq!((report.orphans, report.ahead), (0, 0));
    assert_eq!((report.unread, report.unread_bytes), (2, bytes));
}

async fn orphans_and_useless_snapshots_are_told_but_are_no_problem(storage: &Storage) {
    let mut log = open(storage, 1).await.unwrap();
    commits(&mut log, 2).await;
    let abandoned = draft(&log, 10).await.files[0].bytes;
    storage
        .put(&path::snapshot(2), "broken".into())
        .await
        .unwrap();
    // Its record may still come.
    let before = report(storage).await;
    assert!(before.is_good(), "{:?}", before.problems);
    assert_eq!((before.ahead, before.ahead_bytes), (1, abandoned));
    assert_eq!((before.orphans, before.unread), (0, 0));
    // It came, from somebody else.
    let mut other = open(storage, 2).await.unwrap();
    commits(&mut other, 1).await;
    let after = report(storage).await;
    assert!(after.is_good(), "{:?}", after.problems);
    assert_eq!((after.orphans, after.orphan_bytes), (1, abandoned));
    assert_eq!((after.ahead, after.unread), (0, 0));
    assert_eq!(after.snapshots_unusable, [2]);
}

/// What opening the log refuses is a problem here, and the other way round.
async fn what_opening_refuses_is_a_problem(storage: &Storage) {
    let with_snapshots = OpenOptions {
        snapshot_every: 2,
        ..options(1)
    };
    let mut log = CommitLog::open(storage.clone(), with_snapshots)
        .await
        .unwrap();
    commits(&mut log, 5).await;
    let last = log.state().last_seq;
    assert_eq!(last, 6);
    for seq in 1..=last {
        let good = storage.get(&path::record(seq)).await.unwrap();
        let cut = good.slice(..good.len() / 2);
        for bad in [None, Some(cut)] {
            match bad.clone() {
                None => storage.delete(&path::record(seq)).await.unwrap(),
                Some(bad) => storage.replace(&path::record(seq), bad).await.unwrap(),
            }
            let opened = open(storage, 2).await;
            let report = report(storage).await;
            // A snapshot makes recovery pass over what is before it; verification passes over
            // nothing.
            if let Err(error) = &opened {
                assert!(!report.is_good(), "{seq} {bad:?}: {error}");
            }
            assert!(!report.is_good(), "{seq} {bad:?}");
            storage
                .replace(&path::record(seq), good.clone())
                .await
                .unwrap();
        }
    }
    let report = report(storage).await;
    assert!(report.is_good(), "{:?}", report.problems);
}

#[tokio::test]
async fn a_newest_record_that_was_moved_away_is_noticed_by_its_snapshot() {
    let storage = Storage::open(&"memory:".into()).unwrap();
    let with_snapshots = OpenOptions {
        snapshot_every: 3,
        ..options(1)
    };
    let mut log = CommitLog::open(storage.clone(), with_snapshots)
        .await
        .unwrap();
    commits(&mut log, 2).await;
    storage.delete(&path::record(3)).await.unwrap();
    let report = report(&storage).await;
    assert_eq!(report.problems, [Problem::SnapshotAhead { seq: 3 }]);
    assert_eq!((report.ahead, report.orphans), (1, 0));
    assert!(open(&storage, 2).await.is_err());
}
