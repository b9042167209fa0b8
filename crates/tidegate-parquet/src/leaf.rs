//! Levels and values of one leaf into pages.

use std::ops::Range;

use arrow::array::{Array, ArrayData, ArrayRef};
use arrow::buffer::NullBuffer;
use parquet::basic::{Compression, Encoding};
use parquet::errors::Result;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescPtr;

use crate::chunk::{Chunk, Compressor, PageSize, Pages};
use crate::dictionary::{DictionaryPage, Numbers};
use crate::levels::Levels;

/// Rows that are added at a time, so that a dictionary is given up soon.
const STEP: usize = 4 << 10;

/// How a leaf is encoded.
#[derive(Debug, Clone)]
pub(crate) struct LeafOptions {
    pub(crate) descriptor: ColumnDescPtr,
    pub(crate) compression: Compression,
    /// Bytes up to which a dictionary is worth while; none without one.
    pub(crate) dictionary_bytes: Option<usize>,
    /// Of values that are in no dictionary.
    pub(crate) encoding: Encoding,
    pub(crate) statistics: EnabledStatistics,
    /// A page that has as many bytes or rows is full.
    pub(crate) page_bytes: usize,
    pub(crate) page_rows: usize,
}

impl LeafOptions {
    /// What `properties` say of a leaf; none if they ask for what is not done here.
    pub(crate) fn new(properties: &WriterProperties, descriptor: &ColumnDescPtr) -> Option<Self> {
        let path = descriptor.path();
        let options = LeafOptions {
            descriptor: ColumnDescPtr::clone(descriptor),
            compression: properties.compression(path),
            dictionary_bytes: properties
                .dictionary_enabled(path)
                .then(|| properties.column_dictionary_page_size_limit(path)),
            encoding: properties.encoding(path).unwrap_or(Encoding::PLAIN),
            statistics: properties.statistics_enabled(path),
            page_bytes: properties.column_data_page_size_limit(path).max(1),
            page_rows: properties.data_page_row_count_limit().max(1),
        };
        let is_plain = properties.bloom_filter_properties(path).is_none()
            && properties.writer_version() == WriterVersion::PARQUET_1_0
            && properties.content_defined_chunking().is_none()
            && options.statistics != EnabledStatistics::Page;
        (is_plain && Compressor::can(options.compression)).then_some(options)
    }
}

/// Values of the page at hand, as far as they are in no dictionary.
pub(crate) trait Values {
    /// An array of these values, to be read.
    type Array<'a>;

    /// The values of an array, of which `data` is the inside.
    fn view<'a>(array: &'a ArrayRef, data: &'a ArrayData) -> Self::Array<'a>;

    /// Bytes that some values of an array take at most, as far as they could fill a page.
    fn bytes_of(array: &Self::Array<'_>, range: Range<usize>) -> usize;

    /// Adds values, none of which is null: to the dictionary, if there is one.
    fn add(
        &mut self,
        array: &Self::Array<'_>,
        range: Range<usize>,
        dictionary: Option<DictionaryPage<'_>>,
    );

    /// Bytes so far.
    fn bytes(&self) -> usize;

    /// Appends the values so far, and begins anew.
    fn take(&mut self, out: &mut Vec<u8>) -> Encoding;

    /// Statistics of all values, with that many nulls.
    fn statistics(&self, nulls: u64) -> Option<Statistics>;
}

/// A leaf that is being encoded.
pub(crate) struct Leaf<V> {
    definition: Levels,
    pub(crate) repetition: Levels,
    numbers: Option<Numbers>,
    values: V,
    /// Of the page at hand.
    rows: usize,
    /// Values of the chunk that are not there.
    nulls: u64,
    page_bytes: usize,
    page_rows: usize,
    pages: Pages,
    body: Vec<u8>,
}

impl<V: Values> Leaf<V> {
    pub(crate) fn new(options: &LeafOptions, values: V) -> Self {
        Leaf {
            definition: Levels::new(options.descriptor.max_def_level() as u8),
            repetition: Levels::new(options.descriptor.max_rep_level() as u8),
            numbers: options.dictionary_bytes.map(Numbers::new),
            values,
            rows: 0,
            nulls: 0,
            page_bytes: options.page_bytes,
            page_rows: options.page_rows,
            pages: Pages::new(options.descriptor.clone(), options.compression),
            body: Vec::new(),
        }
    }

