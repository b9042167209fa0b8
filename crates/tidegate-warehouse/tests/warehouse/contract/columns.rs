//! Tables grow with the configuration, and files may have other columns, in another order.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Int16Array, Int64Array,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use tidegate_warehouse::{LoaderOptions, TableKind, TableSpec};

use super::Place;
use crate::job::{Event, NEW_YEAR, columns, events_batch, events_table};

super::on_each_warehouse! {
    a_column_is_added_and_old_files_lack_it,
    columns_that_were_taken_out_before_any_load_are_loaded,
    columns_are_found_by_name_wherever_they_are,
    a_changed_type_is_refused_with_what_helps,
    a_text_that_becomes_nested_is_refused_with_what_can_be_run,
    exact_types_round_trip,
    any_name_can_be_a_column_or_table,
}

fn with_column(batch: &RecordBatch, name: &str, values: ArrayRef) -> RecordBatch {
    let schema = batch.schema();
    let names = schema.fields().iter().map(|field| field.name().clone());
    let old = names.zip(batch.columns().iter().cloned());
    let all = old.chain([(name.to_owned(), values)]);
    RecordBatch::try_from_iter_with_nullable(all.map(|(name, values)| (name, values, true)))
        .unwrap()
}

fn a_column_is_added_and_old_files_lack_it(place: &Place) {
    let mut world = place.world();
    world.job.commit("events", &[Event("a", 1, 0, 0, 1.0)]);
    drop(world.load_all(vec![events_table()], u64::MAX));

    // One file from before the change and one from after it, in one load.
    world.job.commit("events", &[Event("b", 1, 0, 1, 1.0)]);
    let new = with_column(
        &events_batch(&[Event("c", 1, 0, 2, 1.0)]),
        "color",
        Arc::new(StringArray::from(vec!["red"])),
    );
    let file = world.job.file("events", &new);
    world.job.commit_with(vec![file], &[], &[]);
    let table = TableSpec {
        columns: columns(&new),
        ..events_table()
    };
    let mut loader = world.loader(vec![table], LoaderOptions::default());
    assert_eq!(loader.tick().unwrap().load.unwrap().rows, 2);
    // And a load in which no file has it.
    world.job.commit("events", &[Event("d", 1, 0, 3, 1.0)]);
    loader.tick().unwrap();
    assert_eq!(
        world.ask("SELECT id, color FROM t ORDER BY id"),
        "a,\nb,\nc,red\nd,\n"
    );
}

fn columns_that_were_taken_out_before_any_load_are_loaded(place: &Place) {
    let mut world = place.world();
    let with_more = |event: Event| {
        let price = Decimal128Array::from(vec![12_345]);
        let price = price.with_precision_and_scale(19, 2).unwrap();
        let seen = TimestampMicrosecondArray::from(vec![NEW_YEAR + 1]).with_timezone("UTC");
        let batch = events_batch(&[event]);
        let batch = with_column(&batch, "color", Arc::new(StringArray::from(vec!["red"])));
        let batch = with_column(&batch, "price", Arc::new(price));
        with_column(&batch, "seen", Arc::new(seen))
    };
    world.job.commit("events", &[Event("a", 1, 0, 0, 1.0)]);
    let new = with_more(Event("b", 1, 0, 1, 1.0));
    let file = world.job.file("events", &new);
    world.job.commit_with(vec![file], &[], &[]);
    drop(world.load_all(vec![events_table()], u64::MAX));
    let rows =
        "SELECT id, color, CAST(price AS VARCHAR), CAST(seen AS VARCHAR), value FROM t ORDER BY id";
    let b = "b,red,123.45,2026-01-01 00:00:00.000001,1\n";
    assert_eq!(world.ask(rows), format!("a,,,,1\n{b}"));
    // The next loads find the columns, whether their files have them or not, and replace rows.
    world.job.commit("events", &[Event("b", 2, 0, 2, 2.0)]);
    let file = world
        .job
        .file("events", &with_more(Event("a", 2, 0, 3, 2.0)));
    world.job.commit_with(vec![file], &[], &[]);
    drop(world.load_all(vec![events_table()], 1));
    let a = "a,red,123.45,2026-01-01 00:00:00.000001,2\n";
    assert_eq!(world.ask(rows), format!("{a}b,,,,2\n"));
    // And the configuration may have them again.
    let table = TableSpec {
        columns: columns(&new),
        ..events_table()
    };
    drop(world.load_all(vec![table], u64::MAX));
    assert_eq!(world.ask(rows), format!("{a}b,,,,2\n"));
}

fn columns_are_found_by_name_wherever_they_are(place: &Place) {
    let mut world = place.world();
    world.job.commit("events", &[Event("a", 1, 0, 0, 1.0)]);
    let other = events_batch(&[Event("a", 2, 0, 1, 2.0), Event("b", 2, 0, 2, 2.0)]);
    let turned = other.project(&[4, 2, 3, 1, 0]).unwrap();
    let file = world.job.file("events", &turned);
    world.job.commit_with(vec![file], &[], &[]);
    world.load_all(vec![events_table()], u64::MAX);
    assert_eq!(
        world.ask("SELECT id, value, source_offset FROM t ORDER BY id"),
        "a,2,1\nb,2,2\n"
    );
}

