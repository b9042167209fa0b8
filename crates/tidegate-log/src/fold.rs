//! What a sequence of records means: records in, state out, no IO.
//!
//! Every record that is read, and every record before it is written, goes through [`fold()`], so
//! the log's invariants are checked in one place:
//! 1. `read = events + late + rejected + duplicates`, and the files hold as many rows as the counts
//!    say;
//! 2. what a record covers goes on exactly where the records before it ended, and watermarks never
//!    go back.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::codec::hex;
use crate::path;
use crate::record::{Counts, FileEntry, JobId, Record, Span};

/// The dataset whose recent files deduplication is rebuilt from.
const EVENTS: &str = "events";

/// Where a job stands after a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobState {
    /// The job that the log belongs to.
    pub job: JobId,
    /// The job's name in its configuration.
    pub name: String,
    /// Seed of the fingerprints of deduplication keys.
    pub fingerprint_seed: u64,
    /// When the job was founded, in microseconds since the Unix epoch.
    pub created_at: i64,
    /// Sequence number of the last record.
    pub last_seq: u64,
    /// Checksum of the last record.
    #[serde(with = "hex")]
    pub last_crc32c: u32,
    /// Who wrote the last record.
    pub last_writer: String,
    /// When the last record was written, in microseconds since the Unix epoch.
    pub last_written_at: i64,
    /// Version of the schema of the last record's files.
    pub schema_version: u32,
    /// Where to go on in each partition.
    pub partitions: BTreeMap<i32, PartitionState>,
    /// The watermark of each lane that has one: microseconds since the Unix epoch.
    pub watermarks: BTreeMap<i32, i64>,
    /// The lanes that have nothing to read, and since when: the time of the record that says so, in
    /// microseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub idle: BTreeMap<i32, i64>,
    /// The meaning of the rows: see [`Record::plan`]. None if no record says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<serde_json::Value>,
    /// The sums of all records' counts.
    pub totals: Counts,
    /// How often each reason for a reject occurred, in all.
    pub rejected_by: BTreeMap<String, u64>,
    /// Records so far, without the one that founds the job.
    pub commits: u64,
    /// Whether the source is bounded and has ended.
    pub complete: bool,
    /// Files of the dataset `events` that may have rows within the time to keep before the
    /// watermark of their slowest lane: what deduplication is rebuilt from.
    pub recent_files: Vec<FileEntry>,
}

/// Where a partition stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionState {
    /// The lane whose state the partition's records belong to.
    pub lane: i32,
    /// What the source calls the partition.
    pub name: String,
    /// The offset at which to go on.
    pub offset: i64,
    /// What the source recognises the partition by: see [`Span::identity`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}

