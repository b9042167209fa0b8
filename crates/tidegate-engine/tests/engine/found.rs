//! What a job has committed: its log, and the rows of its files.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tidegate_log::{Record, read_records};
use tidegate_storage::{Storage, StorageOptions};
use tokio::runtime::Runtime;

use crate::model::Fate;

/// What the log and its files have.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) records: Vec<Record>,
    pub(crate) watermarks: BTreeMap<i32, i64>,
    /// By partition and offset; repeats are in no file.
    pub(crate) fates: BTreeMap<(i32, i64), Fate>,
    /// Rows of the parts of windows, by lane and end.
    pub(crate) windows: BTreeMap<(i32, i64), i64>,
}

impl Found {
    /// Reads all of it. Each row is in one file, and each lane closes a window once.
    pub(crate) fn read(storage: &StorageOptions, runtime: &Runtime) -> Self {
        let storage = Storage::open(storage).expect("the storage");
        let records = read_records(&storage, 1, usize::MAX);
        let records = runtime.block_on(records).expect("the log");
        let mut found = Found {
            records: Vec::new(),
            watermarks: BTreeMap::new(),
            fates: BTreeMap::new(),
            windows: BTreeMap::new(),
        };
        for record in &records {
            found.watermarks.extend(&record.watermarks);
            for file in &record.files {
                let bytes = runtime.block_on(storage.get(&file.path));
                let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.expect("a file"));
                for batch in reader.and_then(|reader| reader.build()).expect("a file") {
                    found.take(&file.dataset, &batch.expect("rows"));
                }
            }
        }
        found.records = records;
        found
    }

    fn take(&mut self, dataset: &str, batch: &RecordBatch) {
        let column = |name: &str| batch.column_by_name(name).expect("a column");
        if dataset == "window:w" {
            let lanes = column("lane").as_primitive::<Int32Type>().values().iter();
            let ends = column("window_end").as_primitive::<TimestampMicrosecondType>();
            let counts = column("n").as_primitive::<Int64Type>().values().iter();
            for ((lane, end), n) in lanes.zip(ends.values()).zip(counts) {
                let before = self.windows.insert((*lane, *end), *n);
                assert_eq!(before, None, "a lane closes a window once");
            }
            return;
        }
        let fate = match dataset {
            "events" => Fate::Event,
            "late" => Fate::Late,
            "rejected" => Fate::Rejected,
            other => panic!("{other}"),
        };
        let partitions = column("source_partition").as_primitive::<Int32Type>();
        let offsets = column("source_offset").as_primitive::<Int64Type>();
        for (partition, offset) in partitions.values().iter().zip(offsets.values()) {
            let before = self.fates.insert((*partition, *offset), fate);
            assert_eq!(before, None, "a record is in one file");
        }
    }
}