fn a_changed_type_is_refused_with_what_helps(place: &Place) {
    let world = place.world();
    drop(world.open(vec![events_table()]));
    for (column, ty) in [
        (4, DataType::Utf8),
        (4, DataType::Int64),
        (0, DataType::Int64),
    ] {
        let mut table = events_table();
        table.columns[column].1 = ty;
        let error = world.try_open(vec![table]).unwrap_err();
        let name = ["`id`", "", "", "", "`value`"][column];
        for part in ["`t`", name, "ALTER TABLE"] {
            assert!(error.contains(part), "{error}");
        }
    }
    drop(world.open(vec![events_table()]));
}

/// Nothing converts it: the statement is another one, and it can be run.
fn a_text_that_becomes_nested_is_refused_with_what_can_be_run(place: &Place) {
    if !matches!(place, Place::DuckDb) {
        return;
    }
    let world = place.world();
    drop(world.open(vec![events_table()]));
    let mut table = events_table();
    let member = Field::new("x", DataType::Int64, true);
    table.columns[4].1 = DataType::Struct(vec![member].into());
    let error = world.try_open(vec![table.clone()]).unwrap_err();
    let statement = error.split(" with: ").nth(1).unwrap();
    let statement = statement.split(" (database ").next().unwrap();
    assert!(statement.contains("RENAME COLUMN"), "{error}");
    let database = duckdb::Connection::open(world.job.database()).unwrap();
    database.execute_batch(statement).unwrap();
    drop(database);
    drop(world.open(vec![table]));
}

fn exact_types_round_trip(place: &Place) {
    let at = TimestampMicrosecondArray::from(vec![NEW_YEAR + 1, NEW_YEAR - 1]).with_timezone("UTC");
    let price = Decimal128Array::from(vec![Some(123_450), None]);
    // With fewer digits the parquet crate stores it as a number, which a Redshift may not take.
    let price = price.with_precision_and_scale(19, 2).unwrap();
    let batch = RecordBatch::try_from_iter_with_nullable([
        (
            "id",
            Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX])) as ArrayRef,
            true,
        ),
        (
            "small",
            Arc::new(Int16Array::from(vec![Some(-7), None])),
            true,
        ),
        ("price", Arc::new(price), true),
        (
            "flag",
            Arc::new(BooleanArray::from(vec![Some(true), None])),
            true,
        ),
        (
            "day",
            Arc::new(Date32Array::from(vec![Some(20_454), None])),
            true,
        ),
        ("at", Arc::new(at), true),
        (
            "ratio",
            Arc::new(Float32Array::from(vec![Some(0.5), None])),
            true,
        ),
        (
            "word",
            Arc::new(StringArray::from(vec!["it's \\ ö", ""])),
            true,
        ),
    ])
    .unwrap();
    let mut world = place.world();
    let file = world.job.file("events", &batch);
    world.job.commit_with(vec![file], &[], &[]);
    let table = TableSpec {
        name: "t".into(),
        datasets: vec!["events".into()],
        columns: columns(&batch),
        required: vec!["id".into(), "at".into()],
        time: None,
        kind: TableKind::Upsert {
            key: vec!["id".into()],
            order: vec!["at".into()],
            reach: None,
        },
    };
    world.load_all(vec![table], u64::MAX);
    assert_eq!(
        world.ask(
            "SELECT id, small, CAST(price AS VARCHAR), CASE WHEN flag THEN 1 END, CAST(day AS VARCHAR), \
             CAST(\"at\" AS VARCHAR), ratio, word FROM t ORDER BY id"
        ),
        "-9223372036854775808,-7,1234.50,1,2026-01-01,2026-01-01 00:00:00.000001,0.5,it's \\ ö\n\
         9223372036854775807,,,,,2025-12-31 23:59:59.999999,,\"\"\n"
    );
}

/// Names that are SQL's own words, or need quotes.
fn any_name_can_be_a_column_or_table(place: &Place) {
    let batch = RecordBatch::try_from_iter([
        ("select", Arc::new(Int64Array::from(vec![1, 1])) as ArrayRef),
        ("or\"der; --", Arc::new(Int64Array::from(vec![1, 2]))),
        ("größe", Arc::new(Int64Array::from(vec![1, 2]))),
    ])
    .unwrap();
    let mut world = place.world();
    let file = world.job.file("events", &batch);
    world.job.commit_with(vec![file], &[], &[]);
    let table = TableSpec {
        name: "my 'table' \"x\"".into(),
        datasets: vec!["events".into()],
        columns: columns(&batch),
        required: vec![],
        time: None,
        kind: TableKind::Upsert {
            key: vec!["select".into()],
            order: vec!["or\"der; --".into()],
            reach: None,
        },
    };
    world.load_all(vec![table], u64::MAX);
    assert_eq!(
        world.ask("SELECT * FROM \"my 'table' \"\"x\"\"\""),
        "1,2,2\n"
    );
}
