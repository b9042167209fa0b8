//! Joins with reference tables that are small enough for memory.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use arrow::error::ArrowError;
use hashbrown::HashMap;

/// A reference table, found by key.
#[derive(Debug)]
pub struct LookupTable {
    rows: HashMap<Box<str>, u32>,
    columns: Vec<ArrayRef>,
}

/// Why a reference table cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The same key twice: the join would make two events of one.
    #[error("the key `{0}` stands twice; each key must be unique")]
    DuplicateKey(String),
    /// Too many rows.
    #[error("a reference table can have 2^32 rows at most")]
    TooLarge,
}

impl LookupTable {
    /// A table with these keys as text and the columns that are taken over, in the spec's order.
    /// Rows without a key are never found.
    ///
    /// # Errors
    /// If a key stands twice.
    pub fn new(keys: &StringArray, columns: Vec<ArrayRef>) -> Result<Self, LookupError> {
        let mut rows = HashMap::with_capacity(keys.len());
        for (row, key) in keys.iter().enumerate() {
            let row = u32::try_from(row).map_err(|_| LookupError::TooLarge)?;
            if let Some(key) = key
                && rows.insert(key.into(), row).is_some()
            {
                return Err(LookupError::DuplicateKey(key.to_owned()));
            }
        }
        Ok(LookupTable { rows, columns })
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The columns of the rows with these keys; null where there is none (a left join).
    ///
    /// # Errors
    /// If Arrow refuses, which would be a bug here.
    pub(crate) fn join(&self, on: &ArrayRef) -> Result<Vec<ArrayRef>, ArrowError> {
        let mut number = itoa::Buffer::new();
        let row = |key: &str| self.rows.get(key).copied();
        let found: UInt32Array = match on.data_type() {
            DataType::Utf8 => on
                .as_string::<i32>()
                .iter()
                .map(|key| key.and_then(row))
                .collect(),
            DataType::Int32 => on
                .as_primitive::<Int32Type>()
                .iter()
                .map(|key| key.and_then(|k| row(number.format(k))))
                .collect(),
            DataType::Int64 => on
                .as_primitive::<Int64Type>()
                .iter()
                .map(|key| key.and_then(|k| row(number.format(k))))
                .collect(),
            other => {
                return Err(ArrowError::InvalidArgumentError(format!(
                    "cannot look up by {other}"
                )));
            }
        };
        self.columns
            .iter()
            .map(|column| {
                if column.is_empty() {
                    Ok(new_null_array(column.data_type(), found.len()))
                } else {
                    take(column, &found, None)
                }
            })
            .collect()
    }
}

/// Whether a column of this type can be looked up by.
pub fn can_look_up(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8 | DataType::Int32 | DataType::Int64)
}

/// The reference tables of a job, in the spec's order; replaced as a whole when one is reloaded.
pub type LookupTables = Arc<Vec<Arc<LookupTable>>>;
