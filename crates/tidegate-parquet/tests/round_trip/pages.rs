//! Pages, dictionaries and row groups.

use super::*;

/// How many pages of the only column have numbers of a dictionary, and how many have texts.
fn pages(file: &Bytes) -> (usize, usize) {
    let reader = SerializedFileReader::new(file.clone()).unwrap();
    let pages = reader.get_row_group(0).unwrap();
    let pages = pages.get_column_page_reader(0).unwrap();
    let data: Vec<_> = pages
        .map(Result::unwrap)
        .filter(|page| page.page_type() == PageType::DATA_PAGE)
        .map(|page| page.encoding() == Encoding::RLE_DICTIONARY)
        .collect();
    let numbers = data.iter().filter(|is_number| **is_number).count();
    (numbers, data.len() - numbers)
}

#[test]
fn a_dictionary_stays_where_values_repeat() {
    let rows = many(50_000, |row| format!("customer {}", row % 1000));
    let file = one_file(&rows, texts_properties());
    assert_eq!(pages(&file), (3, 0));
    assert_eq!(read(&file, &rows.schema()), rows);
}

#[test]
fn a_dictionary_of_numbers_stays_where_equal_ones_stand_together() {
    let numbers = Int32Array::from_iter_values((0..50_000).map(|row| row / 20));
    let rows = RecordBatch::try_from_iter([("number", Arc::new(numbers) as ArrayRef)]).unwrap();
    let file = one_file(&rows, WriterProperties::builder().build());
    assert_eq!(pages(&file).1, 0);
    assert_eq!(read(&file, &rows.schema()), rows);
}

#[test]
fn a_dictionary_is_given_up_where_nothing_repeats() {
    let rows = many(50_000, |row| format!("transaction {row}"));
    let file = one_file(&rows, texts_properties());
    assert_eq!(pages(&file), (1, 3));
    assert_eq!(read(&file, &rows.schema()), rows);
}

#[test]
fn a_huge_value_has_a_page_and_those_beside_it_are_not_harmed() {
    let rows = many(3000, |row| match row {
        1500 => "x".repeat(20 << 20),
        _ => "y".repeat(row),
    });
    let properties = texts_properties()
        .into_builder()
        .set_dictionary_enabled(false)
        .build();
    let file = one_file(&rows, properties);
    assert_eq!(read(&file, &rows.schema()), rows);
}

#[test]
fn rows_of_many_batches_make_row_groups_that_have_an_end() {
    let rows = many(400_000, |row| (row % 7).to_string());
    let draft = Draft {
        schema: rows.schema(),
        properties: Arc::new(texts_properties()),
        decimals_as_bytes: false,
        int96: false,
        longest_texts: false,
        parts: (0..4).map(|_| BatchRows::all(rows.clone())).collect(),
    };
    let file = encode(&[draft], 2).unwrap().remove(0);
    let reader = SerializedFileReader::new(file).unwrap();
    let row_groups = reader.metadata().row_groups();
    let counts: Vec<_> = row_groups.iter().map(|group| group.num_rows()).collect();
    assert_eq!(counts, [1_200_000, 400_000]);
}

#[test]
fn a_page_of_nulls_alone_has_no_run_of_numbers() {
    let texts = StringArray::from(vec![None::<&str>; 10]);
    let rows =
        RecordBatch::try_from_iter_with_nullable([("text", Arc::new(texts) as ArrayRef, true)])
            .unwrap();
    let properties = texts_properties();
    let file = one_file(
        &rows,
        properties
            .into_builder()
            .set_compression(Compression::UNCOMPRESSED)
            .build(),
    );
    let reader = SerializedFileReader::new(file.clone()).unwrap();
    let group = reader.get_row_group(0).unwrap();
    let pages = group.get_column_page_reader(0).unwrap();
    let bodies: Vec<_> = pages
        .map(Result::unwrap)
        .map(|page| page.buffer().to_vec())
        .collect();
    // Levels: ten times 0, of a width of one bit. Then the width of the numbers, and none of them.
    assert_eq!(bodies, [vec![], vec![2, 0, 0, 0, 20, 0, 0]]);
    assert_eq!(read(&file, &rows.schema()), rows);
}

#[test]
fn without_rows_there_is_no_row_group() {
    let rows = many(10, |row| row.to_string());
    let draft = Draft {
        schema: rows.schema(),
        properties: Arc::new(texts_properties()),
        decimals_as_bytes: false,
        int96: false,
        longest_texts: false,
        parts: vec![BatchRows::selected(
            rows,
            &BooleanArray::from(vec![None; 10]),
        )],
    };
    let file = encode(&[draft], 1).unwrap().remove(0);
    let reader = SerializedFileReader::new(file).unwrap();
    assert_eq!(reader.metadata().num_row_groups(), 0);
}
