//! Each record is loaded once: what the ledger says is what the tables hold.

use std::fs;

use tempfile::TempDir;
use tidegate_log::{FileEntry, Keys, S3Options, StorageOptions};
use tidegate_testkit::S3;
use tidegate_warehouse::{
    DatabaseError, DuckDbOptions, DuckDbWarehouse, LoadError, LoadFault, LoadRequest, LoaderError,
    LoaderOptions, OpenError, SchemaError, Warehouse, WarehouseReader,
};

use crate::job::{Event, Job, append_table, ask, events_batch, events_table};

fn load(
    job: &Job,
    warehouse: &mut DuckDbWarehouse,
    seqs: std::ops::Range<usize>,
) -> Result<u64, Box<LoadError>> {
    let records = job.records();
    let request = LoadRequest {
        records: &records[seqs],
        storage: &job.storage,
        runtime: job.runtime.handle(),
        now: job.clock.now_micros(),
    };
    warehouse.load(&request).map(|report| report.rows)
}

fn three_commits() -> Job {
    let mut job = Job::new();
    for i in 0..3 {
        job.commit(
            "events",
            &[Event("a", i, 0, i, i as f64), Event("b", i, 0, i, i as f64)],
        );
    }
    job
}

#[test]
fn the_same_records_are_not_loaded_twice() {
    let job = three_commits();
    let mut warehouse = job.open(vec![append_table("t", "events")]);
    assert_eq!(load(&job, &mut warehouse, 0..3).unwrap(), 4);
    assert_eq!(warehouse.loaded_seq(), 3);
    let error = load(&job, &mut warehouse, 0..3).unwrap_err();
    assert!(
        matches!(error.fault, LoadFault::NotNext { ledger: 3 }),
        "{error}"
    );
    let error = load(&job, &mut warehouse, 2..4).unwrap_err();
    assert!(
        matches!(error.fault, LoadFault::NotNext { ledger: 3 }),
        "{error}"
    );
    assert!(
        error.is_transient(),
        "another loader was first: it is gone on behind it"
    );
    assert_eq!(
        ask(&warehouse.reader().unwrap(), "SELECT count(*) FROM t"),
        "4\n"
    );
    assert_eq!(load(&job, &mut warehouse, 3..4).unwrap(), 2);
    assert_eq!(
        ask(&warehouse.reader().unwrap(), "SELECT count(*) FROM t"),
        "6\n"
    );
}

#[test]
fn no_record_is_skipped() {
    let job = three_commits();
    let mut warehouse = job.open(vec![events_table()]);
    assert!(matches!(
        load(&job, &mut warehouse, 1..3).unwrap_err().fault,
        LoadFault::NotNext { ledger: 0 }
    ));
    assert!(matches!(
        load(&job, &mut warehouse, 0..0).unwrap_err().fault,
        LoadFault::Gap { missing: 1 }
    ));
    let mut records = job.records();
    records.remove(1);
    let request = LoadRequest {
        records: &records,
        storage: &job.storage,
        runtime: job.runtime.handle(),
        now: 0,
    };
    assert!(matches!(
        warehouse.load(&request).unwrap_err().fault,
        LoadFault::Gap { missing: 2 }
    ));
    assert_eq!(
        ask(&warehouse.reader().unwrap(), "SELECT count(*) FROM t"),
        "0\n"
    );
}

#[test]
fn the_ledger_survives_and_the_loader_goes_on_behind_it() {
    let mut job = three_commits();
    let tables = || vec![append_table("t", "events")];
    let mut loader = job.loader(tables(), LoaderOptions::default());
    loader.catch_up(4).unwrap();
    drop(loader);
    job.commit("events", &[Event("c", 9, 0, 9, 9.0)]);
    let mut loader = job.loader(tables(), LoaderOptions::default());
    assert_eq!(loader.loaded_seq(), 4);
    assert_eq!(loader.tick().unwrap().load.unwrap().rows, 1);
    assert_eq!(loader.tick().unwrap().load, None);
    assert_eq!(
        ask(&loader.reader().unwrap(), "SELECT count(*) FROM t"),
        "7\n"
    );
}

#[test]
fn a_load_that_fails_changes_nothing() {
    let mut job = Job::new();
    job.commit("events", &[Event("a", 1, 0, 0, 1.0)]);
    let good = job.file(
        "events",
        &events_batch(&[Event("a", 2, 0, 1, 2.0), Event("b", 2, 0, 2, 2.0)]),
    );
    let bad = job.file("rejected", &events_batch(&[Event("c", 2, 0, 3, 3.0)]));
    let bad_path = bad.path.clone();
    job.commit_with(vec![good, FileEntry { rows: 7, ..bad }], &[0], &[(0, 5)]);
    let tables = vec![events_table(), append_table("rejected", "rejected")];
    let mut warehouse = job.open(tables);
    load(&job, &mut warehouse, 0..2).unwrap();
    for _ in 0..2 {
        let error = load(&job, &mut warehouse, 2..3).unwrap_err();
        assert!(
            matches!(&error.fault, LoadFault::File { path, seq: 3, .. } if *path == bad_path),
            "{error}"
        );
        assert!(
            error.to_string().contains("has 1 rows instead of 7"),
            "{error}"
        );
        assert!(!error.is_transient());
    }
    let reader = warehouse.reader().unwrap();
    assert_eq!(ask(&reader, "SELECT id, value FROM t"), "a,1.0\n");
    assert_eq!(ask(&reader, "SELECT count(*) FROM rejected"), "0\n");
    assert_eq!(
        ask(&reader, "SELECT count(watermark) FROM tidegate_watermarks"),
        "0\n"
    );
    assert_eq!(
        ask(&reader, "SELECT max(last_seq) FROM tidegate_ledger"),
        "2\n"
    );
}

