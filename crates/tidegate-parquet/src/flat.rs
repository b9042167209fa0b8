//! Columns that are one leaf.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use parquet::errors::Result;

use crate::chunk::{Chunk, Compressor};
use crate::fixed::{Fixed, Number};
use crate::leaf::{Encode, Leaf, Values};
use crate::text::Text;

/// A column of texts or numbers.
pub(crate) struct Flat<V>(pub(crate) Leaf<V>);

impl<V: Values> Flat<V> {
    fn add_runs(
        &mut self,
        array: &V::Array<'_>,
        nulls: Option<&NullBuffer>,
        runs: &[Range<usize>],
        compressor: &mut Compressor,
    ) -> Result<()> {
        let leaf = &mut self.0;
        for run in runs {
            let mut rest = run.clone();
            while !rest.is_empty() {
                let bytes = |rows| V::bytes_of(array, rest.start..rest.start + rows);
                let rows = leaf.fitting(rest.len(), bytes);
                let taken = rest.start..rest.start + rows;
                rest.start = taken.end;
                match nulls {
                    Some(nulls) => leaf.add_nullable(array, nulls, taken),
                    None => leaf.add_all(array, taken),
                }
                leaf.added(rows, compressor)?;
            }
        }
        Ok(())
    }
}

impl<V: Values> Leaf<V> {
    /// Adds values that are all there.
    pub(crate) fn add_all(&mut self, array: &V::Array<'_>, range: Range<usize>) {
        let max = self.definition.max();
        self.definition.push(max, range.len());
        self.values.add(array, range);
    }

    /// Adds values of which some are not there; these are a level below those that are.
    pub(crate) fn add_nullable(
        &mut self,
        array: &V::Array<'_>,
        nulls: &NullBuffer,
        range: Range<usize>,
    ) {
        let max = self.definition.max();
        let mut at = range.start;
        let there = nulls.slice(range.start, range.len());
        for (start, end) in there.valid_slices() {
            let run = range.start + start..range.start + end;
            self.add_missing(max - 1, run.start - at);
            at = run.end;
            self.add_all(array, run);
        }
        self.add_missing(max - 1, range.end - at);
    }

    /// Adds nulls, or lists without a value.
    pub(crate) fn add_missing(&mut self, level: u8, count: usize) {
        if count > 0 {
            self.definition.push(level, count);
            self.nulls += count as u64;
        }
    }
}

impl Encode for Flat<Text> {
    fn add(
        &mut self,
        array: &ArrayRef,
        runs: &[Range<usize>],
        compressor: &mut Compressor,
    ) -> Result<()> {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        self.add_runs(&array.as_string(), nulls, runs, compressor)
    }

    fn finish(self: Box<Self>, compressor: &mut Compressor) -> Result<Vec<Chunk>> {
        Ok(vec![self.0.finish(compressor)?])
    }
}

impl<T: Number> Encode for Flat<Fixed<T>> {
    fn add(
        &mut self,
        array: &ArrayRef,
        runs: &[Range<usize>],
        compressor: &mut Compressor,
    ) -> Result<()> {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        let data = array.to_data();
        let values = &data.buffer::<T>(0)[..array.len()];
        self.add_runs(&values, nulls, runs, compressor)
    }

    fn finish(self: Box<Self>, compressor: &mut Compressor) -> Result<Vec<Chunk>> {
        Ok(vec![self.0.finish(compressor)?])
    }
}
