//! The windows of a job as readers see them: what their parts hold, and how parts become rows.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tidegate_core::meaning::type_name;
use tidegate_core::plan::Plan;
use tidegate_core::spec::AggregateFunction;
use tidegate_core::window::{WindowPlan, output_type, sum_rest};
use tidegate_log::JobId;

use crate::hot::HotView;
use crate::number::{self, Merge, Merged, Number};
use crate::time;
use tidegate_warehouse::json;

/// Columns of a part before its groups, and the one after them: `window_start`, `window_end`,
/// `lane`.
const BEFORE_GROUPS: usize = 2;

/// A window definition as readers see it.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) name: String,
    /// See [`definition`].
    definition: String,
    /// Whether the configuration has it. Otherwise what was committed of it can be asked, and
    /// nothing more comes.
    pub(crate) is_computed: bool,
    /// Microseconds from a window's start to its end.
    pub(crate) size: i64,
    /// Microseconds from a window's start to the next one's.
    pub(crate) slide: i64,
    pub(crate) groups: Vec<(String, DataType)>,
    /// How each value of a part is merged.
    pub(crate) merges: Vec<Merge>,
    /// For each value of a part, the place of what it has beside it, if it is a sum that has.
    rests: Vec<Option<usize>>,
    /// What is shown: name, type, and where it comes from.
    outputs: Vec<(String, DataType, From)>,
}

/// Where an aggregate comes from: places among a part's values.
#[derive(Debug, Clone, Copy)]
enum From {
    One(usize),
    Avg { sum: usize, count: usize },
}

/// A group: its values as a JSON array, which is short and has one form.
pub(crate) type Group = Arc<str>;

/// The value of one window, group and lane.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    /// Start of the window, in microseconds.
    pub(crate) start: i64,
    pub(crate) lane: i32,
    pub(crate) group: Group,
    pub(crate) values: Box<[Number]>,
}

/// A row of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Start of the window, in microseconds.
    pub(crate) start: i64,
    pub(crate) group: Vec<Value>,
    pub(crate) aggregates: Vec<Value>,
}

/// A row with its JSON.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) row: Row,
    /// A JSON object that lacks its end, since whether a row is final changes without it.
    open: String,
}

impl Shown {
    /// Adds the row's JSON.
    pub(crate) fn write(&self, is_final: bool, out: &mut String) {
        out.push_str(&self.open);
        out.push_str(if is_final {
            r#","final":true}"#
        } else {
            r#","final":false}"#
        });
    }
}

/// Rows as a JSON array; with each whether it is final.
pub(crate) fn array<'a>(rows: impl Iterator<Item = (&'a Shown, bool)>) -> String {
    let mut out = String::from("[");
    for (place, (shown, is_final)) in rows.enumerate() {
        if place > 0 {
            out.push(',');
        }
        shown.write(is_final, &mut out);
    }
    out.push(']');
    out
}

impl View {
    /// The views that a job computes.
    pub(crate) fn computed(plan: &Plan, job: &JobId) -> Vec<View> {
        let windows = plan.windows();
        windows.map(|window| View::new(window, job, true)).collect()
    }

    /// Those of windows that were taken out of the configuration.
    pub(crate) fn removed(windows: &[WindowPlan], job: &JobId) -> Vec<View> {
        let windows = windows.iter();
        windows
            .map(|window| View::new(window, job, false))
            .collect()
    }

