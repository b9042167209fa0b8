//! Windows that have closed, as the rows of a part file.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, PrimitiveArray, TimestampMicrosecondArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use tidegate_base::time::UTC;

use super::cell::{Accumulator, Cell};
use super::input::row_converter;
use super::state::GroupKey;
use super::sum::WholeSum;
use super::{WindowPlan, output_type};
use crate::spec::AggregateFunction;

/// Rows of closed windows, as columns of a part file are filled from them.
#[derive(Debug, Default)]
pub struct ClosedWindows {
    pub(super) rows: Vec<(i64, i32, GroupKey, Cell)>,
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
        for (_, ty, input) in plan.rests() {
            let accumulators = self.rows.iter().map(|row| &row.3.inputs[input]);
            columns.push(finish_rest(accumulators, &ty));
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
                _ => sum.parts().0,
            }),
            _ => None,
        };
        return Ok(Arc::new(cells.iter().map(value).collect::<Float64Array>()));
    }
    let values = cells.iter().map(|cell| match cell {
        Accumulator::Int {
            count: 1..,
            over,
            rest,
            min,
            max,
        } => Some(match function {
            AggregateFunction::Min => *min,
            AggregateFunction::Max => *max,
            _ => WholeSum::new(*rest, *over).parts().0,
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

/// A column of [`WindowPlan::rests`].
fn finish_rest<'a>(cells: impl Iterator<Item = &'a Accumulator>, ty: &DataType) -> ArrayRef {
    if *ty == DataType::Float64 {
        let low = cells.map(|cell| match cell {
            Accumulator::Float {
                count: 1.., sum, ..
            } => Some(sum.parts().1),
            _ => None,
        });
        return Arc::new(low.collect::<Float64Array>());
    }
    let over = cells.map(|cell| match cell {
        Accumulator::Int {
            count: 1..,
            over,
            rest,
            ..
        } => Some(WholeSum::new(*rest, *over).parts().1),
        _ => None,
    });
    Arc::new(over.collect::<Int64Array>())
}
