//! Rows of a chunk that are rejected, with every reason.

use std::collections::BTreeMap;

use crate::reject::Reject;

/// Rejected rows and records, gathered over the steps.
pub(super) struct BadRows<'a> {
    /// Record of each row.
    rows: &'a [u32],
    /// Records that did not decode.
    rejects: Vec<Reject>,
    by_row: BTreeMap<usize, Reject>,
}

impl<'a> BadRows<'a> {
    /// Of a batch whose rows are these records; `rejects` did not decode.
    pub(super) fn new(rows: &'a [u32], rejects: Vec<Reject>) -> Self {
        BadRows {
            rows,
            rejects,
            by_row: BTreeMap::new(),
        }
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The record of a row, by its place in the chunk.
    pub(super) fn record(&self, row: usize) -> usize {
        self.rows[row] as usize
    }

    /// Adds a reason to a row.
    pub(super) fn add(&mut self, row: usize, code: String, detail: &str) {
        let index = self.record(row);
        self.by_row
            .entry(row)
            .or_insert_with(|| Reject {
                index,
                codes: Vec::new(),
                detail: String::new(),
            })
            .add(code, detail);
    }

    /// For each of the rows, whether it is accepted; and all rejected records, in order.
    pub(super) fn finish(self, rows: usize) -> (Vec<bool>, Vec<Reject>) {
        let mut accepted = vec![true; rows];
        let mut rejects = self.rejects;
        for (row, reject) in self.by_row {
            accepted[row] = false;
            rejects.push(reject);
        }
        rejects.sort_by_key(|reject| reject.index);
        (accepted, rejects)
    }
}
