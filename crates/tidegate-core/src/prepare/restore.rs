//! What rebuilding a lane's state needs of committed rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{Field, Int32Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use tidegate_expr::{Expression, visible_batch};

use super::evaluate::evaluate;
use super::{PrepareError, Preparer, unexpected};
use crate::fingerprint::fingerprints;
use crate::meaning::{StateColumn, type_name, widens};
use crate::plan::{Plan, PlannedWindow, SOURCE_PARTITION};
use crate::window::WindowInput;

impl Preparer {
    /// What rebuilding a lane's state needs of committed rows: the batch has those of the columns
    /// of [`Plan::state_columns`] that its file has, by name.
    ///
    /// A column that the file lacks was added to the plan later. What depends on it did not exist
    /// when the rows were written: it is left out, and the caller sees that it is.
    ///
    /// # Errors
    /// If the rows have another event time or another type in the key than the plan: see
    /// [`RestoreError`].
    pub fn restore(&mut self, batch: &RecordBatch) -> Result<Restored, RestoreError> {
        let plan = Arc::clone(&self.plan);
        let rows = batch.num_rows();
        let columns = StateColumns { plan: &plan, batch };
        let times = columns.event_time()?;
        let partitions = columns.partition()?;
        let key: Option<Vec<ArrayRef>> = columns.key()?;
        let visible_columns = (0..plan.visible_schema.fields().len() - 1)
            .map(|index| {
                columns
                    .get(index)
                    .map(|found| found.unwrap_or_else(|| columns.nulls(index)))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let visible = visible_batch(&plan.visible_schema, 0, rows, &visible_columns)
            .map_err(unexpected("the columns of a committed file"))?;
        let mut windows = Vec::with_capacity(plan.windows.len());
        for (window, encoder) in plan.windows.iter().zip(&self.windows) {
            if !columns.has_all_of(window)? {
                windows.push(None);
                continue;
            }
            let groups: Vec<ArrayRef> = window
                .groups
                .iter()
                .map(|index| {
                    columns
                        .get(*index)
                        .map(|found| found.unwrap_or_else(|| columns.nulls(*index)))
                })
                .collect::<Result<_, _>>()?;
            let inputs = window
                .inputs
                .iter()
                .map(|expression| evaluate(expression, &visible).map(|(values, _)| values))
                .collect::<Result<Vec<_>, _>>()?;
            windows.push(Some(Arc::new(encoder.encode(&groups, &inputs, rows)?)));
        }
        let fingerprints = match &key {
            Some(key) => fingerprints(&key.iter().collect::<Vec<_>>(), self.fingerprint_seed)?,
            None => Vec::new(),
        };
        Ok(Restored {
            times,
            partitions,
            fingerprints,
            lacks_key: key.is_none(),
            windows,
        })
    }
}

/// Committed rows, as far as state depends on them.
#[derive(Debug)]
pub struct Restored {
    /// Event time of each row.
    pub times: Vec<i64>,
    /// Partition of each row.
    pub partitions: Vec<i32>,
    /// Fingerprint of each row; empty without deduplication.
    pub fingerprints: Vec<u128>,
    /// The rows lack a column of the deduplication key: there are no fingerprints.
    pub lacks_key: bool,
    /// What each window needs; none where the rows lack a column of it.
    pub windows: Vec<Option<Arc<WindowInput>>>,
}

/// Why state cannot be rebuilt from committed rows.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The rows have their time in another column.
    #[error("it has no column `{column}` with the event time")]
    EventTime {
        /// The column in the plan.
        column: String,
    },
    /// A column of the deduplication key has another type.
    #[error("its column `{}` is {}, and {now} in the configuration", .column.name, .column.ty)]
    Retyped {
        /// The column as it is in the rows.
        column: StateColumn,
        /// Its type in the plan.
        now: String,
    },
    /// A column that all rows have is not there: they were not written by this program.
    #[error("it has no column `{0}` of numbers")]
    Missing(&'static str),
    /// The rows cannot be taken.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
}

impl From<ArrowError> for RestoreError {
    fn from(error: ArrowError) -> Self {
        RestoreError::Prepare(error.into())
    }
}

/// The columns of committed rows, as the plan asks for them.
struct StateColumns<'a> {
    plan: &'a Plan,
    batch: &'a RecordBatch,
}

impl StateColumns<'_> {
    fn field(&self, index: usize) -> &Field {
        self.plan.event_schema.field(index)
    }

    fn nulls(&self, index: usize) -> ArrayRef {
        new_null_array(self.field(index).data_type(), self.batch.num_rows())
    }

    /// A column with the plan's type; none if the rows do not have it, or have it with a type whose
    /// values are not all values of the plan's.
    fn get(&self, index: usize) -> Result<Option<ArrayRef>, ArrowError> {
        let field = self.field(index);
        let Some(column) = self.batch.column_by_name(field.name()) else {
            return Ok(None);
        };
        let (was, now) = (column.data_type(), field.data_type());
        if was == now {
            return Ok(Some(Arc::clone(column)));
        }
        let same_name = type_name(was) == type_name(now);
        if !same_name && !widens(was, now) {
            return Ok(None);
        }
        cast(column, now).map(Some)
    }

    fn event_time(&self) -> Result<Vec<i64>, RestoreError> {
        let name = &self.plan.event_time.column;
        let index = self.plan.event_schema.index_of(name)?;
        let times = self.get(index)?.ok_or_else(|| RestoreError::EventTime {
            column: name.clone(),
        })?;
        Ok(times
            .as_primitive::<TimestampMicrosecondType>()
            .values()
            .to_vec())
    }

    fn partition(&self) -> Result<Vec<i32>, RestoreError> {
        let name = SOURCE_PARTITION;
        let index = self.plan.event_schema.index_of(name)?;
        let partitions = self.get(index)?.ok_or(RestoreError::Missing(name))?;
        Ok(partitions.as_primitive::<Int32Type>().values().to_vec())
    }

    /// The columns of the deduplication key; none if the rows lack one.
    fn key(&self) -> Result<Option<Vec<ArrayRef>>, RestoreError> {
        let mut key = Vec::with_capacity(self.plan.dedup_key.len());
        for &index in &self.plan.dedup_key {
            let field = self.field(index);
            let Some(column) = self.batch.column_by_name(field.name()) else {
                return Ok(None);
            };
            let (was, now) = (type_name(column.data_type()), type_name(field.data_type()));
            if was != now {
                let column = StateColumn {
                    name: field.name().clone(),
                    ty: was,
                };
                return Err(RestoreError::Retyped { column, now });
            }
            // The same type can have two forms.
            key.push(cast(column, field.data_type())?);
        }
        Ok(Some(key))
    }

    /// Whether the rows have all that a window groups by and adds up.
    fn has_all_of(&self, window: &PlannedWindow) -> Result<bool, ArrowError> {
        let inputs = window.inputs.iter().flat_map(Expression::columns);
        let inputs = inputs.filter_map(|name| self.plan.event_schema.index_of(name).ok());
        for index in window.groups.iter().copied().chain(inputs) {
            if self.get(index)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
