//! Committing: races, ambiguous failures, drafts that break an invariant.

use tidegate_base::clock::Clock;
use tidegate_log::{
    CommitError, CommitLog, OpenError, OpenOptions, RecordFault, path, read_records,
};
use tidegate_storage::Storage;

use crate::support::{self, Faulty, NOW, commits, draft, on_each_storage, open, options};

on_each_storage! {
    commits_are_records_in_order,
    the_slower_of_two_writers_learns_who_won_and_nothing_is_doubled,
    of_many_writers_that_race_for_each_record_exactly_one_wins,
    a_draft_that_breaks_an_invariant_is_never_written,
}

async fn commits_are_records_in_order(storage: &Storage) {
    let mut log = open(storage, 1).await.unwrap();
    let written = commits(&mut log, 3).await;
    let read = read_records(storage, 2, 100).await.unwrap();
    assert_eq!(read, written);
    assert_eq!(
        read.iter().map(|record| record.seq).collect::<Vec<_>>(),
        [2, 3, 4]
    );
    assert_eq!(
        (&*read[0].writer, read[0].written_at),
        ("host-1234-00000001", NOW)
    );
    assert_eq!(log.state().totals.events, 30);
    assert_eq!(log.state().partitions[&0].offset, 30);
    assert_eq!(read_records(storage, 3, 1).await.unwrap(), written[1..2]);
    assert_eq!(read_records(storage, 5, 100).await.unwrap(), []);
}

#[tokio::test]
async fn many_records_are_read_in_order() {
    let storage = Storage::open(&"memory:".into()).unwrap();
    let mut log = open(&storage, 1).await.unwrap();
    commits(&mut log, 70).await;
    for max in [1, 2, 15, 16, 17, 31, 70, 71, 1000] {
        let read = read_records(&storage, 1, max).await.unwrap();
        let seqs: Vec<u64> = read.iter().map(|record| record.seq).collect();
        assert_eq!(seqs, (1..=max.min(71) as u64).collect::<Vec<_>>());
    }
}

