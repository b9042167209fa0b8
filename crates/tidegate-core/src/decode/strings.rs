//! Texts of a growing column, and which of its rows are null.

use arrow::array::{NullBufferBuilder, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::error::ArrowError;

use crate::json::{DecodeFault, StringToken, unescape};
use crate::reject::Code;

/// Text values, one after the other.
#[derive(Debug)]
pub(super) struct Strings {
    offsets: Vec<i32>,
    data: Vec<u8>,
}

impl Default for Strings {
    fn default() -> Self {
        Strings {
            offsets: vec![0],
            data: Vec::new(),
        }
    }
}

impl Strings {
    #[inline]
    pub(super) fn push(&mut self, text: StringToken<'_>) -> Result<(), DecodeFault> {
        if text.escaped {
            unescape(text.raw, &mut self.data);
        } else {
            self.data.extend_from_slice(text.raw);
        }
        self.close(text.at)
    }

    #[inline]
    fn close(&mut self, at: usize) -> Result<(), DecodeFault> {
        let end = i32::try_from(self.data.len()).map_err(|_| DecodeFault {
            code: Code::TooLarge,
            at,
            what: "the text of one batch exceeds 2 GiB",
        })?;
        self.offsets.push(end);
        Ok(())
    }

    pub(super) fn push_empty(&mut self) {
        let end = self.offsets[self.offsets.len() - 1];
        self.offsets.push(end);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        self.data
            .truncate(self.offsets[self.offsets.len() - 1] as usize);
    }

    fn get(&self, i: usize) -> &[u8] {
        &self.data[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether the values from `first` on are all different.
    pub(super) fn are_different_from(&self, first: usize) -> bool {
        /// Up to here comparing all pairs is faster than hashing.
        const PAIRS_MAX: usize = 16;
        let count = self.len() - first;
        if count <= PAIRS_MAX {
            let is_repeated = |i: usize| (first..i).any(|j| self.get(i) == self.get(j));
            return !(first..self.len()).any(is_repeated);
        }
        let mut seen = hashbrown::HashSet::with_capacity(count);
        (first..self.len()).all(|i| seen.insert(self.get(i)))
    }

    /// The values as an array; the next batch probably has as many.
    pub(super) fn finish(&mut self, nulls: &mut Nulls) -> Result<StringArray, ArrowError> {
        let next = Strings {
            offsets: {
                let mut offsets = Vec::with_capacity(self.offsets.len());
                offsets.push(0);
                offsets
            },
            data: Vec::with_capacity(self.data.len() + self.data.len() / 8),
        };
        let full = std::mem::replace(self, next);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(full.offsets));
        StringArray::try_new(offsets, Buffer::from_vec(full.data), nulls.finish())
    }
}

/// Which rows are null; costs nothing while none is.
#[derive(Debug)]
pub(super) struct Nulls(NullBufferBuilder);

impl Default for Nulls {
    fn default() -> Self {
        Nulls(NullBufferBuilder::new(0))
    }
}

impl Nulls {
    #[inline]
    pub(super) fn push(&mut self, valid: bool) {
        self.0.append(valid);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    pub(super) fn finish(&mut self) -> Option<arrow::buffer::NullBuffer> {
        self.0.finish()
    }
}
