//! What is added up for one group: counts, sums, least and greatest values.

use std::cmp::Ordering;

use arrow::array::Array;
use arrow::datatypes::DataType;

use super::WindowPlan;
use super::input::Numbers;
use super::plan::{SumKind, kind};
use super::sum::{FloatSum, WholeSum};

/// Floats in an order without ties, so that the order of rows does not show: -0 before 0, and NaN,
/// as in Spark and DuckDB, after everything.
#[cold]
fn order(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.total_cmp(&b),
        (a, b) => a.cmp(&b),
    }
}

#[inline]
fn least(a: f64, b: f64) -> f64 {
    // Where neither holds they are equal, or one is NaN.
    if b > a {
        a
    } else if b < a || order(b, a).is_lt() {
        b
    } else {
        a
    }
}

#[inline]
fn greatest(a: f64, b: f64) -> f64 {
    if b < a {
        a
    } else if b > a || order(b, a).is_gt() {
        b
    } else {
        a
    }
}

/// Count, sum, least and greatest value of one input in one pane and group.
#[derive(Debug, Clone, Copy)]
pub(super) enum Accumulator {
    Float {
        count: i64,
        sum: FloatSum,
        min: f64,
        max: f64,
    },
    Int {
        count: i64,
        /// The parts of a [`WholeSum`], apart because it would fill up a cell with padding.
        over: i32,
        rest: i128,
        min: i128,
        max: i128,
    },
}

impl Accumulator {
    fn new(ty: &DataType) -> Self {
        if kind(ty) == Some(SumKind::Float) {
            let (min, max) = (f64::NAN, f64::NEG_INFINITY);
            Accumulator::Float {
                count: 0,
                sum: FloatSum::default(),
                min,
                max,
            }
        } else {
            Accumulator::Int {
                count: 0,
                over: 0,
                rest: 0,
                min: i128::MAX,
                max: i128::MIN,
            }
        }
    }

    #[inline]
    pub(super) fn add(&mut self, values: &Numbers, row: usize) {
        match (self, values) {
            (
                Accumulator::Float {
                    count,
                    sum,
                    min,
                    max,
                },
                Numbers::Float(array),
            ) => {
                if array.is_valid(row) {
                    let value = array.value(row);
                    *count += 1;
                    sum.add(value);
                    *min = least(*min, value);
                    *max = greatest(*max, value);
                }
            }
            (accumulator, Numbers::Int(array)) => {
                if array.is_valid(row) {
                    accumulator.add_int(i128::from(array.value(row)));
                }
            }
            (accumulator, Numbers::Decimal(array)) => {
                if array.is_valid(row) {
                    accumulator.add_int(array.value(row));
                }
            }
            (Accumulator::Int { .. }, Numbers::Float(_)) => {
                debug_assert!(false, "an input keeps its type")
            }
        }
    }

    #[inline]
    fn add_int(&mut self, value: i128) {
        if let Accumulator::Int {
            count,
            over,
            rest,
            min,
            max,
        } = self
        {
            *count += 1;
            match rest.checked_add(value) {
                Some(sum) => *rest = sum,
                None => (*rest, *over) = WholeSum::new(*rest, *over).plus(value),
            }
            *min = (*min).min(value);
            *max = (*max).max(value);
        }
    }

    fn merge(&mut self, other: &Accumulator) {
        match (self, other) {
            (
                Accumulator::Float {
                    count,
                    sum,
                    min,
                    max,
                },
                Accumulator::Float {
                    count: c,
                    sum: s,
                    min: other_min,
                    max: other_max,
                },
            ) => {
                *count += c;
                sum.merge(*s);
                *min = least(*min, *other_min);
                *max = greatest(*max, *other_max);
            }
            (
                Accumulator::Int {
                    count,
                    over,
                    rest,
                    min,
                    max,
                },
                Accumulator::Int {
                    count: c,
                    over: o,
                    rest: r,
                    min: other_min,
                    max: other_max,
                },
            ) => {
                *count += c;
                let mut sum = WholeSum::new(*rest, *over);
                sum.merge(WholeSum::new(*r, *o));
                (*rest, *over) = sum.raw();
                *min = (*min).min(*other_min);
                *max = (*max).max(*other_max);
            }
            _ => debug_assert!(false, "an input keeps its type"),
        }
    }

    pub(super) fn count(&self) -> i64 {
        match self {
            Accumulator::Float { count, .. } | Accumulator::Int { count, .. } => *count,
        }
    }
}

/// One group in one pane or window.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) rows: i64,
    pub(super) inputs: Box<[Accumulator]>,
}

impl Cell {
    pub(super) fn new(plan: &WindowPlan) -> Self {
        Cell {
            rows: 0,
            inputs: plan.inputs.iter().map(Accumulator::new).collect(),
        }
    }

    pub(super) fn merge(&mut self, other: &Cell) {
        self.rows += other.rows;
        for (a, b) in self.inputs.iter_mut().zip(&other.inputs) {
            a.merge(b);
        }
    }
}
