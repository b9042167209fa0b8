//! Rebuilds the lanes after a restart, from the key columns of the files that were committed within
//! the horizon.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use tidegate_core::lane::Lane;
use tidegate_core::plan::Plan;
use tidegate_core::prepare::{Preparer, Restored};
use tidegate_log::{FileEntry, JobState, Storage};
use tokio::runtime::Handle;

use crate::error::EngineError;

/// Rows that are taken from a file at a time.
const ROWS: usize = 65_536;

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
) -> Result<BTreeMap<i32, Lane>, EngineError> {
    let mut lanes: BTreeMap<i32, Lane> = BTreeMap::new();
    for id in log
        .partitions
        .values()
        .map(|p| p.lane)
        .chain(log.watermarks.keys().copied())
    {
        lanes
            .entry(id)
            .or_insert_with(|| Lane::new(id, plan, log.watermarks.get(&id).copied()));
    }
    let files: Vec<&FileEntry> = log
        .recent_files
        .iter()
        .filter(|f| f.dataset == "events")
        .collect();
    let next = AtomicUsize::new(0);
    let (sender, receiver) =
        crossbeam_channel::bounded::<Result<Restored, EngineError>>(2 * threads);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(files.len()) {
            let (sender, files, next) = (sender.clone(), &files, &next);
            scope.spawn(move || {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let each = |rows| sender.send(Ok(rows)).is_ok();
                    if let Err(error) =
                        read_file(plan, log.fingerprint_seed, file, storage, runtime, each)
                    {
                        let _ = sender.send(Err(error));
                        return;
                    }
                }
            });
        }
        drop(sender);
        for restored in &receiver {
            let restored = restored?;
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
                lanes
                    .entry(id)
                    .or_insert_with(|| Lane::new(id, plan, watermark))
                    .restore(&restored, &rows);
            }
        }
        Ok(lanes)
    })
}

fn read_file(
    plan: &Arc<Plan>,
    fingerprint_seed: u64,
    file: &FileEntry,
    storage: &Storage,
    runtime: &Handle,
    mut each: impl FnMut(Restored) -> bool,
) -> Result<(), EngineError> {
    let failed = |message: String| EngineError::Restore {
        path: file.path.clone(),
        message,
    };
    let bytes: Bytes = runtime.block_on(storage.get(&file.path))?;
    if bytes.len() as u64 != file.bytes || crc32c::crc32c(&bytes) != file.crc32c {
        return Err(failed(
            "its checksum is not the one in the commit log".to_owned(),
        ));
    }
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, ArrowReaderOptions::new())
            .map_err(|e| failed(e.to_string()))?;
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
        let restored = preparer
            .restore(&batch)
            .map_err(|e| failed(e.to_string()))?;
        if !each(restored) {
            return Ok(());
        }
    }
    Ok(())
}