async fn the_slower_of_two_writers_learns_who_won_and_nothing_is_doubled(storage: &Storage) {
    let mut one = open(storage, 1).await.unwrap();
    let mut two = open(storage, 2).await.unwrap();
    assert_eq!(one.state().job, two.state().job);
    commits(&mut one, 1).await;
    let draft = draft(&two, 10).await;
    let error = two.commit(draft.clone()).await.unwrap_err();
    let CommitError::OtherWriter {
        seq: 2,
        ref writer,
        written_at: NOW,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(writer, "host-1234-00000001");
    assert!(!error.can_retry());
    assert_eq!(
        error.to_string(),
        "another process writes to this job: record 2 was committed by host-1234-00000001 at \
         2026-11-23T05:00:00.000Z. This process stops so that nothing is doubled; let only one of them run"
    );
    // However often it tries.
    assert!(matches!(
        two.commit(draft).await,
        Err(CommitError::OtherWriter { .. })
    ));
    let state = open(storage, 3).await.unwrap().state().clone();
    assert_eq!((state.totals.read, state.last_seq), (10, 2));
}

async fn of_many_writers_that_race_for_each_record_exactly_one_wins(storage: &Storage) {
    for round in 0..20 {
        let writers: Vec<_> = (0..4)
            .map(|unique| {
                let storage = storage.clone();
                tokio::spawn(async move {
                    // All found the job in the first round.
                    let mut log = open(&storage, unique).await.unwrap();
                    let draft = draft(&log, 10).await;
                    match log.commit(draft).await {
                        Ok(record) => Some(record.seq),
                        Err(CommitError::OtherWriter { .. }) => None,
                        Err(error) => panic!("{error}"),
                    }
                })
            })
            .collect();
        let mut won = Vec::new();
        for writer in writers {
            won.extend(writer.await.unwrap());
        }
        // A writer that opens after another one has committed goes on after it.
        won.sort_unstable();
        won.dedup();
        let state = open(storage, 9).await.unwrap().state().clone();
        assert_eq!(state.last_seq, *won.last().unwrap(), "round {round}");
        assert_eq!(state.totals.read, 10 * state.commits);
        assert_eq!(state.commits, state.last_seq - 1);
    }
    assert!(
        tidegate_log::verify(storage, &mut |_| {})
            .await
            .unwrap()
            .is_good()
    );
}

#[tokio::test]
async fn a_put_that_worked_but_reported_an_error_is_a_commit() {
    let faulty = Faulty::default();
    let mut log = open(&faulty.storage(), 1).await.unwrap();
    let draft = draft(&log, 10).await;
    faulty.fail_next_put(support::Fault::After);
    let record = log.commit(draft).await.unwrap();
    assert_eq!((record.seq, log.state().last_seq), (2, 2));
    commits(&mut log, 1).await;
    assert_eq!(
        open(&faulty.storage(), 2).await.unwrap().state(),
        log.state()
    );
}

#[tokio::test]
async fn a_put_that_failed_can_be_tried_again_later_with_the_same_draft() {
    let faulty = Faulty::default();
    let mut log = open(&faulty.storage(), 1).await.unwrap();
    let draft = draft(&log, 10).await;
    let before = log.state().clone();
    faulty.fail_next_put(support::Fault::Before);
    let error = log.commit(draft.clone()).await.unwrap_err();
    assert!(error.can_retry() && !error.is_disk_full(), "{error}");
    assert_eq!(*log.state(), before);
    assert_eq!(log.commit(draft).await.unwrap().seq, 2);
}

#[tokio::test]
async fn a_try_that_came_through_late_counts_although_the_clock_went_on() {
    let storage = Storage::open(&"memory:".into()).unwrap();
    let mut log = open(&storage, 1).await.unwrap();
    let draft = draft(&log, 10).await;
    // What the log would have put, at another time.
    let earlier = OpenOptions {
        clock: Clock::manual(NOW - 5),
        ..options(1)
    };
    let mut ghost = CommitLog::open(storage.clone(), earlier).await.unwrap();
    let early = ghost.commit(draft.clone()).await.unwrap();
    assert_eq!(early.written_at, NOW - 5);
    assert_eq!(log.commit(draft).await.unwrap(), early);
    assert_eq!(log.state(), ghost.state());
}

#[tokio::test]
async fn a_try_with_other_content_is_not_taken_for_this_one() {
    let storage = Storage::open(&"memory:".into()).unwrap();
    let mut log = open(&storage, 1).await.unwrap();
    let mut ghost = open(&storage, 1).await.unwrap();
    let draft = draft(&log, 10).await;
    let mut other = draft.clone();
    other.watermarks = [(0, NOW)].into();
    ghost.commit(other).await.unwrap();
    let error = log.commit(draft).await.unwrap_err();
    assert!(matches!(error, CommitError::Changed { seq: 2 }), "{error}");
}

#[tokio::test]
async fn a_full_disk_is_told_apart() {
    let faulty = Faulty::default();
    let mut log = open(&faulty.storage(), 1).await.unwrap();
    let draft = draft(&log, 10).await;
    faulty.fail_next_put(support::Fault::DiskFull);
    let error = log.commit(draft.clone()).await.unwrap_err();
    assert!(error.is_disk_full() && error.can_retry(), "{error}");
    assert!(
        error.to_string().contains("No space left on device"),
        "{error}"
    );
    faulty.fail_next_put(support::Fault::DiskFull);
    let error = faulty
        .storage()
        .put("data/a", "a".into())
        .await
        .unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    log.commit(draft).await.unwrap();
}

async fn a_draft_that_breaks_an_invariant_is_never_written(storage: &Storage) {
    let mut log = open(storage, 1).await.unwrap();
    commits(&mut log, 1).await;
    let good = draft(&log, 10).await;

    let mut unbalanced = good.clone();
    unbalanced.counts.read = 9;
    let mut gap = good.clone();
    gap.partitions[0].from += 1;
    gap.partitions[0].to += 1;
    let mut back = good.clone();
    back.watermarks = [(0, 0)].into();
    for (bad, expected) in [
        (unbalanced, "read 9 is not events 10"),
        (gap, "goes on at offset 11, and ended at 10"),
        (back, "watermark of lane 0 goes back"),
    ] {
        let error = log.commit(bad).await.unwrap_err();
        assert!(
            matches!(error, CommitError::Invariant { seq: 3, .. }),
            "{error}"
        );
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.can_retry());
    }
    assert!(
        storage
            .get_if_there(&path::record(3))
            .await
            .unwrap()
            .is_none()
    );
    log.commit(good).await.unwrap();
}

#[tokio::test]
async fn faults_name_what_they_are_about() {
    let storage = Storage::open(&"memory:".into()).unwrap();
    let mut log = open(&storage, 1).await.unwrap();
    let mut wrong = draft(&log, 10).await;
    wrong.files.clear();
    let error = log.commit(wrong).await.unwrap_err();
    let CommitError::Invariant { fault, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(
        fault,
        RecordFault::Rows {
            dataset: "events",
            counted: 10,
            rows: 0
        }
    );
}

#[tokio::test]
async fn a_log_of_another_job_is_refused() {
    let storage = Storage::open(&"memory:".into()).unwrap();
    open(&storage, 1).await.unwrap();
    let other = OpenOptions {
        job_name: "other".to_owned(),
        ..options(2)
    };
    let error = CommitLog::open(storage, other).await.unwrap_err();
    assert!(matches!(error, OpenError::OtherJob { .. }), "{error}");
    assert!(
        error.to_string().contains("`job`") && error.to_string().contains("`other`"),
        "{error}"
    );
}
