//! What the statistics of floats say.

use super::*;

/// Least and greatest value of a file's only column, as its first row group says.
fn range(file: &Bytes) -> Option<(f64, f64)> {
    let reader = SerializedFileReader::new(file.clone()).unwrap();
    match reader.metadata().row_group(0).column(0).statistics() {
        Some(Statistics::Double(found)) => found.min_opt().copied().zip(found.max_opt().copied()),
        Some(Statistics::Float(found)) => {
            let (min, max) = (found.min_opt().copied(), found.max_opt().copied());
            min.map(f64::from).zip(max.map(f64::from))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn floats_have_a_range_unless_one_of_them_is_no_number() {
    const NAN: f64 = f64::NAN;
    const FAR: f64 = f64::INFINITY;
    for (values, expected) in [
        (vec![1.0, 5.0, -2.0], Some((-2.0, 5.0))),
        (vec![NAN], None),
        (vec![NAN, 1.0], None),
        (vec![1.0, -NAN, 2.0], None),
        (vec![-FAR, FAR], Some((-FAR, FAR))),
        (vec![0.0], Some((-0.0, 0.0))),
        (vec![-0.0], Some((-0.0, 0.0))),
        (vec![-0.0, 3.0], Some((-0.0, 3.0))),
        (vec![-3.0, -0.0], Some((-3.0, 0.0))),
    ] {
        let wide: ArrayRef = Arc::new(Float64Array::from(values.clone()));
        let narrow = arrow::compute::cast(&wide, &DataType::Float32).unwrap();
        let list = values.iter().map(|value| Some(vec![Some(*value)]));
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(list));
        let entries = Arc::new(StringArray::from(vec!["k"; values.len()])) as ArrayRef;
        let member = |name| Arc::new(Field::new(name, DataType::Float64, true));
        let record = StructArray::from(vec![(member("value"), Arc::clone(&wide))]);
        let nested: ArrayRef = Arc::new(record);
        for column in [wide, narrow, list, nested] {
            let batch = RecordBatch::try_from_iter([("x", column), ("k", Arc::clone(&entries))]);
            for statistics in [EnabledStatistics::Chunk, EnabledStatistics::Page] {
                let properties = WriterProperties::builder().set_statistics_enabled(statistics);
                let file = one_file(batch.as_ref().unwrap(), properties.build());
                let bits =
                    |range: Option<(f64, f64)>| range.map(|(a, b)| (a.to_bits(), b.to_bits()));
                let ty = batch.as_ref().unwrap().column(0).data_type().clone();
                assert_eq!(bits(range(&file)), bits(expected), "{values:?} as {ty}");
            }
        }
    }
}

/// The format wants -0 as the least zero and 0 as the greatest, whichever is there. An engine that
/// took them for values would answer -0 for the least of zeros that have no sign.
#[test]
fn a_zero_of_floats_is_a_bound_and_other_numbers_are_values() {
    let file = |column: ArrayRef| {
        let rows = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let properties =
            WriterProperties::builder().set_statistics_enabled(EnabledStatistics::Chunk);
        one_file(&rows, properties.build())
    };
    for (values, least, expected) in [
        (vec![0.0], -0.0, (false, false)),
        (vec![-0.0, 0.0], -0.0, (false, false)),
        (vec![0.0, 3.0], -0.0, (false, true)),
        (vec![-3.0, -0.0], -3.0, (true, false)),
        (vec![-3.0, 0.0, 3.0], -3.0, (true, true)),
    ] {
        let wide: ArrayRef = Arc::new(Float64Array::from(values.clone()));
        let narrow = arrow::compute::cast(&wide, &DataType::Float32).unwrap();
        let found = exact(&file(wide), &f64::to_le_bytes(least));
        assert_eq!(found, Some(expected), "{values:?}");
        let found = exact(&file(narrow), &f32::to_le_bytes(least as f32));
        assert_eq!(found, Some(expected), "{values:?} as float32");
    }
    let whole = file(Arc::new(Int64Array::from(vec![0])));
    assert_eq!(exact(&whole, &0_i64.to_le_bytes()), Some((true, true)));
}

/// Whether the least and the greatest value of the only column are said to be among its values.
///
/// The `parquet` crate takes those of numbers for values whatever the file says, so this looks into
/// the footer: in Thrift's compact protocol the fields `min_value` (6, with its length),
/// `is_max_value_exact` (7) and `is_min_value_exact` (8) of Parquet's `Statistics` follow each
/// other.
fn exact(file: &Bytes, least: &[u8]) -> Option<(bool, bool)> {
    let begin = [&[0x18, least.len() as u8], least].concat();
    let is_true = |byte: u8| match byte {
        0x11 => Some(true),
        0x12 => Some(false),
        _ => None,
    };
    file.windows(begin.len() + 2).find_map(|bytes| {
        let flags = bytes.strip_prefix(begin.as_slice())?;
        Some((is_true(flags[1])?, is_true(flags[0])?))
    })
}
