//! The state of one lane, and what it decides about each row: event, late, or duplicate.

use std::ops::Range;
use std::sync::Arc;

use crate::dedup::Dedup;
use crate::plan::Plan;
use crate::prepare::{Prepared, Restored};
use crate::window::live::LiveWindows;
use crate::window::{ClosedWindows, WindowState, micros};

/// Rows whose slots are brought into the cache together: as many misses as a core has under way at
/// once.
const PREFETCH_ROWS: usize = 16;

/// Watermark, fingerprints and open windows of one lane.
#[derive(Debug)]
pub struct Lane {
    id: i32,
    delay: i64,
    watermark: Option<i64>,
    /// The watermark when windows were last closed.
    closed_at: Option<i64>,
    dedup: Option<Dedup>,
    windows: Vec<WindowState>,
    /// The event time at which the first of the partitions begins whose turn is still to come: the
    /// watermark stays before it, as if that one had been read so far.
    ceiling: i64,
    /// The last jump of the watermark that no event has been late for.
    jump: Option<Jump>,
}

/// One record has moved the watermark further than the delay.
///
/// In a stream with gaps that is how it is. Where events come after it that would not have been
/// late without it, that record was ahead of its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jump {
    /// The partition of the record.
    pub partition: i32,
    /// The offsets of the chunk that it is in.
    pub offsets: Range<i64>,
    /// The watermark before it.
    pub from: i64,
    /// The watermark after it.
    pub to: i64,
}

/// What a lane decided about the rows of a chunk.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// For each row, whether it is an event.
    pub keep: Vec<bool>,
    /// Number of events.
    pub events: u64,
    /// Rows that are late, ascending.
    pub late: Vec<u32>,
    /// Number of exact repeats.
    pub duplicates: u64,
    /// How often one record moved the watermark further than the delay.
    pub jumps: u64,
    /// A jump that rows are late for, the first time that one is.
    pub late_for: Option<Jump>,
}

impl Lane {
    /// A lane with nothing in it but the watermark that was committed last.
    pub fn new(id: i32, plan: &Plan, watermark: Option<i64>) -> Self {
        let mut dedup = (!plan.dedup_key.is_empty()).then(|| Dedup::new(plan.delay()));
        if let (Some(dedup), Some(watermark)) = (&mut dedup, watermark) {
            dedup.advance(watermark);
        }
        Lane {
            id,
            delay: micros(plan.delay()),
            watermark,
            closed_at: watermark,
            dedup,
            windows: plan
                .windows()
                .map(|w| WindowState::new(Arc::clone(w)))
                .collect(),
            ceiling: i64::MAX,
            jump: None,
        }
    }

    /// Its number.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// The watermark, in microseconds; none before the first accepted record.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// Decides about the rows of the lane's next chunk, in order, and takes them into the state.
    pub fn absorb(&mut self, prepared: &Prepared) -> Verdict {
        let rows = prepared.accepted.len();
        let mut verdict = Verdict {
            keep: vec![false; rows],
            ..Verdict::default()
        };
        let mut watermark = self.watermark.unwrap_or(i64::MIN);
        for row in 0..rows {
            if row % PREFETCH_ROWS == 0
                && let Some(dedup) = &self.dedup
            {
                let end = rows.min(row + PREFETCH_ROWS);
                dedup.prefetch(prepared.fingerprints[row..end].iter().copied());
            }
            if !prepared.accepted[row] {
                continue;
            }
            let time = prepared.times[row];
            if time < watermark {
                verdict.late.push(row as u32);
                if self.jump.is_some() {
                    self.blame(time, &mut verdict);
                }
                continue;
            }
            let moved = time.min(self.ceiling).saturating_sub(self.delay);
            if moved > watermark {
                if moved.saturating_sub(watermark) > self.delay {
                    self.jumped(prepared, watermark, moved, &mut verdict);
                }
                watermark = moved;
            }
            let new = match &mut self.dedup {
                Some(dedup) => {
                    dedup.advance(watermark);
                    dedup.insert(prepared.fingerprints[row], time)
                }
                None => true,
            };
            verdict.keep[row] = new;
            verdict.events += u64::from(new);
            verdict.duplicates += u64::from(!new);
        }
        if watermark != i64::MIN {
            self.watermark = Some(watermark);
        }
        for (window, input) in self.windows.iter_mut().zip(&prepared.windows) {
            window.add(
                input,
                &prepared.times,
                (0..rows).filter(|row| verdict.keep[*row]),
            );
        }
        verdict
    }

