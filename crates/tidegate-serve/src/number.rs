//! Partial values of aggregates, and how those of several lanes become one.

use std::cmp::Ordering;

/// A partial value. Times, dates and decimals are the integer behind them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    /// There was no value that is not null.
    Null,
    /// An integer.
    Int(i128),
    /// A float.
    Float(f64),
}

/// How partial values are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Added up.
    Sum,
    /// The least counts.
    Min,
    /// The greatest counts.
    Max,
}

/// Merges partial values one by one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Merged {
    merge: Merge,
    value: Number,
    /// What rounding took from a sum of floats (Neumaier), so that the order of lanes does not show.
    lost: f64,
}

impl Merged {
    pub(crate) fn new(merge: Merge) -> Self {
        Merged {
            merge,
            value: Number::Null,
            lost: 0.0,
        }
    }

    /// Takes a value in.
    pub(crate) fn add(&mut self, other: Number) {
        self.value = match (self.value, other) {
            (value, Number::Null) => value,
            (Number::Null, other) => other,
            (Number::Int(a), Number::Int(b)) => Number::Int(match self.merge {
                Merge::Sum => a.saturating_add(b),
                Merge::Min => a.min(b),
                Merge::Max => a.max(b),
            }),
            (a, b) => {
                let (a, b) = (a.float(), b.float());
                Number::Float(match self.merge {
                    Merge::Sum => self.sum(a, b),
                    Merge::Min => {
                        if order(b, a).is_lt() {
                            b
                        } else {
                            a
                        }
                    }
                    Merge::Max => {
                        if order(b, a).is_gt() {
                            b
                        } else {
                            a
                        }
                    }
                })
            }
        };
    }

    fn sum(&mut self, a: f64, b: f64) -> f64 {
        let sum = a + b;
        if sum.is_finite() {
            self.lost += if a.abs() >= b.abs() {
                (a - sum) + b
            } else {
                (b - sum) + a
            };
        } else {
            self.lost = 0.0;
        }
        sum
    }

    /// The merged value.
    pub(crate) fn value(&self) -> Number {
        match self.value {
            Number::Float(value) => Number::Float(value + self.lost),
            value => value,
        }
    }
}

impl Number {
    /// The value as a float; null is 0.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn float(self) -> f64 {
        match self {
            Number::Null => 0.0,
            Number::Int(value) => value as f64,
            Number::Float(value) => value,
        }
    }

    /// `sum / count`; null if nothing was counted.
    pub(crate) fn over(self, count: Number) -> Number {
        match (self, count) {
            (Number::Null, _) | (_, Number::Null | Number::Int(0)) => Number::Null,
            (sum, count) => Number::Float(sum.float() / count.float()),
        }
    }
}

/// As in windows: -0 before 0, and NaN after everything.
fn order(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.total_cmp(&b),
        (a, b) => a.cmp(&b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(merge: Merge, values: &[Number]) -> Number {
        let mut merged = Merged::new(merge);
        for value in values {
            merged.add(*value);
        }
        merged.value()
    }

    #[test]
    fn values_of_lanes_become_one() {
        let ints = [Number::Int(3), Number::Null, Number::Int(-1)];
        assert_eq!(merged(Merge::Sum, &ints), Number::Int(2));
        assert_eq!(merged(Merge::Min, &ints), Number::Int(-1));
        assert_eq!(merged(Merge::Max, &ints), Number::Int(3));
        assert_eq!(merged(Merge::Sum, &[]), Number::Null);
        assert_eq!(Number::Int(3).over(Number::Int(2)), Number::Float(1.5));
        assert_eq!(Number::Int(3).over(Number::Int(0)), Number::Null);
    }

    #[test]
    fn a_sum_of_floats_does_not_show_the_order() {
        let values = [1e16, 1.0, -1e16, 1.0].map(Number::Float);
        assert_eq!(merged(Merge::Sum, &values), Number::Float(2.0));
        let mut turned = values;
        turned.reverse();
        assert_eq!(merged(Merge::Sum, &turned), Number::Float(2.0));
        let infinite = [f64::INFINITY, 1.0].map(Number::Float);
        assert_eq!(merged(Merge::Sum, &infinite), Number::Float(f64::INFINITY));
        let Number::Float(greatest) = merged(Merge::Max, &[f64::NAN, 1.0].map(Number::Float))
        else {
            panic!()
        };
        assert!(greatest.is_nan());
    }
}