#[test]
fn a_missing_or_cut_file_is_named() {
    for cut in [false, true] {
        let job = three_commits();
        let path = job.records()[2].files[0].path.clone();
        let file = job.storage.local_path(&path).unwrap();
        let expect = if cut {
            let bytes = fs::read(&file).unwrap();
            fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
            "bytes instead of"
        } else {
            fs::remove_file(&file).unwrap();
            "is missing"
        };
        let mut warehouse = job.open(vec![events_table()]);
        let error = load(&job, &mut warehouse, 0..4).unwrap_err().to_string();
        assert!(
            error.contains("records 1 to 4") && error.contains(&path) && error.contains(expect),
            "{error}"
        );
        assert_eq!(load(&job, &mut warehouse, 0..2).unwrap(), 2);
    }
}

#[test]
fn files_that_are_not_on_this_machine_are_fetched_and_checked() {
    let memory = |folder: &TempDir| format!("memory:{}", folder.path().display());
    check_fetched(Job::with_storage(memory));
    let s3 = S3::start();
    let options = || StorageOptions {
        url: format!("s3://{}/job", S3::BUCKET),
        s3: S3Options {
            endpoint: Some(s3.endpoint()),
            allow_http: true,
            keys: Some(Keys {
                id: S3::ACCESS_KEY.to_owned(),
                secret: S3::SECRET_KEY.to_owned(),
            }),
            ..S3Options::default()
        },
    };
    check_fetched(Job::with_storage(|_| options()));
}

fn check_fetched(mut job: Job) {
    job.commit("events", &[Event("a", 1, 0, 0, 1.0)]);
    let damaged = job.file("events", &events_batch(&[Event("b", 1, 0, 1, 1.0)]));
    job.commit_with(
        vec![FileEntry {
            crc32c: damaged.crc32c ^ 1,
            ..damaged
        }],
        &[],
        &[],
    );
    let mut warehouse = job.open(vec![events_table()]);
    assert_eq!(load(&job, &mut warehouse, 0..2).unwrap(), 1);
    let error = load(&job, &mut warehouse, 2..3).unwrap_err().to_string();
    assert!(error.contains("checksum"), "{error}");
    assert_eq!(ask(&warehouse.reader().unwrap(), "SELECT id FROM t"), "a\n");
}

#[test]
fn another_jobs_database_is_refused() {
    let (job, mut other) = (three_commits(), Job::new());
    drop(job.open(vec![events_table()]));
    let options = DuckDbOptions::default();
    let error =
        DuckDbWarehouse::open(&job.database(), "other-job", vec![], &options, 0).unwrap_err();
    assert!(
        matches!(&error, OpenError::Schema { error, .. } if matches!(**error, SchemaError::OtherJob { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("another job"), "{error}");

    other.commit("events", &[Event("a", 1, 0, 0, 1.0)]);
    let mut warehouse = job.open(vec![events_table()]);
    let error = load(&other, &mut warehouse, 0..2).unwrap_err();
    assert!(
        matches!(error.fault, LoadFault::OtherJob { seq: 1, .. }),
        "{error}"
    );
}

#[test]
fn a_log_that_was_replaced_is_noticed() {
    let job = three_commits();
    let mut warehouse = job.open(vec![events_table()]);
    load(&job, &mut warehouse, 0..2).unwrap();
    let mut records = job.records();
    records[2].prev_crc32c ^= 1;
    let request = LoadRequest {
        records: &records[2..3],
        storage: &job.storage,
        runtime: job.runtime.handle(),
        now: 0,
    };
    let error = warehouse.load(&request).unwrap_err();
    assert!(
        matches!(error.fault, LoadFault::OtherHistory { seq: 3 }),
        "{error}"
    );
}

#[test]
fn one_process_opens_a_database_once() {
    let job = three_commits();
    let warehouse = job.open(vec![events_table()]);
    let reader = warehouse.reader().unwrap();
    let again = WarehouseReader::open_read_only(&job.database()).unwrap_err();
    assert!(matches!(again, DatabaseError::OpenHere { .. }), "{again}");
    drop(warehouse);
    assert!(
        WarehouseReader::open_read_only(&job.database()).is_err(),
        "a reader keeps it open"
    );
    drop(reader);
    let reader = WarehouseReader::open_read_only(&job.database()).unwrap();
    assert_eq!(ask(&reader, "SELECT count(*) FROM t"), "0\n");
}

#[test]
fn the_log_must_reach_as_far_as_asked() {
    let job = three_commits();
    let mut loader = job.loader(vec![events_table()], LoaderOptions::default());
    let error = loader.catch_up(9).unwrap_err();
    assert!(
        matches!(
            error,
            LoaderError::LogEnds {
                last_seq: 4,
                to_seq: 9
            }
        ),
        "{error}"
    );
}
