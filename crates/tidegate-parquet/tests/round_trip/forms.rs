//! Forms of values that a reader asks for, and what the footer says of texts.

use super::*;

#[test]
fn decimals_of_every_precision_come_back_as_bytes_of_the_shortest_length() {
    for precision in 1..=38_u8 {
        let greatest = 10_i128.pow(precision.into()) - 1;
        let values = [
            Some(greatest),
            Some(-greatest),
            None,
            Some(0),
            Some(1),
            Some(-1),
        ];
        let scale = i8::try_from(precision / 2).unwrap();
        let decimals = Decimal128Array::from_iter(values)
            .with_precision_and_scale(precision, scale)
            .unwrap();
        let rows =
            RecordBatch::try_from_iter_with_nullable([("d", Arc::new(decimals) as ArrayRef, true)])
                .unwrap();
        let draft = Draft {
            schema: rows.schema(),
            properties: Arc::new(WriterProperties::default()),
            decimals_as_bytes: true,
            int96: false,
            longest_texts: false,
            parts: vec![BatchRows::all(rows.clone())],
        };
        let file = encode(&[draft], 1).unwrap().remove(0);
        let reader = SerializedFileReader::new(file.clone()).unwrap();
        let column = reader.metadata().file_metadata().schema_descr().column(0);
        assert_eq!(column.physical_type(), Type::FIXED_LEN_BYTE_ARRAY);
        // The fewest bytes whose greatest number with a sign is as great.
        let shortest = (1..=16).find(|bytes| (1_u128 << (8 * bytes - 1)) > greatest as u128);
        assert_eq!(Some(column.type_length()), shortest, "decimal({precision})");
        assert_eq!(read(&file, &rows.schema()), rows, "decimal({precision})");
    }
}

#[test]
fn instants_as_int96_come_back_as_microseconds() {
    const YEAR_1: i64 = -62_135_596_800_000_000;
    const YEAR_9999: i64 = 253_402_300_799_999_999;
    let micros = [
        Some(YEAR_1),
        None,
        Some(YEAR_9999),
        Some(0),
        Some(-1),
        Some(1),
    ];
    let times = |zone: Option<&str>| {
        let times: TimestampMicrosecondArray = micros.into_iter().collect();
        Arc::new(times.with_timezone_opt(zone.map(str::to_owned))) as ArrayRef
    };
    let rows = RecordBatch::try_from_iter_with_nullable([
        ("at", times(Some("UTC")), true),
        (
            "n",
            Arc::new(Int64Array::from_iter(micros)) as ArrayRef,
            true,
        ),
    ])
    .unwrap();
    let plain = || WriterProperties::builder().set_statistics_enabled(EnabledStatistics::Chunk);
    let draft = |properties: WriterProperties| Draft {
        schema: rows.schema(),
        properties: Arc::new(properties),
        decimals_as_bytes: true,
        int96: true,
        longest_texts: false,
        parts: vec![BatchRows::all(rows.clone()), BatchRows::all(rows.clone())],
    };
    let file = encode(&[draft(plain().build())], 1).unwrap().remove(0);
    let reader = SerializedFileReader::new(file.clone()).unwrap();
    let row_group = reader.metadata().row_group(0);
    let column = row_group.column(0);
    assert_eq!(column.column_type(), Type::INT96);
    assert!(column.statistics().is_none());
    assert_eq!(row_group.column(1).column_type(), Type::INT64);
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).unwrap();
    let metadata = tidegate_parquet::with_instants(metadata).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
    let batches = reader.build().unwrap().map(|batch| batch.unwrap());
    let read = concat_batches(&rows.schema(), &batches.collect::<Vec<_>>()).unwrap();
    assert_eq!(
        read,
        concat_batches(&rows.schema(), [&rows, &rows]).unwrap()
    );
    // What cannot be written is an error.
    let differences = plain()
        .set_dictionary_enabled(false)
        .set_encoding(Encoding::DELTA_BINARY_PACKED);
    assert!(encode(&[draft(differences.build())], 1).is_err());
}

#[test]
fn the_footer_says_how_long_the_longest_text_of_a_column_is() {
    let texts = |texts: Vec<Option<&str>>| Arc::new(StringArray::from(texts)) as ArrayRef;
    let some = texts(vec![
        Some("a"),
        Some("four"),
        None,
        Some("ää"),
        Some("longer"),
    ]);
    // What is under a null is no value.
    let hidden = arrow::compute::nullif(
        &some,
        &BooleanArray::from(vec![false, true, true, true, true]),
    );
    let numbers = Arc::new(Int32Array::from(vec![1, 2, 3, 4, 5]));
    let rows = RecordBatch::try_from_iter_with_nullable([
        ("some", some.clone(), true),
        ("hidden", hidden.unwrap(), true),
        ("none", texts(vec![None; 5]), true),
        ("number", numbers as ArrayRef, true),
    ])
    .unwrap();
    let draft = |longest_texts, parts| Draft {
        schema: rows.schema(),
        properties: Arc::new(texts_properties()),
        decimals_as_bytes: false,
        int96: false,
        longest_texts,
        parts,
    };
    let longest = |draft: Draft| {
        let file = encode(&[draft], 1).unwrap().remove(0);
        let reader = SerializedFileReader::new(file).unwrap();
        let metadata = reader.metadata().file_metadata();
        ["some", "hidden", "none", "number"].map(|it| tidegate_parquet::longest_text(metadata, it))
    };
    let keep = BooleanArray::from(vec![true, false, true, true, false]);
    let some_rows = BatchRows::selected(rows.clone(), &keep);
    let all = vec![some_rows.clone(), BatchRows::all(rows.clone())];
    assert_eq!(
        longest(draft(true, all.clone())),
        [Some(6), Some(1), Some(0), None]
    );
    assert_eq!(
        longest(draft(true, vec![some_rows])),
        [Some(4), Some(1), Some(0), None]
    );
    assert_eq!(
        longest(draft(true, Vec::new())),
        [Some(0), Some(0), Some(0), None]
    );
    assert_eq!(longest(draft(false, all.clone())), [None; 4]);
    // Files are there that have it so.
    let file = encode(&[draft(true, all)], 1).unwrap().remove(0);
    let reader = SerializedFileReader::new(file).unwrap();
    let entries = reader.metadata().file_metadata().key_value_metadata();
    let first = entries.and_then(|entries| entries.first()).unwrap();
    assert_eq!(first.key, "tidegate.longest-text.some");
    assert_eq!(first.value.as_deref(), Some("6"));
}
