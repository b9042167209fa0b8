//! The state thread: sees everything in the source's order, decides about each row, and gathers
//! batches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use tidegate_core::lane::Lane;
use tidegate_core::plan::Plan;
use tidegate_core::prepare::Prepared;
use tidegate_log::{JobState, PartitionState};

use crate::error::EngineError;
use crate::gather::Batch;
use crate::latency::Samples;
use crate::live::Live;
use crate::options::BatchOptions;
use crate::shared::Shared;

/// Something with its place in the source's order.
#[derive(Debug)]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) item: Item,
}

/// What reaches the state thread.
#[derive(Debug)]
pub(crate) enum Item {
    /// A chunk, prepared.
    Prepared {
        prepared: Box<Prepared>,
        /// Bytes of the budget that it holds.
        cost: usize,
        /// When it was read, in microseconds since the Unix epoch.
        read_at: i64,
    },
    /// Something that the source said.
    Signal(Signal),
}

/// What a source says besides chunks.
#[derive(Debug)]
pub(crate) enum Signal {
    Partition { id: i32, lane: i32, name: String },
    AtEnd { lane: i32 },
    CaughtUp,
    Ended,
}

/// When a run ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndsAt {
    /// Only when it is stopped, or when its source ends.
    SourceEnd,
    /// When everything that was there at the start has been read.
    CaughtUp,
}

/// A lane, and whether it is idle.
#[derive(Debug)]
struct Watched {
    lane: Lane,
    /// The clock's time since which the lane has had nothing to read.
    at_end_since: Option<i64>,
    /// The watermark in the log.
    committed: Option<i64>,
}

/// How often idleness is looked at, and the longest that a batch is overdue.
const TICK: Duration = Duration::from_millis(20);

/// All state of a job.
#[derive(Debug)]
pub(crate) struct State {
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    options: BatchOptions,
    ends_at: EndsAt,
    lanes: BTreeMap<i32, Watched>,
    partitions: BTreeMap<i32, PartitionState>,
    batch: Batch,
    due: Instant,
    ended: bool,
    /// Who shows live values, if anybody does.
    live: Option<Live>,
}

impl State {
    /// The state as the log has it, with lanes that were rebuilt.
    pub(crate) fn new(
        plan: Arc<Plan>,
        shared: Arc<Shared>,
        options: BatchOptions,
        ends_at: EndsAt,
        log: &JobState,
        lanes: BTreeMap<i32, Lane>,
        live: Option<Live>,
    ) -> Self {
        let lanes = lanes
            .into_iter()
            .map(|(id, lane)| {
                (
                    id,
                    Watched {
                        committed: lane.watermark(),
                        lane,
                        at_end_since: None,
                    },
                )
            })
            .collect();
        State {
            batch: Batch::new(&plan),
            due: Instant::now() + options.interval,
            partitions: log.partitions.clone(),
            ended: false,
            plan,
            shared,
            options,
            ends_at,
            lanes,
            live,
        }
    }

