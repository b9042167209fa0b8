//! The Arrow type of an instant.

use arrow::datatypes::{DataType, TimeUnit};
use tidegate_base::time::UTC;

/// The Arrow type of an instant: microseconds, UTC.
pub fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
}