    /// One record of a chunk moves the watermark further than the delay, unless it is the first
    /// one.
    #[cold]
    fn jumped(&mut self, prepared: &Prepared, from: i64, to: i64, verdict: &mut Verdict) {
        if from == i64::MIN {
            return;
        }
        verdict.jumps += 1;
        self.jump = Some(Jump {
            partition: prepared.partition,
            offsets: prepared.from..prepared.to,
            from,
            to,
        });
    }

    /// Notes that a late row is late for the last jump, if it would not have been late before.
    #[cold]
    fn blame(&mut self, time: i64, verdict: &mut Verdict) {
        if self.jump.as_ref().is_some_and(|jump| time >= jump.from) {
            verdict.late_for = self.jump.take();
        }
    }

    /// Takes committed rows of this lane into the state again, after a restart.
    pub fn restore(&mut self, restored: &Restored, rows: &[usize]) {
        let watermark = self.watermark.unwrap_or(i64::MIN);
        if let Some(dedup) = &mut self.dedup
            && !restored.lacks_key
        {
            for rows in rows.chunks(PREFETCH_ROWS) {
                dedup.prefetch(rows.iter().map(|row| restored.fingerprints[*row]));
                for row in rows {
                    dedup.restore(restored.fingerprints[*row], restored.times[*row]);
                }
            }
        }
        for (window, input) in self.windows.iter_mut().zip(&restored.windows) {
            let Some(input) = input else { continue };
            let open: Vec<usize> = rows
                .iter()
                .copied()
                .filter(|row| window.is_open(restored.times[*row], watermark))
                .collect();
            window.add(input, &restored.times, open.into_iter());
        }
    }

    /// Keeps the watermark before this event time, and where it is if that is `i64::MIN`; none ends
    /// that. What has been reached stays.
    pub fn hold(&mut self, ceiling: Option<i64>) {
        self.ceiling = ceiling.unwrap_or(i64::MAX);
    }

    /// Moves the watermark forward to `to`, because the lane is idle or its source has ended.
    pub fn follow(&mut self, to: i64) {
        if self.watermark.is_none_or(|watermark| watermark < to) {
            self.watermark = Some(to);
            if let Some(dedup) = &mut self.dedup {
                dedup.advance(to);
            }
        }
    }

    /// The greatest end of an open window.
    pub fn last_end(&self) -> Option<i64> {
        self.windows.iter().filter_map(WindowState::last_end).max()
    }

    /// Takes out the windows that the watermark has passed since the last call; `out` has an
    /// element for each window of the plan.
    pub fn close_windows(&mut self, out: &mut [ClosedWindows]) {
        let Some(watermark) = self.watermark else {
            return;
        };
        for (window, closed) in self.windows.iter_mut().zip(out) {
            window.close(self.id, self.closed_at, watermark, closed);
        }
        self.closed_at = Some(watermark);
    }

    /// Windows that end at or before this have been closed; none before the first are.
    pub fn closed_at(&self) -> Option<i64> {
        self.closed_at
    }

    /// Puts the live values that have changed since the last call; `out` has an element for each
    /// window of the plan. Called before [`Lane::close_windows`], so that the last value is the
    /// final one.
    pub fn changed_windows(&mut self, out: &mut [LiveWindows]) {
        for (window, live) in self.windows.iter_mut().zip(out) {
            window.changed(self.id, self.closed_at, live);
        }
    }

    /// Has all live values handed out again, changed or not.
    pub fn show_windows_again(&mut self) {
        self.windows.iter_mut().for_each(WindowState::show_again);
    }

    /// Fingerprints and window groups in memory.
    pub fn len(&self) -> usize {
        self.dedup.as_ref().map_or(0, Dedup::len)
            + self.windows.iter().map(WindowState::len).sum::<usize>()
    }

    /// Whether there is no state.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of fingerprints, and bytes of memory of them.
    pub fn dedup_size(&self) -> (usize, usize) {
        let dedup = self.dedup.as_ref();
        dedup.map_or((0, 0), |dedup| (dedup.len(), dedup.bytes()))
    }

    /// Bytes of memory of the fingerprints and of the open windows.
    pub fn bytes(&self) -> usize {
        let windows: usize = self.window_sizes().map(|(_, bytes)| bytes).sum();
        self.dedup_size().1 + windows
    }

    /// Groups and bytes of memory of each window of the plan, in its order.
    pub fn window_sizes(&self) -> impl Iterator<Item = (usize, usize)> {
        let windows = self.windows.iter();
        windows.map(|window| (window.len(), window.bytes()))
    }
}
