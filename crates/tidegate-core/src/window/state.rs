//! The open windows of a lane, in panes as long as the slide.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use super::cell::{Accumulator, Cell};
use super::closed::ClosedWindows;
use super::{WindowInput, WindowPlan};

pub(super) type GroupKey = Box<[u8]>;

#[derive(Debug, Default)]
pub(super) struct Pane {
    pub(super) by_group: HashMap<GroupKey, u32>,
    /// Bytes of all keys of `by_group`, with what each takes of the allocator.
    key_bytes: usize,
    pub(super) cells: Vec<Cell>,
    /// Rows were added since live values were last taken.
    pub(super) is_changed: bool,
    /// For each cell, how many rows it had when its live value was last taken; empty while nobody
    /// takes any.
    pub(super) shown: Vec<i64>,
}

impl Pane {
    fn slot(&mut self, plan: &WindowPlan, group: &[u8]) -> usize {
        if let Some(slot) = self.by_group.get(group) {
            return *slot as usize;
        }
        let slot = self.cells.len();
        self.by_group.insert(group.into(), slot as u32);
        self.key_bytes += allocated(group.len());
        self.cells.push(Cell::new(plan));
        slot
    }

    /// Bytes of memory: hash table, keys, cells and what they point to.
    fn bytes(&self, plan: &WindowPlan) -> usize {
        let accumulators = allocated(plan.inputs.len() * size_of::<Accumulator>());
        self.by_group.allocation_size()
            + self.key_bytes
            + self.cells.capacity() * size_of::<Cell>()
            + self.cells.len() * accumulators
            + self.shown.capacity() * size_of::<i64>()
    }
}

/// What an allocation of so many bytes takes: allocators round up, and none is smaller than this.
fn allocated(bytes: usize) -> usize {
    if bytes == 0 {
        0
    } else {
        bytes.next_multiple_of(16)
    }
}

/// The open windows of one lane.
#[derive(Debug)]
pub struct WindowState {
    pub(super) plan: Arc<WindowPlan>,
    pub(super) panes: BTreeMap<i64, Pane>,
}

impl WindowState {
    /// No open windows.
    pub fn new(plan: Arc<WindowPlan>) -> Self {
        WindowState {
            plan,
            panes: BTreeMap::new(),
        }
    }

    /// Adds rows of a chunk.
    pub fn add(&mut self, input: &WindowInput, times: &[i64], rows: impl Iterator<Item = usize>) {
        let plan = &*self.plan;
        // For each group, the visit to a pane in which its slot was found, and the slot.
        let mut slots = vec![(0_u32, 0_u32); input.groups.len().max(1)];
        let mut visit = 0;
        let mut rows = rows.peekable();
        // Rows come mostly in order of time: stay in a pane while they do.
        while let Some(&first) = rows.peek() {
            let start = times[first].div_euclid(plan.slide) * plan.slide;
            let end = start + plan.slide;
            let pane = self.panes.entry(start).or_default();
            pane.is_changed = true;
            visit += 1;
            while let Some(row) = rows.next_if(|row| (start..end).contains(&times[*row])) {
                let code = input.codes[row] as usize;
                if slots[code].0 != visit {
                    let group = input.groups.get(code).map_or(&[][..], |g| g.as_ref());
                    slots[code] = (visit, pane.slot(plan, group) as u32);
                }
                let cell = &mut pane.cells[slots[code].1 as usize];
                cell.rows += 1;
                for (accumulator, values) in cell.inputs.iter_mut().zip(&input.inputs) {
                    accumulator.add(values, row);
                }
            }
        }
    }

    /// Whether an event of this time is in a window that ends after the watermark.
    pub fn is_open(&self, time: i64, watermark: i64) -> bool {
        time.div_euclid(self.plan.slide) * self.plan.slide + self.plan.size > watermark
    }

    /// The greatest end of an open window.
    pub fn last_end(&self) -> Option<i64> {
        self.panes
            .last_key_value()
            .map(|(start, _)| start + self.plan.size)
    }

    /// Takes out the windows with `after < end <= watermark`, and the panes that no open window
    /// needs. `after` is the watermark of the time before.
    pub fn close(
        &mut self,
        lane: i32,
        after: Option<i64>,
        watermark: i64,
        out: &mut ClosedWindows,
    ) {
        let (size, slide) = (self.plan.size, self.plan.slide);
        let mut ends: Vec<i64> = Vec::new();
        for start in self.panes.range(..watermark).map(|(start, _)| *start) {
            let first = start + slide;
            // Of the windows that the pane is in, those that end in the range.
            let skip = after
                .map_or(0, |a| (a - first).div_euclid(slide) + 1)
                .max(0);
            let mut end = first + skip * slide;
            while end <= (start + size).min(watermark) {
                ends.push(end);
                end += slide;
            }
        }
        ends.sort_unstable();
        ends.dedup();
        ends.retain(|end| self.plan.is_shown(*end));
        for end in ends {
            let mut merged: BTreeMap<&[u8], Cell> = BTreeMap::new();
            for (_, pane) in self.panes.range(end - size..end) {
                for (group, slot) in &pane.by_group {
                    let cell = &pane.cells[*slot as usize];
                    merged
                        .entry(group)
                        .and_modify(|sum| sum.merge(cell))
                        .or_insert_with(|| cell.clone());
                }
            }
            out.rows.extend(
                merged
                    .into_iter()
                    .map(|(group, cell)| (end, lane, group.into(), cell)),
            );
        }
        // The last window that a pane is in ends at start + size.
        self.panes = self.panes.split_off(&(watermark - size + 1));
    }

    /// Groups in open panes.
    pub fn len(&self) -> usize {
        self.panes.values().map(|pane| pane.cells.len()).sum()
    }

    /// Whether there is no open pane.
    pub fn is_empty(&self) -> bool {
        self.panes.is_empty()
    }

    /// Bytes of memory of the open panes.
    pub fn bytes(&self) -> usize {
        let panes = self.panes.values();
        panes
            .map(|pane| size_of::<Pane>() + pane.bytes(&self.plan))
            .sum()
    }
}
