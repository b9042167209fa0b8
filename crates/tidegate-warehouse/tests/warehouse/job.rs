//! A small job for the tests: a real commit log with real Parquet files, and a loader.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::kernels::aggregate;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use tempfile::TempDir;
use tidegate_base::clock::Clock;
use tidegate_log::{
    CommitLog, Counts, Draft, FileEntry, OpenOptions, Record, Span, WriterId, read_records,
};
use tidegate_parquet::BatchRows;
use tidegate_storage::{Storage, StorageOptions};
use tidegate_warehouse::{
    DuckDbOpenError, DuckDbOptions, DuckDbWarehouse, Loader, LoaderOptions, QueryLimits, TableKind,
    TableSpec, WarehouseReader,
};
use tokio::runtime::Runtime;

/// 2026-01-01T00:00:00Z in microseconds.
pub(crate) const NEW_YEAR: i64 = 1_767_225_600_000_000;

pub(crate) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Held by a test that takes hundreds of megabytes, or that minds when others of this process do.
static MEMORY: Mutex<()> = Mutex::new(());

pub(crate) fn much_memory() -> MutexGuard<'static, ()> {
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An event: key, event time in seconds after [`NEW_YEAR`], partition, offset, value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event(pub &'static str, pub i64, pub i32, pub i64, pub f64);

/// A job in a folder of its own.
pub(crate) struct Job {
    pub(crate) folder: TempDir,
    pub(crate) runtime: Runtime,
    pub(crate) storage: Storage,
    pub(crate) log: CommitLog,
    pub(crate) clock: Clock,
    files: usize,
    read: i64,
}

impl Job {
    pub(crate) fn new() -> Self {
        Self::with_storage(|folder| {
            format!("file:{}", folder.path().join("tenant=acme/job").display())
        })
    }

    pub(crate) fn with_storage<S: Into<StorageOptions>>(storage: impl Fn(&TempDir) -> S) -> Self {
        let folder = TempDir::new().unwrap();
        let runtime = Runtime::new().unwrap();
        let clock = Clock::manual(NEW_YEAR);
        let storage = Storage::open(&storage(&folder).into()).unwrap();
        let options = OpenOptions {
            job_name: "test".into(),
            writer: WriterId::new(),
            clock: clock.clone(),
            keep: Duration::ZERO,
            snapshot_every: 1000,
        };
        let log = runtime
            .block_on(CommitLog::open(storage.clone(), options))
            .unwrap();
        Job {
            folder,
            runtime,
            storage,
            log,
            clock,
            files: 0,
            read: 0,
        }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("warehouse/test.duckdb")
    }

    /// Writes a file, and tells what a record says about it.
    pub(crate) fn file(&mut self, dataset: &str, batch: &RecordBatch) -> FileEntry {
        let mut bytes = Vec::new();
        // The dictionaries of this writer, which no job has, hold zeros of both signs for one
        // value.
        let mut properties = WriterProperties::builder();
        for field in batch.schema().fields() {
            if field.data_type().is_floating() {
                let path = ColumnPath::from(field.name().clone());
                properties = properties.set_column_dictionary_enabled(path, false);
            }
        }
        let properties = Some(properties.build());
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), properties).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        self.put(dataset, batch, Bytes::from(bytes))
    }

    /// Writes a file that says how long its texts are, as those of a job for Redshift do.
    pub(crate) fn file_with_lengths(&mut self, dataset: &str, batch: &RecordBatch) -> FileEntry {
        let draft = tidegate_parquet::Draft {
            schema: batch.schema(),
            properties: Arc::default(),
            decimals_as_bytes: true,
            int96: false,
            longest_texts: true,
            parts: vec![BatchRows::all(batch.clone())],
        };
        let bytes = tidegate_parquet::encode(&[draft], 1).unwrap().remove(0);
        self.put(dataset, batch, bytes)
    }

    fn put(&mut self, dataset: &str, batch: &RecordBatch, bytes: Bytes) -> FileEntry {
        self.files += 1;
        // Folders as a job makes them, which other readers take for columns.
        let path = format!(
            "data/{}/year=2026/month=11/day=23/hour=05/{}.parquet",
            dataset.replace(':', "/"),
            self.files
        );
        let entry = FileEntry {
            dataset: dataset.into(),
            path: path.clone(),
            rows: batch.num_rows() as u64,
            bytes: bytes.len() as u64,
            crc32c: crc32c::crc32c(&bytes),
            event_time: event_time(batch),
            lanes: Vec::new(),
        };
        self.runtime
            .block_on(self.storage.put(&path, bytes))
            .unwrap();
        entry
    }

    /// Commits files, and watermarks of lanes in seconds after [`NEW_YEAR`].
    pub(crate) fn commit_with(
        &mut self,
        files: Vec<FileEntry>,
        lanes: &[i32],
        watermarks: &[(i32, i64)],
    ) -> Record {
        let rows = |dataset: &str| {
            files
                .iter()
                .filter(|file| file.dataset == dataset)
                .map(|file| file.rows)
                .sum()
        };
        let (events, late, rejected): (u64, u64, u64) =
            (rows("events"), rows("late"), rows("rejected"));
        let counts = Counts {
            read: events + late + rejected,
            events,
            late,
            rejected,
            ..Counts::default()
        };
        let span = |id: i32, from: i64, to: i64| Span {
            id,
            lane: id,
            name: format!("p{id}"),
            from,
            to,
            gone: 0,
            identity: None,
        };
        let mut partitions: Vec<Span> = lanes.iter().map(|lane| span(*lane, 0, 0)).collect();
        if counts.read > 0 {
            let from = self.read;
            self.read += counts.read as i64;
            partitions.push(span(1000, from, self.read));
        }
        let draft = Draft {
            partitions,
            watermarks: watermarks
                .iter()
                .map(|(lane, at)| (*lane, NEW_YEAR + at * 1_000_000))
                .collect(),
            counts,
            rejected_by: BTreeMap::new(),
            files,
            complete: false,
            ..Draft::default()
        };
        self.runtime.block_on(self.log.commit(draft)).unwrap()
    }

    /// Commits one file of events to a dataset.
    pub(crate) fn commit(&mut self, dataset: &str, events: &[Event]) -> Record {
        let entry = self.file(dataset, &events_batch(events));
        self.commit_with(vec![entry], &[], &[])
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.runtime
            .block_on(read_records(&self.storage, 1, 10_000))
            .unwrap()
    }

    pub(crate) fn try_open(
        &self,
        tables: Vec<TableSpec>,
    ) -> Result<DuckDbWarehouse, DuckDbOpenError> {
        let job = self.log.state().job.to_string();
        let options = DuckDbOptions {
            threads: Some(2),
            memory_limit_bytes: Some(512 << 20),
        };
        let now = self.clock.now_micros();
        DuckDbWarehouse::open(&self.database(), &job, tables, &options, &self.storage, now)
    }

    pub(crate) fn open(&self, tables: Vec<TableSpec>) -> DuckDbWarehouse {
        self.try_open(tables).unwrap()
    }

    pub(crate) fn loader(&self, tables: Vec<TableSpec>, options: LoaderOptions) -> Loader {
        let handle = self.runtime.handle().clone();
        Loader::new(
            Box::new(self.open(tables)),
            self.storage.clone(),
            handle,
            self.clock.clone(),
            options,
        )
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.log.state().last_seq
    }
}

