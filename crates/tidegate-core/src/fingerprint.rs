//! 128-bit fingerprints of deduplication keys.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Fingerprints of the key that `columns` make together, one for each row.
///
/// XXH3 with 128 bits and the job's own seed: among 10^9 keys the chance of any collision is below
/// 10^-20, and nobody who does not know the seed can construct one.
///
/// # Errors
/// If a column's type cannot be part of a key (maps).
pub fn fingerprints(columns: &[&ArrayRef], seed: u64) -> Result<Vec<u128>, ArrowError> {
    let rows = columns.first().map_or(0, |c| c.len());
    let mut out = Vec::with_capacity(rows);
    if columns.iter().all(|c| c.data_type() == &DataType::Utf8) {
        let columns: Vec<_> = columns.iter().map(|c| c.as_string::<i32>()).collect();
        let mut scratch = Vec::with_capacity(256);
        for row in 0..rows {
            scratch.clear();
            for column in &columns {
                if column.is_null(row) {
                    scratch.extend_from_slice(&u64::MAX.to_le_bytes());
                } else {
                    let value = column.value(row).as_bytes();
                    scratch.extend_from_slice(&(value.len() as u64).to_le_bytes());
                    scratch.extend_from_slice(value);
                }
            }
            out.push(xxh3_128_with_seed(&scratch, seed));
        }
        return Ok(out);
    }
    let fields = columns
        .iter()
        .map(|c| SortField::new(c.data_type().clone()))
        .collect();
    let converter = RowConverter::new(fields)?;
    let arrays: Vec<ArrayRef> = columns.iter().map(|c| ArrayRef::clone(c)).collect();
    let encoded = converter.convert_columns(&arrays)?;
    out.extend(
        encoded
            .iter()
            .map(|row| xxh3_128_with_seed(row.as_ref(), seed)),
    );
    Ok(out)
}