    /// How many of some rows the page may take at once: all, or so many that it does not become
    /// much larger than a page should.
    pub(crate) fn fitting(&self, rows: usize, bytes: impl Fn(usize) -> usize) -> usize {
        let mut fitting = rows.min(self.page_rows - self.rows).min(STEP);
        while fitting > 1 && bytes(fitting) > self.page_bytes {
            fitting /= 2;
        }
        fitting
    }

    /// Rows have been added. Ends a page that is full.
    pub(crate) fn added(&mut self, rows: usize, compressor: &mut Compressor) -> Result<()> {
        self.rows += rows;
        let bytes = self.values.bytes() + self.numbers.as_ref().map_or(0, Numbers::bytes);
        let is_full = self.rows >= self.page_rows || bytes >= self.page_bytes;
        if is_full || self.numbers.as_ref().is_some_and(Numbers::must_end) {
            self.end_page(compressor)?;
        }
        Ok(())
    }

    fn end_page(&mut self, compressor: &mut Compressor) -> Result<()> {
        let size = PageSize {
            values: self.definition.count(),
            rows: self.rows,
        };
        self.body.clear();
        self.repetition.take(&mut self.body);
        self.definition.take(&mut self.body);
        let numbers = self.numbers.as_mut();
        let encoding = match numbers.and_then(|numbers| numbers.take(&mut self.body)) {
            Some(encoding) => encoding,
            None => self.values.take(&mut self.body),
        };
        self.rows = 0;
        self.pages.push(&self.body, encoding, size, compressor)
    }

    /// All that was added.
    pub(crate) fn into_chunk(mut self, compressor: &mut Compressor) -> Result<Chunk> {
        if self.rows > 0 {
            self.end_page(compressor)?;
        }
        let statistics = self.values.statistics(self.nulls);
        let dictionary = self.numbers.map(Numbers::into_page);
        self.pages.finish(dictionary, statistics, compressor)
    }

    /// Adds values; those that are not there are a level below those that are.
    pub(crate) fn add_values(
        &mut self,
        array: &V::Array<'_>,
        nulls: Option<&NullBuffer>,
        range: Range<usize>,
    ) {
        let Some(nulls) = nulls else {
            return self.add_all(array, range);
        };
        let missing = self.definition.max() - 1;
        let mut at = range.start;
        let there = nulls.slice(range.start, range.len());
        for (start, end) in there.valid_slices() {
            let run = range.start + start..range.start + end;
            self.add_missing(missing, run.start - at);
            at = run.end;
            self.add_all(array, run);
        }
        self.add_missing(missing, range.end - at);
    }

    fn add_all(&mut self, array: &V::Array<'_>, range: Range<usize>) {
        self.definition.push(self.definition.max(), range.len());
        let dictionary = self.numbers.as_mut().and_then(Numbers::open);
        self.values.add(array, range, dictionary);
    }

    /// Adds nulls, or lists without a value.
    pub(crate) fn add_missing(&mut self, level: u8, count: usize) {
        if count > 0 {
            self.definition.push(level, count);
            self.nulls += count as u64;
        }
    }
}

/// Which values of an array are there; none if all are.
pub(crate) fn nulls(array: &dyn Array) -> Option<&NullBuffer> {
    array.nulls().filter(|nulls| nulls.null_count() > 0)
}

/// Encodes one column of one row group.
pub(crate) trait Encode: Send {
    /// Adds rows of an array.
    fn add(
        &mut self,
        array: &ArrayRef,
        runs: &[Range<usize>],
        compressor: &mut Compressor,
    ) -> Result<()>;

    /// Its leaves.
    fn finish(self: Box<Self>, compressor: &mut Compressor) -> Result<Vec<Chunk>>;
}
