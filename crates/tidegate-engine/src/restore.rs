//! Rebuilds the lanes after a restart, from the key columns of the files that were committed within
//! the horizon.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use tidegate_core::lane::Lane;
use tidegate_core::plan::Plan;
use tidegate_core::prepare::{Preparer, RestoreError, Restored};
use tidegate_log::{FileEntry, JobState};
use tidegate_storage::Storage;
use tokio::runtime::Handle;

use crate::error::EngineError;
use crate::fan_out::fan_out;

/// Rows that are taken from a file at a time.
const ROWS: usize = 65_536;

/// The lanes as they were, and what could not be rebuilt because it did not exist.
#[derive(Debug, Default)]
pub(crate) struct Rebuilt {
    pub(crate) lanes: BTreeMap<i32, Lane>,
    /// Rows that were written before a column of the deduplication key was there.
    pub(crate) rows_without_key: u64,
    /// For each window of the plan, the greatest event time of a row that was written before a
    /// column of the window was there.
    pub(crate) without_window: Vec<Option<i64>>,
}

/// The lanes that the log knows, as they were when its last record was committed.
///
/// Files are decoded on all threads and taken into the lanes on this one. Must not be called from
/// a thread of the runtime.
pub(crate) fn restore(
    plan: &Arc<Plan>,
    log: &JobState,
    storage: &Storage,
    runtime: &Handle,
    threads: usize,
) -> Result<Rebuilt, EngineError> {
    let mut rebuilt = Rebuilt {
        without_window: vec![None; plan.windows().len()],
        ..Rebuilt::default()
    };
    for id in log
        .partitions
        .values()
        .map(|p| p.lane)
        .chain(log.watermarks.keys().copied())
    {
        rebuilt
            .lanes
            .entry(id)
            .or_insert_with(|| Lane::new(id, plan, log.watermarks.get(&id).copied()));
    }
    let files: Vec<&FileEntry> = log
        .recent_files
        .iter()
        .filter(|f| f.dataset == "events")
        .collect();
    let read = |file: &&FileEntry, each: &mut dyn FnMut(Restored) -> bool| {
        read_file(plan, log.fingerprint_seed, file, storage, runtime, each)
    };
    let threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
    fan_out(threads, &files, read, |restored| {
        rebuilt.take(plan, log, &restored);
        Ok(())
    })?;
    Ok(rebuilt)
}

impl Rebuilt {
    fn take(&mut self, plan: &Plan, log: &JobState, restored: &Restored) {
        if restored.lacks_key {
            self.rows_without_key += restored.times.len() as u64;
        }
        let newest = restored.times.iter().max().copied();
        for (window, greatest) in restored.windows.iter().zip(&mut self.without_window) {
            if window.is_none() {
                *greatest = newest.max(*greatest);
            }
        }
        let mut by_lane: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        let mut last = None;
        for (row, partition) in restored.partitions.iter().enumerate() {
            let lane = match last {
                Some((known, lane)) if known == *partition => lane,
                _ => log.partitions.get(partition).map_or(*partition, |p| p.lane),
            };
            last = Some((*partition, lane));
            by_lane.entry(lane).or_default().push(row);
        }
        for (id, rows) in by_lane {
            let watermark = log.watermarks.get(&id).copied();
            self.lanes
                .entry(id)
                .or_insert_with(|| Lane::new(id, plan, watermark))
                .restore(restored, &rows);
        }
    }
}

fn read_file(
    plan: &Arc<Plan>,
    fingerprint_seed: u64,
    file: &FileEntry,
    storage: &Storage,
    runtime: &Handle,
    each: &mut dyn FnMut(Restored) -> bool,
) -> Result<(), EngineError> {
    let failed = |message: String| EngineError::Restore {
        path: file.path.clone(),
        message,
    };
    let bytes: Bytes = runtime
        .block_on(storage.get_if_there(&file.path))?
        .ok_or_else(|| failed("it is not there".to_owned()))?;
    if bytes.len() as u64 != file.bytes {
        let (found, expected) = (bytes.len(), file.bytes);
        return Err(failed(format!(
            "it has {found} bytes, and {expected} in the commit log"
        )));
    }
    if crc32c::crc32c(&bytes) != file.crc32c {
        return Err(failed(
            "its checksum is not the one in the commit log".to_owned(),
        ));
    }
    let metadata = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new())
        .and_then(tidegate_parquet::with_instants)
        .map_err(|e| failed(e.to_string()))?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata);
    let wanted: Vec<&str> = plan
        .state_columns()
        .into_iter()
        .map(|c| plan.event_schema().field(c).name().as_str())
        .collect();
    let roots: Vec<usize> = builder
        .parquet_schema()
        .root_schema()
        .get_fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| wanted.contains(&field.name()))
        .map(|(index, _)| index)
        .collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let reader = builder
        .with_projection(mask)
        .with_batch_size(ROWS)
        .build()
        .map_err(|e| failed(e.to_string()))?;
    let mut preparer = Preparer::new(Arc::clone(plan), fingerprint_seed)?;
    for batch in reader {
        let batch = batch.map_err(|e| failed(e.to_string()))?;
        let restored = preparer.restore(&batch).map_err(|error| match error {
            RestoreError::EventTime { .. } | RestoreError::Retyped { .. } => {
                EngineError::OtherRows {
                    path: file.path.clone(),
                    error: Box::new(error),
                }
            }
            error => failed(error.to_string()),
        })?;
        if !each(restored) {
            return Ok(());
        }
    }
    Ok(())
}
