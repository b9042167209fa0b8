//! Windowed aggregates: pane sums for each lane, merged into windows when the watermark passes.
//!
//! Time is cut into panes as long as the slide; an event is added to one pane, however many windows
//! it is in. A window is closed once, when its lane's watermark reaches its end. What open windows hold so
//! far is handed out by [`live`].

pub mod live;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int32Array, Int64Array,
    PrimitiveArray, TimestampMicrosecondArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Float64Type, Int64Type, Schema, SchemaRef,
};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, RowConverter, SortField};
use hashbrown::HashMap;
use tidegate_expr::time::{UTC, instant};

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
}

/// The kind of number that an input is summed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
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

fn kind(ty: &DataType) -> Option<Kind> {
    match ty {
        DataType::Float64 | DataType::Float32 => Some(Kind::Float),
        DataType::Decimal128(..) => Some(Kind::Decimal),
        ty if ty.is_integer() => Some(Kind::Int),
        _ => None,
    }
}

impl WindowPlan {
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
            if *function == AggregateFunction::Avg {
                let sum = output_type(AggregateFunction::Sum, input).unwrap_or(DataType::Float64);
                fields.push(Field::new(format!("{name}__sum"), sum, true));
                fields.push(Field::new(format!("{name}__count"), DataType::Int64, false));
            } else {
                let ty = output_type(*function, input).unwrap_or(DataType::Null);
                fields.push(Field::new(name, ty, *function != AggregateFunction::Count));
            }
        }
        Arc::new(Schema::new(fields))
    }
}

/// What a window needs of a chunk, made by a worker: a group for each row, and the inputs.
#[derive(Debug)]
pub struct WindowInput {
    /// For each row, an index into `groups`.
    codes: Vec<u32>,
    groups: Vec<OwnedRow>,
    inputs: Vec<Numbers>,
}

/// Values of an input, as what they are summed as.
#[derive(Debug)]
enum Numbers {
    Float(Float64Array),
    Int(Int64Array),
    Decimal(Decimal128Array),
}

impl Numbers {
    fn new(array: &ArrayRef) -> Result<Self, ArrowError> {
        Ok(match array.data_type() {
            DataType::Float64 => Numbers::Float(array.as_primitive::<Float64Type>().clone()),
            DataType::Float32 => Numbers::Float(
                cast(array, &DataType::Float64)?
                    .as_primitive::<Float64Type>()
                    .clone(),
            ),
            DataType::Decimal128(..) => {
                Numbers::Decimal(array.as_primitive::<Decimal128Type>().clone())
            }
            DataType::Timestamp(..) => {
                let micros = cast(array, &instant())?;
                Numbers::Int(
                    cast(&micros, &DataType::Int64)?
                        .as_primitive::<Int64Type>()
                        .clone(),
                )
            }
            DataType::Date32 => {
                let days = cast(array, &DataType::Int32)?;
                Numbers::Int(
                    cast(&days, &DataType::Int64)?
                        .as_primitive::<Int64Type>()
                        .clone(),
                )
            }
            _ => Numbers::Int(
                cast(array, &DataType::Int64)?
                    .as_primitive::<Int64Type>()
                    .clone(),
            ),
        })
    }
}

/// Makes [`WindowInput`]s for one window; each worker has its own.
#[derive(Debug)]
pub struct WindowEncoder {
    converter: Option<RowConverter>,
}

impl WindowEncoder {
    /// An encoder for a window.
    ///
    /// # Errors
    /// If a group column's type cannot be grouped by.
    pub fn new(plan: &WindowPlan) -> Result<Self, ArrowError> {
        let converter = if plan.groups.is_empty() {
            None
        } else {
            Some(row_converter(plan)?)
        };
        Ok(WindowEncoder { converter })
    }

    /// Encodes the group columns and inputs of a batch with `rows` rows.
    ///
    /// # Errors
    /// If the arrays are not of the planned types.
    pub fn encode(
        &self,
        groups: &[ArrayRef],
        inputs: &[ArrayRef],
        rows: usize,
    ) -> Result<WindowInput, ArrowError> {
        let inputs = inputs.iter().map(Numbers::new).collect::<Result<_, _>>()?;
        let Some(converter) = &self.converter else {
            return Ok(WindowInput {
                codes: vec![0; rows],
                groups: Vec::new(),
                inputs,
            });
        };
        let encoded = converter.convert_columns(groups)?;
        let mut codes = Vec::with_capacity(rows);
        let mut distinct: Vec<OwnedRow> = Vec::new();
        let mut by_row: HashMap<&[u8], u32> = HashMap::new();
        for row in 0..rows {
            let code = *by_row.entry(encoded.row(row).data()).or_insert_with(|| {
                distinct.push(encoded.row(row).owned());
                (distinct.len() - 1) as u32
            });
            codes.push(code);
        }
        Ok(WindowInput {
            codes,
            groups: distinct,
            inputs,
        })
    }
}

