//! Recovery: with and without snapshots, and from logs that someone damaged.

use std::time::Duration;

use tidegate_log::{
    CommitError, CommitLog, FoldError, JobState, OpenError, OpenOptions, Record, path, recover,
};

use tidegate_storage::Storage;

use crate::support::{NOW, commits, disk, draft, edit, on_each_storage, open, options, paths};

on_each_storage! {
    an_empty_log_is_founded_once,
    a_restart_stands_where_the_log_stood,
    snapshots_change_nothing_but_the_way_to_the_state,
    broken_snapshots_are_passed_over,
    a_changed_record_refuses_to_start_and_is_named,
    a_cut_record_refuses_to_start_and_is_named,
    a_missing_record_is_named,
    a_replaced_record_is_noticed_although_its_checksum_fits,
    a_log_that_lost_its_end_is_noticed_by_its_snapshot,
}

const KEEP: Duration = Duration::from_secs(600);

async fn with_snapshots(storage: &Storage, every: u64) -> CommitLog {
    let options = OpenOptions {
        snapshot_every: every,
        ..options(1)
    };
    CommitLog::open(storage.clone(), options).await.unwrap()
}

async fn state(storage: &Storage) -> Result<Option<JobState>, OpenError> {
    recover(storage, KEEP).await
}

async fn an_empty_log_is_founded_once(storage: &Storage) {
    assert_eq!(state(storage).await.unwrap(), None);
    let first = open(storage, 1).await.unwrap();
    let second = open(storage, 2).await.unwrap();
    assert_eq!(first.state(), second.state());
    assert_eq!((first.state().last_seq, first.state().commits), (1, 0));
    assert_eq!(paths(storage, path::LOG).await, [path::record(1)]);
}

async fn a_restart_stands_where_the_log_stood(storage: &Storage) {
    let mut log = open(storage, 1).await.unwrap();
    commits(&mut log, 5).await;
    let mut again = open(storage, 2).await.unwrap();
    assert_eq!(again.state(), log.state());
    commits(&mut again, 1).await;
    assert_eq!(again.state().last_seq, 7);
}

async fn snapshots_change_nothing_but_the_way_to_the_state(storage: &Storage) {
    let mut log = with_snapshots(storage, 4).await;
    for count in 1..=20_u64 {
        commits(&mut log, 1).await;
        assert_eq!(state(storage).await.unwrap().as_ref(), Some(log.state()));
        let newest = (count + 1) / 4 * 4;
        let kept = [newest.saturating_sub(4), newest]
            .into_iter()
            .filter(|seq| *seq > 0);
        let expected: Vec<_> = kept.map(path::snapshot).collect();
        assert_eq!(paths(storage, path::SNAPSHOT).await, expected);
    }
    for snapshot in paths(storage, path::SNAPSHOT).await {
        storage.delete(&snapshot).await.unwrap();
    }
    assert_eq!(state(storage).await.unwrap().as_ref(), Some(log.state()));
}

#[tokio::test]
async fn a_snapshot_spares_the_records_before_it() {
    let storage = Storage::open(&"memory:".into()).unwrap();
    let mut log = with_snapshots(&storage, 4).await;
    commits(&mut log, 10).await;
    storage.delete(&path::record(3)).await.unwrap();
    assert_eq!(state(&storage).await.unwrap().as_ref(), Some(log.state()));
}

async fn broken_snapshots_are_passed_over(storage: &Storage) {
    let mut log = with_snapshots(storage, 4).await;
    commits(&mut log, 10).await;
    for broken in [8, 4] {
        edit(
            storage,
            &path::snapshot(broken),
            "\"events\":",
            "\"event\":",
        )
        .await;
        assert_eq!(state(storage).await.unwrap().as_ref(), Some(log.state()));
    }
    storage
        .replace(&path::snapshot(8), "".into())
        .await
        .unwrap();
    storage
        .replace(&path::snapshot(4), vec![0xff; 10].into())
        .await
        .unwrap();
    assert_eq!(state(storage).await.unwrap().as_ref(), Some(log.state()));
}

