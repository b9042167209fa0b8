//! What is written is read back by the `parquet` crate as it was, whatever the types, nulls,
//! settings and selected rows.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod floats;
mod forms;
mod pages;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, ListArray, MapBuilder, RecordBatch,
    StringArray, StringBuilder, StructArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampSecondArray,
};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Compression, Encoding, PageType, Type, ZstdLevel};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use proptest::collection::vec;
use proptest::prelude::*;
use tidegate_parquet::{BatchRows, Draft, encode};

type Entries = Vec<(String, Option<String>)>;

/// One row, in every type.
#[derive(Debug, Clone)]
struct Row {
    text: Option<String>,
    required: String,
    whole: Option<i64>,
    short: Option<i32>,
    real: Option<f64>,
    map: Option<Entries>,
    keep: bool,
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-c]{0,3}",
        4 => "[a-z]{4,20}",
        1 => "\\PC{0,40}",
        1 => (300..5000usize).prop_map(|length| "long ".repeat(length / 5)),
    ]
}

fn whole() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(0),
        any::<i64>(),
        -5..5i64,
        Just(i64::MIN),
        Just(i64::MAX),
        1_700_000_000_000_000..1_700_000_900_000_000i64,
    ]
}

fn real() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        Just(0.0),
        Just(-0.0),
        Just(f64::NAN),
        -1e3..1e3
    ]
}

prop_compose! {
    fn row()(
        text in prop::option::weighted(0.8, text()),
        required in text(),
        whole in prop::option::weighted(0.8, whole()),
        short in prop::option::weighted(0.8, prop_oneof![any::<i32>(), 0..7]),
        real in prop::option::weighted(0.8, real()),
        map in prop::option::weighted(0.9, vec((text(), prop::option::weighted(0.9, text())), 0..4)),
        keep in prop::bool::weighted(0.9),
    ) -> Row {
        Row { text, required, whole, short, real, map, keep }
    }
}

/// Rows, of which some stretches repeat, and some have no nulls.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    vec((row(), 1..40usize, any::<bool>()), 0..60).prop_map(|stretches| {
        let mut rows = Vec::new();
        for (mut row, times, is_full) in stretches {
            if is_full {
                row.text.get_or_insert_default();
                row.whole.get_or_insert_default();
                row.short.get_or_insert_default();
                row.real.get_or_insert_default();
                let map = row.map.get_or_insert_default();
                map.push(("k".to_owned(), Some("v".to_owned())));
                map.iter_mut().for_each(|(_, value)| {
                    value.get_or_insert_default();
                });
            }
            rows.extend(std::iter::repeat_n(row, times));
        }
        rows
    })
}

fn maps(rows: &[Row]) -> ArrayRef {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for row in rows {
        for (key, value) in row.map.iter().flatten() {
            maps.keys().append_value(key);
            maps.values().append_option(value.as_deref());
        }
        maps.append(row.map.is_some()).unwrap();
    }
    Arc::new(maps.finish())
}

