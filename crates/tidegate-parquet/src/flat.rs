//! Columns that are one leaf.

use std::ops::Range;

use arrow::array::ArrayRef;
use parquet::errors::Result;

use crate::chunk::{Chunk, Compressor};
use crate::leaf::{Encode, Leaf, Values, nulls};

impl<V: Values + Send> Encode for Leaf<V> {
    fn add(
        &mut self,
        array: &ArrayRef,
        runs: &[Range<usize>],
        compressor: &mut Compressor,
    ) -> Result<()> {
        let data = array.to_data();
        let values = V::view(array, &data);
        for run in runs {
            let mut rest = run.clone();
            while !rest.is_empty() {
                let bytes = |rows| V::bytes_of(&values, rest.start..rest.start + rows);
                let rows = self.fitting(rest.len(), bytes);
                let taken = rest.start..rest.start + rows;
                rest.start = taken.end;
                self.add_values(&values, nulls(array), taken);
                self.added(rows, compressor)?;
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>, compressor: &mut Compressor) -> Result<Vec<Chunk>> {
        Ok(vec![self.into_chunk(compressor)?])
    }
}
