//! What a Redshift alone does.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::record_batch::RecordBatch;
use tidegate_warehouse::{LoadFault, LoaderOptions};

use crate::contract::Place;
use crate::job::{Event, append_table, events_batch, events_table};

/// `COPY` maps columns by position: a column that the table lacks cannot be left out, as DuckDB does.
#[test]
fn a_file_with_a_column_that_the_table_lacks_is_refused() {
    let Some(place) = Place::redshift() else {
        return;
    };
    let mut world = place.world();
    let batch = events_batch(&[Event("a", 1, 0, 0, 1.0)]);
    let schema = batch.schema();
    let names = schema.fields().iter().map(|field| field.name().clone());
    let extra = Arc::new(Int64Array::from(vec![7])) as ArrayRef;
    let columns = names.zip(batch.columns().iter().cloned());
    let columns = columns.chain([("extra".to_owned(), extra)]);
    let file = world
        .job
        .file("events", &RecordBatch::try_from_iter(columns).unwrap());
    let path = file.path.clone();
    world.job.commit_with(vec![file], &[], &[]);
    let mut warehouse = world.open(vec![events_table()]);
    let error = world.load(warehouse.as_mut(), 0..2).unwrap_err();
    assert!(
        matches!(&error.fault, LoadFault::File { path: named, .. } if *named == path),
        "{error}"
    );
    assert!(error.to_string().contains("`extra`"), "{error}");
    assert!(!error.is_transient());
    assert_eq!(warehouse.loaded_seq(), 0);
}

/// A DuckDB is opened once; two loaders can have one Redshift.
#[test]
fn the_second_of_two_warehouses_of_a_job_goes_on_behind_the_first() {
    let Some(place) = Place::redshift() else {
        return;
    };
    let mut world = place.world();
    for i in 0..4 {
        world.job.commit("events", &[Event("a", i, 0, i, i as f64)]);
    }
    let tables = || vec![append_table("t", "events")];
    let (mut first, mut second) = (world.open(tables()), world.open(tables()));
    world.load(first.as_mut(), 0..3).unwrap();
    // The same records, and others that begin at the same one.
    let error = world.load(second.as_mut(), 0..5).unwrap_err();
    assert!(
        matches!(error.fault, LoadFault::NotNext { ledger: 3 }),
        "{error}"
    );
    assert!(error.is_transient());
    assert_eq!(second.loaded_seq(), 3);
    assert_eq!(world.load(second.as_mut(), 3..4).unwrap().rows, 1);
    let error = world.load(first.as_mut(), 3..5).unwrap_err();
    assert!(
        matches!(error.fault, LoadFault::NotNext { ledger: 4 }),
        "{error}"
    );
    assert_eq!(world.load(first.as_mut(), 4..5).unwrap().rows, 1);
    assert_eq!(world.ask("SELECT COUNT(*) FROM t"), "4\n");
    let ledger = "SELECT first_seq, last_seq FROM tidegate_ledger ORDER BY 1";
    assert_eq!(world.ask(ledger), "1,3\n4,4\n5,5\n");
}

#[test]
fn two_loaders_of_a_job_load_each_record_once() {
    let Some(place) = Place::redshift() else {
        return;
    };
    let mut world = place.world();
    for i in 0..12 {
        world.job.commit("events", &[Event("a", i, 0, i, i as f64)]);
    }
    let options = LoaderOptions {
        rows_max: 1,
        ..LoaderOptions::default()
    };
    let loader = || world.loader(vec![append_table("t", "events")], options.clone());
    let loaders = [loader(), loader()];
    let last_seq = world.job.last_seq();
    std::thread::scope(|scope| {
        for mut loader in loaders {
            scope.spawn(move || {
                while loader.loaded_seq() < last_seq {
                    // Whoever is second goes on behind the other, often with nothing left to do.
                    loader.tick().unwrap();
                }
            });
        }
    });
    let rows = world.ask("SELECT COUNT(*), COUNT(DISTINCT value) FROM t");
    assert_eq!(rows, "12,12\n");
    let ledger =
        "SELECT MIN(first_seq), MAX(last_seq), SUM(last_seq - first_seq + 1) FROM tidegate_ledger";
    assert_eq!(world.ask(ledger), "1,13,13\n");
}
