//! Floats that are not numbers, in columns that the `parquet` crate encodes: it leaves them out of
//! the range of a chunk, by which readers then pass over rows that have them.

use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::file::statistics::{Statistics, ValueStatistics};

/// Whether an array, or one within it, has a value that is not a number. One that no row can see
/// may count.
pub(crate) fn is_in(array: &ArrayRef) -> bool {
    match array.data_type() {
        DataType::Float32 => array
            .as_primitive::<Float32Type>()
            .values()
            .iter()
            .any(|value| value.is_nan()),
        DataType::Float64 => array
            .as_primitive::<Float64Type>()
            .values()
            .iter()
            .any(|value| value.is_nan()),
        DataType::Struct(_) => array.as_struct().columns().iter().any(is_in),
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            is_in(&used(lists.values(), lists.value_offsets()))
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            is_in(&used(lists.values(), lists.value_offsets()))
        }
        DataType::Map(..) => {
            let maps = array.as_map();
            let columns = maps.entries().columns().iter();
            let mut columns = columns.map(|column| used(column, maps.value_offsets()));
            columns.any(|column| is_in(&column))
        }
        DataType::FixedSizeList(..) => is_in(array.as_fixed_size_list().values()),
        DataType::Dictionary(..) => is_in(array.as_any_dictionary().values()),
        _ => false,
    }
}

/// The values that lists with these offsets have.
fn used<O: OffsetSizeTrait>(values: &ArrayRef, offsets: &[O]) -> ArrayRef {
    let (from, to) = match (offsets.first(), offsets.last()) {
        (Some(from), Some(to)) => (from.as_usize(), to.as_usize()),
        _ => (0, 0),
    };
    values.slice(from, to - from)
}

/// Takes least and greatest value out of what is said of a chunk, if they are floats.
pub(crate) fn forget_range(close: &mut ColumnCloseResult) -> Result<()> {
    let nulls = |statistics: &Statistics| statistics.null_count_opt();
    let without = match close.metadata.statistics() {
        Some(known @ Statistics::Float(_)) => {
            Statistics::Float(ValueStatistics::new(None, None, None, nulls(known), false))
        }
        Some(known @ Statistics::Double(_)) => {
            Statistics::Double(ValueStatistics::new(None, None, None, nulls(known), false))
        }
        _ => return Ok(()),
    };
    let metadata = close.metadata.clone().into_builder();
    close.metadata = metadata.set_statistics(without).build()?;
    // Of pages, too.
    close.column_index = None;
    Ok(())
}
