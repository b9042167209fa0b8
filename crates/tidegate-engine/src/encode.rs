//! The encoder thread: batches into Parquet files.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{BooleanArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, SchemaRef};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use tidegate_core::plan::Plan;
use tidegate_core::rejected::{oversized_schema, rejected_schema};
use tidegate_log::Draft;
use tidegate_parquet::Part;

use crate::error::EngineError;
use crate::gather::{Batch, Judged};
use crate::latency::Samples;
use crate::shared::Shared;

/// A file in memory, ready to be put.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) dataset: String,
    /// Time that decides the folder.
    pub(crate) time: i64,
    pub(crate) rows: u64,
    /// Least and greatest event time.
    pub(crate) event_time: Option<(i64, i64)>,
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

/// Microseconds in an hour: events are stored in a folder for each.
const HOUR: i64 = 3_600_000_000;

/// A dictionary that grows beyond this is given up: it does not fit the cache, and saves little.
const DICTIONARY_BYTES_MAX: usize = 256 << 10;
/// Values that Parquet's writer takes at once: as many as a chunk has, so that it rarely starts anew.
const WRITE_BATCH_ROWS: usize = 8 << 10;

/// Encodes batches until there are no more, each on up to `threads` threads.
pub(crate) fn encode(
    plan: &Plan,
    threads: usize,
    shared: &Shared,
    batches: &Receiver<Batch>,
    out: &Sender<EncodedBatch>,
) {
    let properties = Properties::new(plan);
    for batch in batches {
        let started = Instant::now();
        match encode_batch(plan, threads, &properties, batch, shared.clock.now_micros()) {
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

/// Parquet settings of each dataset.
struct Properties {
    events: Arc<WriterProperties>,
    other: Arc<WriterProperties>,
}

impl Properties {
    fn new(plan: &Plan) -> Self {
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
                            field.name() == "processing_timestamp",
                        )
                        .set_column_encoding(path, numbers);
                }
                DataType::Float64 => events = events.set_column_dictionary_enabled(path, false),
                // Keys and times as text hardly repeat: a dictionary would be built for nothing. Nobody
                // prunes row groups by the least and greatest text.
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
        Properties {
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
    properties: &Properties,
    batch: Batch,
    now: i64,
) -> Result<EncodedBatch, EngineError> {
    let mut files = events(plan, properties, &batch.judged)?;
    files.extend(late(plan, properties, &batch.judged, now)?);
    if !batch.rejected.is_empty() {
        let mut file = File::new("rejected", now, &rejected_schema(), &properties.other);
        for rejected in batch.rejected {
            file.add(Part::all(rejected), None);
        }
        files.push(file);
    }
    if !batch.oversized.is_empty() {
        let mut file = File::new("oversized", now, &oversized_schema(), &properties.other);
        for oversized in batch.oversized {
            file.add(Part::all(oversized), None);
        }
        files.push(file);
    }
    for (window, closed) in plan.windows().zip(batch.closed) {
        if let Some(range) = closed.start_range(window) {
            let rows = closed.into_batch(window)?;
            let dataset = format!("window:{}", window.name);
            let mut file = File::new(&dataset, now, &rows.schema(), &properties.other);
            file.add(Part::all(rows), Some(range));
            files.push(file);
        }
    }
    let draft = Draft {
        partitions: batch.spans.into_values().collect(),
        watermarks: batch.watermarks,
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

/// The events, a file for each hour of event time.
fn events(
    plan: &Plan,
    properties: &Properties,
    judged: &[Judged],
) -> Result<Vec<File>, EngineError> {
    let mut hours: BTreeMap<i64, File> = BTreeMap::new();
    for rows in judged.iter().filter(|rows| rows.events > 0) {
        let mut ranges: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for time in rows
            .times
            .iter()
            .zip(&rows.keep)
            .filter(|(_, keep)| **keep)
            .map(|(time, _)| *time)
        {
            let range = ranges.entry(time.div_euclid(HOUR)).or_insert((time, time));
            *range = (range.0.min(time), range.1.max(time));
        }
        let one_hour = ranges.len() == 1;
        for (hour, range) in ranges {
            let in_hour = |time: &i64| time.div_euclid(HOUR) == hour;
            let batch = rows.batch.clone();
            let part = if one_hour && rows.events == rows.keep.len() as u64 {
                Part::all(batch)
            } else {
                let keep = rows
                    .keep
                    .iter()
                    .zip(&rows.times)
                    .map(|(keep, time)| *keep && (one_hour || in_hour(time)));
                Part::selected(batch, &BooleanArray::from(keep.collect::<Vec<bool>>()))
            };
            hours
                .entry(hour)
                .or_insert_with(|| {
                    File::new(
                        "events",
                        hour * HOUR,
                        plan.stored_schema(),
                        &properties.events,
                    )
                })
                .add(part, Some(range));
        }
    }
    Ok(hours.into_values().collect())
}

/// The late events, in one file: their times are scattered.
fn late(
    plan: &Plan,
    properties: &Properties,
    judged: &[Judged],
    now: i64,
) -> Result<Option<File>, EngineError> {
    let mut file = None;
    for rows in judged.iter().filter(|rows| !rows.late.is_empty()) {
        let times = || rows.late.iter().map(|row| rows.times[*row as usize]);
        let range = times().min().zip(times().max());
        file.get_or_insert_with(|| {
            File::new("late", now, plan.stored_schema(), &properties.events)
        })
        .add(
            Part::all(take_record_batch(
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
    time: i64,
    rows: u64,
    event_time: Option<(i64, i64)>,
    draft: tidegate_parquet::Draft,
}

impl File {
    fn new(
        dataset: &str,
        time: i64,
        schema: &SchemaRef,
        properties: &Arc<WriterProperties>,
    ) -> Self {
        File {
            dataset: dataset.to_owned(),
            time,
            rows: 0,
            event_time: None,
            draft: tidegate_parquet::Draft {
                schema: Arc::clone(schema),
                properties: Arc::clone(properties),
                parts: Vec::new(),
            },
        }
    }

    /// Adds rows that are between these two event times.
    fn add(&mut self, part: Part, range: Option<(i64, i64)>) {
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
        about.push((file.dataset, file.time, file.rows, file.event_time));
        drafts.push(file.draft);
    }
    let bytes = tidegate_parquet::encode(&drafts, threads)?;
    let encoded = about.into_iter().zip(bytes);
    Ok(encoded
        .map(|((dataset, time, rows, event_time), bytes)| Encoded {
            dataset,
            time,
            rows,
            event_time,
            bytes,
        })
        .collect())
}
