//! Maps of texts: a leaf of keys and one of values, with a level for each entry.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, MapArray};
use parquet::errors::Result;

use crate::chunk::{Chunk, Compressor};
use crate::leaf::{Encode, Leaf, LeafOptions, Values as _, nulls};
use crate::text::TextPage;

/// A column of maps from text to text.
pub(crate) struct Map {
    keys: Leaf<TextPage>,
    values: Leaf<TextPage>,
    /// Definition level of a map without entries; of one that is null it is zero.
    empty: u8,
    /// Repetition levels of some rows.
    repetition: Vec<u8>,
}

impl Map {
    /// None if the options ask for what is not done here.
    pub(crate) fn new(is_nullable: bool, keys: &LeafOptions, values: &LeafOptions) -> Option<Self> {
        Some(Map {
            keys: Leaf::new(keys, TextPage::new(keys)?),
            values: Leaf::new(values, TextPage::new(values)?),
            empty: is_nullable.into(),
            repetition: Vec::new(),
        })
    }
}

impl Encode for Map {
    fn add(
        &mut self,
        array: &ArrayRef,
        runs: &[Range<usize>],
        compressor: &mut Compressor,
    ) -> Result<()> {
        let maps = array.as_map();
        for run in runs {
            for leaf in [Side::Keys, Side::Values] {
                self.add_run(maps, leaf, run.clone(), compressor)?;
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>, compressor: &mut Compressor) -> Result<Vec<Chunk>> {
        Ok(vec![
            self.keys.into_chunk(compressor)?,
            self.values.into_chunk(compressor)?,
        ])
    }
}

/// One of a map's leaves.
#[derive(Clone, Copy)]
enum Side {
    Keys,
    Values,
}

impl Map {
    fn add_run(
        &mut self,
        maps: &MapArray,
        side: Side,
        mut rest: Range<usize>,
        compressor: &mut Compressor,
    ) -> Result<()> {
        let (leaf, texts) = match side {
            Side::Keys => (&mut self.keys, maps.keys().as_string::<i32>()),
            Side::Values => (&mut self.values, maps.values().as_string::<i32>()),
        };
        let offsets = maps.value_offsets();
        let entries = |rows: Range<usize>| offsets[rows.start] as usize..offsets[rows.end] as usize;
        while !rest.is_empty() {
            let from = rest.start;
            let bytes = |rows| {
                let entries = entries(from..from + rows);
                // Four bytes stand for a level and a length, of texts that are short and many.
                entries.len() * 4 + TextPage::bytes_of(&texts, entries)
            };
            let rows = leaf.fitting(rest.len(), bytes);
            rest.start += rows;
            let taken = from..rest.start;
            if offsets[taken.start..=taken.end].is_sorted_by(|a, b| a < b)
                && all_there(maps, &taken)
            {
                self.repetition.clear();
                let all = entries(taken.clone());
                self.repetition.resize(all.len(), 1);
                for begin in &offsets[taken] {
                    self.repetition[*begin as usize - all.start] = 0;
                }
                leaf.repetition.extend(&self.repetition);
                leaf.add_values(&texts, nulls(texts), all);
            } else {
                for row in taken {
                    let entries = entries(row..row + 1);
                    leaf.repetition.push(0, 1);
                    if maps.is_null(row) {
                        leaf.add_missing(0, 1);
                    } else if entries.is_empty() {
                        leaf.add_missing(self.empty, 1);
                    } else {
                        leaf.repetition.push(1, entries.len() - 1);
                        leaf.add_values(&texts, nulls(texts), entries);
                    }
                }
            }
            leaf.added(rows, compressor)?;
        }
        Ok(())
    }
}

/// Whether no map of some rows is null.
fn all_there(maps: &MapArray, rows: &Range<usize>) -> bool {
    nulls(maps).is_none_or(|nulls| nulls.slice(rows.start, rows.len()).null_count() == 0)
}
