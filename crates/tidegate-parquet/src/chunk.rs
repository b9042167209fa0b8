//! Pages, compressed, into a column chunk.

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, EncodingMask};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::zstd_safe::CParameter;

/// An encoded column chunk, to be put into a row group.
pub(crate) struct Chunk {
    bytes: Bytes,
    close: ColumnCloseResult,
}

impl Chunk {
    pub(crate) fn length(&self) -> usize {
        self.bytes.len()
    }

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
    /// The page at hand: large enough for any so far.
    compressed: Vec<u8>,
}

impl Compressor {
    /// Whether it can do this one.
    pub(crate) fn can(compression: Compression) -> bool {
        matches!(
            compression,
            Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_)
        )
    }

    fn compress(&mut self, compression: Compression, page: &[u8]) -> Result<Bytes> {
        let out = &mut self.compressed;
        let length = match compression {
            Compression::UNCOMPRESSED => return Ok(Bytes::copy_from_slice(page)),
            Compression::SNAPPY => {
                let bound = snap::raw::max_compress_len(page.len());
                out.resize(out.len().max(bound), 0);
                let compressed = snap::raw::Encoder::new().compress(page, out);
                compressed.map_err(|error| ParquetError::External(Box::new(error)))?
            }
            Compression::ZSTD(level) => {
                let level = level.compression_level();
                let usable = self.zstd.take().filter(|(its, _)| *its == level);
                let (_, zstd) = match usable {
                    Some(usable) => self.zstd.insert(usable),
                    None => self.zstd.insert((level, zstd_compressor(level)?)),
                };
                let bound = zstd::zstd_safe::compress_bound(page.len());
                out.resize(out.len().max(bound), 0);
                zstd.compress_to_buffer(page, &mut out[..])?
            }
            other => return Err(ParquetError::NYI(format!("pages compressed by {other}"))),
        };
        Ok(Bytes::copy_from_slice(&out[..length]))
    }
}

/// At the fastest level the table of matches is made so small that it stays in the first cache: a
/// tenth less time for pages of about the same size, since matches of six bytes count instead of
/// seven.
fn zstd_compressor(level: i32) -> std::io::Result<zstd::bulk::Compressor<'static>> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    if level == 1 {
        compressor.set_parameter(CParameter::HashLog(12))?;
        compressor.set_parameter(CParameter::MinMatch(6))?;
    }
    Ok(compressor)
}

/// How much a page has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageSize {
    /// Values, nulls among them.
    pub(crate) values: usize,
    pub(crate) rows: usize,
}

/// The data pages of a column chunk so far. The dictionary, which is in front of them, is known at
/// the end.
pub(crate) struct Pages {
    descriptor: ColumnDescPtr,
    compression: Compression,
    written: Written,
    values: usize,
    rows: usize,
    index: OffsetIndexBuilder,
}

impl Pages {
    /// None yet. [`Compressor::can`] do the compression.
    pub(crate) fn new(descriptor: ColumnDescPtr, compression: Compression) -> Self {
        Pages {
            descriptor,
            compression,
            written: Written::default(),
            values: 0,
            rows: 0,
            index: OffsetIndexBuilder::new(),
        }
    }

    /// Adds a data page of version 1: levels and values, one after the other.
    pub(crate) fn push(
        &mut self,
        body: &[u8],
        encoding: Encoding,
        size: PageSize,
        compressor: &mut Compressor,
    ) -> Result<()> {
        let page = Page::DataPage {
            buf: compressor.compress(self.compression, body)?,
            num_values: size.values as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let at = self.written.compressed;
        self.written.add(CompressedPage::new(page, body.len()))?;
        self.index.append_row_count(size.rows as i64);
        self.index
            .append_offset_and_size(at, (self.written.compressed - at) as i32);
        self.values += size.values;
        self.rows += size.rows;
        Ok(())
    }

    /// The chunk, with the dictionary's page and number of values, if it has one.
    pub(crate) fn finish(
        self,
        dictionary: Option<(Vec<u8>, usize)>,
        statistics: Option<Statistics>,
        compressor: &mut Compressor,
    ) -> Result<Chunk> {
        let mut written = Written::default();
        let has_dictionary = dictionary.is_some();
        if let Some((body, count)) = dictionary {
            let page = Page::DictionaryPage {
                buf: compressor.compress(self.compression, &body)?,
                num_values: count as u32,
                encoding: Encoding::PLAIN,
                is_sorted: false,
            };
            written.add(CompressedPage::new(page, body.len()))?;
        }
        let data_at = written.compressed;
        written.append(self.written);
        let mut index = self.index.build();
        for page in &mut index.page_locations {
            page.offset += data_at;
        }
        let mut encodings = vec![Encoding::RLE];
        encodings.extend(written.encodings.iter().map(|stats| stats.encoding));
        let mut metadata = ColumnChunkMetaData::builder(self.descriptor)
            .set_compression(self.compression)
            .set_encodings_mask(EncodingMask::new_from_encodings(encodings.iter()))
            .set_page_encoding_stats(written.encodings)
            .set_total_compressed_size(written.compressed)
            .set_total_uncompressed_size(written.uncompressed)
            .set_num_values(self.values as i64)
            .set_data_page_offset(data_at)
            .set_dictionary_page_offset(has_dictionary.then_some(0));
        if let Some(statistics) = statistics {
            metadata = metadata.set_statistics(statistics);
        }
        Ok(Chunk {
            bytes: written.bytes.into(),
            close: ColumnCloseResult {
                bytes_written: written.compressed as u64,
                rows_written: self.rows as u64,
                metadata: metadata.build()?,
                bloom_filter: None,
                column_index: None,
                offset_index: Some(index),
            },
        })
    }
}

/// Pages with their headers.
#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    compressed: i64,
    uncompressed: i64,
    encodings: Vec<PageEncodingStats>,
}

impl Written {
    fn add(&mut self, page: CompressedPage) -> Result<()> {
        self.count(PageEncodingStats {
            page_type: page.page_type(),
            encoding: page.encoding(),
            count: 1,
        });
        let mut sink = TrackedWrite::new(&mut self.bytes);
        let mut writer = SerializedPageWriter::new(&mut sink);
        let written = writer.write_page(page)?;
        writer.close()?;
        self.compressed += written.bytes_written as i64;
        self.uncompressed += written.uncompressed_size as i64;
        Ok(())
    }

    fn count(&mut self, stats: PageEncodingStats) {
        let last = self
            .encodings
            .last_mut()
            .filter(|last| last.page_type == stats.page_type && last.encoding == stats.encoding);
        match last {
            Some(last) => last.count += stats.count,
            None => self.encodings.push(stats),
        }
    }

    fn append(&mut self, mut other: Written) {
        if self.bytes.is_empty() {
            self.bytes = other.bytes;
        } else {
            self.bytes.append(&mut other.bytes);
        }
        self.compressed += other.compressed;
        self.uncompressed += other.uncompressed;
        other
            .encodings
            .into_iter()
            .for_each(|stats| self.count(stats));
    }
}
