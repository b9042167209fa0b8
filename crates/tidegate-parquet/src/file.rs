//! Files, written to memory by several threads at once: any thread takes any column.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::compute::filter;
use arrow::datatypes::Field;
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::basic::{LogicalType, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor, Type};

use crate::chunk::{Chunk, Compressor};
use crate::column;
use crate::draft::{BatchRows, Draft};
use crate::leaf::Encode;
use crate::{longest, nan};

/// A row group takes no more parts once it has this many rows.
const ROW_GROUP_ROWS: usize = 1 << 20;
/// Fewer rows than this are encoded by the calling thread alone: mostly they take about a
/// millisecond.
const ROWS_ALONE: usize = 2_000;

/// Room for what is around the columns, of a file with some dozens of them.
const FOOTER_BYTES: usize = 64 << 10;

/// One column of one row group, to be encoded by whichever thread is free.
struct ColumnTask<'a> {
    field: &'a Field,
    index: usize,
    parts: &'a [BatchRows],
    /// Taken by the thread that encodes it.
    encoder: Mutex<Option<Encoder>>,
    encoded: Mutex<Option<Result<Encoded, ParquetError>>>,
}

enum Encoder {
    Ours(Box<dyn Encode>),
    /// One for each leaf.
    Arrow(Vec<ArrowColumnWriter>),
}

/// The leaves of a column.
enum Encoded {
    Ours(Vec<Chunk>),
    Arrow(Vec<ArrowColumnChunk>),
}

/// A file with a footer to be written.
struct OpenFile {
    writer: SerializedFileWriter<Vec<u8>>,
    /// Number of columns of each of its row groups.
    row_groups: Vec<usize>,
}

/// Encodes files on up to `threads` threads; the answer has their order.
///
/// # Errors
/// If a batch does not have its file's schema, or Parquet has no form for a type.
pub fn encode(drafts: &[Draft], threads: usize) -> Result<Vec<Bytes>, ParquetError> {
    let mut files = Vec::with_capacity(drafts.len());
    let mut columns = Vec::new();
    for draft in drafts {
        files.push(open(draft, &mut columns)?);
    }
    let rows: usize = drafts
        .iter()
        .flat_map(|d| &d.parts)
        .map(BatchRows::rows)
        .sum();
    let helpers = if rows < ROWS_ALONE {
        0
    } else {
        threads.saturating_sub(1)
    };
    let next = AtomicUsize::new(0);
    let work = || {
        let mut compressor = Compressor::default();
        while let Some(column) = columns.get(next.fetch_add(1, Ordering::Relaxed)) {
            column.encode(&mut compressor);
        }
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "no thread waits for another one: they only count up"
    )]
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            // Where no thread can be had, this one does the work.
            let _ = std::thread::Builder::new()
                .name("tg-encode".to_owned())
                .spawn_scoped(scope, work);
        }
        work();
    });
    let mut columns = columns.into_iter();
    files
        .into_iter()
        .map(|file| file.finish(&mut columns))
        .collect()
}

