//! The encoder thread: batches into Parquet files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{AsArray as _, UInt32Array};
use arrow::compute::kernels::aggregate::{max, min};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, SchemaRef, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use tidegate_core::plan::{PROCESSING_TIMESTAMP, Plan};
use tidegate_core::rejected::{oversized_schema, rejected_schema};
use tidegate_core::window::{SumsWithoutRoom, WindowPlan};
use tidegate_log::Draft;
use tidegate_parquet::BatchRows;

use crate::error::EngineError;
use crate::gather::{Batch, Judged};
use crate::hours::{HOUR, Home, Homes};
use crate::latency::Samples;
use crate::shared::Shared;

/// A file in memory, ready to be put.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) dataset: String,
    /// Time that decides the folder; none for rows of many hours.
    pub(crate) time: Option<i64>,
    pub(crate) rows: u64,
    /// Least and greatest event time; of rejects, of the time at which they were rejected.
    pub(crate) event_time: Option<(i64, i64)>,
    /// The lanes whose rows are in it, ascending; none where it has no events.
    pub(crate) lanes: Vec<i32>,
    pub(crate) bytes: Bytes,
}

/// A batch with its files, ready to be committed. The draft names no files yet.
#[derive(Debug)]
pub(crate) struct EncodedBatch {
    pub(crate) draft: Draft,
    pub(crate) files: Vec<Encoded>,
    pub(crate) cost: usize,
    pub(crate) samples: Samples,
    pub(crate) encode_seconds: f64,
}

/// A dictionary that grows beyond this is given up: it does not fit the cache, and saves little.
const DICTIONARY_BYTES_MAX: usize = 256 << 10;
/// Values that Parquet's writer takes at once: as many as a chunk has, so that it rarely starts
/// anew.
const WRITE_BATCH_ROWS: usize = 8 << 10;

/// Encodes batches until there are no more, each on up to `threads` threads.
pub(crate) fn encode(
    plan: &Plan,
    threads: usize,
    shared: &Shared,
    batches: &Receiver<Batch>,
    out: &Sender<EncodedBatch>,
) {
    let properties = ParquetSettings::new(plan);
    let mut sums: Vec<_> = plan.windows().map(|_| SumsWithoutRoom::default()).collect();
    for batch in batches {
        let started = Instant::now();
        for ((window, closed), sums) in plan.windows().zip(&batch.closed).zip(&mut sums) {
            note_sums(window, sums.add(window, closed), shared);
        }
        match encode_batch(plan, threads, &properties, batch, shared) {
            Ok(mut encoded) => {
                encoded.encode_seconds = started.elapsed().as_secs_f64();
                if out.send(encoded).is_err() {
                    return;
                }
            }
            Err(error) => return shared.fail(error),
        }
    }
}

/// How files are encoded: what a job's own settings decide, for each of its columns.
#[derive(Debug, Clone)]
pub struct ParquetSettings {
    /// For events, those that come late included.
    pub events: Arc<WriterProperties>,
    /// For rejects and for windows.
    pub other: Arc<WriterProperties>,
}

