//! Commits over a storage that fails, and beside another process that commits.

use std::collections::BTreeMap;

use tidegate_base::clock::Clock;
use tidegate_engine::{EngineError, Phase};
use tidegate_log::{CommitError, CommitLog, Draft, OpenOptions, Span, WriterId};
use tidegate_storage::Storage;
use tidegate_testkit::{Fault, Rule, S3};

use crate::model::Fate;
use crate::script::{DELAY, World};

/// Puts of the log's records.
fn of_records(fault: Fault) -> Rule {
    of_puts(fault, "log/")
}

fn of_puts(fault: Fault, place: &str) -> Rule {
    let at = format!("/{}/job/{place}", S3::BUCKET);
    Rule::new(fault).method("PUT").path(&at)
}

/// Offsets of partition 0 from its begin, which all are events.
fn events(count: i64) -> BTreeMap<(i32, i64), Fate> {
    (0..count)
        .map(|offset| ((0, offset), Fate::Event))
        .collect()
}

// Fails where a fault of one of the two puts is taken for good, where an object that an earlier try
// put is taken for another's, or where a try that came through is made again under another number.
#[test]
fn whatever_happens_to_a_put_a_batch_is_committed_once() {
    let (world, proxy, _s3) = World::in_s3();
    let run = world.start(1);
    let mut offset = 0;
    for place in ["data/", "log/"] {
        for (fault, times) in [
            (Fault::ResetBefore, 2),
            // The next try finds what this one has put.
            (Fault::ResetAfter, 1),
            (Fault::InternalError, 2),
            (Fault::SlowDown, 2),
            (Fault::Conflict, 2),
        ] {
            let before = proxy.stats().count(fault);
            proxy.inject(of_puts(fault, place).times(times));
            run.give(0, offset, &[(offset, &offset.to_string())]);
            offset += 1;
            // The first record founds the job.
            run.until_committed(offset as u64 + 1);
            let injected = proxy.stats().count(fault) - before;
            assert_eq!(injected, times, "{fault:?} at {place}");
        }
    }
    run.stop().expect("it ends well");
    let found = world.found();
    assert_eq!(found.fates, events(offset));
    assert_eq!(found.records.len() as i64, offset + 1);
}

// Fails where the record that is there is not read back, or is taken for another writer's: it has
// another time than the try that finds it.
#[test]
fn a_commit_whose_answer_is_lost_is_found_and_not_made_twice() {
    let (world, proxy, _s3) = World::in_s3();
    let run = world.start(1);
    let log = format!("/{}/job/log/", S3::BUCKET);
    proxy.inject(of_records(Fault::ResetAfter));
    let unreadable = Rule::new(Fault::InternalError).method("GET").path(&log);
    proxy.inject(unreadable.times(u64::MAX));
    run.give(0, 0, &[(0, "a")]);
    let status = run.until("it fails", |status| status.commit_error.is_some());
    assert_eq!(status.last_seq, 1, "it is not known to be there");
    proxy.clear();
    run.until_committed(2);
    let summary = run.stop().expect("it ends well");
    assert_eq!((summary.read, summary.status.last_seq), (1, 2));
    assert_eq!(world.found().fates, events(1));
}

// Fails where the memory of a batch is given back before it is committed, or never.
#[test]
fn while_commits_fail_reading_waits_and_then_goes_on() {
    // Room for two chunks of one record.
    const MEMORY: usize = 250;
    const CHUNKS: i64 = 10;
    let (world, proxy, _s3) = World::in_s3();
    let run = world.start_with(1, MEMORY).expect("it starts");
    proxy.inject(of_records(Fault::InternalError).times(u64::MAX));
    for offset in 0..CHUNKS {
        run.give(0, offset, &[(offset, &offset.to_string())]);
    }
    let status = run.until("it fails", |status| {
        status.commit_error.is_some() && !status.storage.reachable
    });
    assert!((1..CHUNKS as u64).contains(&status.read_live), "{status:?}");
    assert!((1..=MEMORY as u64).contains(&status.in_flight_bytes));
    proxy.clear();
    let status = run.until_committed(CHUNKS as u64 + 1);
    assert_eq!((status.commit_error, status.in_flight_bytes), (None, 0));
    assert!(status.storage.reachable);
    run.stop().expect("it ends well");
    assert_eq!(world.found().fates, events(CHUNKS));
}

