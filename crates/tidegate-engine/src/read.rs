//! The source thread: polls, and holds the source back while the budget is spent.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use tidegate_core::chunk::Chunk;
use tidegate_sources::{Source, SourceEvent};

use crate::outlook::Outlook;
use crate::shared::Shared;
use crate::state::{Item, Numbered, Signal};

/// A chunk on its way to a worker.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) number: u64,
    pub(crate) chunk: Chunk,
    /// Bytes of the budget that it holds.
    pub(crate) cost: usize,
    /// When it was read, in microseconds since the Unix epoch.
    pub(crate) read_at: i64,
}

/// Bytes that a record costs beyond its payload: offsets, marks, and a row of columns.
const RECORD_COST: usize = 64;

/// Longest wait for the source: how late a stop is noticed.
const WAIT: Duration = Duration::from_millis(50);
/// How often is looked whether the stages behind a source that has stopped are done.
const DRAIN_WAIT: Duration = Duration::from_millis(5);
/// How often lag and committed offsets are passed on.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Polls until the job stops. Then the channels close behind it, and the stages after it end one by
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
    while !shared.stopping() {
        let event = match source.poll(WAIT) {
            Ok(event) => event,
            Err(error) => return shared.fail(error.into()),
        };
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            tell(source, shared);
            look_ahead(&mut outlook, told, shared);
        }
        let signal = match event {
            SourceEvent::Nothing => continue,
            SourceEvent::Chunk(chunk) => {
                let cost = chunk.bytes() + chunk.len() * RECORD_COST;
                if !shared.budget.take(cost, || shared.stopping()) {
                    break;
                }
                shared
                    .read_live
                    .fetch_add(chunk.len() as u64, Ordering::Relaxed);
                if tasks
                    .send(Task {
                        number,
                        chunk,
                        cost,
                        read_at: shared.clock.now_micros(),
                    })
                    .is_err()
                {
                    break;
                }
                number += 1;
                continue;
            }
            SourceEvent::Partition { id, lane, name } => Signal::Partition { id, lane, name },
            SourceEvent::AtEnd { lane } => Signal::AtEnd { lane },
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

/// Shows whether the job keeps up, and says so when that changes.
fn look_ahead(outlook: &mut Outlook, now: Instant, shared: &Shared) {
    let read = shared.read_live.load(Ordering::Relaxed);
    let mut status = shared.update();
    let lag = status.lag_total();
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
    shared.update().lag = source.lag();
}
