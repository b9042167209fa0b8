//! What a DuckDB's tables alone can do: take any name and any type, also of columns that the
//! configuration does not have any more.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array,
    Int64Array, ListArray, MapBuilder, StringBuilder, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type};
use arrow::record_batch::RecordBatch;
use tidegate_warehouse::{LoaderOptions, TableKind, TableSpec};

use crate::job::{Job, NEW_YEAR, ask, columns, instant};

/// Also one that DuckDB has a meaning of its own for.
#[test]
fn a_column_that_the_table_lacks_is_added() {
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
        time: None,
        kind: TableKind::Upsert {
            key: vec!["select".into()],
            order: vec!["or\"der; --".into()],
            reach: None,
        },
    };
    let mut loader = job.loader(vec![table], LoaderOptions::default());
    loader.tick().unwrap();
    assert_eq!(ask(&loader.reader().unwrap(), "FROM t"), "1,2,2,7\n");
    let file = job.file("events", &batch);
    job.commit_with(vec![file], &[], &[]);
    assert_eq!(loader.tick().unwrap().load.unwrap().inserted, 0);
    assert_eq!(ask(&loader.reader().unwrap(), "FROM t"), "1,2,2,7\n");
}

/// A table by `id` and `at`.
fn upserted(columns: &[(String, DataType)]) -> TableSpec {
    TableSpec {
        name: "t".into(),
        datasets: vec!["events".into()],
        columns: columns.to_vec(),
        required: vec![],
        time: None,
        kind: TableKind::Upsert {
            key: vec!["id".into()],
            order: vec!["at".into()],
            reach: None,
        },
    }
}

/// So that they can be in the configuration again.
#[test]
fn columns_that_a_load_adds_have_the_types_that_the_configuration_gives_them() {
    let batch = nested_and_exact();
    let all = columns(&batch);
    let few: Vec<_> = ["id", "at"]
        .iter()
        .filter_map(|name| all.iter().find(|(column, _)| column == name).cloned())
        .collect();
    let mut job = Job::new();
    let file = job.file("events", &batch);
    job.commit_with(vec![file], &[], &[]);
    let mut loader = job.loader(vec![upserted(&few)], LoaderOptions::default());
    loader.tick().unwrap();
    drop(loader);
    let loader = job.loader(vec![upserted(&all)], LoaderOptions::default());
    assert_eq!(
        ask(
            &loader.reader().unwrap(),
            "SELECT price, point.seen, meta['device'], tags[1] FROM t WHERE id = 1"
        ),
        "1234.50,2026-01-01T00:00:00.000001,\"ios, \"\"new\"\"\",1\n"
    );
}

#[test]
fn a_column_that_does_not_hold_what_an_older_configuration_wrote_is_named_with_what_helps() {
    let with = |later: i64, values: ArrayRef| {
        let id = Arc::new(Int64Array::from(vec![1])) as ArrayRef;
        let at = TimestampMicrosecondArray::from(vec![NEW_YEAR + later]).with_timezone("UTC");
        RecordBatch::try_from_iter([("id", id), ("at", Arc::new(at)), ("value", values)]).unwrap()
    };
    let whole = with(0, Arc::new(Int64Array::from(vec![7])));
    let mut job = Job::new();
    let file = job.file("events", &whole);
    job.commit_with(vec![file], &[], &[]);
    let table = || upserted(&columns(&whole)[..2]);
    let mut loader = job.loader(vec![table()], LoaderOptions::default());
    loader.tick().unwrap();
    let other = with(1, Arc::new(Float64Array::from(vec![7.5])));
    let file = job.file("events", &other);
    job.commit_with(vec![file], &[], &[]);
    let error = loader.tick().unwrap_err();
    assert!(!error.is_transient());
    let error = error.to_string();
    let says = ["`value`", "`t`", "BIGINT", "DOUBLE", "records 3 to 3"];
    for part in says {
        assert!(error.contains(part), "`{part}`: {error}");
    }
    drop(loader);
    let (_, statement) = error.split_once("start again: ").unwrap();
    let database = duckdb::Connection::open(job.database()).unwrap();
    database.execute_batch(statement).unwrap();
    drop(database);
    let mut loader = job.loader(vec![table()], LoaderOptions::default());
    loader.tick().unwrap();
    let rows = "SELECT value, value_old FROM t";
    assert_eq!(ask(&loader.reader().unwrap(), rows), "7.5,\n");
}

/// Two rows of types that are nested, or whose values have to stay exact.
fn nested_and_exact() -> RecordBatch {
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
    RecordBatch::try_from_iter_with_nullable([
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
    .unwrap()
}

#[test]
fn nested_and_exact_types_round_trip() {
    let batch = nested_and_exact();
    let mut job = Job::new();
    let file = job.file("events", &batch);
    job.commit_with(vec![file], &[], &[]);
    let table = upserted(&columns(&batch));
    let mut loader = job.loader(vec![table], LoaderOptions::default());
    loader.tick().unwrap();
    let reader = loader.reader().unwrap();
    assert_eq!(
        ask(&reader, "FROM t ORDER BY id"),
        "1,1234.50,true,2026-01-01,2026-01-01T00:00:00.000001,\
         \"{\"\"lat\"\":1,\"\"seen\"\":\"\"2026-01-01T00:00:00.000001Z\"\"}\",\"[1,null]\",\
         \"{\"\"device\"\":\"\"ios, \\\"\"new\\\"\"\"\"}\"\n\
         2,,false,,2025-12-31T23:59:59.999999,\"{\"\"lat\"\":2,\"\"seen\"\":\"\"2025-12-31T23:59:59.999999Z\"\"}\",,\n"
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
