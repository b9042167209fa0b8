//! Rows that become a file.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray};
use arrow::compute::{SlicesIterator, prep_null_mask_filter};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::file::properties::WriterProperties;

/// A file before it is encoded.
#[derive(Debug)]
pub struct Draft {
    /// Of all its parts.
    pub schema: SchemaRef,
    /// How columns are encoded and compressed.
    pub properties: Arc<WriterProperties>,
    /// Decimals of 18 digits or fewer, too, are stored as bytes of a fixed length, the shortest
    /// that fits. Otherwise these are 32-bit and 64-bit integers, which not every reader takes.
    pub decimals_as_bytes: bool,
    /// Instants are stored as `INT96`, which has no mark of what it is and no statistics: for
    /// readers that take no others.
    pub int96: bool,
    /// The footer says how many bytes the longest text of each column has: for readers whose
    /// columns have widths.
    pub longest_texts: bool,
    /// Its rows, in order.
    pub parts: Vec<BatchRows>,
}

/// Rows of one batch.
#[derive(Debug, Clone)]
pub struct BatchRows {
    pub(crate) batch: RecordBatch,
    /// The rows, ascending, as runs that are not empty.
    pub(crate) runs: Vec<Range<usize>>,
    /// Which rows; none if all are taken.
    pub(crate) selection: Option<BooleanArray>,
    rows: usize,
}

impl BatchRows {
    /// All rows of a batch.
    pub fn all(batch: RecordBatch) -> Self {
        let rows = batch.num_rows();
        BatchRows {
            batch,
            runs: Vec::from_iter((rows > 0).then_some(0..rows)),
            selection: None,
            rows,
        }
    }

    /// The rows for which `selection` is true. It has as many values as the batch has rows.
    pub fn selected(batch: RecordBatch, selection: &BooleanArray) -> Self {
        debug_assert_eq!(batch.num_rows(), selection.len());
        let selection = match selection.null_count() {
            0 => selection.clone(),
            _ => prep_null_mask_filter(selection),
        };
        BatchRows {
            batch,
            runs: SlicesIterator::new(&selection)
                .map(|(start, end)| start..end)
                .collect(),
            rows: selection.true_count(),
            selection: Some(selection),
        }
    }

    /// The schema of its batch.
    pub fn schema(&self) -> SchemaRef {
        self.batch.schema()
    }

    /// How many rows are taken.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether its columns are those of a schema.
    pub(crate) fn fits(&self, schema: &Schema) -> bool {
        let columns = self.batch.columns();
        columns.len() == schema.fields().len()
            && columns.iter().zip(schema.fields()).all(|(column, field)| {
                column.data_type() == field.data_type()
                    && (field.is_nullable() || column.null_count() == 0)
            })
    }
}
