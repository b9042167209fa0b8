//! Processes that die, and disks that are full: afterwards each record is loaded once.
//!
//! The tests called `child_...` are the processes that the others start; alone they do nothing.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tidegate_base::clock::Clock;
use tidegate_storage::{Storage, StorageOptions};
use tidegate_warehouse::{
    DatabaseError, DuckDbOptions, DuckDbWarehouse, Loader, LoaderOptions, RetryOptions, TableSpec,
    Warehouse, WarehouseReader,
};

use crate::job::{Event, Job, append_table, ask, events_batch, events_table};

fn tables() -> Vec<TableSpec> {
    vec![events_table(), append_table("every", "rejected")]
}

/// A job with a row to upsert and one to append in each of its commits, and padding in the second.
fn job(commits: i64, padding: i64) -> Job {
    let mut job = Job::new();
    for i in 0..commits {
        let events = job.file("events", &events_batch(&[Event("a", i, 0, i, i as f64)]));
        let mut rows = vec![Event("r", i, 0, i, i as f64)];
        rows.extend(
            (0..padding).map(|n| Event("padding", i, n as i32, n * 7919 % 10_007, n as f64 * 1.1)),
        );
        let rejected = job.file("rejected", &events_batch(&rows));
        job.commit_with(vec![events, rejected], &[], &[]);
    }
    job
}

/// Starts one of the tests of this binary as a process of its own.
fn child(part: &str, job: &Job) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", part, "--nocapture"]);
    command
        .env("TEST_DATABASE", job.database())
        .env("TEST_STORAGE", job.storage.url());
    command
}

/// Whatever happened, the rows are those of the records that the ledger names.
fn check(job: &Job) {
    let warehouse = job.open(tables());
    let (reader, loaded) = (warehouse.reader().unwrap(), warehouse.loaded_seq());
    let rows = ask(&reader, "SELECT count(*) FROM every WHERE id = 'r'");
    assert_eq!(rows, format!("{}\n", loaded.saturating_sub(1)));
    let ledger = "SELECT coalesce(max(last_seq), 0), coalesce(sum(last_seq - first_seq + 1), 0) FROM tidegate_ledger";
    assert_eq!(ask(&reader, ledger), format!("{loaded},{loaded}\n"));
}

/// Loads the rest, and expects every row once.
fn finish(job: &Job, commits: i64) {
    let mut loader = job.loader(tables(), LoaderOptions::default());
    loader.catch_up(job.last_seq()).unwrap();
    let reader = loader.reader().unwrap();
    let every = ask(
        &reader,
        "SELECT count(*), count(DISTINCT value) FROM every WHERE id = 'r'",
    );
    assert_eq!(every, format!("{commits},{commits}\n"));
    assert_eq!(
        ask(&reader, "SELECT id, value FROM t"),
        format!("a,{}.0\n", commits - 1)
    );
}

/// The parts of a process that loads what `TEST_STORAGE` has into `TEST_DATABASE`.
fn child_loader(runtime: &tokio::runtime::Runtime) -> Option<(Loader, u64)> {
    let (database, storage) = (
        std::env::var("TEST_DATABASE").ok()?,
        std::env::var("TEST_STORAGE").ok()?,
    );
    let storage = Storage::open(&StorageOptions::new(storage)).unwrap();
    let records = runtime
        .block_on(tidegate_log::read_records(&storage, 1, 10_000))
        .unwrap();
    let (job, options) = (records[0].job.to_string(), DuckDbOptions::default());
    let warehouse =
        DuckDbWarehouse::open(database.as_ref(), &job, tables(), &options, &storage, 0).unwrap();
    let retry = RetryOptions {
        attempts: 2,
        first: Duration::from_millis(1),
        ..RetryOptions::default()
    };
    let options = LoaderOptions {
        rows_max: 1,
        retry,
        ..LoaderOptions::default()
    };
    let loader = Loader::new(
        Box::new(warehouse),
        storage,
        runtime.handle().clone(),
        Clock::System,
        options,
    );
    Some((loader, records.len() as u64))
}

#[test]
fn child_loads() {
    let _failpoints = tidegate_base::failpoint::setup();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some((mut loader, last_seq)) = child_loader(&runtime) {
        loader.catch_up(last_seq).unwrap();
    }
}

#[test]
fn a_process_that_is_killed_loses_and_doubles_nothing() {
    let job = job(120, 0);
    let mut kills = 0;
    for wait_ms in (20..).step_by(15).take(12) {
        let mut process = child("crash::child_loads", &job).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait_ms));
        kills += u32::from(process.try_wait().unwrap().is_none());
        process.kill().unwrap();
        process.wait().unwrap();
        check(&job);
    }
    assert!(kills > 0, "no process lived long enough to be killed");
    finish(&job, 120);
}

