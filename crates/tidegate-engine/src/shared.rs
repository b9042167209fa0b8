//! What the threads of a job share: whether to stop, why, and what to show.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tidegate_base::clock::Clock;
use tidegate_base::lock::lock;
use tidegate_core::decode::UnknownFields;
use tidegate_log::JobState;

use crate::budget::Budget;
use crate::error::EngineError;
use crate::latency::Measured;
use crate::pace::Pace;
use crate::reach::Watched;
use crate::status::Status;

/// How often batches and loads are due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intervals {
    pub(crate) batch: Duration,
    pub(crate) load: Duration,
}

/// Shared by all threads of a job.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) budget: Budget,
    pub(crate) read_live: AtomicU64,
    /// When a record was read last, in microseconds since the Unix epoch; 0 before the first.
    pub(crate) read_at: AtomicI64,
    outside: Mutex<Outside>,
    unknown_fields: Mutex<UnknownFields>,
    stop: AtomicBool,
    ended: AtomicBool,
    failed: AtomicBool,
    drained: AtomicBool,
    error: Mutex<Option<EngineError>>,
    status: Mutex<Status>,
    measured: Mutex<Measured>,
    /// Offsets up to which partitions are committed, for the source to pass on.
    committed: Mutex<BTreeMap<i32, i64>>,
    /// Partitions whose turn comes later and of which it is not known when they begin, for the
    /// source to look further into.
    ask_ahead: Mutex<Vec<i32>>,
    started: Instant,
}

/// What is known about what is outside of the job, and about how the stages get on with it.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) source: Watched,
    /// Storage, by whether commits succeed.
    pub(crate) storage: Watched,
    /// Storage, by whether the loader can read the log.
    pub(crate) log: Watched,
    /// The warehouse, by whether loads succeed.
    pub(crate) warehouse: Watched,
    pub(crate) batches: Pace,
    pub(crate) loads: Pace,
}

impl Shared {
    pub(crate) fn new(clock: Clock, memory: usize, pace: &Intervals) -> Self {
        Shared {
            clock,
            budget: Budget::new(memory),
            read_live: AtomicU64::new(0),
            read_at: AtomicI64::new(0),
            outside: Mutex::new(Outside {
                source: Watched::default(),
                storage: Watched::default(),
                log: Watched::default(),
                warehouse: Watched::default(),
                batches: Pace::new("batch", "batch.interval", pace.batch),
                loads: Pace::new("load", "load.interval", pace.load),
            }),
            unknown_fields: Mutex::default(),
            stop: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            drained: AtomicBool::new(false),
            error: Mutex::new(None),
            status: Mutex::new(Status::default()),
            measured: Mutex::default(),
            committed: Mutex::new(BTreeMap::new()),
            ask_ahead: Mutex::default(),
            started: Instant::now(),
        }
    }

    /// Asks all threads to end after what is in flight is committed.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Notes that everything that was to be read has been read. Unlike [`Shared::stop`], this is no
    /// reason to give up what is tried again.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Ends the job with an error of its source: what is in flight is committed and loaded first.
    pub(crate) fn end_with(&self, error: EngineError) {
        lock(&self.error).get_or_insert(error);
        self.end();
    }

    /// Whether no more is to be read.
    pub(crate) fn stopping(&self) -> bool {
        self.stopped() || self.ended.load(Ordering::Acquire)
    }

    /// Whether the job was asked to end, or has failed.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Ends the job with an error; what is in flight is dropped, to be read again. The first error
    /// is the one that counts: others follow from it, unless it was the source's.
    pub(crate) fn fail(&self, error: EngineError) {
        let mut slot = lock(&self.error);
        if slot.is_none() {
            *slot = Some(error);
        } else if !self.failed() {
            tracing::error!("{error}; what was read last is not committed or not loaded");
        }
        drop(slot);
        self.failed.store(true, Ordering::Release);
        self.stop();
    }

    /// Whether the job has failed.
    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Notes that nothing more will be committed.
    pub(crate) fn note_drained(&self) {
        self.drained.store(true, Ordering::Release);
    }

    /// Whether nothing more will be committed.
    pub(crate) fn drained(&self) -> bool {
        self.drained.load(Ordering::Acquire)
    }

    pub(crate) fn take_error(&self) -> Option<EngineError> {
        lock(&self.error).take()
    }

    /// The status, to change it.
    pub(crate) fn update(&self) -> MutexGuard<'_, Status> {
        lock(&self.status)
    }

    /// What is outside, to note what became known of it.
    pub(crate) fn outside(&self) -> MutexGuard<'_, Outside> {
        lock(&self.outside)
    }

    /// Counts fields that the schema does not have.
    pub(crate) fn note_unknown(&self, fields: UnknownFields) {
        lock(&self.unknown_fields).add(fields);
    }

    /// How long events are under way, to add to it or to show it.
    pub(crate) fn measured(&self) -> MutexGuard<'_, Measured> {
        lock(&self.measured)
    }

    /// The status, to show it.
    pub(crate) fn status(&self) -> Status {
        let mut status = lock(&self.status).clone();
        status.uptime_seconds = self.started.elapsed().as_secs_f64();
        status.read_live = self.read_live.load(Ordering::Relaxed);
        status.read_at = Some(self.read_at.load(Ordering::Relaxed)).filter(|at| *at > 0);
        status.in_flight_bytes = self.budget.used() as u64;
        let unknown = lock(&self.unknown_fields);
        status.unknown_fields.clone_from(&unknown.by_name);
        status.unknown_fields_total = unknown.total();
        drop(unknown);
        let (now, outside) = (Instant::now(), lock(&self.outside));
        status.source = outside.source.show(now);
        status.storage = outside.storage.show(now);
        if status.storage.reachable {
            status.storage = outside.log.show(now);
        }
        status.warehouse = outside.warehouse.show(now);
        let paces = [&outside.batches, &outside.loads];
        status.slow = paces.iter().filter_map(|pace| pace.slow(now)).collect();
        status
    }

    /// Takes over what the log says.
    pub(crate) fn show_log(&self, state: &JobState) {
        let mut status = lock(&self.status);
        status.read = state.totals.read;
        status.events = state.totals.events;
        status.late = state.totals.late;
        status.rejected = state.totals.rejected;
        status.duplicates = state.totals.duplicates;
        status.gone = state.totals.gone;
        status.rejected_by.clone_from(&state.rejected_by);
        status.commits = state.commits;
        status.last_seq = state.last_seq;
        status.complete = state.complete;
        status.watermarks.clone_from(&state.watermarks);
    }

    /// Notes offsets that are committed.
    pub(crate) fn note_committed(&self, positions: impl Iterator<Item = (i32, i64)>) {
        lock(&self.committed).extend(positions);
    }

    /// Asks the source to look further into a partition whose turn comes later.
    pub(crate) fn ask_ahead(&self, partition: i32) {
        lock(&self.ask_ahead).push(partition);
    }

    /// Takes the partitions that were asked for since the last call.
    pub(crate) fn take_asked_ahead(&self) -> Vec<i32> {
        std::mem::take(&mut *lock(&self.ask_ahead))
    }

    /// Takes the offsets that were committed since the last call.
    pub(crate) fn take_committed(&self) -> BTreeMap<i32, i64> {
        std::mem::take(&mut *lock(&self.committed))
    }
}
