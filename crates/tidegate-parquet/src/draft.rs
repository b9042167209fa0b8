//! Rows that become a file.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::{FilterBuilder, FilterPredicate, SlicesIterator};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use parquet::file::properties::WriterProperties;

/// A file before it is encoded.
#[derive(Debug)]
pub struct Draft {
    /// Of all its parts.
    pub schema: SchemaRef,
    /// How columns are encoded and compressed.
    pub properties: Arc<WriterProperties>,
    /// Its rows, in order.
    pub parts: Vec<Part>,
}

/// Rows of one batch.
#[derive(Debug)]
pub struct Part {
    pub(crate) batch: RecordBatch,
    /// The rows, ascending, as runs that are not empty.
    pub(crate) runs: Vec<Range<usize>>,
    /// None if all rows are taken.
    filter: Option<FilterPredicate>,
    rows: usize,
}

impl Part {
    /// All rows of a batch.
    pub fn all(batch: RecordBatch) -> Self {
        let rows = batch.num_rows();
        Part {
            batch,
            runs: Vec::from_iter((rows > 0).then_some(0..rows)),
            filter: None,
            rows,
        }
    }

    /// The rows for which `selection` is true. It has as many values as the batch has rows.
    pub fn selected(batch: RecordBatch, selection: &BooleanArray) -> Self {
        debug_assert_eq!(batch.num_rows(), selection.len());
        Part {
            batch,
            runs: SlicesIterator::new(selection)
                .map(|(start, end)| start..end)
                .collect(),
            filter: Some(FilterBuilder::new(selection).optimize().build()),
            rows: selection.true_count(),
        }
    }

    /// How many rows are taken.
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn filter(&self) -> Option<&FilterPredicate> {
        self.filter.as_ref()
    }
}