/// All types that are encoded here, and some that are not.
fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<_> = texts_of(rows).into_iter().chain(numbers_of(rows)).collect();
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// A column, its name, and whether it may be null.
type Column = (&'static str, ArrayRef, bool);

fn texts_of(rows: &[Row]) -> [Column; 4] {
    let texts = rows.iter().map(|row| row.text.as_deref());
    let required = || {
        let texts = rows.iter().map(|row| &row.required);
        Arc::new(StringArray::from_iter_values(texts))
    };
    [
        ("text", Arc::new(StringArray::from_iter(texts)), true),
        ("unique", required(), false),
        ("repeating", required(), false),
        ("map", maps(rows), true),
    ]
}

fn numbers_of(rows: &[Row]) -> [Column; 11] {
    let whole = || rows.iter().map(|row| row.whole);
    let short = || rows.iter().map(|row| row.short);
    let real = || rows.iter().map(|row| row.real);
    let micros = TimestampMicrosecondArray::from_iter(whole()).with_timezone("UTC");
    let millis = whole().map(Option::unwrap_or_default);
    let millis = TimestampMillisecondArray::from_iter_values(millis);
    let seconds = short().map(|short| short.map(i64::from));
    let seconds = TimestampSecondArray::from_iter(seconds);
    let half = Float32Array::from_iter(real().map(|real| real.map(|real| real as f32)));
    let tiny = Int16Array::from_iter(short().map(|short| short.map(|short| short as i16)));
    let list = short().map(|short| short.map(|short| vec![Some(short), None]));
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(list);
    let reals = short()
        .zip(real())
        .map(|(short, real)| short.map(|short| vec![real, Some(f64::from(short))]));
    let reals = ListArray::from_iter_primitive::<Float64Type, _, _>(reals);
    [
        ("whole", Arc::new(Int64Array::from_iter(whole())), true),
        ("short", Arc::new(Int32Array::from_iter(short())), true),
        ("date", Arc::new(Date32Array::from_iter(short())), true),
        ("micros", Arc::new(micros), true),
        ("millis", Arc::new(millis), false),
        ("seconds", Arc::new(seconds), true),
        ("real", Arc::new(Float64Array::from_iter(real())), true),
        ("half", Arc::new(half), true),
        ("tiny", Arc::new(tiny), true),
        ("list", Arc::new(list), true),
        ("reals", Arc::new(reals), true),
    ]
}

#[derive(Debug, Clone)]
struct Settings {
    compression: Compression,
    dictionary: bool,
    deltas: bool,
    dictionary_bytes: usize,
    page_bytes: usize,
    page_rows: usize,
    statistics: EnabledStatistics,
}

prop_compose! {
    fn settings()(
        compression in prop_oneof![
            Just(Compression::UNCOMPRESSED),
            Just(Compression::SNAPPY),
            Just(Compression::ZSTD(ZstdLevel::default())),
        ],
        dictionary in any::<bool>(),
        deltas in any::<bool>(),
        dictionary_bytes in prop_oneof![Just(20usize), Just(1000), Just(1 << 20)],
        page_bytes in prop_oneof![Just(1usize), Just(1000), Just(1 << 20)],
        page_rows in prop_oneof![Just(1usize), Just(100), Just(20_000)],
        statistics in prop_oneof![
            Just(EnabledStatistics::None),
            Just(EnabledStatistics::Chunk),
            Just(EnabledStatistics::Page),
        ],
    ) -> Settings {
        Settings { compression, dictionary, deltas, dictionary_bytes, page_bytes, page_rows, statistics }
    }
}

impl Settings {
    fn properties(&self) -> WriterProperties {
        let mut properties = WriterProperties::builder()
            .set_compression(self.compression)
            .set_dictionary_enabled(self.dictionary)
            .set_dictionary_page_size_limit(self.dictionary_bytes)
            .set_data_page_size_limit(self.page_bytes)
            .set_data_page_row_count_limit(self.page_rows)
            .set_statistics_enabled(self.statistics)
            .set_column_dictionary_enabled("unique".into(), false);
        for name in ["text", "unique", "repeating"] {
            properties =
                properties.set_column_statistics_enabled(name.into(), EnabledStatistics::None);
            if self.deltas {
                properties =
                    properties.set_column_encoding(name.into(), Encoding::DELTA_LENGTH_BYTE_ARRAY);
            }
        }
        for leaf in ["keys", "values"] {
            let path = vec!["map".to_owned(), "entries".to_owned(), leaf.to_owned()];
            properties =
                properties.set_column_statistics_enabled(path.into(), EnabledStatistics::None);
        }
        if self.deltas {
            for name in ["whole", "micros", "millis"] {
                properties =
                    properties.set_column_encoding(name.into(), Encoding::DELTA_BINARY_PACKED);
            }
        }
        properties.build()
    }
}

fn read(file: &Bytes, schema: &SchemaRef) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    // The file says less than the schema about fields of nested types.
    let batches = batches.iter().map(|batch| {
        let columns = batch.columns().iter().zip(schema.fields());
        let columns = columns
            .map(|(column, field)| arrow::compute::cast(column, field.data_type()).unwrap())
            .collect();
        RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
    });
    concat_batches(schema, &batches.collect::<Vec<_>>()).unwrap()
}