fn open<'a>(draft: &'a Draft, columns: &mut Vec<ColumnTask<'a>>) -> Result<OpenFile, ParquetError> {
    if let Some(part) = draft.parts.iter().find(|part| !part.fits(&draft.schema)) {
        return Err(ParquetError::General(format!(
            "a batch of {:?} does not fit the file's {:?}",
            part.batch.schema(),
            draft.schema
        )));
    }
    let mut parquet_schema = ArrowSchemaConverter::new()
        .with_coerce_types(draft.properties.coerce_types())
        .convert(&draft.schema)?;
    if draft.decimals_as_bytes || draft.int96 {
        parquet_schema = in_form(&parquet_schema, draft)?;
    }
    let mut writer = SerializedFileWriter::new(
        Vec::new(),
        parquet_schema.root_schema_ptr(),
        Arc::clone(&draft.properties),
    )?;
    if draft.longest_texts {
        for entry in longest::entries(draft) {
            writer.append_key_value_metadata(entry);
        }
    }
    let factory = ArrowRowGroupWriterFactory::new(&writer, Arc::clone(&draft.schema));
    let mut row_groups = Vec::new();
    let mut rest = draft.parts.as_slice();
    while !rest.is_empty() {
        let mut rows = 0;
        let taken = rest
            .iter()
            .take_while(|part| {
                let room = rows < ROW_GROUP_ROWS;
                rows += part.rows();
                room
            })
            .count();
        let (parts, others) = rest.split_at(taken);
        rest = others;
        // Not all readers take a row group without rows.
        if parts.iter().all(|part| part.rows() == 0) {
            continue;
        }
        let encoders = encoders(draft, &parquet_schema, &factory, row_groups.len())?;
        for (index, encoder) in encoders.into_iter().enumerate() {
            columns.push(ColumnTask {
                field: draft.schema.field(index),
                index,
                parts,
                encoder: Mutex::new(Some(encoder)),
                encoded: Mutex::new(None),
            });
        }
        row_groups.push(draft.schema.fields().len());
    }
    Ok(OpenFile { writer, row_groups })
}

/// The schema with columns in other forms, as a draft asks for: each decimal as bytes of a fixed
/// length, each instant as `INT96`. What is nested stays.
fn in_form(schema: &SchemaDescriptor, draft: &Draft) -> Result<SchemaDescriptor, ParquetError> {
    let root = schema.root_schema();
    let fields = root.get_fields().iter().map(|field| {
        let info = field.get_basic_info();
        if !field.is_primitive() {
            return Ok(Arc::clone(field));
        }
        let other = |physical| {
            Type::primitive_type_builder(field.name(), physical)
                .with_repetition(info.repetition())
                .with_id(info.has_id().then(|| info.id()))
        };
        let other = match info.logical_type_ref() {
            Some(logical @ LogicalType::Decimal { scale, precision })
                if draft.decimals_as_bytes =>
            {
                other(Physical::FIXED_LEN_BYTE_ARRAY)
                    .with_length(decimal_bytes(*precision))
                    .with_logical_type(Some(logical.clone()))
                    .with_precision(*precision)
                    .with_scale(*scale)
            }
            Some(LogicalType::Timestamp { .. }) if draft.int96 => other(Physical::INT96),
            _ => return Ok(Arc::clone(field)),
        };
        Ok(Arc::new(other.build()?))
    });
    let fields = fields.collect::<Result<Vec<_>, ParquetError>>()?;
    let root = Type::group_type_builder(root.name())
        .with_fields(fields)
        .build()?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

/// The fewest bytes that hold every number of so many digits, and its sign.
fn decimal_bytes(precision: i32) -> i32 {
    let greatest = 10_f64.powi(precision);
    (1..16)
        .find(|bytes| 2_f64.powi(8 * bytes - 1) >= greatest)
        .unwrap_or(16)
}

/// One for each column of a row group.
fn encoders(
    draft: &Draft,
    schema: &SchemaDescriptor,
    factory: &ArrowRowGroupWriterFactory,
    row_group: usize,
) -> Result<Vec<Encoder>, ParquetError> {
    let mut rest = schema.columns();
    let mut ours = Vec::with_capacity(draft.schema.fields().len());
    for (index, field) in draft.schema.fields().iter().enumerate() {
        let first = schema.num_columns() - rest.len();
        let is_of_field = |leaf: &usize| schema.get_column_root_idx(*leaf) == index;
        let count = (first..schema.num_columns())
            .take_while(is_of_field)
            .count();
        let (leaves, others) = rest.split_at(count);
        rest = others;
        let encoder = column::encoder(field, leaves, &draft.properties);
        let is_instant = |leaf: &ColumnDescPtr| leaf.physical_type() == Physical::INT96;
        if encoder.is_none() && leaves.iter().any(is_instant) {
            return Err(ParquetError::NYI(format!(
                "the column `{}` as INT96, other than plain and from microseconds",
                field.name()
            )));
        }
        ours.push((count, encoder));
    }
    // They are made for all columns at once, and take memory: not for nothing.
    let writers = match ours.iter().all(|(_, ours)| ours.is_some()) {
        true => Vec::new(),
        false => factory.create_column_writers(row_group)?,
    };
    let mut writers = writers.into_iter();
    let encoders = ours.into_iter().map(|(count, ours)| {
        let theirs = writers.by_ref().take(count).collect();
        ours.map_or(Encoder::Arrow(theirs), Encoder::Ours)
    });
    Ok(encoders.collect())
}

impl ColumnTask<'_> {
    fn encode(&self, compressor: &mut Compressor) {
        let encoder = self.encoder.lock();
        let Some(encoder) = encoder.unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let encoded = match encoder {
            Encoder::Ours(encoder) => self.write(encoder, compressor).map(Encoded::Ours),
            Encoder::Arrow(writers) => self.write_filtered(writers).map(Encoded::Arrow),
        };
        *self.encoded.lock().unwrap_or_else(PoisonError::into_inner) = Some(encoded);
    }

    fn write(
        &self,
        mut encoder: Box<dyn Encode>,
        compressor: &mut Compressor,
    ) -> Result<Vec<Chunk>, ParquetError> {
        for part in self.parts {
            encoder.add(part.batch.column(self.index), &part.runs, compressor)?;
        }
        encoder.finish(compressor)
    }

    fn write_filtered(
        &self,
        mut writers: Vec<ArrowColumnWriter>,
    ) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
        let mut has_nan = false;
        for part in self.parts {
            let all = part.batch.column(self.index);
            let selected;
            let array = match &part.selection {
                Some(selection) => {
                    selected = filter(all, selection)?;
                    &selected
                }
                None => all,
            };
            has_nan |= nan::is_in(array);
            for (writer, leaf) in writers.iter_mut().zip(compute_leaves(self.field, array)?) {
                writer.write(&leaf)?;
            }
        }
        let close = |writer: ArrowColumnWriter| {
            let mut chunk = writer.close()?;
            if has_nan {
                nan::forget_range(chunk.close_mut())?;
            }
            Ok(chunk)
        };
        writers.into_iter().map(close).collect()
    }
}