// Fails where a stop waits for a storage that is away, or says that all is well.
#[test]
fn a_job_that_is_stopped_while_it_cannot_commit_says_so_and_its_next_start_reads_again() {
    let (world, proxy, _s3) = World::in_s3();
    let run = world.start(1);
    proxy.inject(of_records(Fault::InternalError).times(u64::MAX));
    run.give(0, 0, &[(0, "a")]);
    run.until("it fails", |status| status.commit_error.is_some());
    let error = run.stop().expect_err("nothing is committed");
    let EngineError::Commit(CommitError::Storage { seq: 2, .. }) = error else {
        panic!("{error}");
    };
    proxy.clear();
    let run = world.start(1);
    assert!(run.resume.partitions.is_empty(), "{:?}", run.resume);
    run.give(0, 0, &[(0, "a")]);
    run.until_committed(2);
    run.stop().expect("it ends well");
    assert_eq!(world.found().fates, events(1));
}

// Fails where a job whose place in the log is taken tries the next one: what it has read may be in
// the other's record.
#[test]
fn a_job_that_loses_its_place_in_the_log_to_another_writer_stops_and_commits_nothing() {
    let world = World::in_memory("commits-other-writer");
    let run = world.start(1);
    run.give(0, 0, &[(0, "a")]);
    run.until_committed(2);
    commit_as_another(&world);
    run.give(0, 1, &[(1, "b")]);
    let error = run.end().expect_err("another process writes");
    let EngineError::Commit(CommitError::OtherWriter { seq: 3, .. }) = error else {
        panic!("{error}");
    };
    let found = world.found();
    assert_eq!(found.records.len(), 3);
    assert_eq!(found.fates, events(1));

    // What was dropped is read again.
    let run = world.start(1);
    assert_eq!(run.resume.partitions[&0].offset, 1);
    run.give(0, 1, &[(1, "b")]);
    run.until_committed(4);
    run.stop().expect("it ends well");
    assert_eq!(world.found().fates, events(2));
}

/// Commits as another process would that has the same job.
fn commit_as_another(world: &World) {
    let storage = Storage::open(&world.storage).expect("the storage");
    let options = OpenOptions {
        job_name: "scripted".to_owned(),
        writer: WriterId::new(),
        clock: Clock::System,
        keep: DELAY,
        snapshot_every: 0,
    };
    let draft = Draft {
        partitions: vec![Span {
            id: 1,
            lane: 1,
            name: "p1".to_owned(),
            from: 0,
            to: 0,
            gone: 0,
            identity: None,
        }],
        ..Draft::default()
    };
    let committed = world.runtime.block_on(async {
        let mut log = CommitLog::open(storage, options).await.expect("the log");
        log.commit(draft).await
    });
    committed.expect("it is the first");
}

// Fails where what came before the fault is dropped: it would be read again, and be a commit later.
#[test]
fn a_source_that_fails_ends_the_job_and_what_it_had_given_is_committed() {
    let world = World::in_memory("commits-source-fails");
    let run = world.start(usize::MAX);
    run.give(0, 0, &[(0, "a"), (1, "b")]);
    run.fail();
    let error = run.end().expect_err("the source has failed");
    assert!(matches!(error, EngineError::Source(_)), "{error}");
    assert_eq!(world.found().fates, events(2));
}

// Fails where a clone has a job of its own, or a stop does not commit what is in flight.
#[test]
fn any_clone_of_a_handle_stops_the_job_and_what_was_read_is_committed() {
    let world = World::in_memory("commits-clone");
    let run = world.start(usize::MAX);
    let handle = run.job.handle().clone();
    let monitor = handle.monitor().clone();
    run.give(0, 0, &[(0, "a")]);
    run.until("it is read", |status| status.read_live == 1);
    assert_eq!(monitor.status().phase, Phase::Running);
    handle.stop();
    let summary = run.end().expect("it ends well");
    assert_eq!(summary.read, 1);
    assert_eq!(monitor.status().phase, Phase::Stopped);
    assert_eq!(world.found().fates, events(1));
}
