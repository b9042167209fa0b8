//! The source thread: polls, and holds the source back while the budget is spent.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use tidegate_base::chunk::Chunk;
use tidegate_source::{Source, SourceEvent, Unreachable};

use crate::outlook::Outlook;
use crate::shared::Shared;
use crate::state::{Item, Numbered, Signal};

/// A chunk on its way to a worker.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) number: u64,
    pub(crate) chunk: Chunk,
    /// Whether the chunk is only looked at: see [`SourceEvent::Ahead`].
    pub(crate) ahead: bool,
    /// Bytes of the budget that it holds.
    pub(crate) cost: usize,
    /// When it was read, in microseconds since the Unix epoch.
    pub(crate) read_at: i64,
}

/// Bytes that a record costs beyond its payload: offsets, marks, and a row of columns.
const RECORD_COST: usize = 64;

/// Longest wait for the source: how late a stop is noticed.
const WAIT: Duration = Duration::from_millis(50);
/// How often is looked whether the stages after a source that has stopped are done.
const DRAIN_WAIT: Duration = Duration::from_millis(5);
/// How often it is passed on that a lane still has nothing.
const AGAIN_EVERY: Duration = Duration::from_millis(200);
/// How often lag and committed offsets are passed on.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Polls until the job stops. Then the channels close after it, and the stages after it end one by
/// one; the source is kept until the last commit, so that its lag tools see it.
pub(crate) fn read(
    mut source: Box<dyn Source>,
    shared: &Shared,
    tasks: Sender<Task>,
    items: Sender<Numbered>,
) {
    poll(source.as_mut(), shared, &tasks, &items);
    drop((tasks, items));
    while !shared.drained() {
        std::thread::sleep(DRAIN_WAIT);
    }
    tell(source.as_mut(), shared);
}

fn poll(source: &mut dyn Source, shared: &Shared, tasks: &Sender<Task>, items: &Sender<Numbered>) {
    let mut number = 0;
    let mut told = Instant::now();
    let mut outlook = Outlook::default();
    let mut away = false;
    let mut ends = Ends::default();
    while !shared.stopping() {
        for partition in shared.take_asked_ahead() {
            source.look_further(partition);
        }
        let event = match source.poll(WAIT) {
            Ok(event) => event,
            Err(error) => {
                // What was read before the fault has been handed over: it is committed first.
                tracing::error!("{error}; what was read before is committed, and the job ends");
                return shared.end_with(error.into());
            }
        };
        look_around(source, shared, &mut away);
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            tell(source, shared);
            look_ahead(&mut outlook, told, shared);
        }
        let signal = match event {
            SourceEvent::Nothing => continue,
            SourceEvent::Chunk(chunk) => {
                ends.moved(chunk.lane);
                if !pass(number, chunk, false, shared, tasks) {
                    break;
                }
                number += 1;
                continue;
            }
            SourceEvent::Ahead(chunk) => {
                if !pass(number, chunk, true, shared, tasks) {
                    break;
                }
                number += 1;
                continue;
            }
            SourceEvent::Partition { id, lane, name } => Signal::Partition { id, lane, name },
            SourceEvent::AtEnd { lane } => {
                if !ends.is_due(lane, Instant::now()) {
                    continue;
                }
                Signal::AtEnd { lane }
            }
            SourceEvent::CaughtUp => Signal::CaughtUp,
            SourceEvent::Ended => Signal::Ended,
        };
        if items
            .send(Numbered {
                number,
                item: Item::Signal(signal),
            })
            .is_err()
        {
            break;
        }
        number += 1;
    }
}

/// Shows whether the source can be reached; `away` is what was shown last.
fn look_around(source: &dyn Source, shared: &Shared, away: &mut bool) {
    let unreachable = source.unreachable();
    let was_away = std::mem::replace(away, unreachable.is_some());
    match unreachable {
        Some(Unreachable { since, error }) => shared.outside().source.lose(since, error),
        None if was_away => shared.outside().source.find(),
        None => {}
    }
}

/// Hands a chunk to the workers, once there is room for it; false if the job ends.
fn pass(number: u64, chunk: Chunk, ahead: bool, shared: &Shared, tasks: &Sender<Task>) -> bool {
    let cost = chunk.bytes() + chunk.len() * RECORD_COST;
    if !shared.budget.take(cost, || shared.stopping()) {
        return false;
    }
    if !ahead {
        let records = chunk.len() as u64;
        shared.read_live.fetch_add(records, Ordering::Relaxed);
    }
    let read_at = shared.clock.now_micros();
    if !ahead && !chunk.is_empty() {
        shared.read_at.store(read_at, Ordering::Relaxed);
    }
    let task = Task {
        number,
        chunk,
        ahead,
        cost,
        read_at,
    };
    tasks.send(task).is_ok()
}

/// When it was passed on that a lane has nothing: a source that is busy with one lane may say so of
/// the others hundreds of times a second.
#[derive(Debug, Default)]
struct Ends {
    told: BTreeMap<i32, Instant>,
}

impl Ends {
    /// The lane has something.
    fn moved(&mut self, lane: i32) {
        self.told.remove(&lane);
    }

    /// Whether it is to be passed on that the lane has nothing.
    fn is_due(&mut self, lane: i32, now: Instant) -> bool {
        // With many lanes not so often.
        let many = Duration::from_millis(self.told.len() as u64);
        let told = self.told.get(&lane);
        if told.is_some_and(|told| now.duration_since(*told) < AGAIN_EVERY.max(many)) {
            return false;
        }
        self.told.insert(lane, now);
        true
    }
}

/// Shows whether the job keeps up, and says so when that changes.
fn look_ahead(outlook: &mut Outlook, now: Instant, shared: &Shared) {
    let read = shared.read_live.load(Ordering::Relaxed);
    let mut status = shared.update();
    // Nobody can read the others, however fast.
    let lag = status.lag_total().saturating_sub(status.held);
    let trend = outlook.update(now, read, lag);
    let was_behind = std::mem::replace(&mut status.behind, trend.behind);
    status.catch_up_seconds = trend.caught_up_in.map(|left| left.as_secs_f64());
    drop(status);
    let (rate, growth) = (trend.rate.round(), trend.growth.round());
    match (was_behind, trend.behind) {
        (false, true) => match trend.caught_up_in {
            Some(left) => {
                tracing::warn!(
                    lag,
                    rate,
                    growth,
                    "behind the source, and catching up in about {} s",
                    left.as_secs()
                );
            }
            None => tracing::warn!(
                lag,
                rate,
                growth,
                "falling behind the source; `tidegate bench` tells what holds it up"
            ),
        },
        (true, false) => tracing::info!(lag, rate, "caught up with the source"),
        _ => {}
    }
}

fn tell(source: &mut dyn Source, shared: &Shared) {
    let committed = shared.take_committed();
    if !committed.is_empty() {
        source.committed(&committed);
    }
    let (lag, held, replaced) = (source.lag(), source.held(), source.replaced());
    let mut status = shared.update();
    (status.lag, status.held, status.replaced) = (lag, held, replaced);
}
