//! Expressions over many rows, of which some can fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::concat;
use arrow::record_batch::RecordBatch;
use tidegate_expr::Expression;

use super::PrepareError;

/// Evaluates an expression. A row that fails does not fail the others: its value is null, and its
/// error is returned.
pub(super) fn evaluate(
    expression: &Expression,
    batch: &RecordBatch,
) -> Result<(ArrayRef, BTreeMap<usize, String>), PrepareError> {
    let mut errors = BTreeMap::new();
    let mut parts = Vec::new();
    evaluate_rows(expression, batch, 0, &mut parts, &mut errors);
    let values = match parts.as_slice() {
        [all] => Arc::clone(all),
        parts => {
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            concat(&parts)?
        }
    };
    Ok((values, errors))
}

/// Evaluates an expression for rows of which the first is row `first` of its batch, and narrows a
/// failure down by halves.
fn evaluate_rows(
    expression: &Expression,
    rows: &RecordBatch,
    first: usize,
    parts: &mut Vec<ArrayRef>,
    errors: &mut BTreeMap<usize, String>,
) {
    let count = rows.num_rows();
    match expression.evaluate(rows) {
        Ok(values) => parts.push(values),
        Err(error) if count <= 1 => {
            if count == 1 {
                errors.insert(first, error.strip_backtrace());
            }
            parts.push(new_null_array(expression.data_type(), count));
        }
        Err(_) => {
            let half = count / 2;
            evaluate_rows(expression, &rows.slice(0, half), first, parts, errors);
            let rest = rows.slice(half, count - half);
            evaluate_rows(expression, &rest, first + half, parts, errors);
        }
    }
}
