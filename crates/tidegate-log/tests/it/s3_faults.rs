//! A network that fails between the commit log and S3.

use std::time::Duration;

use futures::future::join_all;
use tidegate_log::{CommitError, CommitLog, OpenOptions, path, put_data, read_records, verify};
use tidegate_storage::Storage;
use tidegate_testkit::{Fault, FaultProxy, Rule, S3};

use crate::s3::{large, seen, through_proxy};
use crate::support::{commits, draft, open, options, s3_options};

/// Faults of a request that creates something, after which the server may have done it or not.
pub(crate) const OF_PUTS: [Fault; 5] = [
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::InternalError,
    Fault::SlowDown,
    Fault::Conflict,
];

#[tokio::test]
async fn whatever_happens_to_a_put_a_commit_is_there_once() {
    for fault in OF_PUTS {
        for place in ["data/", "log/"] {
            let (storage, proxy, _s3) = through_proxy(|_| {});
            let mut log = open(&storage, 1).await.unwrap();
            let at = format!("/{}/job/{place}", S3::BUCKET);
            proxy.inject(Rule::new(fault).method("PUT").path(&at).times(2));
            let records = commits(&mut log, 2).await;
            assert_eq!(proxy.stats().count(fault), 2, "{fault:?}");
            assert_eq!(read_records(&storage, 2, 10).await.unwrap(), records);
            assert_eq!(open(&storage, 2).await.unwrap().state(), log.state());
        }
    }
}

#[tokio::test]
async fn whatever_happens_to_its_put_a_job_is_founded_once() {
    for fault in OF_PUTS {
        let (storage, proxy, _s3) = through_proxy(|_| {});
        let at = format!("/{}/job/log/", S3::BUCKET);
        proxy.inject(Rule::new(fault).method("PUT").path(&at).times(2));
        let log = open(&storage, 1).await.unwrap();
        assert_eq!(proxy.stats().count(fault), 2, "{fault:?}");
        assert_eq!(log.state().last_seq, 1);
        assert_eq!(open(&storage, 2).await.unwrap().state(), log.state());
    }
}

#[tokio::test]
async fn whatever_happens_to_its_put_a_snapshot_is_written() {
    for fault in [
        Fault::ResetBefore,
        Fault::ResetAfter,
        Fault::InternalError,
        Fault::SlowDown,
    ] {
        let (storage, proxy, _s3) = through_proxy(|_| {});
        let with_snapshots = OpenOptions {
            snapshot_every: 2,
            ..options(1)
        };
        let mut log = CommitLog::open(storage.clone(), with_snapshots)
            .await
            .unwrap();
        let at = format!("/{}/job/snapshot/", S3::BUCKET);
        proxy.inject(Rule::new(fault).method("PUT").path(&at).times(2));
        commits(&mut log, 1).await;
        assert_eq!(proxy.stats().count(fault), 2, "{fault:?}");
        storage.get(&path::snapshot(2)).await.unwrap();
    }
}

#[tokio::test]
async fn a_conflict_that_lasts_is_an_error_that_can_be_tried_again() {
    let (storage, proxy, _s3) = through_proxy(|options| options.retry_for = Duration::from_secs(1));
    let mut log = open(&storage, 1).await.unwrap();
    let draft = draft(&log, 10).await;
    proxy.inject(Rule::new(Fault::Conflict).times(1000));
    let error = log.commit(draft.clone()).await.unwrap_err();
    assert!(error.can_retry(), "{error}");
    assert!(
        error.to_string().contains("ConditionalRequestConflict"),
        "{error}"
    );
    proxy.clear();
    assert_eq!(log.commit(draft).await.unwrap().seq, 2);
}

#[tokio::test]
async fn a_stall_is_given_up_and_its_late_effect_does_no_harm() {
    let (storage, proxy, _s3) =
        through_proxy(|options| options.timeout = Duration::from_millis(300));
    proxy.set_stall(Duration::from_millis(700));
    let mut log = open(&storage, 1).await.unwrap();
    for method in ["PUT", "GET"] {
        proxy.inject(Rule::new(Fault::Stall).method(method));
        let started = std::time::Instant::now();
        commits(&mut log, 1).await;
        let read = read_records(&storage, 1, 10).await.unwrap();
        assert_eq!(read.len() as u64, log.state().last_seq);
        assert!(started.elapsed() >= Duration::from_millis(300));
    }
    assert_eq!(proxy.stats().count(Fault::Stall), 2);
    // What was held comes through now, while the log goes on.
    for _ in 0..10 {
        commits(&mut log, 1).await;
        tokio::time::sleep(Duration::from_millis(70)).await;
    }
    let report = verify(&storage, &mut |_| {}).await.unwrap();
    assert!(report.is_good(), "{:?}", report.problems);
}