/// A record that cannot stand where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {seq}: {fault}; {}", fault.advice())]
pub struct FoldError {
    /// Sequence number of the record.
    pub seq: u64,
    /// What is wrong with it.
    pub fault: RecordFault,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// The log does not begin with a record that founds the job, or it founds the job twice.
    #[error("the first record founds the job, and no other does; this one {}",
        if *.founding { "does, but is not the first" } else { "is the first, but does not" })]
    Founding {
        /// Whether the record founds a job.
        founding: bool,
    },
    /// The sequence number is not the next one.
    #[error("the next record is number {expected}")]
    Sequence {
        /// The number that it should have.
        expected: u64,
    },
    /// The record belongs to another job.
    #[error("it belongs to job {found}, and this is the log of job {expected}")]
    OtherJob {
        /// The job of this log.
        expected: JobId,
        /// The job of the record.
        found: JobId,
    },
    /// The record does not follow the one before it.
    #[error(
        "it was written after a record with checksum {found:08x}, and the one before it has {expected:08x}"
    )]
    Chain {
        /// Checksum of the record before it.
        expected: u32,
        /// What it says that this checksum is.
        found: u32,
    },
    /// Records of the source were lost or counted twice.
    #[error(
        "read {} is not events {} + late {} + rejected {} + duplicates {}",
        .0.read, .0.events, .0.late, .0.rejected, .0.duplicates
    )]
    Unbalanced(Counts),
    /// The files do not hold what was counted.
    #[error("it counts {counted} {dataset}, and its files of that dataset have {rows} rows")]
    Rows {
        /// The dataset.
        dataset: &'static str,
        /// What is counted.
        counted: u64,
        /// What the files have.
        rows: u64,
    },
    /// More records were read than offsets are covered.
    #[error("it read {read} records and missed {gone}, but covers only {covered} offsets")]
    Covered {
        /// Records read.
        read: u64,
        /// Offsets that the source had lost.
        gone: u64,
        /// Offsets covered.
        covered: u128,
    },
    /// The lost offsets of the partitions are not those that are counted.
    #[error("it counts {counted} lost offsets, and its partitions have {gone}")]
    Gone {
        /// What is counted.
        counted: u64,
        /// What the partitions have.
        gone: u128,
    },
    /// A count does not fit into 64 bits.
    #[error("a sum of counts does not fit into 64 bits")]
    Overflow,
    /// A partition is in the record twice.
    #[error("it has partition {partition} twice")]
    Twice {
        /// The partition.
        partition: i32,
    },
    /// A partition's end is before its beginning.
    #[error("partition {partition} ({name}) goes from offset {from} back to {to}")]
    Backwards {
        /// The partition.
        partition: i32,
        /// What the source calls it.
        name: String,
        /// First offset.
        from: i64,
        /// The offset after the last one.
        to: i64,
    },
    /// Offsets of a partition are in no record.
    #[error(
        "partition {partition} ({name}) goes on at offset {from}, and ended at {expected}: \
         the offsets in between are in no record"
    )]
    Gap {
        /// The partition.
        partition: i32,
        /// What the source calls it.
        name: String,
        /// Where the records before ended.
        expected: i64,
        /// Where this record begins.
        from: i64,
    },
    /// Offsets of a partition are in two records.
    #[error(
        "partition {partition} ({name}) goes on at offset {from}, and ended at {expected}: \
         the offsets in between would be in two records"
    )]
    Overlap {
        /// The partition.
        partition: i32,
        /// What the source calls it.
        name: String,
        /// Where the records before ended.
        expected: i64,
        /// Where this record begins.
        from: i64,
    },
    /// A partition is not what it was.
    #[error("partition {partition} is {found}, and was {expected} in the records before")]
    PartitionChanged {
        /// The partition.
        partition: i32,
        /// Lane and name before.
        expected: String,
        /// Lane and name in the record.
        found: String,
    },
    /// A watermark goes back.
    #[error("the watermark of lane {lane} goes back from {expected} to {found}")]
    WatermarkBack {
        /// The lane.
        lane: i32,
        /// The watermark before, in microseconds since the Unix epoch.
        expected: i64,
        /// The watermark in the record.
        found: i64,
    },
    /// A file is not one that a record may name.
    #[error("the file `{path}` {what}")]
    File {
        /// Its path.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl RecordFault {
    /// What to do about it when it is found in a log.
    fn advice(&self) -> &'static str {
        match self {
            RecordFault::OtherJob { .. } => {
                "give each job a storage.url of its own, and put this record where it belongs"
            }
            RecordFault::Sequence { .. }
            | RecordFault::Chain { .. }
            | RecordFault::Founding { .. } => {
                "records were replaced or are missing: `tidegate log verify` lists what is wrong; \
                 restore the log from a copy"
            }
            _ => {
                "the record was changed, or there is a fault in Tidegate: `tidegate log verify` lists \
                 what is wrong; please report it"
            }
        }
    }
}

/// The state after `record`, which comes after `state`; none is the state before the first record.
///
/// `keep_micros` is how far behind the slowest watermark files count as recent.
///
/// # Errors
/// If the record breaks an invariant of the log: see the module's documentation.
pub fn fold(
    state: Option<JobState>,
    record: &Record,
    keep_micros: i64,
) -> Result<JobState, FoldError> {
    let step = || {
        check(record)?;
        let mut state = match state {
            None => found(record)?,
            Some(state) => follow(state, record)?,
        };
        cover(&mut state, &record.partitions)?;
        raise(&mut state, &record.watermarks)?;
        mark_idle(&mut state, record);
        if record.plan.is_some() {
            state.plan.clone_from(&record.plan);
        }
        count(&mut state, record)?;
        state.recent_files.extend(
            record
                .files
                .iter()
                .filter(|file| file.dataset == EVENTS)
                .cloned(),
        );
        state.forget_files(keep_micros);
        Ok(state)
    };
    step().map_err(|fault| FoldError {
        seq: record.seq,
        fault,
    })
}

