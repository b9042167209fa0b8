//! Tables are made, grown, and hold any type.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int32Array, Int64Array, ListArray,
    MapBuilder, StringArray, StringBuilder, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type};
use arrow::record_batch::RecordBatch;
use tidegate_warehouse::{
    DuckDbOptions, DuckDbWarehouse, LoaderOptions, OpenError, TableKind, TableSpec,
};

use crate::job::{
    Event, Job, NEW_YEAR, append_table, ask, columns, events_batch, events_table, instant,
};

#[test]
fn rejected_rows_are_appended_once() {
    let mut job = Job::new();
    for i in 0..3 {
        job.commit("rejected", &[Event("same", 1, 0, i, 1.0)]);
    }
    let tables = || vec![events_table(), append_table("rejected", "rejected")];
    for _ in 0..2 {
        let mut loader = job.loader(
            tables(),
            LoaderOptions {
                rows_max: 1,
                ..LoaderOptions::default()
            },
        );
        loader.tick().unwrap();
        loader.catch_up(job.last_seq()).unwrap();
        assert_eq!(
            ask(&loader.reader().unwrap(), "SELECT count(*) FROM rejected"),
            "3\n"
        );
    }
}

#[test]
fn rows_of_a_dataset_without_a_table_are_told() {
    let mut job = Job::new();
    job.commit(
        "rejected",
        &[Event("a", 1, 0, 0, 1.0), Event("b", 1, 0, 1, 1.0)],
    );
    let mut loader = job.loader(vec![events_table()], LoaderOptions::default());
    let load = loader.tick().unwrap().load.unwrap();
    assert_eq!(load.without_table.get("rejected"), Some(&2));
    assert_eq!((load.rows, loader.loaded_seq()), (0, 2));
}

fn with_column(batch: &RecordBatch, name: &str, values: ArrayRef) -> RecordBatch {
    let schema = batch.schema();
    let old = schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .zip(batch.columns().iter().cloned());
    RecordBatch::try_from_iter_with_nullable(
        old.chain([(name.to_owned(), values)])
            .map(|(name, values)| (name, values, true)),
    )
    .unwrap()
}

#[test]
fn a_column_is_added_and_old_files_lack_it() {
    let mut job = Job::new();
    job.commit("events", &[Event("a", 1, 0, 0, 1.0)]);
    let mut loader = job.loader(vec![events_table()], LoaderOptions::default());
    loader.tick().unwrap();
    drop(loader);

    // One file from before the change and one from after it, in one load.
    job.commit("events", &[Event("b", 1, 0, 1, 1.0)]);
    let new = with_column(
        &events_batch(&[Event("c", 1, 0, 2, 1.0)]),
        "color",
        Arc::new(StringArray::from(vec!["red"])),
    );
    let file = job.file("events", &new);
    job.commit_with(vec![file], &[], &[]);
    let table = TableSpec {
        columns: columns(&new),
        ..events_table()
    };
    let mut loader = job.loader(vec![table], LoaderOptions::default());
    assert_eq!(loader.tick().unwrap().load.unwrap().rows, 2);
    // And a load in which no file has it.
    job.commit("events", &[Event("d", 1, 0, 3, 1.0)]);
    loader.tick().unwrap();
    assert_eq!(
        ask(
            &loader.reader().unwrap(),
            "SELECT id, color FROM t ORDER BY id"
        ),
        "a,\nb,\nc,red\nd,\n"
    );
}

#[test]
fn a_changed_type_is_refused_with_what_helps() {
    let job = Job::new();
    drop(job.open(vec![events_table()]));
    let mut table = events_table();
    table.columns[4].1 = DataType::Utf8;
    let error = DuckDbWarehouse::open(
        &job.database(),
        job.log.state().job.as_str(),
        vec![table],
        &DuckDbOptions::default(),
        0,
    )
    .unwrap_err()
    .to_string();
    for part in [
        "`value` is DOUBLE in the database and VARCHAR",
        "ALTER TABLE \"t\" ALTER COLUMN \"value\"",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn tables_that_cannot_be_are_refused() {
    let job = Job::new();
    let refused = |tables: Vec<TableSpec>| match DuckDbWarehouse::open(
        &job.database(),
        "job",
        tables,
        &DuckDbOptions::default(),
        0,
    )
    .unwrap_err()
    {
        OpenError::Table(error) => error.to_string(),
        other => panic!("{other}"),
    };
    let named = |name: &str| TableSpec {
        name: name.into(),
        ..events_table()
    };
    assert!(refused(vec![named("tidegate_ledger")]).contains("loader's own"));
    assert!(refused(vec![events_table(), append_table("T", "x")]).contains("two tables"));
    assert!(refused(vec![events_table(), append_table("u", "late")]).contains("another table"));
    let mut twice = events_table();
    twice.columns.push(("ID".into(), DataType::Utf8));
    assert!(refused(vec![twice]).contains("twice"));
    let mut hidden = events_table();
    hidden.columns.push(("file_index".into(), DataType::Utf8));
    assert!(refused(vec![hidden]).contains("file_index"));
    let mut without = events_table();
    without.columns.remove(1);
    assert!(refused(vec![without]).contains("event_timestamp"));
}

/// Column names that are SQL's own words, or need quotes.
#[test]
fn any_name_can_be_a_column_or_table() {
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
        name: "my 'table' \"x\"".into(),
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
    assert_eq!(
        ask(&loader.reader().unwrap(), "FROM \"my 'table' \"\"x\"\"\""),
        "1,2,2\n"
    );
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