    /// Runs until the source's side closes or the run has reached its end.
    pub(crate) fn run(mut self, items: &Receiver<Numbered>, batches: &Sender<Batch>) {
        let mut waiting: BTreeMap<u64, Item> = BTreeMap::new();
        let mut next = 0;
        loop {
            match items.recv_timeout(TICK) {
                Ok(numbered) => {
                    waiting.insert(numbered.number, numbered.item);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Some(item) = waiting.remove(&next) {
                next += 1;
                if let Err(error) = self.take(item) {
                    return self.shared.fail(error);
                }
                if self.ended || self.full() {
                    let Ok(()) = self.seal(batches) else { return };
                }
                if self.ended {
                    self.shared.end();
                    return;
                }
            }
            if self.shared.failed() {
                return;
            }
            if Instant::now() >= self.due {
                self.follow_others();
                let Ok(()) = self.try_seal(batches) else {
                    return;
                };
            }
        }
        // Stopped: what came whole before the first gap is committed. After a failure nothing is.
        if !self.shared.failed() {
            let _ = self.seal(batches);
        }
    }

    fn take(&mut self, item: Item) -> Result<(), EngineError> {
        match item {
            Item::Prepared {
                prepared,
                cost,
                read_at,
            } => {
                let samples = Samples::of(&prepared.times, &prepared.accepted);
                self.shared.measured().read(&samples, read_at);
                self.batch.samples.extend(samples);
                self.absorb(*prepared, cost)
            }
            Item::Signal(Signal::Partition { id, lane, name }) => {
                self.lane(lane);
                self.partitions.entry(id).or_insert(PartitionState {
                    lane,
                    name,
                    offset: -1,
                });
                Ok(())
            }
            Item::Signal(Signal::AtEnd { lane }) => {
                let now = self.shared.clock.now_micros();
                self.lane(lane).at_end_since.get_or_insert(now);
                Ok(())
            }
            Item::Signal(Signal::CaughtUp) => {
                self.ended |= self.ends_at == EndsAt::CaughtUp;
                Ok(())
            }
            Item::Signal(Signal::Ended) => {
                self.complete();
                self.ended = true;
                Ok(())
            }
        }
    }

    fn absorb(&mut self, prepared: Prepared, cost: usize) -> Result<(), EngineError> {
        let partition = prepared.partition;
        let known = self
            .partitions
            .entry(partition)
            .or_insert_with(|| PartitionState {
                lane: prepared.lane,
                name: partition.to_string(),
                offset: -1,
            });
        if known.offset >= 0 && known.offset != prepared.from {
            return Err(EngineError::Gap {
                partition,
                expected: known.offset,
                got: prepared.from,
            });
        }
        known.offset = prepared.to;
        self.batch
            .announce(partition, prepared.lane, &known.name, prepared.from);
        let watched = self.lane(prepared.lane);
        if prepared.read > 0 {
            watched.at_end_since = None;
        }
        let verdict = watched.lane.absorb(&prepared);
        self.batch.add(prepared, verdict, cost);
        Ok(())
    }

    fn lane(&mut self, id: i32) -> &mut Watched {
        let plan = &self.plan;
        self.lanes.entry(id).or_insert_with(|| Watched {
            lane: Lane::new(id, plan, None),
            at_end_since: None,
            committed: None,
        })
    }

    /// Lanes that have been idle for long enough follow the slowest that are not; where all are idle,
    /// the fastest, so that the last windows of a stream that pauses are final too.
    fn follow_others(&mut self) {
        let now = self.shared.clock.now_micros();
        let after = i64::try_from(self.plan.idle_after().as_micros()).unwrap_or(i64::MAX);
        let is_idle = |watched: &Watched| {
            watched
                .at_end_since
                .is_some_and(|since| now - since >= after)
        };
        // A lane that is not idle and has no watermark yet may still bring anything: it holds all.
        let busy = self.lanes.values().filter(|w| !is_idle(w));
        let slowest = busy.map(|w| w.lane.watermark()).min();
        let fastest = || {
            self.lanes
                .values()
                .map(|w| w.lane.watermark())
                .max()
                .flatten()
        };
        let Some(leader) = slowest.unwrap_or_else(fastest) else {
            return;
        };
        for watched in self.lanes.values_mut().filter(|w| is_idle(w)) {
            watched.lane.follow(leader);
        }
    }

    /// The bounded source has ended: nothing will come that could change an open window.
    fn complete(&mut self) {
        let end = self
            .lanes
            .values()
            .filter_map(|w| w.lane.last_end().max(w.lane.watermark()))
            .max();
        if let Some(end) = end {
            for watched in self.lanes.values_mut() {
                watched.lane.follow(end);
            }
        }
        self.batch.complete = true;
    }

    fn full(&self) -> bool {
        let counts = &self.batch.counts;
        let rows = counts.read - counts.duplicates;
        rows >= self.options.max_rows as u64 || self.batch.bytes >= self.options.max_bytes
    }

    /// Hands the batch on if the writer is free; otherwise it goes on gathering.
    fn try_seal(&mut self, batches: &Sender<Batch>) -> Result<(), ()> {
        let Some(batch) = self.close_batch() else {
            return Ok(());
        };
        match batches.try_send(batch) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(batch)) => {
                self.batch = batch;
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Err(()),
        }
    }

    /// Hands the batch on, waiting for the writer.
    fn seal(&mut self, batches: &Sender<Batch>) -> Result<(), ()> {
        self.close_batch()
            .map_or(Ok(()), |batch| batches.send(batch).map_err(drop))
    }

    /// Takes the batch with the windows that have closed and the watermarks that have moved.
    fn close_batch(&mut self) -> Option<Batch> {
        self.due = Instant::now() + self.options.interval;
        if let Some(live) = &self.live {
            live.put(self.lanes.values_mut().map(|watched| &mut watched.lane));
        }
        for (id, watched) in &mut self.lanes {
            watched.lane.close_windows(&mut self.batch.closed);
            let watermark = watched.lane.watermark();
            if watermark != watched.committed {
                watched.committed = watermark;
                self.batch.watermarks.extend(watermark.map(|w| (*id, w)));
            }
        }
        let (keys, bytes) = self.lanes.values().fold((0, 0), |(keys, bytes), w| {
            (keys + w.lane.len() as u64, bytes + w.lane.bytes() as u64)
        });
        let mut status = self.shared.update();
        status.state_keys = keys;
        status.state_bytes = bytes;
        drop(status);
        if self.batch.is_empty() {
            return None;
        }
        Some(std::mem::replace(&mut self.batch, Batch::new(&self.plan)))
    }
}
