//! When two values are equal: one answer for deduplication, windows and all that comes after them.
//!
//! It is the warehouse's, because a key there and a key here must not differ: 0 equals -0, and NaN
//! equals NaN, whatever its sign and the rest of its bits. What compares or hashes bytes compares
//! those of [`canonical`] values; everything else about a value is in its bytes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, make_array};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use tidegate_expr::compare::canonical_floats;

/// The same values, those that are equal with the same bytes. Without floats it is the array
/// itself.
///
/// # Errors
/// If Arrow refuses, which would be a bug here.
pub fn canonical(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Float32 | DataType::Float64 => Ok(canonical_floats(array)),
        ty if ty.is_nested() && has_floats(ty) => {
            let data = array.to_data();
            let children = data
                .child_data()
                .iter()
                .map(|child| Ok(canonical(&make_array(child.clone()))?.to_data()))
                .collect::<Result<_, ArrowError>>()?;
            Ok(make_array(
                data.into_builder().child_data(children).build()?,
            ))
        }
        _ => Ok(Arc::clone(array)),
    }
}

fn has_floats(ty: &DataType) -> bool {
    match ty {
        DataType::Float32 | DataType::Float64 => true,
        DataType::List(item) | DataType::LargeList(item) | DataType::Map(item, _) => {
            has_floats(item.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        _ => false,
    }
}
