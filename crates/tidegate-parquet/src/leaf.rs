//! Levels and values of one leaf into pages.

use std::ops::Range;

use arrow::array::ArrayRef;
use parquet::basic::{Compression, Encoding};
use parquet::errors::Result;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescPtr;

use crate::chunk::{Chunk, Compressor, Pages, Size};
use crate::dictionary::Numbers;
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

    pub(crate) fn numbers(&self) -> Option<Numbers> {
        self.dictionary_bytes.map(Numbers::new)
    }
}

/// Values of the page at hand.
pub(crate) trait Values {
    /// An array of these values, to be read.
    type Array<'a>;

    /// Bytes that some values of an array take at most, as far as they could fill a page.
    fn bytes_of(array: &Self::Array<'_>, range: Range<usize>) -> usize;

    /// Adds values, none of which is null.
    fn add(&mut self, array: &Self::Array<'_>, range: Range<usize>);

    /// Bytes so far.
    fn bytes(&self) -> usize;

    /// Whether the page has to end, because what follows is encoded in another way.
    fn must_end(&self) -> bool;

    /// Appends the values so far, and begins anew.
    fn take(&mut self, out: &mut Vec<u8>) -> Encoding;

    /// The dictionary's page and number of values, if there is one; and statistics, with that many nulls.
    fn finish(self, nulls: u64) -> (Option<(Vec<u8>, usize)>, Option<Statistics>);
}

/// A leaf that is being encoded.
pub(crate) struct Leaf<V> {
    pub(crate) definition: Levels,
    pub(crate) repetition: Levels,
    pub(crate) values: V,
    /// Of the page at hand.
    rows: usize,
    /// Values of the chunk that are not there.
    pub(crate) nulls: u64,
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
            values,
            rows: 0,
            nulls: 0,
            page_bytes: options.page_bytes,
            page_rows: options.page_rows,
            pages: Pages::new(options.descriptor.clone(), options.compression),
            body: Vec::new(),
        }
    }

    /// How many of some rows the page may take at once: all, or so many that it does not become much larger than a page should.
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
        let is_full = self.rows >= self.page_rows || self.values.bytes() >= self.page_bytes;
        if is_full || self.values.must_end() {
            self.end_page(compressor)?;
        }
        Ok(())
    }

    fn end_page(&mut self, compressor: &mut Compressor) -> Result<()> {
        let size = Size {
            values: self.definition.count(),
            rows: self.rows,
        };
        self.body.clear();
        self.repetition.take(&mut self.body);
        self.definition.take(&mut self.body);
        let encoding = self.values.take(&mut self.body);
        self.rows = 0;
        self.pages.push(&self.body, encoding, size, compressor)
    }

    pub(crate) fn finish(mut self, compressor: &mut Compressor) -> Result<Chunk> {
        if self.rows > 0 {
            self.end_page(compressor)?;
        }
        let (dictionary, statistics) = self.values.finish(self.nulls);
        self.pages.finish(dictionary, statistics, compressor)
    }
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