/// Checks what a record says by itself, whatever came before it.
pub(crate) fn check(record: &Record) -> Result<(), RecordFault> {
    let first = record.seq == 1;
    if first != record.founding.is_some() {
        return Err(RecordFault::Founding {
            founding: record.founding.is_some(),
        });
    }
    if !record.counts.is_balanced() {
        return Err(RecordFault::Unbalanced(record.counts));
    }
    check_spans(record)?;
    check_files(record)
}

fn check_spans(record: &Record) -> Result<(), RecordFault> {
    let Counts {
        read,
        gone: counted,
        ..
    } = record.counts;
    let mut ids = BTreeSet::new();
    let (mut covered, mut gone) = (0_u128, 0_u128);
    for span in &record.partitions {
        if !ids.insert(span.id) {
            return Err(RecordFault::Twice { partition: span.id });
        }
        if span.to < span.from {
            let Span {
                id: partition,
                from,
                to,
                ..
            } = *span;
            return Err(RecordFault::Backwards {
                partition,
                name: span.name.clone(),
                from,
                to,
            });
        }
        covered += u128::from(span.from.abs_diff(span.to));
        gone += u128::from(span.gone);
    }
    if gone != u128::from(counted) {
        return Err(RecordFault::Gone { counted, gone });
    }
    if u128::from(read) + gone > covered {
        return Err(RecordFault::Covered {
            read,
            gone: counted,
            covered,
        });
    }
    Ok(())
}

fn check_files(record: &Record) -> Result<(), RecordFault> {
    let mut paths = BTreeSet::new();
    for file in &record.files {
        let bad = |what| {
            Err(RecordFault::File {
                path: file.path.clone(),
                what,
            })
        };
        if !path::is_data(&file.path) {
            return bad("does not lie below `data/`");
        }
        if !paths.insert(&file.path) {
            return bad("is there twice");
        }
        match file.event_time {
            Some((least, greatest)) if least > greatest => {
                return bad("has its event times reversed");
            }
            None if file.dataset == EVENTS => {
                return bad("holds events, but does not say of which time");
            }
            _ => {}
        }
    }
    let Counts {
        events,
        late,
        rejected,
        ..
    } = record.counts;
    for (dataset, counted) in [(EVENTS, events), ("late", late), ("rejected", rejected)] {
        let files = record.files.iter().filter(|file| file.dataset == dataset);
        let rows = files
            .map(|file| file.rows)
            .try_fold(0_u64, u64::checked_add)
            .ok_or(RecordFault::Overflow)?;
        if rows != counted {
            return Err(RecordFault::Rows {
                dataset,
                counted,
                rows,
            });
        }
    }
    Ok(())
}

/// The state that the first record founds, before what it covers.
fn found(record: &Record) -> Result<JobState, RecordFault> {
    let Some(founding) = &record.founding else {
        return Err(RecordFault::Sequence { expected: 1 });
    };
    if record.prev_crc32c != 0 {
        return Err(RecordFault::Chain {
            expected: 0,
            found: record.prev_crc32c,
        });
    }
    Ok(JobState {
        job: record.job.clone(),
        name: founding.name.clone(),
        fingerprint_seed: founding.fingerprint_seed,
        created_at: founding.created_at,
        last_seq: record.seq,
        last_crc32c: record.crc32c,
        last_writer: record.writer.clone(),
        last_written_at: record.written_at,
        schema_version: record.schema_version,
        partitions: BTreeMap::new(),
        watermarks: BTreeMap::new(),
        idle: BTreeMap::new(),
        plan: None,
        totals: Counts::default(),
        rejected_by: BTreeMap::new(),
        commits: 0,
        complete: record.complete,
        recent_files: Vec::new(),
    })
}