/// What `ArrowWriter` makes of the same rows.
fn reference(rows: &RecordBatch, properties: &WriterProperties) -> Bytes {
    let mut file = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut file, rows.schema(), Some(properties.clone())).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    file.into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(rows in rows(), settings in settings(), parts in 1..4usize, threads in 1..3usize) {
        let all = batch(&rows);
        let keep = BooleanArray::from_iter(rows.iter().map(|row| Some(row.keep)));
        let expected = filter_record_batch(&all, &keep).unwrap();
        // Slices, so that arrays begin after the start of their buffers.
        let mut drafted = Vec::new();
        let step = all.num_rows().div_ceil(parts).max(1);
        for from in (0..all.num_rows()).step_by(step) {
            let count = step.min(all.num_rows() - from);
            let (slice, keep) = (all.slice(from, count), keep.slice(from, count));
            drafted.push(if keep.true_count() == count {
                BatchRows::all(slice)
            } else {
                BatchRows::selected(slice, &keep)
            });
        }
        let taken: usize = drafted.iter().map(BatchRows::rows).sum();
        prop_assert_eq!(taken, expected.num_rows());
        let properties = Arc::new(settings.properties());
        let draft = Draft { schema: all.schema(), properties: Arc::clone(&properties), decimals_as_bytes: false, int96: false, longest_texts: false, parts: drafted };
        let file = encode(&[draft], threads).unwrap().remove(0);
        let found = read(&file, &all.schema());
        for (index, field) in all.schema().fields().iter().enumerate() {
            prop_assert_eq!(found.column(index).to_data(), expected.column(index).to_data(), "{}", field.name());
        }

        // The same as another writer says of its columns.
        let ours = SerializedFileReader::new(file).unwrap();
        let theirs = SerializedFileReader::new(reference(&expected, &properties)).unwrap();
        for (ours, theirs) in ours.metadata().row_groups().iter().zip(theirs.metadata().row_groups()) {
            prop_assert_eq!(ours.num_rows(), theirs.num_rows());
            for (ours, theirs) in ours.columns().iter().zip(theirs.columns()) {
                prop_assert_eq!(ours.num_values(), theirs.num_values(), "{}", ours.column_path());
                prop_assert_eq!(ours.compression(), theirs.compression());
                if has_nan(&expected, ours) {
                    let statistics = ours.statistics();
                    prop_assert!(statistics.is_none_or(|s| s.min_bytes_opt().is_none() && s.max_bytes_opt().is_none()));
                    prop_assert_eq!(
                        statistics.and_then(Statistics::null_count_opt),
                        theirs.statistics().and_then(Statistics::null_count_opt)
                    );
                } else {
                    let (its, found) = (zeros_as_bounds(theirs), zeros_as_bounds(ours));
                    prop_assert_eq!(found, its, "{}", ours.column_path());
                }
            }
        }
    }
}

/// Whether a chunk of the only row group has a float that is not a number.
fn has_nan(rows: &RecordBatch, chunk: &ColumnChunkMetaData) -> bool {
    let column = rows
        .column_by_name(&chunk.column_path().parts()[0])
        .unwrap();
    let floats = match column.as_list_opt::<i32>() {
        Some(lists) => Arc::clone(lists.values()),
        None => Arc::clone(column),
    };
    let is_nan = |array: &Float64Array| array.iter().flatten().any(f64::is_nan);
    match floats.data_type() {
        DataType::Float64 => is_nan(floats.as_primitive()),
        DataType::Float32 => {
            let wide = arrow::compute::cast(&floats, &DataType::Float64).unwrap();
            is_nan(wide.as_primitive())
        }
        _ => false,
    }
}