/// The range of a batch's event time, or of the starts of its windows; any for one that has
/// neither.
fn event_time(batch: &RecordBatch) -> Option<(i64, i64)> {
    let columns = ["event_timestamp", "window_start"];
    let Some(column) = columns.iter().find_map(|name| batch.column_by_name(name)) else {
        return Some((NEW_YEAR, NEW_YEAR));
    };
    let times = column.as_primitive::<TimestampMicrosecondType>();
    aggregate::min(times).zip(aggregate::max(times))
}

pub(crate) fn events_batch(events: &[Event]) -> RecordBatch {
    let at = events.iter().map(|e| NEW_YEAR + e.1 * 1_000_000);
    RecordBatch::try_from_iter([
        (
            "id",
            Arc::new(StringArray::from_iter_values(events.iter().map(|e| e.0))) as ArrayRef,
        ),
        (
            "event_timestamp",
            Arc::new(TimestampMicrosecondArray::from_iter_values(at).with_timezone("UTC")),
        ),
        (
            "source_partition",
            Arc::new(Int32Array::from_iter_values(events.iter().map(|e| e.2))),
        ),
        (
            "source_offset",
            Arc::new(Int64Array::from_iter_values(events.iter().map(|e| e.3))),
        ),
        (
            "value",
            Arc::new(Float64Array::from_iter_values(events.iter().map(|e| e.4))),
        ),
    ])
    .unwrap()
}

pub(crate) fn columns(batch: &RecordBatch) -> Vec<(String, DataType)> {
    batch
        .schema()
        .fields()
        .iter()
        .map(|field| (field.name().clone(), field.data_type().clone()))
        .collect()
}

/// The table of the upsert tests, with `events` and `late`.
pub(crate) fn events_table() -> TableSpec {
    TableSpec {
        name: "t".into(),
        datasets: vec!["events".into(), "late".into()],
        columns: columns(&events_batch(&[])),
        required: vec![],
        time: None,
        kind: TableKind::Upsert {
            key: vec!["id".into()],
            order: ["event_timestamp", "source_partition", "source_offset"]
                .map(String::from)
                .into(),
            reach: None,
        },
    }
}

pub(crate) fn append_table(name: &str, dataset: &str) -> TableSpec {
    TableSpec {
        name: name.into(),
        datasets: vec![dataset.into()],
        columns: columns(&events_batch(&[])),
        required: vec![],
        time: None,
        kind: TableKind::Append,
    }
}

/// The answer to a query as CSV without its head.
pub(crate) fn ask(reader: &WarehouseReader, sql: &str) -> String {
    let result = reader
        .query(sql, &QueryLimits::default())
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut out = Vec::new();
    let (schema, batches) = (&result.schema, &result.batches);
    tidegate_warehouse::format::write(
        tidegate_warehouse::Format::Csv,
        &mut out,
        schema,
        batches,
        false,
    )
    .unwrap();
    let text = String::from_utf8(out).unwrap();
    text.split_once('\n')
        .map_or(String::new(), |(_, rows)| rows.to_owned())
}
