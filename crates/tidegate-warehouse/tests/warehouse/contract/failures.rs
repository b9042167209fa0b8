//! Files that are not what the log says, or that a table cannot take: nothing is changed.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use tidegate_log::FileEntry;
use tidegate_warehouse::{LoadError, LoadFault, TableSpec};

use super::{Place, World};
use crate::job::{Event, append_table, events_batch, events_table};

super::on_each_warehouse! {
    a_file_with_other_rows_than_the_log_says_is_refused,
    a_file_of_another_type_takes_the_whole_load_with_it,
    a_missing_file_is_named,
    a_cut_file_is_named,
    a_long_file_that_was_cut_is_named,
    a_file_that_has_grown_is_named,
    a_file_that_is_something_else_is_refused,
}

/// A first commit that is loaded, and one after it whose file for the table `rejected` is `bad`.
fn with_a_bad_file(world: &mut World<'_>, bad: FileEntry) {
    world.job.commit("events", &[Event("a", 1, 0, 0, 1.0)]);
    let events = [Event("a", 2, 0, 1, 2.0), Event("b", 2, 0, 2, 2.0)];
    let good = world.job.file("events", &events_batch(&events));
    world.job.commit_with(vec![good, bad], &[0], &[(0, 5)]);
}

/// Fails to load the second commit, twice, and expects that nothing of it is there.
fn check_unchanged(world: &World<'_>, tables: Vec<TableSpec>) -> Box<LoadError> {
    let mut warehouse = world.open(tables);
    world.load(warehouse.as_mut(), 0..2).unwrap();
    world.load(warehouse.as_mut(), 2..3).unwrap_err();
    let error = world.load(warehouse.as_mut(), 2..3).unwrap_err();
    assert!(!error.is_transient(), "{error}");
    assert_eq!(warehouse.loaded_seq(), 2);
    assert_eq!(world.ask("SELECT id, value FROM t"), "a,1\n");
    assert_eq!(world.ask("SELECT COUNT(*) FROM rejected"), "0\n");
    let watermarks = "SELECT COUNT(watermark) FROM tidegate_watermarks";
    assert_eq!(world.ask(watermarks), "0\n");
    let ledger = "SELECT MAX(last_seq) FROM tidegate_ledger";
    assert_eq!(world.ask(ledger), "2\n");
    error
}

fn a_file_with_other_rows_than_the_log_says_is_refused(place: &Place) {
    let mut world = place.world();
    let batch = events_batch(&[Event("c", 2, 0, 3, 3.0)]);
    let bad = world.job.file("rejected", &batch);
    let bad_path = bad.path.clone();
    with_a_bad_file(&mut world, FileEntry { rows: 7, ..bad });
    let tables = vec![events_table(), append_table("rejected", "rejected")];
    let error = check_unchanged(&world, tables);
    assert!(
        matches!(&error.fault, LoadFault::File { path, seq: 3, .. } if *path == bad_path),
        "{error}"
    );
    assert!(
        error.to_string().contains("has 1 rows instead of 7"),
        "{error}"
    );
}

fn a_file_of_another_type_takes_the_whole_load_with_it(place: &Place) {
    let mut world = place.world();
    let batch = events_batch(&[Event("c", 2, 0, 3, 3.0)]);
    let mut columns = batch.columns().to_vec();
    columns[4] = Arc::new(StringArray::from(vec!["no number"])) as ArrayRef;
    let schema = batch.schema();
    let names = schema.fields().iter().map(|field| field.name().clone());
    let batch = RecordBatch::try_from_iter(names.zip(columns)).unwrap();
    let bad = world.job.file("rejected", &batch);
    with_a_bad_file(&mut world, bad);
    let tables = vec![events_table(), append_table("rejected", "rejected")];
    let error = check_unchanged(&world, tables);
    assert!(
        matches!(error.fault, LoadFault::Warehouse { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("`rejected`"), "{error}");
}

/// Three commits; `damage` makes something of the second one's file, which has `rows` rows.
fn check_damaged(place: &Place, rows: usize, expect: &str, damage: fn(Bytes) -> Option<Bytes>) {
    let mut world = place.world();
    world.job.commit("events", &[Event("a", 1, 0, 0, 1.0)]);
    let events: Vec<_> = (0..rows as i64)
        .map(|i| Event("b", i * 7919 % 10_007, 0, i, i as f64 * 1.1))
        .collect();
    let path = world.job.commit("events", &events).files[0].path.clone();
    world.job.commit("events", &[Event("c", 1, 0, 0, 1.0)]);
    let (storage, runtime) = (&world.job.storage, &world.job.runtime);
    let whole = runtime.block_on(storage.get(&path)).unwrap();
    let damaged = match damage(whole) {
        Some(bytes) => runtime.block_on(storage.replace(&path, bytes)),
        None => runtime.block_on(storage.delete(&path)),
    };
    damaged.unwrap();
    let mut warehouse = world.open(vec![events_table()]);
    let error = world.load(warehouse.as_mut(), 0..4).unwrap_err();
    assert!(
        matches!(&error.fault, LoadFault::File { path: named, seq: 3, .. } if *named == path),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("records 1 to 4") && text.contains(expect),
        "{text}"
    );
    assert!(!error.is_transient());
    assert_eq!(world.load(warehouse.as_mut(), 0..2).unwrap().rows, 1);
}

fn a_missing_file_is_named(place: &Place) {
    check_damaged(place, 2, "is missing", |_| None);
}

fn a_cut_file_is_named(place: &Place) {
    check_damaged(place, 2, "bytes instead of", |whole| {
        Some(whole.slice(..whole.len() / 2))
    });
}

/// Longer than what a warehouse that reads only the end of a file would read at once.
fn a_long_file_that_was_cut_is_named(place: &Place) {
    check_damaged(place, 20_000, "bytes instead of", |whole| {
        assert!(whole.len() > 100_000);
        Some(whole.slice(..1000))
    });
}

fn a_file_that_has_grown_is_named(place: &Place) {
    check_damaged(place, 2, "bytes instead of", |whole| {
        Some([whole.as_ref(), whole.as_ref()].concat().into())
    });
}

fn a_file_that_is_something_else_is_refused(place: &Place) {
    let mut world = place.world();
    world.job.commit("events", &[Event("a", 1, 0, 0, 1.0)]);
    let file = world.job.records()[1].files[0].clone();
    let noise = Bytes::from(vec![b'x'; file.bytes as usize]);
    let (storage, runtime) = (&world.job.storage, &world.job.runtime);
    runtime
        .block_on(storage.replace(&file.path, noise))
        .unwrap();
    let mut warehouse = world.open(vec![events_table()]);
    let error = world.load(warehouse.as_mut(), 0..2).unwrap_err();
    assert!(!error.is_transient(), "{error}");
    assert_eq!(warehouse.loaded_seq(), 0);
    assert_eq!(world.ask("SELECT COUNT(*) FROM t"), "0\n");
}
