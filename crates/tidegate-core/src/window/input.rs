//! What a window needs of a chunk: a worker makes it, so that the state thread only adds up.

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use hashbrown::HashMap;
use tidegate_expr::instant;

use super::WindowPlan;
use crate::equality;

/// What a window needs of a chunk, made by a worker: a group for each row, and the inputs.
#[derive(Debug)]
pub struct WindowInput {
    /// For each row, an index into `groups`.
    pub(super) codes: Vec<u32>,
    pub(super) groups: Vec<OwnedRow>,
    pub(super) inputs: Vec<Numbers>,
}

/// Values of an input, as what they are summed as.
#[derive(Debug)]
pub(super) enum Numbers {
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
        let groups: Vec<ArrayRef> = groups
            .iter()
            .map(equality::canonical)
            .collect::<Result<_, _>>()?;
        let encoded = converter.convert_columns(&groups)?;
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

pub(super) fn row_converter(plan: &WindowPlan) -> Result<RowConverter, ArrowError> {
    RowConverter::new(
        plan.groups
            .iter()
            .map(|(_, ty)| SortField::new(ty.clone()))
            .collect(),
    )
}
