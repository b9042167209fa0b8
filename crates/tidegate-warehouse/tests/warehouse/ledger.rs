//! What a DuckDB alone does: it fetches files, and belongs to one process and one job.

use tempfile::TempDir;
use tidegate_log::FileEntry;
use tidegate_storage::{Keys, S3Options, StorageOptions};
use tidegate_testkit::S3;
use tidegate_warehouse::{
    DatabaseError, DuckDbOpenError, DuckDbOptions, DuckDbWarehouse, LoadError, LoadRequest,
    SchemaError, Warehouse, WarehouseReader,
};

use crate::job::{Event, Job, ask, events_batch, events_table};

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
    let job = Job::new();
    drop(job.open(vec![events_table()]));
    let options = DuckDbOptions::default();
    let error = DuckDbWarehouse::open(
        &job.database(),
        "other-job",
        vec![],
        &options,
        &job.storage,
        0,
    )
    .unwrap_err();
    assert!(
        matches!(
            &error,
            DuckDbOpenError::Schema { error, .. }
                if matches!(**error, SchemaError::OtherJob { .. })
        ),
        "{error}"
    );
    assert!(error.to_string().contains("another job"), "{error}");
}

#[test]
fn one_process_opens_a_database_once() {
    let job = Job::new();
    let warehouse = job.open(vec![events_table()]);
    let reader = warehouse.reader().unwrap();
    let again =
        WarehouseReader::open_read_only(&job.database(), &DuckDbOptions::default()).unwrap_err();
    assert!(matches!(again, DatabaseError::OpenHere { .. }), "{again}");
    drop(warehouse);
    assert!(
        WarehouseReader::open_read_only(&job.database(), &DuckDbOptions::default()).is_err(),
        "a reader keeps it open"
    );
    drop(reader);
    let reader =
        WarehouseReader::open_read_only(&job.database(), &DuckDbOptions::default()).unwrap();
    assert_eq!(ask(&reader, "SELECT count(*) FROM t"), "0\n");
}