fn row_converter(plan: &WindowPlan) -> Result<RowConverter, ArrowError> {
    RowConverter::new(
        plan.groups
            .iter()
            .map(|(_, ty)| SortField::new(ty.clone()))
            .collect(),
    )
}

/// A sum of floats with twice the precision of a float, so that the order in which values were
/// added does not show in the rounded result.
///
/// Knuth's TwoSum: T. J. Dekker, "A floating-point technique for extending the available
/// precision", 1971.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct DoubleDouble {
    high: f64,
    low: f64,
}

impl DoubleDouble {
    #[inline]
    fn add(&mut self, value: f64) {
        let sum = self.high + value;
        if !sum.is_finite() {
            // An infinite sum has no error term.
            *self = DoubleDouble {
                high: sum,
                low: 0.0,
            };
            return;
        }
        let back = sum - self.high;
        let error = (self.high - (sum - back)) + (value - back);
        let low = self.low + error;
        let high = sum + low;
        self.low = low - (high - sum);
        self.high = high;
    }

    fn merge(&mut self, other: DoubleDouble) {
        self.add(other.high);
        self.add(other.low);
    }

    fn value(self) -> f64 {
        self.high + self.low
    }
}

/// Floats in an order without ties, so that the order of rows does not show: -0 before 0, and NaN,
/// as in Spark and DuckDB, after everything.
#[inline]
fn order(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.total_cmp(&b),
        (a, b) => a.cmp(&b),
    }
}

#[inline]
fn least(a: f64, b: f64) -> f64 {
    if order(b, a).is_lt() { b } else { a }
}

#[inline]
fn greatest(a: f64, b: f64) -> f64 {
    if order(b, a).is_gt() { b } else { a }
}

/// Count, sum, least and greatest value of one input in one pane and group.
#[derive(Debug, Clone, Copy)]
enum Accumulator {
    Float {
        count: i64,
        sum: DoubleDouble,
        min: f64,
        max: f64,
    },
    Int {
        count: i64,
        sum: i128,
        min: i128,
        max: i128,
    },
}

impl Accumulator {
    fn new(ty: &DataType) -> Self {
        if kind(ty) == Some(Kind::Float) {
            let (min, max) = (f64::NAN, f64::NEG_INFINITY);
            Accumulator::Float {
                count: 0,
                sum: DoubleDouble::default(),
                min,
                max,
            }
        } else {
            Accumulator::Int {
                count: 0,
                sum: 0,
                min: i128::MAX,
                max: i128::MIN,
            }
        }
    }

    #[inline]
    fn add(&mut self, values: &Numbers, row: usize) {
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
            sum,
            min,
            max,
        } = self
        {
            *count += 1;
            *sum = sum.saturating_add(value);
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
                    sum,
                    min,
                    max,
                },
                Accumulator::Int {
                    count: c,
                    sum: s,
                    min: other_min,
                    max: other_max,
                },
            ) => {
                *count += c;
                *sum = sum.saturating_add(*s);
                *min = (*min).min(*other_min);
                *max = (*max).max(*other_max);
            }
            _ => debug_assert!(false, "an input keeps its type"),
        }
    }

    fn count(&self) -> i64 {
        match self {
            Accumulator::Float { count, .. } | Accumulator::Int { count, .. } => *count,
        }
    }
}

/// One group in one pane or window.
#[derive(Debug, Clone)]
struct Cell {
    rows: i64,
    inputs: Box<[Accumulator]>,
}

impl Cell {
    fn new(plan: &WindowPlan) -> Self {
        Cell {
            rows: 0,
            inputs: plan.inputs.iter().map(Accumulator::new).collect(),
        }
    }

    fn merge(&mut self, other: &Cell) {
        self.rows += other.rows;
        for (a, b) in self.inputs.iter_mut().zip(&other.inputs) {
            a.merge(b);
        }
    }
}

type GroupKey = Box<[u8]>;

#[derive(Debug, Default)]
struct Pane {
    by_group: HashMap<GroupKey, u32>,
    cells: Vec<Cell>,
    /// Rows were added since live values were last taken.
    is_changed: bool,
    /// For each cell, how many rows it had when its live value was last taken; empty while nobody takes any.
    shown: Vec<i64>,
}

impl Pane {
    fn slot(&mut self, plan: &WindowPlan, group: &[u8]) -> usize {
        if let Some(slot) = self.by_group.get(group) {
            return *slot as usize;
        }
        let slot = self.cells.len();
        self.by_group.insert(group.into(), slot as u32);
        self.cells.push(Cell::new(plan));
        slot
    }
}