impl ParquetSettings {
    /// Those with which the engine writes the files of a job with this plan.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let plain = plan.stored_form().plain_encodings;
        let (compression, numbers, texts) = if plain {
            (Compression::SNAPPY, Encoding::PLAIN, Encoding::PLAIN)
        } else {
            let zstd = Compression::ZSTD(ZstdLevel::default());
            let lengths_apart = Encoding::DELTA_LENGTH_BYTE_ARRAY;
            (zstd, Encoding::DELTA_BINARY_PACKED, lengths_apart)
        };
        let base = || {
            WriterProperties::builder()
                .set_compression(compression)
                .set_statistics_enabled(EnabledStatistics::Chunk)
                .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
                .set_write_batch_size(WRITE_BATCH_ROWS)
                .set_created_by(concat!("tidegate ", env!("CARGO_PKG_VERSION")).to_owned())
        };
        let schema = plan.stored_schema();
        let mut events = base();
        for field in schema.fields() {
            let path = ColumnPath::from(field.name().clone());
            let unique = plan.is_key(field.name()) || plan.event_time_field() == field.name();
            match field.data_type() {
                // Times and offsets ascend, mostly: differences are small.
                DataType::Timestamp(..) | DataType::Int64 => {
                    events = events
                        .set_column_dictionary_enabled(
                            path.clone(),
                            field.name() == PROCESSING_TIMESTAMP,
                        )
                        .set_column_encoding(path, numbers);
                }
                DataType::Float64 => events = events.set_column_dictionary_enabled(path, false),
                // Keys and times as text hardly repeat: a dictionary would be built for nothing.
                // Nobody prunes row groups by the least and greatest text.
                DataType::Utf8 => {
                    events = events
                        .set_column_dictionary_enabled(path.clone(), !unique)
                        .set_column_encoding(path.clone(), texts)
                        .set_column_statistics_enabled(path, EnabledStatistics::None);
                }
                // Keys repeat, values differ: one dictionary for all of them would be given up.
                DataType::Map(entries, _) => {
                    if let Some([keys, values]) = text_paths(field.name(), entries) {
                        events = events
                            .set_column_statistics_enabled(keys, EnabledStatistics::None)
                            .set_column_dictionary_enabled(values.clone(), false)
                            .set_column_encoding(values.clone(), texts)
                            .set_column_statistics_enabled(values, EnabledStatistics::None);
                    }
                }
                _ => {}
            }
        }
        ParquetSettings {
            events: Arc::new(events.build()),
            other: Arc::new(base().build()),
        }
    }
}

/// The columns of a map's keys and values, if they are text.
fn text_paths(name: &str, entries: &Field) -> Option<[ColumnPath; 2]> {
    let DataType::Struct(fields) = entries.data_type() else {
        return None;
    };
    let path = |leaf: &Field| {
        let parts = [name, entries.name(), leaf.name()];
        ColumnPath::new(parts.map(str::to_owned).to_vec())
    };
    match fields.iter().as_slice() {
        [keys, values]
            if [keys, values]
                .iter()
                .all(|leaf| *leaf.data_type() == DataType::Utf8) =>
        {
            Some([path(keys), path(values)])
        }
        _ => None,
    }
}

fn encode_batch(
    plan: &Plan,
    threads: usize,
    properties: &ParquetSettings,
    batch: Batch,
    shared: &Shared,
) -> Result<EncodedBatch, EngineError> {
    let now = shared.clock.now_micros();
    let mut files = events(plan, properties, &batch.judged)?;
    files.extend(late(plan, properties, &batch.judged, now)?);
    if !batch.rejected.is_empty() {
        let mut file = File::new("rejected", Some(now), &rejected_schema(), &properties.other);
        for rejected in batch.rejected {
            let range = rejected_at(&rejected);
            file.add(BatchRows::all(rejected), range);
        }
        files.push(file);
    }
    if !batch.oversized.is_empty() {
        let mut file = File::new(
            "oversized",
            Some(now),
            &oversized_schema(),
            &properties.other,
        );
        for oversized in batch.oversized {
            file.add(BatchRows::all(oversized), None);
        }
        files.push(file);
    }
    for (window, closed) in plan.windows().zip(batch.closed) {
        if let Some(range) = closed.start_range(window) {
            let rows = closed.into_batch(window)?;
            let dataset = format!("window:{}", window.name);
            let mut file = File::new(&dataset, Some(now), &rows.schema(), &properties.other);
            file.add(BatchRows::all(rows), Some(range));
            files.push(file);
        }
    }
    for file in &mut files {
        let form = plan.stored_form();
        file.draft.decimals_as_bytes = form.plain_encodings;
        file.draft.int96 = form.int96;
        file.draft.longest_texts = form.text_bytes_max.is_some();
    }
    let draft = Draft {
        partitions: batch.spans.into_values().collect(),
        watermarks: batch.watermarks,
        idle: batch.idle,
        plan: batch.plan,
        counts: batch.counts,
        rejected_by: batch.rejected_by,
        files: Vec::new(),
        complete: batch.complete,
    };
    Ok(EncodedBatch {
        draft,
        files: encode_files(files, threads)?,
        cost: batch.cost,
        samples: batch.samples,
        encode_seconds: 0.0,
    })
}

