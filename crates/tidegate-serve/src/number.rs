//! Partial values of aggregates, and how those of several lanes become one.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use serde_json::Value;
use tidegate_base::time;
use tidegate_core::window::sum::{FloatSum, WholeSum};
use tidegate_warehouse::json;

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
    /// What the sum at this place does not hold, and goes into it.
    Rest(usize),
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
    floats: FloatSum,
    wholes: WholeSum,
}

impl Merged {
    pub(crate) fn new(merge: Merge) -> Self {
        Merged {
            merge,
            value: Number::Null,
            floats: FloatSum::default(),
            wholes: WholeSum::default(),
        }
    }

    /// Takes a value in, and what a sum has beside it.
    pub(crate) fn add(&mut self, other: Number, rest: Number) {
        if self.merge == Merge::Sum {
            return self.add_sum(other, rest);
        }
        self.value = match (self.value, other) {
            (value, Number::Null) => value,
            (Number::Null, other) => other,
            (Number::Int(a), Number::Int(b)) => Number::Int(match self.merge {
                Merge::Min => a.min(b),
                _ => a.max(b),
            }),
            (a, b) => {
                let (a, b) = (a.float(), b.float());
                let takes_other = match self.merge {
                    Merge::Min => order(b, a).is_lt(),
                    _ => order(b, a).is_gt(),
                };
                Number::Float(if takes_other { b } else { a })
            }
        };
    }

    fn add_sum(&mut self, other: Number, rest: Number) {
        match other {
            Number::Null => return,
            Number::Int(value) => {
                let over = match rest {
                    Number::Int(over) => i64::try_from(over).unwrap_or(0),
                    _ => 0,
                };
                self.wholes.merge(WholeSum::of(value, over));
            }
            Number::Float(value) => self.floats.merge(FloatSum::of(value, rest.float())),
        }
        // Its kind is what counts.
        self.value = other;
    }

    /// The mean of `count` whole numbers that were merged into a sum, or of decimals with `scale`
    /// digits after the point; none of anything else.
    pub(crate) fn mean(&self, scale: i8, count: Number) -> Option<f64> {
        match (self.merge, self.value, count) {
            (Merge::Sum, Number::Int(_), Number::Int(count)) => {
                self.wholes.mean(scale, i64::try_from(count).ok()?)
            }
            _ => None,
        }
    }

    /// The merged value. A sum of whole numbers that has too many digits for any type is a float.
    pub(crate) fn value(&self) -> Number {
        match (self.merge, self.value) {
            (Merge::Sum, Number::Float(_)) => Number::Float(self.floats.value()),
            (Merge::Sum, Number::Int(_)) => match self.wholes.value() {
                Some(sum) => Number::Int(sum),
                None => Number::Float(self.wholes.rounded()),
            },
            (_, value) => value,
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

/// A partial value or an aggregate as JSON, of the type that its column has.
pub(crate) fn shown(number: Number, ty: &DataType) -> Value {
    match (number, ty) {
        (Number::Null, _) => Value::Null,
        (Number::Float(value), _) => value.into(),
        (Number::Int(value), DataType::Timestamp(..)) => time::show(saturated(value)).into(),
        (Number::Int(value), DataType::Date32) => {
            json::date(i32::try_from(value).unwrap_or(i32::MAX))
        }
        (Number::Int(value), DataType::Decimal128(_, scale)) => json::decimal(value, *scale),
        (Number::Int(value), _) => json::whole(value),
    }
}

fn saturated(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(merge: Merge, values: &[Number]) -> Number {
        let mut merged = Merged::new(merge);
        for value in values {
            merged.add(*value, Number::Null);
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
    fn a_sum_of_lanes_is_exact_or_has_no_type() {
        let end = 10_i128.pow(38) - 1;
        let sum = |parts: &[(i128, i128)]| {
            let mut merged = Merged::new(Merge::Sum);
            for (value, over) in parts {
                merged.add(Number::Int(*value), Number::Int(*over));
            }
            merged.value()
        };
        assert_eq!(sum(&[(end, 0), (end, 0), (-end, 0)]), Number::Int(end));
        assert_eq!(sum(&[(5, 1), (-end, 0)]), Number::Int(6));
        assert_eq!(sum(&[(end, 0), (end, 0)]), Number::Float(2e38));
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
