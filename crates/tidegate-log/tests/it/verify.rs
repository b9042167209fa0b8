//! Verification lists all that is wrong.

use tidegate_log::{Problem, Record, Storage, VerifyProgress, VerifyReport, path, verify};

use crate::support::{commits, draft, edit, on_each_storage, open};

on_each_storage! {
    a_whole_log_is_good,
    every_damage_is_listed_at_once,
    orphans_and_useless_snapshots_are_told_but_are_no_problem,
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
    assert_eq!(*seven, Problem::MissingRecord { seq: 7 });
    assert!(matches!(nine, Problem::BadRecord { seq: 9, .. }), "{nine}");
    // Files of records that are gone are orphans.
    assert_eq!(report.orphans, 2);
}

async fn orphans_and_useless_snapshots_are_told_but_are_no_problem(storage: &Storage) {
    let mut log = open(storage, 1).await.unwrap();
    commits(&mut log, 2).await;
    let abandoned = draft(&log, 10).await;
    storage
        .put(&path::snapshot(2), "broken".into())
        .await
        .unwrap();
    let report = report(storage).await;
    assert!(report.is_good(), "{:?}", report.problems);
    assert_eq!(
        (report.orphans, report.orphan_bytes),
        (1, abandoned.files[0].bytes)
    );
    assert_eq!(report.snapshots_unusable, [2]);
}