/// When the first and the last of rejected records were rejected.
fn rejected_at(rejected: &RecordBatch) -> Option<(i64, i64)> {
    let times = rejected.column_by_name("rejected_at")?;
    let times = times.as_primitive_opt::<TimestampMicrosecondType>()?;
    min(times).zip(max(times))
}

/// Counts sums that have no room in their type, and says so at the first.
fn note_sums(window: &WindowPlan, without_room: u64, shared: &Shared) {
    if without_room == 0 {
        return;
    }
    let mut status = shared.update();
    let is_first = status.window_sums_without_room == 0;
    status.window_sums_without_room += without_room;
    drop(status);
    if is_first {
        tracing::warn!(
            window = window.name,
            sums = without_room,
            "a sum of decimals has more than 38 digits: the window shows null for it. Give the input fewer digits after \
             the point, or sum it as a float"
        );
    }
}

/// The events, a file for each hour of event time, as far as [`Homes`] lets each have its own.
fn events(
    plan: &Plan,
    properties: &ParquetSettings,
    judged: &[Judged],
) -> Result<Vec<File>, EngineError> {
    let homes = Homes::of(judged);
    let mut files: BTreeMap<Home, File> = BTreeMap::new();
    for rows in judged.iter().filter(|rows| rows.events > 0) {
        for share in homes.shares(rows)? {
            let file = files.entry(share.home).or_insert_with(|| {
                let time = match share.home {
                    Home::Hour(hour) => Some(hour.saturating_mul(HOUR)),
                    Home::Rest => None,
                };
                let schema = plan.stored_schema();
                File::new("events", time, schema, &properties.events)
            });
            file.add(share.part, Some(share.range));
            file.lanes.insert(rows.lane);
        }
    }
    Ok(files.into_values().collect())
}

/// The late events, in one file: their times are scattered.
fn late(
    plan: &Plan,
    properties: &ParquetSettings,
    judged: &[Judged],
    now: i64,
) -> Result<Option<File>, EngineError> {
    let mut file = None;
    for rows in judged.iter().filter(|rows| !rows.late.is_empty()) {
        let times = || rows.late.iter().map(|row| rows.times[*row as usize]);
        let range = times().min().zip(times().max());
        file.get_or_insert_with(|| {
            File::new("late", Some(now), plan.stored_schema(), &properties.events)
        })
        .add(
            BatchRows::all(take_record_batch(
                &rows.batch,
                &UInt32Array::from(rows.late.clone()),
            )?),
            range,
        );
    }
    Ok(file)
}

/// A file that is being put together.
struct File {
    dataset: String,
    time: Option<i64>,
    rows: u64,
    event_time: Option<(i64, i64)>,
    lanes: BTreeSet<i32>,
    draft: tidegate_parquet::Draft,
}

impl File {
    fn new(
        dataset: &str,
        time: Option<i64>,
        schema: &SchemaRef,
        properties: &Arc<WriterProperties>,
    ) -> Self {
        File {
            dataset: dataset.to_owned(),
            time,
            rows: 0,
            event_time: None,
            lanes: BTreeSet::new(),
            draft: tidegate_parquet::Draft {
                schema: Arc::clone(schema),
                properties: Arc::clone(properties),
                decimals_as_bytes: false,
                int96: false,
                longest_texts: false,
                parts: Vec::new(),
            },
        }
    }

    /// Adds rows that are between these two event times.
    fn add(&mut self, part: BatchRows, range: Option<(i64, i64)>) {
        self.rows += part.rows() as u64;
        self.event_time = match (self.event_time, range) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        self.draft.parts.push(part);
    }
}

fn encode_files(files: Vec<File>, threads: usize) -> Result<Vec<Encoded>, EngineError> {
    let mut about = Vec::with_capacity(files.len());
    let mut drafts = Vec::with_capacity(files.len());
    for file in files {
        drafts.push(file.draft);
        about.push(Encoded {
            dataset: file.dataset,
            time: file.time,
            rows: file.rows,
            event_time: file.event_time,
            lanes: file.lanes.into_iter().collect(),
            bytes: Bytes::new(),
        });
    }
    let bytes = tidegate_parquet::encode(&drafts, threads)?;
    let encoded = about.into_iter().zip(bytes);
    Ok(encoded
        .map(|(about, bytes)| Encoded { bytes, ..about })
        .collect())
}
