//! Pages, compressed, into a column chunk.

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, EncodingMask, PageType};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

/// An encoded column chunk, to be put into a row group.
pub(crate) struct Chunk {
    bytes: Bytes,
    close: ColumnCloseResult,
}

impl Chunk {
    pub(crate) fn append_to(
        self,
        row_group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    ) -> Result<()> {
        row_group.append_column(&self.bytes, self.close)
    }
}

/// What compresses pages; one for each thread, since setting it up takes longer than a page.
#[derive(Default)]
pub(crate) struct Compressor {
    zstd: Option<(i32, zstd::bulk::Compressor<'static>)>,
}

impl Compressor {
    /// Whether it can do this one.
    pub(crate) fn can(compression: Compression) -> bool {
        matches!(
            compression,
            Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_)
        )
    }

    fn compress(&mut self, compression: Compression, page: &[u8]) -> Result<Vec<u8>> {
        match compression {
            Compression::UNCOMPRESSED => Ok(page.to_vec()),
            Compression::SNAPPY => snap::raw::Encoder::new()
                .compress_vec(page)
                .map_err(|error| ParquetError::External(Box::new(error))),
            Compression::ZSTD(level) => Ok(self.zstd(level.compression_level())?.compress(page)?),
            other => Err(ParquetError::NYI(format!("pages compressed by {other}"))),
        }
    }

    fn zstd(&mut self, level: i32) -> Result<&mut zstd::bulk::Compressor<'static>> {
        let usable = self.zstd.take().filter(|(its, _)| *its == level);
        let (_, compressor) = match usable {
            Some(usable) => self.zstd.insert(usable),
            None => {
                let compressor = zstd::bulk::Compressor::new(level)?;
                self.zstd.insert((level, compressor))
            }
        };
        Ok(compressor)
    }
}

/// How much a page has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Values, nulls among them.
    pub(crate) values: usize,
    pub(crate) rows: usize,
}

/// The pages of a column chunk so far. They are put together at the end: the dictionary, known then, is in front.
pub(crate) struct Pages {
    descriptor: ColumnDescPtr,
    compression: Compression,
    pages: Vec<(CompressedPage, Size)>,
}

impl Pages {
    /// None yet. [`Compressor::can`] do the compression.
    pub(crate) fn new(descriptor: ColumnDescPtr, compression: Compression) -> Self {
        Pages {
            descriptor,
            compression,
            pages: Vec::new(),
        }
    }

    /// Adds a data page of version 1: levels and values, one after the other.
    pub(crate) fn push(
        &mut self,
        body: &[u8],
        encoding: Encoding,
        size: Size,
        compressor: &mut Compressor,
    ) -> Result<()> {
        let page = Page::DataPage {
            buf: compressor.compress(self.compression, body)?.into(),
            num_values: size.values as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        self.pages
            .push((CompressedPage::new(page, body.len()), size));
        Ok(())
    }

    /// The chunk, with the dictionary's page and number of values, if it has one.
    pub(crate) fn finish(
        self,
        dictionary: Option<(Vec<u8>, usize)>,
        statistics: Option<Statistics>,
        compressor: &mut Compressor,
    ) -> Result<Chunk> {
        let mut sink = TrackedWrite::new(Vec::new());
        let mut writer = SerializedPageWriter::new(&mut sink);
        let mut totals = Totals::default();
        let mut dictionary_at = None;
        if let Some((body, count)) = dictionary {
            let page = Page::DictionaryPage {
                buf: compressor.compress(self.compression, &body)?.into(),
                num_values: count as u32,
                encoding: Encoding::PLAIN,
                is_sorted: false,
            };
            dictionary_at = Some(0);
            totals.write(&mut writer, CompressedPage::new(page, body.len()))?;
        }
        let data_at = totals.compressed;
        let mut index = OffsetIndexBuilder::new();
        let (mut rows, mut values) = (0, 0);
        for (page, size) in self.pages {
            let at = totals.compressed;
            totals.write(&mut writer, page)?;
            index.append_row_count(size.rows as i64);
            index.append_offset_and_size(at, (totals.compressed - at) as i32);
            rows += size.rows as u64;
            values += size.values as i64;
        }
        let mut encodings = vec![Encoding::RLE];
        encodings.extend(totals.encodings.iter().map(|stats| stats.encoding));
        let mut metadata = ColumnChunkMetaData::builder(self.descriptor)
            .set_compression(self.compression)
            .set_encodings_mask(EncodingMask::new_from_encodings(encodings.iter()))
            .set_page_encoding_stats(totals.encodings)
            .set_total_compressed_size(totals.compressed)
            .set_total_uncompressed_size(totals.uncompressed)
            .set_num_values(values)
            .set_data_page_offset(data_at)
            .set_dictionary_page_offset(dictionary_at);
        if let Some(statistics) = statistics {
            metadata = metadata.set_statistics(statistics);
        }
        Ok(Chunk {
            bytes: sink.into_inner()?.into(),
            close: ColumnCloseResult {
                bytes_written: totals.compressed as u64,
                rows_written: rows,
                metadata: metadata.build()?,
                bloom_filter: None,
                column_index: None,
                offset_index: Some(index.build()),
            },
        })
    }
}

/// What was written so far, with headers.
#[derive(Default)]
struct Totals {
    compressed: i64,
    uncompressed: i64,
    encodings: Vec<PageEncodingStats>,
}

impl Totals {
    fn write(
        &mut self,
        writer: &mut SerializedPageWriter<'_, Vec<u8>>,
        page: CompressedPage,
    ) -> Result<()> {
        let encoding = page.encoding();
        let page_type = page.page_type();
        let written = writer.write_page(page)?;
        self.compressed += written.bytes_written as i64;
        self.uncompressed += written.uncompressed_size as i64;
        let known = self.encodings.iter_mut();
        match known
            .last()
            .filter(|s| s.page_type == page_type && s.encoding == encoding)
        {
            Some(stats) => stats.count += 1,
            None => self.encodings.push(PageEncodingStats {
                page_type,
                encoding,
                count: 1,
            }),
        }
        debug_assert!(page_type != PageType::DICTIONARY_PAGE || self.encodings.len() == 1);
        Ok(())
    }
}
