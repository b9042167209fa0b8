//! What a DuckDB's tables alone can do: leave columns out, and hold any type.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int32Array, Int64Array, ListArray,
    MapBuilder, StringBuilder, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type};
use arrow::record_batch::RecordBatch;
use tidegate_warehouse::{LoaderOptions, TableKind, TableSpec};

use crate::job::{Job, NEW_YEAR, ask, columns, instant};

/// Also one that DuckDB has a meaning of its own for.
#[test]
fn a_column_that_the_table_lacks_is_left_out() {
    let mut job = Job::new();
    let batch = RecordBatch::try_from_iter([
        ("select", Arc::new(Int64Array::from(vec![1, 1])) as ArrayRef),
        ("or\"der; --", Arc::new(Int64Array::from(vec![1, 2]))),
        ("Größe", Arc::new(Int64Array::from(vec![1, 2]))),
        ("rowid", Arc::new(Int64Array::from(vec![7, 7]))),
    ])
    .unwrap();
    let file = job.file("events", &batch);
    job.commit_with(vec![file], &[], &[]);
    let table = TableSpec {
        name: "t".into(),
        datasets: vec!["events".into()],
        columns: columns(&batch)[..3].to_vec(),
        required: vec![],
        kind: TableKind::Upsert {
            key: vec!["select".into()],
            order: vec!["or\"der; --".into()],
            reach: None,
        },
    };
    let mut loader = job.loader(vec![table], LoaderOptions::default());
    loader.tick().unwrap();
    assert_eq!(ask(&loader.reader().unwrap(), "FROM t"), "1,2,2\n");
}

#[test]
fn nested_and_exact_types_round_trip() {
    let at =
        || TimestampMicrosecondArray::from(vec![NEW_YEAR + 1, NEW_YEAR - 1]).with_timezone("UTC");
    let point = StructArray::from(vec![
        (
            Arc::new(Field::new("lat", DataType::Int32, true)),
            Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("seen", instant(), true)),
            Arc::new(at()),
        ),
    ]);
    let tags = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None]);
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("device");
    map.values().append_value("ios, \"new\"");
    map.append(true).unwrap();
    map.append(false).unwrap();
    let map = map.finish();
    let batch = RecordBatch::try_from_iter_with_nullable([
        (
            "id",
            Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef,
            true,
        ),
        (
            "price",
            Arc::new(
                Decimal128Array::from(vec![Some(123_450), None])
                    .with_precision_and_scale(18, 2)
                    .unwrap(),
            ),
            true,
        ),
        (
            "flag",
            Arc::new(BooleanArray::from(vec![true, false])),
            true,
        ),
        (
            "day",
            Arc::new(Date32Array::from(vec![Some(20_454), None])),
            true,
        ),
        ("at", Arc::new(at()), true),
        ("point", Arc::new(point), true),
        ("tags", Arc::new(tags), true),
        ("meta", Arc::new(map), true),
    ])
    .unwrap();
    let mut job = Job::new();
    let file = job.file("events", &batch);
    job.commit_with(vec![file], &[], &[]);
    let table = TableSpec {
        name: "t".into(),
        datasets: vec!["events".into()],
        columns: columns(&batch),
        required: vec![],
        kind: TableKind::Upsert {
            key: vec!["id".into()],
            order: vec!["at".into()],
            reach: None,
        },
    };
    let mut loader = job.loader(vec![table], LoaderOptions::default());
    loader.tick().unwrap();
    let reader = loader.reader().unwrap();
    assert_eq!(
        ask(&reader, "FROM t ORDER BY id"),
        "1,1234.50,true,2026-01-01,2026-01-01T00:00:00.000001,\
         \"{\"\"lat\"\":1,\"\"seen\"\":\"\"2026-01-01T00:00:00.000001\"\"}\",\"[1,null]\",\
         \"{\"\"device\"\":\"\"ios, \\\"\"new\\\"\"\"\"}\"\n\
         2,,false,,2025-12-31T23:59:59.999999,\"{\"\"lat\"\":2,\"\"seen\"\":\"\"2025-12-31T23:59:59.999999\"\"}\",,\n"
    );
    assert_eq!(
        ask(
            &reader,
            "SELECT point.seen, meta['device'], tags[1], typeof(\"at\"), typeof(point) FROM t WHERE id = 1"
        ),
        "2026-01-01T00:00:00.000001,\"ios, \"\"new\"\"\",1,TIMESTAMP,\"STRUCT(lat INTEGER, seen TIMESTAMP)\"\n"
    );
    assert_eq!(batch.column(7).len(), 2);
}
