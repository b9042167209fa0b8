//! The state thread: sees everything in the source's order, decides about each row, and gathers
//! batches.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use tidegate_base::clock::Clock;
use tidegate_core::lane::Lane;
use tidegate_core::lanes::{Lanes, Notes, WasQuiet};
use tidegate_core::plan::Plan;
use tidegate_core::prepare::Prepared;
use tidegate_log::{JobState, PartitionState};

use crate::error::EngineError;
use crate::gather::Batch;
use crate::latency::Samples;
use crate::lateness::{Lateness, Reading};
use crate::live::Live;
use crate::options::BatchOptions;
use crate::shared::Shared;
use crate::status::WindowStatus;

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
    /// The first records of a partition whose turn is still to come, to look at.
    Ahead {
        prepared: Box<Prepared>,
        /// Bytes of the budget that it holds.
        cost: usize,
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

/// How often idleness is looked at, and the longest that a batch is overdue.
const TICK: Duration = Duration::from_millis(20);

/// All state of a job.
#[derive(Debug)]
pub(crate) struct State {
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    options: BatchOptions,
    ends_at: EndsAt,
    lanes: Lanes,
    partitions: BTreeMap<i32, PartitionState>,
    /// What came before its turn: workers are done in any order.
    waiting: BTreeMap<u64, Item>,
    /// Whose turn it is.
    next: u64,
    batch: Batch,
    /// When the batch is sealed, however small it is.
    due: Instant,
    /// When idle lanes are looked at the next time.
    look_at: Instant,
    ended: bool,
    lateness: Lateness,
    /// How often one record has moved a watermark further than the delay.
    jumps: u64,
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
        let mut all = Lanes::new(&plan);
        for (id, lane) in lanes {
            all.restore(lane, was_quiet(log, id, &shared.clock));
        }
        let now = Instant::now();
        State {
            waiting: BTreeMap::new(),
            next: 0,
            batch: Batch::new(&plan),
            due: now + options.interval,
            look_at: now,
            partitions: log.partitions.clone(),
            ended: false,
            lateness: Lateness::default(),
            jumps: 0,
            plan,
            shared,
            options,
            ends_at,
            lanes: all,
            live,
        }
    }

    /// Has the next record say what the rows mean from it on.
    pub(crate) fn announce_meaning(&mut self, meaning: Option<serde_json::Value>) {
        self.batch.announce_meaning(meaning);
    }

    /// Runs until the source's side closes or the run has reached its end.
    pub(crate) fn run(mut self, items: &Receiver<Numbered>, batches: &Sender<Batch>) {
        loop {
            let arrived = match items.recv_timeout(TICK) {
                Ok(numbered) => self.arrive(numbered, Instant::now(), batches),
                Err(RecvTimeoutError::Timeout) => ControlFlow::Continue(()),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if arrived.is_break()
                || self.shared.failed()
                || self.tick(Instant::now(), batches).is_break()
            {
                return;
            }
        }
        self.stop(Instant::now(), batches);
    }

    /// Takes what has arrived, once everything before it has been taken, and hands over each batch
    /// that gets full. Breaks where the run has come to its end, or fails.
    fn arrive(
        &mut self,
        numbered: Numbered,
        now: Instant,
        batches: &Sender<Batch>,
    ) -> ControlFlow<()> {
        self.waiting.insert(numbered.number, numbered.item);
        while let Some(item) = self.waiting.remove(&self.next) {
            self.next += 1;
            if let Err(error) = self.take(item) {
                self.shared.fail(error);
                return ControlFlow::Break(());
            }
            if self.ended {
                if self.seal(Notes::All, now, batches).is_continue() {
                    self.shared.end();
                }
                return ControlFlow::Break(());
            }
            if self.batch.is_full(&self.options) {
                self.seal(Notes::Some, now, batches)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Does what is due by now: idle lanes follow, and a batch whose time is over is handed over.
    fn tick(&mut self, now: Instant, batches: &Sender<Batch>) -> ControlFlow<()> {
        if now >= self.look_at {
            self.look_at = now + TICK;
            self.lanes.follow();
        }
        if now >= self.due {
            return self.try_seal(now, batches);
        }
        ControlFlow::Continue(())
    }

    /// Ends a job that was stopped: what came whole before the first gap is committed. After a
    /// failure nothing is.
    fn stop(&mut self, now: Instant, batches: &Sender<Batch>) {
        if !self.shared.failed() {
            // Where the writer has gone it has said why.
            let _ = self.seal(Notes::All, now, batches);
        }
    }

    fn take(&mut self, item: Item) -> Result<(), EngineError> {
        match item {
            Item::Prepared {
                prepared,
                cost,
                read_at,
            } => {
                let samples = Samples::of(&prepared, read_at);
                self.shared.measured().read(&samples, read_at);
                self.batch.sample(samples);
                let mut prepared = *prepared;
                let unknown = std::mem::take(&mut prepared.unknown_fields);
                if unknown.total() > 0 {
                    self.shared.note_unknown(unknown);
                }
                self.absorb(prepared, cost)
            }
            Item::Ahead { prepared, cost } => {
                if self.lanes.will_come(&prepared) {
                    self.shared.ask_ahead(prepared.partition);
                }
                self.shared.budget.give(cost);
                Ok(())
            }
            Item::Signal(Signal::Partition { id, lane, name }) => {
                self.lanes.open(lane);
                self.partitions.entry(id).or_insert(PartitionState {
                    lane,
                    name,
                    offset: -1,
                    identity: None,
                });
                Ok(())
            }
            Item::Signal(Signal::AtEnd { lane }) => {
                self.lanes.at_end(lane, self.shared.clock.steady_micros());
                Ok(())
            }
            Item::Signal(Signal::CaughtUp) => {
                if self.ends_at == EndsAt::CaughtUp {
                    self.lanes.caught_up();
                    self.ended = true;
                }
                Ok(())
            }
            Item::Signal(Signal::Ended) => {
                self.lanes.complete();
                self.batch.complete();
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
                identity: None,
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
        let now = self.shared.clock.steady_micros();
        let verdict = self.lanes.absorb(&prepared, now);
        self.lateness.add(&verdict, &known.name);
        self.jumps += verdict.jumps;
        self.batch.add(prepared, verdict, cost);
        Ok(())
    }

    /// Hands the batch over if the writer is free; otherwise it goes on gathering.
    fn try_seal(&mut self, now: Instant, batches: &Sender<Batch>) -> ControlFlow<()> {
        let Some(batch) = self.close_batch(Notes::Some, now) else {
            return ControlFlow::Continue(());
        };
        match batches.try_send(batch) {
            Ok(()) => ControlFlow::Continue(()),
            Err(TrySendError::Full(batch)) => {
                self.batch = batch;
                ControlFlow::Continue(())
            }
            Err(TrySendError::Disconnected(_)) => ControlFlow::Break(()),
        }
    }

    /// Hands the batch over, waiting for the writer.
    fn seal(&mut self, notes: Notes, now: Instant, batches: &Sender<Batch>) -> ControlFlow<()> {
        match self
            .close_batch(notes, now)
            .map(|batch| batches.send(batch))
        {
            None | Some(Ok(())) => ControlFlow::Continue(()),
            Some(Err(_)) => ControlFlow::Break(()),
        }
    }

    /// Takes the batch with the windows that have closed and the watermarks that have moved; none
    /// where there is nothing to commit.
    fn close_batch(&mut self, notes: Notes, now: Instant) -> Option<Batch> {
        self.due = now + self.options.interval;
        if let Some(live) = &self.live {
            live.put(self.lanes.iter_mut());
        }
        self.batch.close(&mut self.lanes, notes);
        let reading = Reading {
            delay: self.plan.delay(),
            shares_lanes: self.partitions.iter().any(|(id, p)| *id != p.lane),
        };
        self.lateness.look(notes == Notes::All, reading);
        self.show_sizes();
        if self.batch.is_empty() {
            return None;
        }
        Some(std::mem::replace(&mut self.batch, Batch::new(&self.plan)))
    }

    /// Shows how much state there is, in all and by window.
    fn show_sizes(&self) {
        let mut windows: BTreeMap<String, WindowStatus> = self
            .plan
            .windows()
            .map(|window| {
                let status = WindowStatus {
                    begins: window.begins(),
                    ..WindowStatus::default()
                };
                (window.name.clone(), status)
            })
            .collect();
        let (mut keys, mut bytes) = (0, 0);
        for lane in self.lanes.iter() {
            let (fingerprints, size) = lane.dedup_size();
            keys += fingerprints as u64;
            bytes += size as u64;
            for (window, (groups, size)) in self.plan.windows().zip(lane.window_sizes()) {
                keys += groups as u64;
                bytes += size as u64;
                if let Some(status) = windows.get_mut(&window.name) {
                    status.groups += groups as u64;
                    status.bytes += size as u64;
                }
            }
        }
        let mut status = self.shared.update();
        status.watermark_jumps = self.jumps;
        status.state_keys = keys;
        status.state_bytes = bytes;
        status.windows = windows;
    }
}

/// Since when a lane has had nothing, by the log, as long before now as the wall clock says.
fn was_quiet(log: &JobState, lane: i32, clock: &Clock) -> Option<WasQuiet> {
    let since = *log.idle.get(&lane)?;
    let (wall, steady) = (clock.now_micros(), clock.steady_micros());
    let ago = |time: i64| steady.saturating_sub(wall.saturating_sub(time).max(0));
    Some(WasQuiet {
        since: ago(since),
        until: ago(log.last_written_at),
    })
}

#[cfg(test)]
mod tests;