#[cfg(feature = "failpoints")]
#[test]
fn a_process_that_dies_in_the_middle_of_a_load_loses_and_doubles_nothing() {
    use std::os::unix::process::ExitStatusExt;
    let job = job(30, 0);
    for failpoint in [
        "load.begin",
        "load.staged",
        "load.before_commit",
        "load.after_commit",
    ] {
        for loads in 0..4 {
            let mut process = child("crash::child_loads", &job);
            process.env("FAILPOINTS", format!("{failpoint}={loads}*off->return"));
            let output = process.output().unwrap();
            assert_eq!(
                output.status.signal(),
                Some(9),
                "{failpoint} after {loads} loads"
            );
            check(&job);
        }
    }
    finish(&job, 30);
}

/// Whoever is killed while it makes the database leaves nothing that the next one fails on.
#[cfg(feature = "failpoints")]
#[test]
fn a_process_that_dies_while_it_makes_the_database_leaves_none_or_a_whole_one() {
    use std::os::unix::process::ExitStatusExt;
    for (failpoint, is_there) in [
        ("warehouse.make.before", false),
        ("warehouse.make.whole", false),
        ("warehouse.make.named", true),
    ] {
        let job = job(3, 0);
        for _ in 0..2 {
            let mut process = child("crash::child_loads", &job);
            process.env("FAILPOINTS", format!("{failpoint}=return"));
            let killed = process.output().unwrap().status.signal() == Some(9);
            // Once it is there, it is not made again.
            assert!(killed || is_there, "{failpoint}");
            assert_eq!(job.database().exists(), is_there, "{failpoint}");
        }
        finish(&job, 3);
        let left = job.database().with_extension("duckdb.new");
        assert!(!left.exists(), "{failpoint}");
    }
}

#[test]
fn of_processes_that_make_a_database_at_once_one_has_it() {
    let job = job(3, 0);
    let start = |_| child("crash::child_loads", &job).spawn().unwrap();
    let processes: Vec<_> = (0..4).map(start).collect();
    for mut process in processes {
        // Each loads what is left, or finds that somebody else has the file.
        process.wait().unwrap();
    }
    check(&job);
    finish(&job, 3);
}

/// Meets a disk that is full, as this process sees it: files cannot grow beyond a limit. Then there
/// is room again, and the same loader goes on.
#[test]
fn child_meets_a_full_disk() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some((mut loader, last_seq)) = child_loader(&runtime) else {
        return;
    };
    let reader = loader.reader().unwrap();
    let error = loader.catch_up(last_seq).unwrap_err();
    assert!(error.is_transient(), "{error}");
    let loaded = loader.loaded_seq();
    assert!(loaded > 0 && loaded < last_seq, "{loaded} of {last_seq}");
    let pid = std::process::id().to_string();
    let room = Command::new("prlimit")
        .args(["--fsize=unlimited:unlimited", "--pid", &pid])
        .status();
    assert!(room.unwrap().success());
    loader.catch_up(last_seq).unwrap();
    let rows = ask(&reader, "SELECT count(*) FROM every WHERE id = 'r'");
    assert_eq!(rows, format!("{}\n", last_seq - 1));
}

#[test]
fn a_full_disk_stops_loads_until_there_is_room() {
    if Command::new("prlimit").arg("--version").output().is_err() {
        return; // Without it, a process cannot be given room again.
    }
    let job = job(30, 20_000);
    let mut process = Command::new("sh");
    let this = std::env::current_exe().unwrap();
    // The signal is ignored, so that a write fails as it does when the disk is full.
    let script = "trap '' XFSZ; ulimit -S -f 4096; exec \"$0\" --exact crash::child_meets_a_full_disk --nocapture";
    process.args([Path::new("-c"), Path::new(script), &this]);
    process
        .env("TEST_DATABASE", job.database())
        .env("TEST_STORAGE", job.storage.url());
    let output = process.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    check(&job);
    finish(&job, 30);
}

#[test]
fn child_opens_the_database() {
    let Ok(path) = std::env::var("TEST_DATABASE") else {
        return;
    };
    let error =
        WarehouseReader::open_read_only(path.as_ref(), &DuckDbOptions::default()).unwrap_err();
    assert!(
        matches!(
            &error,
            DatabaseError::Locked {
                holder: Some(_),
                ..
            }
        ),
        "{error}"
    );
    let parent = std::os::unix::process::parent_id();
    assert!(
        error.to_string().contains(&format!("PID {parent}")),
        "{error}"
    );
}

#[test]
fn another_process_is_named_that_holds_the_database() {
    let job = job(1, 0);
    let _warehouse = job.open(tables());
    let output = child("crash::child_opens_the_database", &job)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}
