//! The loader cuts, retries and maintains.

use std::fs;
use std::time::Duration;

use serde_json::json;
use tidegate_log::Draft;
use tidegate_warehouse::{LoaderOptions, Maintenance, RetryOptions};

use crate::job::{Event, Job, NEW_YEAR, append_table, ask, events_table};

#[test]
fn a_load_is_bounded_by_rows_bytes_and_records() {
    let mut job = Job::new();
    for i in 0..6 {
        job.commit(
            "events",
            &[Event("a", i, 0, i, 0.0), Event("b", i, 0, i, 0.0)],
        );
    }
    let loads = |options: LoaderOptions| {
        let folder = job.database();
        let mut loader = job.loader(vec![append_table("t", "events")], options);
        let loads = loader.catch_up(job.last_seq()).unwrap().loads;
        assert_eq!(
            ask(&loader.reader().unwrap(), "SELECT count(*) FROM t"),
            "12\n"
        );
        drop(loader);
        fs::remove_dir_all(folder.parent().unwrap()).unwrap();
        loads
    };
    let unbounded = LoaderOptions::default();
    assert_eq!(loads(unbounded.clone()), 1);
    assert_eq!(
        loads(LoaderOptions {
            rows_max: 4,
            ..unbounded.clone()
        }),
        3
    );
    assert_eq!(
        loads(LoaderOptions {
            rows_max: 0,
            ..unbounded.clone()
        }),
        7
    );
    assert_eq!(
        loads(LoaderOptions {
            bytes_max: 1,
            ..unbounded.clone()
        }),
        6
    );
    assert_eq!(
        loads(LoaderOptions {
            records_max: 2,
            ..unbounded.clone()
        }),
        4
    );
    assert_eq!(
        loads(LoaderOptions {
            records_max: 0,
            ..unbounded
        }),
        7
    );
}

#[test]
fn a_load_ends_where_rows_begin_to_mean_something_else() {
    let mut job = Job::new();
    let say = |job: &mut Job, plan: &serde_json::Value| {
        let draft = Draft {
            plan: Some(plan.clone()),
            ..Draft::default()
        };
        job.runtime.block_on(job.log.commit(draft)).unwrap();
        job.log.state().last_seq
    };
    let [before, known, new] = ["before", "known", "new"].map(|name| json!({ "name": name }));
    let event = |i| [Event("a", i, 0, i, 0.0)];
    say(&mut job, &before);
    job.commit("events", &event(1));
    let at = say(&mut job, &known);
    job.commit("events", &event(2));
    say(&mut job, &known);
    let changed = say(&mut job, &new);
    job.commit("events", &event(3));
    let tables = || vec![append_table("t", "events")];
    let loader = job.loader(tables(), LoaderOptions::default());
    let mut loader = loader.knows(at, known);
    // What was said before that is not news.
    let first = loader.tick().unwrap();
    assert_eq!(first.load.unwrap().last_seq, changed);
    assert_eq!((first.meaning.as_ref(), first.more), (Some(&new), true));
    drop(loader);
    let loader = job.loader(tables(), LoaderOptions::default());
    let second = loader.knows(changed, new).tick().unwrap();
    assert_eq!(second.load.unwrap().last_seq, job.last_seq());
    assert_eq!((second.meaning, second.more), (None, false));
}

#[test]
fn what_is_loaded_after_a_checkpoint_is_in_the_write_ahead_log() {
    let mut job = Job::new();
    job.commit("events", &[Event("a", 1, 0, 1, 0.0)]);
    let mut loader = job.loader(vec![events_table()], LoaderOptions::default());
    let first = loader.tick().unwrap();
    assert!(first.maintained.contains(&Maintenance::Checkpoint));
    let wal = job.database().with_extension("duckdb.wal");
    let bytes = || fs::metadata(&wal).map_or(0, |wal| wal.len());
    let emptied = bytes();
    job.commit("events", &[Event("a", 2, 0, 2, 0.0)]);
    assert_eq!(loader.tick().unwrap().maintained, []);
    let loaded = bytes();
    assert!(loaded > emptied);
    job.clock.set(NEW_YEAR + 300 * 1_000_000);
    assert_eq!(loader.tick().unwrap().maintained, [Maintenance::Checkpoint]);
    assert!(bytes() < loaded, "only that it was done is in there");
}

#[test]
fn an_error_that_cannot_go_away_is_not_tried_again() {
    let mut job = Job::new();
    job.commit("events", &[Event("a", 1, 0, 1, 0.0)]);
    let path = job.records()[1].files[0].path.clone();
    fs::remove_file(job.storage.local_path(&path).unwrap()).unwrap();
    let retry = RetryOptions {
        attempts: 100,
        first: Duration::from_secs(60),
        longest: Duration::from_secs(60),
    };
    let mut loader = job.loader(
        vec![events_table()],
        LoaderOptions {
            retry,
            ..LoaderOptions::default()
        },
    );
    let error = loader.tick().unwrap_err();
    assert!(!error.is_transient());
    assert!(error.to_string().contains(&path), "{error}");
}

/// With a file in the place of the log's folder, no record can be read.
#[test]
fn an_error_that_can_go_away_is_tried_again_until_the_loader_is_stopped() {
    let mut job = Job::new();
    job.commit("events", &[Event("a", 1, 0, 1, 0.0)]);
    let log = job.storage.local_root().unwrap().join("log");
    let aside = log.with_extension("aside");
    fs::rename(&log, &aside).unwrap();
    fs::write(&log, "").unwrap();
    let retry = RetryOptions {
        attempts: 3,
        first: Duration::from_millis(1),
        longest: Duration::from_millis(2),
    };
    let options = LoaderOptions {
        retry,
        ..LoaderOptions::default()
    };
    let mut loader = job.loader(vec![events_table()], options);
    let error = loader.tick().unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("from record 1 on"), "{error}");

    loader.stopper().stop();
    let stopped = loader.tick().unwrap_err();
    assert!(stopped.to_string().contains("was stopped"), "{stopped}");

    fs::remove_file(&log).unwrap();
    fs::rename(&aside, &log).unwrap();
    assert_eq!(loader.tick().unwrap().load.unwrap().rows, 1);
}
