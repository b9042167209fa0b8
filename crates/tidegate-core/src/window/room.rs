//! Counts the sums that a window shows as null, because they have more digits than their type.

use std::collections::BTreeMap;

use super::cell::Accumulator;
use super::plan::{SumKind, kind};
use super::state::GroupKey;
use super::sum::{DECIMAL_END, WholeSum};
use super::{ClosedWindows, WindowPlan};
use crate::spec::AggregateFunction;

/// Lanes whose sums may have room each and none together. The sums of more lanes are merged, but
/// not all of them are counted.
const LANES_MAX: i128 = 1_024;
/// Sums that are remembered at most; beyond, those of the oldest windows go.
const REMEMBERED_MAX: usize = 100_000;

/// The large sums of one window's parts that were closed, merged over lanes.
///
/// A part has the sum of one lane, and a window shows the sum over all. Only sums that can be too
/// large together are remembered, which is hardly ever one.
#[derive(Debug, Default)]
pub struct SumsWithoutRoom {
    /// By the window's end, its group, and the place of the output.
    large: BTreeMap<(i64, GroupKey, usize), WholeSum>,
}

impl SumsWithoutRoom {
    /// Adds parts that were closed; gives how many sums had room until now, or were not there, and
    /// have none now. The sums that a mean is made of are not counted: a mean always has room.
    pub fn add(&mut self, plan: &WindowPlan, closed: &ClosedWindows) -> u64 {
        let mut count = 0;
        for (output, (_, function, input)) in plan.outputs.iter().enumerate() {
            let Some(input) = input.filter(|_| *function == AggregateFunction::Sum) else {
                continue;
            };
            if kind(&plan.inputs[input]) != Some(SumKind::Decimal) {
                continue;
            }
            for (end, _, group, cell) in &closed.rows {
                let Accumulator::Int { rest, over, .. } = &cell.inputs[input] else {
                    continue;
                };
                let sum = WholeSum::new(*rest, *over);
                let may_grow = |sum: i128| sum.unsigned_abs() >= (DECIMAL_END / LANES_MAX) as u128;
                if sum.value().is_none_or(may_grow) {
                    let key = (*end, group.clone(), output);
                    let merged = self.large.entry(key).or_default();
                    let had_room = merged.value().is_some();
                    merged.merge(sum);
                    count += u64::from(had_room && merged.value().is_none());
                }
            }
        }
        while self.large.len() > REMEMBERED_MAX {
            self.large.pop_first();
        }
        count
    }
}