impl Encoded {
    /// Bytes of it, as far as they are known.
    fn length(&self) -> usize {
        match self {
            Encoded::Ours(chunks) => chunks.iter().map(Chunk::length).sum(),
            Encoded::Arrow(_) => 0,
        }
    }

    fn append_to(
        self,
        row_group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    ) -> Result<(), ParquetError> {
        match self {
            Encoded::Ours(chunks) => {
                let mut chunks = chunks.into_iter();
                chunks.try_for_each(|chunk| chunk.append_to(row_group))
            }
            Encoded::Arrow(chunks) => {
                let mut chunks = chunks.into_iter();
                chunks.try_for_each(|chunk| chunk.append_to_row_group(row_group))
            }
        }
    }
}

impl OpenFile {
    /// Takes its columns from the front of `columns`.
    fn finish<'a>(
        mut self,
        columns: &mut impl Iterator<Item = ColumnTask<'a>>,
    ) -> Result<Bytes, ParquetError> {
        let mut encoded = Vec::new();
        for width in self.row_groups {
            let columns = columns.by_ref().take(width).filter_map(|column| {
                // None: the thread that took it panicked, which `scope` has passed on.
                column
                    .encoded
                    .into_inner()
                    .unwrap_or_else(PoisonError::into_inner)
            });
            encoded.push(columns.collect::<Result<Vec<Encoded>, _>>()?);
        }
        let length: usize = encoded.iter().flatten().map(Encoded::length).sum();
        self.writer.inner_mut().reserve(length + FOOTER_BYTES);
        for columns in encoded {
            let mut row_group = self.writer.next_row_group()?;
            for column in columns {
                column.append_to(&mut row_group)?;
            }
            row_group.close()?;
        }
        self.writer.into_inner().map(Bytes::from)
    }
}
