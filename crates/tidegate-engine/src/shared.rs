//! What the threads of a job share: whether to stop, why, and what to show.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tidegate_core::clock::Clock;
use tidegate_log::JobState;

use crate::budget::Budget;
use crate::error::EngineError;
use crate::latency::Measured;
use crate::status::Status;

/// Shared by all threads of a job.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) budget: Budget,
    pub(crate) read_live: AtomicU64,
    stop: AtomicBool,
    ended: AtomicBool,
    failed: AtomicBool,
    drained: AtomicBool,
    error: Mutex<Option<EngineError>>,
    status: Mutex<Status>,
    measured: Mutex<Measured>,
    /// Offsets up to which partitions are committed, for the source to pass on.
    committed: Mutex<BTreeMap<i32, i64>>,
    started: Instant,
}

impl Shared {
    pub(crate) fn new(clock: Clock, memory: usize) -> Self {
        Shared {
            clock,
            budget: Budget::new(memory),
            read_live: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            drained: AtomicBool::new(false),
            error: Mutex::new(None),
            status: Mutex::new(Status::default()),
            measured: Mutex::default(),
            committed: Mutex::new(BTreeMap::new()),
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

    /// Whether no more is to be read.
    pub(crate) fn stopping(&self) -> bool {
        self.stopped() || self.ended.load(Ordering::Acquire)
    }

    /// Whether the job was asked to end, or has failed.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Ends the job with an error; what is in flight is dropped, to be read again. The first error
    /// is the one that counts: others follow from it.
    pub(crate) fn fail(&self, error: EngineError) {
        let mut slot = lock(&self.error);
        if slot.is_none() {
            *slot = Some(error);
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

    /// How long events are under way, to add to it or to show it.
    pub(crate) fn measured(&self) -> MutexGuard<'_, Measured> {
        lock(&self.measured)
    }

    /// The status, to show it.
    pub(crate) fn status(&self) -> Status {
        let mut status = lock(&self.status).clone();
        status.uptime_seconds = self.started.elapsed().as_secs_f64();
        status.read_live = self.read_live.load(Ordering::Relaxed);
        status.in_flight_bytes = self.budget.used() as u64;
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

    /// Takes the offsets that were committed since the last call.
    pub(crate) fn take_committed(&self) -> BTreeMap<i32, i64> {
        std::mem::take(&mut *lock(&self.committed))
    }
}

/// A panic in one thread ends the job anyway; it must not hide behind a poisoned lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