#[tokio::test]
async fn a_longer_horizon_than_a_snapshot_has_makes_the_log_be_read() {
    let storage = Storage::open(&"memory:".into()).unwrap();
    // Watermarks follow within a millisecond, so a short horizon forgets files and a long one does
    // not.
    let short = OpenOptions {
        keep: Duration::from_micros(2),
        snapshot_every: 4,
        ..options(1)
    };
    let mut log = CommitLog::open(storage.clone(), short).await.unwrap();
    for n in 0..10 {
        let mut draft = draft(&log, 10).await;
        draft.watermarks = [(0, draft.files[0].event_time.unwrap().1)].into();
        log.commit(draft).await.unwrap();
        assert!(log.state().recent_files.len() <= 3, "{n}");
    }
    let long = recover(&storage, KEEP).await.unwrap().unwrap();
    assert_eq!(long.recent_files.len(), 10);
    let none = recover(&storage, Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(none.recent_files.len(), 1);
}

async fn a_changed_record_refuses_to_start_and_is_named(storage: &Storage) {
    let mut log = with_snapshots(storage, 4).await;
    commits(&mut log, 5).await;
    edit(storage, &path::record(6), "\"read\":10", "\"read\":11").await;
    let error = open(storage, 2).await.unwrap_err();
    assert!(matches!(error, OpenError::Read(_)), "{error}");
    let text = error.to_string();
    assert!(
        text.starts_with("record 6 (log/00000000000000000006.json)"),
        "{text}"
    );
    assert!(
        text.contains("checksum") && text.contains("`tidegate log verify`"),
        "{text}"
    );
}

async fn a_cut_record_refuses_to_start_and_is_named(storage: &Storage) {
    let mut log = open(storage, 1).await.unwrap();
    commits(&mut log, 3).await;
    let whole = storage.get(&path::record(4)).await.unwrap();
    for end in [0, 1, whole.len() / 2, whole.len() - 1] {
        storage
            .replace(&path::record(4), whole.slice(..end))
            .await
            .unwrap();
        let text = open(storage, 2).await.unwrap_err().to_string();
        assert!(text.starts_with("record 4 "), "{text}");
    }
    // Nor does a writer that is running take it for its own or for someone else's.
    let mut late = open_before(storage, &whole).await;
    storage
        .replace(&path::record(4), "torn".into())
        .await
        .unwrap();
    let draft = draft(&late, 10).await;
    let error = late.commit(draft).await.unwrap_err();
    assert!(matches!(error, CommitError::Read(_)), "{error}");
}

/// A log that was opened when record 4 was not there yet.
async fn open_before(storage: &Storage, whole: &bytes::Bytes) -> CommitLog {
    storage.delete(&path::record(4)).await.unwrap();
    let log = open(storage, 7).await.unwrap();
    storage.put(&path::record(4), whole.clone()).await.unwrap();
    log
}

async fn a_missing_record_is_named(storage: &Storage) {
    let mut log = open(storage, 1).await.unwrap();
    commits(&mut log, 5).await;
    for missing in [3, 2, 1] {
        storage.delete(&path::record(missing)).await.unwrap();
        let error = open(storage, 2).await.unwrap_err();
        let OpenError::Hole {
            missing: named,
            present,
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!((named, present), (missing, 4));
        let text = error.to_string();
        assert!(text.contains(&path::record(missing)), "{text}");
    }
}

async fn a_replaced_record_is_noticed_although_its_checksum_fits(storage: &Storage) {
    let mut log = open(storage, 1).await.unwrap();
    commits(&mut log, 3).await;
    let mut record = Record::decode(&storage.get(&path::record(3)).await.unwrap()).unwrap();
    record.written_at += 1;
    storage
        .replace(&path::record(3), record.seal().1)
        .await
        .unwrap();
    let text = open(storage, 2).await.unwrap_err().to_string();
    assert!(
        text.starts_with("record 4 was not written after record 3"),
        "{text}"
    );
}

#[tokio::test]
async fn a_record_in_another_ones_place_is_noticed() {
    let (storage, _folder) = disk();
    let mut log = open(&storage, 1).await.unwrap();
    commits(&mut log, 3).await;
    let three = storage.get(&path::record(3)).await.unwrap();
    storage.replace(&path::record(4), three).await.unwrap();
    let text = open(&storage, 2).await.unwrap_err().to_string();
    assert!(
        text.starts_with("log/00000000000000000004.json holds record 3"),
        "{text}"
    );
}

#[tokio::test]
async fn a_record_that_breaks_an_invariant_is_refused_although_its_checksum_fits() {
    let (storage, _folder) = disk();
    let mut log = open(&storage, 1).await.unwrap();
    commits(&mut log, 3).await;
    let mut record = Record::decode(&storage.get(&path::record(4)).await.unwrap()).unwrap();
    record.counts.read = 11;
    storage
        .replace(&path::record(4), record.seal().1)
        .await
        .unwrap();
    let error = open(&storage, 2).await.unwrap_err();
    assert!(
        matches!(error, OpenError::Fold(FoldError { seq: 4, .. })),
        "{error}"
    );
}

async fn a_log_that_lost_its_end_is_noticed_by_its_snapshot(storage: &Storage) {
    let mut log = with_snapshots(storage, 4).await;
    commits(&mut log, 3).await;
    storage.delete(&path::record(4)).await.unwrap();
    let error = open(storage, 2).await.unwrap_err();
    assert!(
        matches!(error, OpenError::SnapshotAhead { seq: 4 }),
        "{error}"
    );
    // On purpose: then the snapshots go too.
    storage.delete(&path::snapshot(4)).await.unwrap();
    assert_eq!(open(storage, 2).await.unwrap().state().last_seq, 3);
}

/// A commit a minute: what a start reads, and what a snapshot holds, does not grow with the log.
#[tokio::test]
async fn a_month_of_commits_opens_as_an_hour_of_them_does() {
    const MINUTE: i64 = 60_000_000;
    let storage = Storage::open(&"memory:".into()).unwrap();
    let mut log = with_snapshots(&storage, 100).await;
    let mut sizes = Vec::new();
    for minute in 1..=43_200_i64 {
        let mut draft = draft(&log, 10).await;
        let time = NOW + minute * MINUTE;
        draft.files[0].event_time = Some((time, time));
        draft.watermarks = [(0, time)].into();
        log.commit(draft).await.unwrap();
        if log.state().last_seq.is_multiple_of(1000) {
            let newest = paths(&storage, path::SNAPSHOT).await.pop().unwrap();
            sizes.push(storage.get(&newest).await.unwrap().len());
        }
        assert!(log.state().recent_files.len() <= 12);
    }
    // Numbers get digits.
    assert!(sizes.iter().all(|size| *size < sizes[0] + 200), "{sizes:?}");
    let before = log.state().clone();
    // None of these is needed any more to go on.
    for seq in (2..43_000).step_by(97) {
        storage.delete(&path::record(seq)).await.unwrap();
    }
    assert_eq!(open(&storage, 2).await.unwrap().state(), &before);
}