/// The open windows of one lane.
#[derive(Debug)]
pub struct WindowState {
    plan: Arc<WindowPlan>,
    panes: BTreeMap<i64, Pane>,
}

/// Rows of closed windows, as columns of a part file are filled from them.
#[derive(Debug, Default)]
pub struct ClosedWindows {
    rows: Vec<(i64, i32, GroupKey, Cell)>,
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
}

impl ClosedWindows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Least and greatest window start, in microseconds.
    pub fn start_range(&self, plan: &WindowPlan) -> Option<(i64, i64)> {
        let starts = || self.rows.iter().map(|row| row.0 - plan.size);
        Some((starts().min()?, starts().max()?))
    }

    /// The rows as a batch of [`WindowPlan::part_schema`].
    ///
    /// # Errors
    /// If Arrow refuses, which would be a bug here.
    pub fn into_batch(self, plan: &WindowPlan) -> Result<RecordBatch, ArrowError> {
        let ends: Vec<i64> = self.rows.iter().map(|row| row.0).collect();
        let starts: Vec<i64> = ends.iter().map(|end| end - plan.size).collect();
        let instants = |values: Vec<i64>| -> ArrayRef {
            Arc::new(
                TimestampMicrosecondArray::new(ScalarBuffer::from(values), None).with_timezone(UTC),
            )
        };
        let mut columns = vec![instants(starts), instants(ends)];
        if !plan.groups.is_empty() {
            let converter = row_converter(plan)?;
            let parser = converter.parser();
            columns
                .extend(converter.convert_rows(self.rows.iter().map(|row| parser.parse(&row.2)))?);
        }
        columns.push(Arc::new(
            self.rows.iter().map(|row| row.1).collect::<Int32Array>(),
        ));
        for (_, function, input) in &plan.outputs {
            let cells = self.rows.iter().map(|row| &row.3);
            match (function, input) {
                (AggregateFunction::Count, None) => {
                    columns.push(Arc::new(
                        cells.map(|cell| cell.rows).collect::<Int64Array>(),
                    ));
                }
                (function, input) => {
                    let input = input.unwrap_or(0);
                    let ty = &plan.inputs[input];
                    let accumulators: Vec<&Accumulator> =
                        cells.map(|cell| &cell.inputs[input]).collect();
                    match function {
                        AggregateFunction::Avg => {
                            columns.push(finish(&accumulators, AggregateFunction::Sum, ty)?);
                            columns.push(finish(&accumulators, AggregateFunction::Count, ty)?);
                        }
                        function => columns.push(finish(&accumulators, *function, ty)?),
                    }
                }
            }
        }
        RecordBatch::try_new(plan.part_schema(), columns)
    }
}

fn finish(
    cells: &[&Accumulator],
    function: AggregateFunction,
    input: &DataType,
) -> Result<ArrayRef, ArrowError> {
    if function == AggregateFunction::Count {
        return Ok(Arc::new(
            cells
                .iter()
                .map(|cell| cell.count())
                .collect::<Int64Array>(),
        ));
    }
    let ty = output_type(function, Some(input))
        .ok_or_else(|| ArrowError::InvalidArgumentError(format!("cannot aggregate {input}")))?;
    if ty == DataType::Float64 {
        let value = |cell: &&Accumulator| match cell {
            Accumulator::Float {
                count: 1..,
                sum,
                min,
                max,
            } => Some(match function {
                AggregateFunction::Min => *min,
                AggregateFunction::Max => *max,
                _ => sum.value(),
            }),
            _ => None,
        };
        return Ok(Arc::new(cells.iter().map(value).collect::<Float64Array>()));
    }
    let values = cells.iter().map(|cell| match cell {
        Accumulator::Int {
            count: 1..,
            sum,
            min,
            max,
        } => Some(match function {
            AggregateFunction::Min => *min,
            AggregateFunction::Max => *max,
            _ => *sum,
        }),
        _ => None,
    });
    match ty {
        DataType::Decimal128(precision, scale) => {
            let array: PrimitiveArray<Decimal128Type> = values.collect();
            Ok(Arc::new(array.with_precision_and_scale(precision, scale)?))
        }
        ty => {
            let array: Int64Array = values
                .map(|v| v.and_then(|v| i64::try_from(v).ok()))
                .collect();
            let array: ArrayRef = Arc::new(array);
            if ty == DataType::Date32 {
                cast(&cast(&array, &DataType::Int32)?, &ty)
            } else {
                cast(&array, &ty)
            }
        }
    }
}

/// Microseconds of a duration, for plans.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