#[tokio::test]
async fn whatever_happens_to_its_requests_a_large_file_is_whole_and_no_part_stays() {
    let bytes = large(20 << 20);
    let put = |storage: Storage| {
        let bytes = bytes.clone();
        async move {
            let put = put_data(&storage, "events", "data/large", 1, None, bytes.clone());
            let entry = put.await;
            assert_eq!(entry.unwrap().bytes, bytes.len() as u64);
            assert_eq!(storage.get("data/large").await.unwrap(), bytes);
        }
    };
    let begin = |fault| Rule::new(fault).method("POST").query("uploads");
    let part = |fault| Rule::new(fault).method("PUT").query("partNumber=2");
    let complete = |fault| Rule::new(fault).method("POST").query("uploadId=");
    for (rules, uploads_left) in [
        (vec![begin(Fault::ResetBefore), begin(Fault::SlowDown)], 0),
        // Its id was lost: nobody can abort it. The bucket's lifecycle rule does.
        (vec![begin(Fault::ResetAfter), begin(Fault::ResetBody)], 2),
        (
            vec![
                part(Fault::ResetAfter),
                part(Fault::InternalError),
                part(Fault::ResetBefore),
            ],
            0,
        ),
        (
            vec![complete(Fault::ResetBefore), complete(Fault::SlowDown)],
            0,
        ),
        (vec![complete(Fault::ResetAfter)], 0),
        (vec![complete(Fault::ResetBody)], 0),
        (vec![complete(Fault::Conflict)], 0),
    ] {
        let (storage, proxy, s3) = through_proxy(|_| {});
        let expected = rules.len() as u64;
        rules.iter().for_each(|rule| proxy.inject(rule.clone()));
        put(storage).await;
        assert_eq!(proxy.stats().total(), expected, "{rules:?}");
        assert_eq!(s3.open_uploads(), uploads_left, "{rules:?}");
    }
    // After a conflict the parts are put anew: S3 asks for that.
    let (storage, proxy, _s3) = through_proxy(|_| {});
    proxy.inject(complete(Fault::Conflict));
    put(storage).await;
    assert_eq!(seen(&proxy, "PUT", "partNumber="), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_writers_that_found_a_job_at_once_all_join_the_same() {
    for round in 0..10 {
        let (storage, proxy, _s3) = through_proxy(|_| {});
        // The first loses the answer to its put, and finds itself or the other one there.
        let at = format!("/{}/job/log/", S3::BUCKET);
        proxy.inject(Rule::new(Fault::ResetAfter).method("PUT").path(&at));
        let writers: Vec<_> = (0..4)
            .map(|unique| {
                let storage = storage.clone();
                tokio::spawn(
                    async move { open(&storage, unique).await.unwrap().state().job.clone() },
                )
            })
            .collect();
        let mut jobs = Vec::new();
        for writer in writers {
            jobs.push(writer.await.unwrap());
        }
        jobs.dedup();
        assert_eq!(jobs.len(), 1, "round {round}: {jobs:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn through_faults_at_random_every_commit_is_there_once_and_the_log_is_whole() {
    let seeds: Vec<u64> = tidegate_testkit::seeds(0..6, 0..100).collect();
    for some in seeds.chunks(6) {
        let faults = join_all(some.iter().map(|seed| commit_through_faults(*seed))).await;
        assert!(
            faults.iter().all(|count| *count > 0),
            "{some:?}: {faults:?}"
        );
    }
}

/// Commits through a proxy that fails at random, with restarts and a rival; returns how many faults
/// there were.
async fn commit_through_faults(seed: u64) -> u64 {
    const COMMITS: u64 = 15;
    let s3 = S3::start();
    let proxy = FaultProxy::start(s3.address(), seed);
    proxy.set_stall(Duration::from_millis(600));
    let mut through = s3_options(proxy.endpoint());
    through.s3.timeout = Duration::from_millis(400);
    let storage = Storage::open(&through).unwrap();
    for fault in Fault::ALL {
        let chance = if fault == Fault::Stall { 0.01 } else { 0.04 };
        proxy.inject(Rule::new(fault).chance(chance));
    }
    let open = async |unique: u32| {
        let with_snapshots = OpenOptions {
            snapshot_every: 3,
            ..options(unique)
        };
        CommitLog::open(storage.clone(), with_snapshots)
            .await
            .unwrap()
    };
    let mut log = open(1).await;
    let mut done = 0;
    while done < COMMITS {
        if done % 5 == 4 {
            log = open(u32::try_from(done).unwrap()).await;
        }
        // A rival that has seen the same end of the log wants the same record.
        let mut rival = open(1000 + u32::try_from(done).unwrap()).await;
        let (ours, theirs) = (draft(&log, 10).await, draft(&rival, 10).await);
        let (ours, theirs) = tokio::join!(commit(&mut log, ours), commit(&mut rival, theirs));
        assert!(
            ours != theirs,
            "seed {seed}: both or neither committed record {}",
            done + 2
        );
        if theirs {
            log = rival;
        }
        done += 1;
        assert_eq!(log.state().last_seq, done + 1, "seed {seed}");
    }
    let direct = Storage::open(&s3_options(s3.endpoint())).unwrap();
    let report = verify(&direct, &mut |_| {}).await.unwrap();
    assert!(report.is_good(), "seed {seed}: {:?}", report.problems);
    let state = report.state.unwrap();
    assert_eq!(state.totals.read, 10 * COMMITS, "seed {seed}");
    assert_eq!(
        state.partitions[&0].offset,
        10 * COMMITS as i64,
        "seed {seed}"
    );
    assert_eq!(state, *log.state(), "seed {seed}");
    proxy.stats().total()
}

/// Commits until it is clear whether this writer did it or the other one.
async fn commit(log: &mut CommitLog, draft: tidegate_log::Draft) -> bool {
    loop {
        match log.commit(draft.clone()).await {
            Ok(_) => return true,
            Err(CommitError::OtherWriter { .. }) => return false,
            Err(error) if error.can_retry() => {}
            Err(error) => panic!("{error}"),
        }
    }
}
