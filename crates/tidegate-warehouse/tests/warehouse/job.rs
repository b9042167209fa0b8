//! A small job for the tests: a real commit log with real Parquet files, and a loader.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;
use tidegate_core::clock::Clock;
use tidegate_log::{CommitLog, Counts, Draft, FileEntry, OpenOptions, Record, Span, Storage, WriterId, read_records};
use tidegate_warehouse::{
    DuckDbOptions, DuckDbWarehouse, Loader, LoaderOptions, QueryLimits, TableKind, TableSpec, WarehouseReader,
};
use tokio::runtime::Runtime;

/// 2026-01-01T00:00:00Z in microseconds.
pub const NEW_YEAR: i64 = 1_767_225_600_000_000;

pub fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// An event: key, event time in seconds after [`NEW_YEAR`], partition, offset, value.
#[derive(Debug, Clone, PartialEq)]
pub struct Event(pub &'static str, pub i64, pub i32, pub i64, pub f64);

/// A job in a folder of its own.
pub struct Job {
    pub folder: TempDir,
    pub runtime: Runtime,
    pub storage: Storage,
    pub log: CommitLog,
    pub clock: Clock,
    files: usize,
}

impl Job {
    pub fn new() -> Self {
        Self::with_storage(|folder| format!("file:{}", folder.path().join("job").display()))
    }

    pub fn with_storage(url: impl Fn(&TempDir) -> String) -> Self {
        let folder = TempDir::new().unwrap();
        let runtime = Runtime::new().unwrap();
        let clock = Clock::manual(NEW_YEAR);
        let storage = Storage::open(&url(&folder)).unwrap();
        let options = OpenOptions {
            job_name: "test".into(),
            writer: WriterId::random(),
            clock: clock.clone(),
            keep: Duration::ZERO,
            snapshot_every: 1000,
        };
        let log = runtime.block_on(CommitLog::open(storage.clone(), options)).unwrap();
        Job { folder, runtime, storage, log, clock, files: 0 }
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("warehouse/test.duckdb")
    }

    /// Writes a file, and tells what a record says about it.
    pub fn file(&mut self, dataset: &str, batch: &RecordBatch) -> FileEntry {
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        self.files += 1;
        let path = format!("data/{}/{}.parquet", dataset.replace(':', "/"), self.files);
        let entry = FileEntry {
            dataset: dataset.into(),
            path: path.clone(),
            rows: batch.num_rows() as u64,
            bytes: bytes.len() as u64,
            crc32c: crc32c::crc32c(&bytes),
            event_time: None,
        };
        self.runtime.block_on(self.storage.put(&path, Bytes::from(bytes))).unwrap();
        entry
    }

    /// Commits files, and watermarks of lanes in seconds after [`NEW_YEAR`].
    pub fn commit_with(&mut self, files: Vec<FileEntry>, lanes: &[i32], watermarks: &[(i32, i64)]) -> Record {
        let draft = Draft {
            partitions: lanes
                .iter()
                .map(|lane| Span { id: *lane, lane: *lane, name: format!("p{lane}"), from: 0, to: 0, gone: 0 })
                .collect(),
            watermarks: watermarks.iter().map(|(lane, at)| (*lane, NEW_YEAR + at * 1_000_000)).collect(),
            counts: Counts::default(),
            rejected_by: BTreeMap::new(),
            files,
            complete: false,
            ..Draft::default()
        };
        self.runtime.block_on(self.log.commit(draft)).unwrap()
    }

    /// Commits one file of events to a dataset.
    pub fn commit(&mut self, dataset: &str, events: &[Event]) -> Record {
        let entry = self.file(dataset, &events_batch(events));
        self.commit_with(vec![entry], &[], &[])
    }

    pub fn records(&self) -> Vec<Record> {
        self.runtime.block_on(read_records(&self.storage, 1, 10_000)).unwrap()
    }

    pub fn open(&self, tables: Vec<TableSpec>) -> DuckDbWarehouse {
        let job = self.log.state().job.to_string();
        let options = DuckDbOptions { threads: Some(2), memory_limit_bytes: Some(512 << 20) };
        DuckDbWarehouse::open(&self.database(), &job, tables, &options, self.clock.now_micros()).unwrap()
    }

    pub fn loader(&self, tables: Vec<TableSpec>, options: LoaderOptions) -> Loader {
        let handle = self.runtime.handle().clone();
        Loader::new(self.open(tables), self.storage.clone(), handle, self.clock.clone(), options)
    }

    pub fn last_seq(&self) -> u64 {
        self.log.state().last_seq
    }
}

pub fn events_batch(events: &[Event]) -> RecordBatch {
    let at = events.iter().map(|e| NEW_YEAR + e.1 * 1_000_000);
    RecordBatch::try_from_iter([
        ("id", Arc::new(StringArray::from_iter_values(events.iter().map(|e| e.0))) as ArrayRef),
        ("event_timestamp", Arc::new(TimestampMicrosecondArray::from_iter_values(at).with_timezone("UTC"))),
        ("source_partition", Arc::new(Int32Array::from_iter_values(events.iter().map(|e| e.2)))),
        ("source_offset", Arc::new(Int64Array::from_iter_values(events.iter().map(|e| e.3)))),
        ("value", Arc::new(Float64Array::from_iter_values(events.iter().map(|e| e.4)))),
    ])
    .unwrap()
}

pub fn columns(batch: &RecordBatch) -> Vec<(String, DataType)> {
    batch.schema().fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
}

/// The table of the upsert tests, with `events` and `late`.
pub fn events_table() -> TableSpec {
    TableSpec {
        name: "t".into(),
        datasets: vec!["events".into(), "late".into()],
        columns: columns(&events_batch(&[])),
        kind: TableKind::Upsert {
            key: vec!["id".into()],
            order: ["event_timestamp", "source_partition", "source_offset"].map(String::from).into(),
            reach: None,
        },
    }
}

pub fn append_table(name: &str, dataset: &str) -> TableSpec {
    TableSpec {
        name: name.into(),
        datasets: vec![dataset.into()],
        columns: columns(&events_batch(&[])),
        kind: TableKind::Append,
    }
}

/// The answer to a query as CSV without its head.
pub fn ask(reader: &WarehouseReader, sql: &str) -> String {
    let result = reader.query(sql, &QueryLimits::default()).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut out = Vec::new();
    let (schema, batches) = (&result.schema, &result.batches);
    tidegate_warehouse::format::write(tidegate_warehouse::Format::Csv, &mut out, schema, batches, false).unwrap();
    let text = String::from_utf8(out).unwrap();
    text.split_once('\n').map_or(String::new(), |(_, rows)| rows.to_owned())
}