/// Statistics of a chunk, in which a zero of a float is a bound and not a value.
fn zeros_as_bounds(chunk: &ColumnChunkMetaData) -> Option<Statistics> {
    macro_rules! with_bounds {
        ($all:expr) => {{
            let least = $all.min_is_exact() && $all.min_opt() != Some(&0.0);
            let greatest = $all.max_is_exact() && $all.max_opt() != Some(&0.0);
            $all.with_min_is_exact(least).with_max_is_exact(greatest)
        }};
    }
    Some(match chunk.statistics()?.clone() {
        Statistics::Double(all) => Statistics::Double(with_bounds!(all)),
        Statistics::Float(all) => Statistics::Float(with_bounds!(all)),
        other => other,
    })
}

fn many(schema_rows: usize, value: impl Fn(usize) -> String) -> RecordBatch {
    let texts = StringArray::from_iter_values((0..schema_rows).map(value));
    RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef)]).unwrap()
}

fn one_file(rows: &RecordBatch, properties: WriterProperties) -> Bytes {
    let draft = Draft {
        schema: rows.schema(),
        properties: Arc::new(properties),
        decimals_as_bytes: false,
        int96: false,
        longest_texts: false,
        parts: vec![BatchRows::all(rows.clone())],
    };
    encode(&[draft], 1).unwrap().remove(0)
}

fn texts_properties() -> WriterProperties {
    WriterProperties::builder()
        .set_statistics_enabled(EnabledStatistics::None)
        .set_encoding(Encoding::DELTA_LENGTH_BYTE_ARRAY)
        .build()
}

#[test]
fn a_map_that_is_null_may_have_entries_in_its_array() {
    let rows: Vec<Row> = (0..10)
        .map(|row| Row {
            text: None,
            required: String::new(),
            whole: None,
            short: None,
            real: None,
            map: Some(vec![(format!("key {row}"), Some(format!("value {row}")))]),
            keep: true,
        })
        .collect();
    let maps = maps(&rows);
    let nulls = BooleanArray::from_iter((0..10).map(|row| Some(row % 3 != 0)));
    let data = maps
        .to_data()
        .into_builder()
        .nulls(Some(nulls.values().clone().into()));
    let maps = arrow::array::make_array(data.build().unwrap());
    let schema = Schema::new(vec![Field::new("map", maps.data_type().clone(), true)]);
    let rows = RecordBatch::try_new(Arc::new(schema), vec![maps]).unwrap();
    let file = one_file(
        &rows,
        WriterProperties::builder()
            .set_statistics_enabled(EnabledStatistics::None)
            .build(),
    );
    let found = read(&file, &rows.schema());
    assert_eq!(found.column(0).null_count(), 4);
    assert_eq!(found.column(0), rows.column(0));
}

#[test]
fn a_batch_that_does_not_fit_is_refused() {
    let rows = |values: Vec<Option<i64>>| {
        let values = Arc::new(Int64Array::from(values)) as ArrayRef;
        RecordBatch::try_from_iter_with_nullable([("value", values, true)]).unwrap()
    };
    let other = |data_type| Arc::new(Schema::new(vec![Field::new("value", data_type, false)]));
    for (schema, rows, is_taken) in [
        (other(DataType::Int64), rows(vec![Some(1)]), true),
        (other(DataType::Int64), rows(vec![Some(1), None]), false),
        (other(DataType::Float64), rows(vec![Some(1)]), false),
        (Arc::new(Schema::empty()), rows(vec![Some(1)]), false),
    ] {
        let parts = vec![BatchRows::all(rows)];
        let draft = Draft {
            schema,
            properties: Arc::new(texts_properties()),
            decimals_as_bytes: false,
            int96: false,
            longest_texts: false,
            parts,
        };
        assert_eq!(encode(&[draft], 1).is_ok(), is_taken);
    }
}