    fn new(window: &WindowPlan, job: &JobId, is_computed: bool) -> View {
        let mut merges = Vec::new();
        let mut rests = Vec::new();
        let mut outputs = Vec::new();
        for (name, function, input) in &window.outputs {
            let input = input.map(|i| &window.inputs[i]);
            let ty = output_type(*function, input).unwrap_or(DataType::Null);
            let place = merges.len();
            let from = match function {
                AggregateFunction::Avg => {
                    merges.extend([Merge::Sum, Merge::Sum]);
                    From::Avg {
                        sum: place,
                        count: place + 1,
                    }
                }
                AggregateFunction::Min => {
                    merges.push(Merge::Min);
                    From::One(place)
                }
                AggregateFunction::Max => {
                    merges.push(Merge::Max);
                    From::One(place)
                }
                AggregateFunction::Count | AggregateFunction::Sum => {
                    merges.push(Merge::Sum);
                    From::One(place)
                }
            };
            // The sum behind an average of decimals has their scale.
            let ty = match function {
                AggregateFunction::Avg => output_type(AggregateFunction::Sum, input).unwrap_or(ty),
                _ => ty,
            };
            let has_sum = matches!(function, AggregateFunction::Sum | AggregateFunction::Avg);
            if has_sum && sum_rest(input).is_some() {
                rests.push(Merge::Rest(place));
            }
            outputs.push((name.clone(), ty, from));
        }
        // As in `WindowPlan::rests`.
        merges.extend(rests);
        let rest_of = |sum: usize| merges.iter().position(|merge| *merge == Merge::Rest(sum));
        let rests = (0..merges.len()).map(rest_of).collect();
        View {
            name: window.name.clone(),
            definition: definition(window, job),
            is_computed,
            size: window.size,
            slide: window.slide,
            groups: window.groups.clone(),
            merges,
            rests,
            outputs,
        }
    }

    /// The view as a hot store knows it.
    pub(crate) fn hot(&self) -> HotView<'_> {
        HotView {
            name: &self.name,
            definition: &self.definition,
        }
    }

    /// The rows of a batch of parts.
    pub(crate) fn parts(&self, batch: &RecordBatch) -> Vec<Part> {
        let starts = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let lane_column = BEFORE_GROUPS + self.groups.len();
        let lanes = batch.column(lane_column).as_primitive::<Int32Type>();
        let values = &batch.columns()[lane_column + 1..];
        (0..batch.num_rows())
            .map(|row| {
                let group: Vec<Value> = (0..self.groups.len())
                    .map(|group| group_value(batch.column(BEFORE_GROUPS + group), row))
                    .collect();
                Part {
                    start: starts.value(row),
                    lane: lanes.value(row),
                    group: Value::Array(group).to_string().into(),
                    values: values.iter().map(|column| number(column, row)).collect(),
                }
            })
            .collect()
    }

    /// Merges the values of a window and group from several lanes.
    pub(crate) fn merge<'a>(&self, parts: impl Iterator<Item = &'a [Number]>) -> Vec<Merged> {
        let mut merged: Vec<Merged> = self
            .merges
            .iter()
            .map(|merge| Merged::new(*merge))
            .collect();
        for values in parts {
            for (place, merged) in merged.iter_mut().enumerate() {
                // Values that older versions have put into a store lack those at the end.
                let value = |place: usize| values.get(place).copied().unwrap_or(Number::Null);
                merged.add(value(place), self.rests[place].map_or(Number::Null, value));
            }
        }
        merged
    }

    /// A row out of merged values.
    pub(crate) fn row(&self, start: i64, group: &str, values: &[Merged]) -> Row {
        let value = |place: usize| values.get(place).map_or(Number::Null, Merged::value);
        let aggregates = self.outputs.iter().map(|(_, ty, from)| match from {
            From::One(place) => match (value(*place), ty) {
                // A sum with more digits than its type has.
                (Number::Float(_), DataType::Decimal128(..)) => Value::Null,
                (value, ty) => number::shown(value, ty),
            },
            From::Avg { sum, count } => {
                let (count, sum) = (value(*count), values.get(*sum));
                let mean = sum.map_or(Number::Null, |sum| mean(sum, ty, count));
                number::shown(mean, &DataType::Float64)
            }
        });
        Row {
            start,
            group: match serde_json::from_str(group) {
                Ok(Value::Array(group)) => self.shown_group(group),
                _ => Vec::new(),
            },
            aggregates: aggregates.collect(),
        }
    }

    /// The values of a group as an answer has them: floats that are no numbers are null.
    fn shown_group(&self, mut group: Vec<Value>) -> Vec<Value> {
        for (value, (_, ty)) in group.iter_mut().zip(&self.groups) {
            if ty.is_floating() && value.is_string() {
                *value = Value::Null;
            }
        }
        group
    }

    /// A row as an answer shows it.
    pub(crate) fn show(&self, row: Row) -> Arc<Shown> {
        let mut object = Map::new();
        object.insert("window_start".to_owned(), time::show(row.start).into());
        let end = row.start.saturating_add(self.size);
        object.insert("window_end".to_owned(), time::show(end).into());
        for ((name, _), value) in self.groups.iter().zip(&row.group) {
            object.insert(name.clone(), value.clone());
        }
        for ((name, _, _), value) in self.outputs.iter().zip(&row.aggregates) {
            object.insert(name.clone(), value.clone());
        }
        let mut open = Value::Object(object).to_string();
        // There are members before the end: two times at least.
        open.pop();
        Arc::new(Shown { row, open })
    }

    /// Names of the aggregates.
    pub(crate) fn aggregates(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(|(name, _, _)| name.as_str())
    }

    /// The first start of a window at or after a time.
    pub(crate) fn start_from(&self, time: i64) -> i64 {
        let down = time.div_euclid(self.slide) * self.slide;
        if down < time {
            down.saturating_add(self.slide)
        } else {
            down
        }
    }
}