/// The state after the record before, if `record` is the one that follows it.
fn follow(mut state: JobState, record: &Record) -> Result<JobState, RecordFault> {
    if Some(record.seq) != state.last_seq.checked_add(1) {
        return Err(RecordFault::Sequence {
            expected: state.last_seq.saturating_add(1),
        });
    }
    if record.job != state.job {
        return Err(RecordFault::OtherJob {
            expected: state.job,
            found: record.job.clone(),
        });
    }
    if record.prev_crc32c != state.last_crc32c {
        return Err(RecordFault::Chain {
            expected: state.last_crc32c,
            found: record.prev_crc32c,
        });
    }
    state.last_seq = record.seq;
    state.last_crc32c = record.crc32c;
    state.last_writer.clone_from(&record.writer);
    state.last_written_at = record.written_at;
    state.schema_version = record.schema_version;
    state.commits = state.commits.checked_add(1).ok_or(RecordFault::Overflow)?;
    state.complete = record.complete;
    Ok(state)
}

fn cover(state: &mut JobState, spans: &[Span]) -> Result<(), RecordFault> {
    for span in spans {
        let Span {
            id: partition,
            lane,
            ref name,
            from,
            to,
            ref identity,
            ..
        } = *span;
        let before = state.partitions.get(&partition);
        let known = || before.and_then(|before| before.identity.clone());
        let now = PartitionState {
            lane,
            name: name.clone(),
            offset: to,
            identity: identity.clone().or_else(known),
        };
        let Some(before) = state.partitions.insert(partition, now) else {
            continue;
        };
        if (before.lane, &before.name) != (lane, name) {
            return Err(RecordFault::PartitionChanged {
                partition,
                expected: format!("{} in lane {}", before.name, before.lane),
                found: format!("{name} in lane {lane}"),
            });
        }
        let (expected, name) = (before.offset, before.name);
        if from > expected {
            return Err(RecordFault::Gap {
                partition,
                name,
                expected,
                from,
            });
        }
        if from < expected {
            return Err(RecordFault::Overlap {
                partition,
                name,
                expected,
                from,
            });
        }
    }
    Ok(())
}

fn raise(state: &mut JobState, watermarks: &BTreeMap<i32, i64>) -> Result<(), RecordFault> {
    for (&lane, &watermark) in watermarks {
        if let Some(before) = state.watermarks.insert(lane, watermark)
            && watermark < before
        {
            return Err(RecordFault::WatermarkBack {
                lane,
                expected: before,
                found: watermark,
            });
        }
    }
    Ok(())
}

fn mark_idle(state: &mut JobState, record: &Record) {
    for (&lane, &idle) in &record.idle {
        if idle {
            state.idle.insert(lane, record.written_at);
        } else {
            state.idle.remove(&lane);
        }
    }
}

fn count(state: &mut JobState, record: &Record) -> Result<(), RecordFault> {
    state.totals = state
        .totals
        .checked_add(&record.counts)
        .ok_or(RecordFault::Overflow)?;
    for (reason, &times) in &record.rejected_by {
        let total = match state.rejected_by.get(reason) {
            Some(before) => before.checked_add(times).ok_or(RecordFault::Overflow)?,
            None => times,
        };
        state.rejected_by.insert(reason.clone(), total);
    }
    Ok(())
}

impl JobState {
    /// Drops the files that have no row within `keep_micros` before the watermark of any of their
    /// lanes.
    pub(crate) fn forget_files(&mut self, keep_micros: i64) {
        let Some(&slowest) = self.watermarks.values().min() else {
            return;
        };
        let watermarks = &self.watermarks;
        self.recent_files.retain(|file| {
            let lanes = file.lanes.iter().map(|lane| {
                let watermark = watermarks.get(lane);
                watermark.copied().unwrap_or(i64::MIN)
            });
            let least = lanes.min().unwrap_or(slowest).saturating_sub(keep_micros);
            file.event_time
                .is_none_or(|(_, greatest)| greatest >= least)
        });
    }
}
