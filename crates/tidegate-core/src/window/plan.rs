//! What a window computes, and the columns that its parts have.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use tidegate_expr::instant;

use crate::spec::AggregateFunction;

/// What a window computes, planned.
#[derive(Debug, Clone)]
pub struct WindowPlan {
    /// Name: dataset and table.
    pub name: String,
    /// Microseconds from a window's start to its end.
    pub size: i64,
    /// Microseconds from a window's start to the next one's.
    pub slide: i64,
    /// Columns that make a group, with their types.
    pub groups: Vec<(String, DataType)>,
    /// Types of the distinct inputs.
    pub inputs: Vec<DataType>,
    /// What is computed: column name, function, and which input; `None` counts rows.
    pub outputs: Vec<(String, AggregateFunction, Option<usize>)>,
    /// The first window's start: see [`WindowPlan::begin`].
    pub(crate) begins: OnceLock<i64>,
}

/// The kind of number that an input is summed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SumKind {
    Float,
    Int,
    Decimal,
}

/// Whether a type can be aggregated by a function, and the type of the result.
pub fn output_type(function: AggregateFunction, input: Option<&DataType>) -> Option<DataType> {
    let input = match (function, input) {
        (AggregateFunction::Count, _) => return Some(DataType::Int64),
        (_, input) => input?,
    };
    match (function, input) {
        (AggregateFunction::Avg, _) => kind(input).map(|_| DataType::Float64),
        (AggregateFunction::Sum, DataType::Float64 | DataType::Float32) => Some(DataType::Float64),
        (AggregateFunction::Sum, DataType::Decimal128(_, scale)) => {
            Some(DataType::Decimal128(38, *scale))
        }
        (AggregateFunction::Sum, _) => kind(input).map(|_| DataType::Decimal128(38, 0)),
        (_, DataType::Float64 | DataType::Float32) => Some(DataType::Float64),
        (_, DataType::Timestamp(..)) => Some(instant()),
        (_, DataType::Date32) => Some(DataType::Date32),
        (_, DataType::Decimal128(precision, scale)) => {
            Some(DataType::Decimal128(*precision, *scale))
        }
        (_, _) => kind(input).map(|_| DataType::Int64),
    }
}

pub(super) fn kind(ty: &DataType) -> Option<SumKind> {
    match ty {
        DataType::Float64 | DataType::Float32 => Some(SumKind::Float),
        DataType::Decimal128(..) => Some(SumKind::Decimal),
        ty if ty.is_integer() => Some(SumKind::Int),
        _ => None,
    }
}

/// The column that a part has beside a sum, so that sums of lanes are merged without a loss: how
/// its name ends, and its type. Whole numbers need none, since 10^18 of them fit.
pub fn sum_rest(input: Option<&DataType>) -> Option<(&'static str, DataType)> {
    match kind(input?)? {
        SumKind::Float => Some(("__low", DataType::Float64)),
        SumKind::Decimal => Some(("__over", DataType::Int64)),
        SumKind::Int => None,
    }
}

impl WindowPlan {
    /// Lets the windows begin at `time`, or at the first start after it: those before would lack
    /// rows that were written while the window did not exist, and must not be shown as if they were
    /// whole. Said once, before any window is closed.
    pub fn begin(&self, time: i64) {
        let rounded = time.div_euclid(self.slide) * self.slide;
        let first = if rounded < time {
            rounded.saturating_add(self.slide)
        } else {
            rounded
        };
        // What was said first stays: a window that was shown is not taken back.
        let _ = self.begins.set(first);
    }

    /// The first window's start in microseconds, if the window was added to a job that had rows
    /// already.
    pub fn begins(&self) -> Option<i64> {
        self.begins.get().copied()
    }

    /// The first start of a window that ends after the watermark: where nothing is missing, all
    /// windows from it on can be rebuilt whole.
    pub fn first_open(&self, watermark: i64) -> i64 {
        watermark
            .saturating_sub(self.size)
            .div_euclid(self.slide)
            .saturating_add(1)
            .saturating_mul(self.slide)
    }

    /// Whether the window with this end is one of those that are shown.
    pub(super) fn is_shown(&self, end: i64) -> bool {
        self.begins().is_none_or(|begins| end - self.size >= begins)
    }

    /// The columns that parts have beside their sums, in order: name, type, and the input that is
    /// summed.
    pub fn rests(&self) -> impl Iterator<Item = (String, DataType, usize)> {
        self.outputs.iter().filter_map(|(name, function, input)| {
            let of = match function {
                AggregateFunction::Sum => name.clone(),
                AggregateFunction::Avg => format!("{name}__sum"),
                _ => return None,
            };
            let (suffix, ty) = sum_rest(Some(&self.inputs[(*input)?]))?;
            Some((of + suffix, ty, (*input)?))
        })
    }

    /// The schema of the parts that are emitted: one row for a window, group and lane.
    pub fn part_schema(&self) -> SchemaRef {
        let mut fields = vec![
            Field::new("window_start", instant(), false),
            Field::new("window_end", instant(), false),
        ];
        fields.extend(
            self.groups
                .iter()
                .map(|(name, ty)| Field::new(name, ty.clone(), true)),
        );
        fields.push(Field::new("lane", DataType::Int32, false));
        for (name, function, input) in &self.outputs {
            let input = input.map(|i| &self.inputs[i]);
            let sum = output_type(AggregateFunction::Sum, input).unwrap_or(DataType::Float64);
            match function {
                AggregateFunction::Avg => {
                    fields.push(Field::new(format!("{name}__sum"), sum, true));
                    fields.push(Field::new(format!("{name}__count"), DataType::Int64, false));
                }
                AggregateFunction::Sum => fields.push(Field::new(name, sum, true)),
                _ => {
                    let ty = output_type(*function, input).unwrap_or(DataType::Null);
                    fields.push(Field::new(name, ty, *function != AggregateFunction::Count));
                }
            }
        }
        // After all others: parts that older versions have written lack them.
        fields.extend(self.rests().map(|(name, ty, _)| Field::new(name, ty, true)));
        Arc::new(Schema::new(fields))
    }
}

/// Microseconds of a duration, for plans.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
