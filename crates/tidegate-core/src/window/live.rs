//! Live values: what the open windows hold so far, handed out where it has changed.
//!
//! Values are absolute, for each window, group and lane: those that the window's final part would
//! have if it closed now. So a value that is handed out twice changes nothing, and one that nobody
//! took is replaced by the next.

use std::collections::BTreeMap;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use hashbrown::HashMap;

use super::cell::Cell;
use super::state::GroupKey;
use super::{ClosedWindows, WindowPlan, WindowState};

/// Changed windows that nobody has taken yet, merged by key and bounded.
#[derive(Debug)]
pub struct LiveWindows {
    windows: BTreeMap<(i64, i32), LiveWindow>,
    rows: usize,
    rows_max: usize,
}

#[derive(Debug, Default)]
struct LiveWindow {
    groups: HashMap<GroupKey, Cell>,
    left_out: u64,
}

/// A window of a lane, and how many of its groups have newer values than were handed out, because
/// there was no room for them. They come when there is, unless the window closes before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// End of the window, in microseconds.
    pub window_end: i64,
    /// The lane.
    pub lane: i32,
    /// Number of groups; 0 if the window is whole.
    pub groups: u64,
}

impl LiveWindows {
    /// Nothing has changed. Holds `rows_max` values at most.
    pub fn new(rows_max: usize) -> Self {
        LiveWindows {
            windows: BTreeMap::new(),
            rows: 0,
            rows_max,
        }
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Takes what has changed out.
    pub fn take(&mut self) -> LiveWindows {
        let empty = LiveWindows::new(self.rows_max);
        std::mem::replace(self, empty)
    }

    /// The values as a batch of [`WindowPlan::part_schema`], and what is left out of each window.
    ///
    /// # Errors
    /// If Arrow refuses, which would be a bug here.
    pub fn into_parts(self, plan: &WindowPlan) -> Result<(RecordBatch, Vec<LeftOut>), ArrowError> {
        let mut closed = ClosedWindows::default();
        let mut left_out = Vec::new();
        for ((window_end, lane), window) in self.windows {
            left_out.push(LeftOut {
                window_end,
                lane,
                groups: window.left_out,
            });
            let rows = window.groups.into_iter();
            closed
                .rows
                .extend(rows.map(|(group, cell)| (window_end, lane, group, cell)));
        }
        Ok((closed.into_batch(plan)?, left_out))
    }

    fn has_room(&self, rows: usize) -> bool {
        self.rows + rows <= self.rows_max
    }

    fn put(&mut self, end: i64, lane: i32, group: &[u8], cell: Cell) {
        let window = self.windows.entry((end, lane)).or_default();
        if let Some(known) = window.groups.get_mut(group) {
            *known = cell;
        } else {
            window.groups.insert(group.into(), cell);
            self.rows += 1;
        }
    }
}

impl WindowState {
    /// Puts the values of windows that have changed since the last call, and end after `after`,
    /// where those before have been closed. Looks only into panes that rows were added to.
    pub fn changed(&mut self, lane: i32, after: Option<i64>, out: &mut LiveWindows) {
        let (size, slide) = (self.plan.size, self.plan.slide);
        let windows = usize::try_from(size / slide).unwrap_or(usize::MAX);
        let changed: Vec<i64> = self
            .panes
            .iter()
            .filter_map(|(start, pane)| pane.is_changed.then_some(*start))
            .collect();
        let mut left_out: BTreeMap<i64, u64> = BTreeMap::new();
        for start in changed {
            let Some(pane) = self.panes.get(&start) else {
                continue;
            };
            let first = start + slide;
            let ends = (first..=start + size)
                .step_by(usize::try_from(slide).unwrap_or(usize::MAX))
                .filter(|end| after.is_none_or(|after| *end > after) && self.plan.is_shown(*end));
            let mut shown = Vec::new();
            let mut missed = 0;
            for (group, slot) in &pane.by_group {
                let rows = pane.cells[*slot as usize].rows;
                if pane.shown.get(*slot as usize) == Some(&rows) {
                    continue;
                }
                if out.has_room(windows) {
                    self.put_windows(lane, start, group, ends.clone(), out);
                    shown.push((*slot as usize, rows));
                } else {
                    missed += 1;
                }
            }
            for end in ends {
                *left_out.entry(end).or_default() += missed;
            }
            if let Some(pane) = self.panes.get_mut(&start) {
                pane.is_changed = missed > 0;
                pane.shown.resize(pane.cells.len(), 0);
                for (slot, rows) in shown {
                    pane.shown[slot] = rows;
                }
            }
        }
        for (end, groups) in left_out {
            out.windows.entry((end, lane)).or_default().left_out = groups;
        }
    }

    /// Has all values handed out again, changed or not.
    pub fn show_again(&mut self) {
        for pane in self.panes.values_mut() {
            pane.is_changed = true;
            pane.shown.clear();
        }
    }

    /// Puts the values of a group in the windows around a pane: what lies before the pane is added
    /// up leftwards, what lies after it rightwards, so that the cost is a merge or two for each
    /// window.
    fn put_windows(
        &self,
        lane: i32,
        start: i64,
        group: &[u8],
        ends: impl Iterator<Item = i64>,
        out: &mut LiveWindows,
    ) {
        let (size, slide) = (self.plan.size, self.plan.slide);
        let cell = |pane: i64| {
            let pane = self.panes.get(&pane)?;
            pane.by_group
                .get(group)
                .map(|slot| &pane.cells[*slot as usize])
        };
        let Some(own) = cell(start) else { return };
        // Element `n` has this pane and the `n` before it.
        let mut left = vec![own.clone()];
        let mut before = start - slide;
        while before >= start + slide - size {
            let mut sum = left[left.len() - 1].clone();
            if let Some(cell) = cell(before) {
                sum.merge(cell);
            }
            left.push(sum);
            before -= slide;
        }
        // All panes after this one up to `last`.
        let mut right: Option<Cell> = None;
        let mut last = start;
        for end in ends {
            while last < end - slide {
                last += slide;
                match (&mut right, cell(last)) {
                    (Some(sum), Some(cell)) => sum.merge(cell),
                    (None, Some(cell)) => right = Some(cell.clone()),
                    (_, None) => {}
                }
            }
            let back = usize::try_from((start - (end - size)) / slide).unwrap_or(0);
            let mut value = left[back].clone();
            if let Some(right) = &right {
                value.merge(right);
            }
            out.put(end, lane, group, value);
        }
    }
}