impl Row {
    /// By window, then by groups, nulls last.
    pub(crate) fn order(&self, other: &Row) -> Ordering {
        let groups = || {
            let pairs = self.group.iter().zip(&other.group);
            pairs
                .map(|(a, b)| order(a, b))
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        };
        self.start.cmp(&other.start).then_with(groups)
    }
}

fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (a, b) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a
                .as_f64()
                .unwrap_or(f64::NAN)
                .total_cmp(&b.as_f64().unwrap_or(f64::NAN)),
        },
    }
}

/// What the values of a window depend on, as a short text: whose rows they are made of, the groups
/// in their order, what stands in which place of a part, and where windows begin. Values under
/// another definition can be neither merged with these nor replaced by them.
fn definition(window: &WindowPlan, job: &JobId) -> String {
    let types = |types: &[DataType]| types.iter().map(type_name).collect::<Vec<_>>();
    let groups = window.groups.iter();
    let groups: Vec<_> = groups.map(|(name, ty)| (name, type_name(ty))).collect();
    let outputs = window.outputs.iter();
    let outputs: Vec<_> = outputs
        .map(|(name, function, input)| (name, format!("{function:?}"), input))
        .collect();
    let text = json!([
        job.0,
        window.size,
        window.slide,
        window.begins(),
        groups,
        types(&window.inputs),
        outputs,
    ]);
    let digest = Sha256::digest(text.to_string());
    let digits = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
    digits.collect()
}

/// The mean out of a sum of this type and a count, as the warehouse's view has it.
fn mean(sum: &Merged, ty: &DataType, count: Number) -> Number {
    let exact = match ty {
        DataType::Decimal128(_, scale) => sum.mean(*scale, count),
        _ => None,
    };
    exact.map_or_else(|| sum.value().over(count), Number::Float)
}

/// The value of a group's column. JSON has no NaN and no infinity; as null they would be one group.
fn group_value(column: &dyn Array, row: usize) -> Value {
    match column.as_primitive_opt::<Float64Type>() {
        Some(floats) if floats.is_valid(row) && !floats.value(row).is_finite() => {
            floats.value(row).to_string().into()
        }
        _ => json::value(column, row),
    }
}

fn number(column: &dyn Array, row: usize) -> Number {
    if column.is_null(row) {
        return Number::Null;
    }
    match column.data_type() {
        DataType::Float64 => Number::Float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Int64 => Number::Int(column.as_primitive::<Int64Type>().value(row).into()),
        DataType::Decimal128(..) => Number::Int(column.as_primitive::<Decimal128Type>().value(row)),
        DataType::Date32 => Number::Int(column.as_primitive::<Date32Type>().value(row).into()),
        DataType::Timestamp(..) => Number::Int(
            column
                .as_primitive::<TimestampMicrosecondType>()
                .value(row)
                .into(),
        ),
        // `output_type` has no others.
        _ => Number::Null,
    }
}
