//! What a Redshift alone does.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use tidegate_log::FileEntry;
use tidegate_warehouse::{LoadFault, LoaderError, LoaderOptions, TableKind, TableSpec};

use crate::contract::{Place, World};
use crate::job::{Event, Job, append_table, columns as columns_of, events_batch, events_table};

/// An event with a column that the table does not know.
fn with_an_extra_column(at: i64) -> RecordBatch {
    let batch = events_batch(&[Event("a", at, 0, at, 1.0)]);
    let schema = batch.schema();
    let names = schema.fields().iter().map(|field| field.name().clone());
    let extra = Arc::new(Int64Array::from(vec![7])) as ArrayRef;
    let columns = names.zip(batch.columns().iter().cloned());
    let columns = columns.chain([("extra".to_owned(), extra)]);
    RecordBatch::try_from_iter(columns).unwrap()
}

/// `COPY` maps columns by position: a column that the table lacks cannot be left out. What was
/// committed before the loader started is of no newer configuration.
#[test]
fn a_column_that_the_table_lacks_is_added_unless_a_newer_configuration_may_have_it() {
    let Some(place) = Place::redshift() else {
        return;
    };
    let mut world = place.world();
    let file = world.job.file("events", &with_an_extra_column(1));
    world.job.commit_with(vec![file], &[], &[]);
    let mut warehouse = world.open(vec![append_table("t", "events")]);
    assert_eq!(world.load(warehouse.as_mut(), 0..2).unwrap().rows, 1);
    assert_eq!(world.ask("SELECT extra FROM t"), "7\n");
    world.execute("ALTER TABLE t DROP COLUMN extra");
    drop(warehouse);
    let mut warehouse = world.open(vec![append_table("t", "events")]);
    let later = world.job.clock.now_micros() + 1;
    world.job.clock.step(later);
    let file = world.job.file("events", &with_an_extra_column(2));
    let path = file.path.clone();
    world.job.commit_with(vec![file], &[], &[]);
    let error = world.load(warehouse.as_mut(), 2..3).unwrap_err();
    assert!(
        matches!(&error.fault, LoadFault::File { path: named, .. } if *named == path),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("`extra`") && text.contains("start it again"),
        "{error}"
    );
    assert!(!error.is_transient());
    assert_eq!(warehouse.loaded_seq(), 2);
    drop(warehouse);
    let mut warehouse = world.open(vec![append_table("t", "events")]);
    assert_eq!(world.load(warehouse.as_mut(), 2..3).unwrap().rows, 1);
    assert_eq!(world.ask("SELECT extra FROM t ORDER BY 1"), "7\n\n");
}

/// With what it has kept from before. Nothing of it is added then.
#[test]
fn a_table_gets_no_more_columns_than_redshift_takes() {
    let Some(place) = Place::redshift() else {
        return;
    };
    let world = place.world();
    let with = |more: usize| {
        let mut table = append_table("t", "events");
        let columns = (0..more).map(|n| (format!("c{n}"), DataType::Int32));
        table.columns.extend(columns);
        table
    };
    let error = world.try_open(vec![with(1_596)]).unwrap_err();
    assert!(
        error.contains("1601 columns, and Redshift takes 1600"),
        "{error}"
    );
    drop(world.open(vec![with(0)]));
    let kept: Vec<_> = (0..1_580)
        .map(|n| format!("ADD COLUMN kept_{n} INTEGER"))
        .collect();
    world.execute(&format!("ALTER TABLE t {}", kept.join(", ")));
    let error = world.try_open(vec![with(16)]).unwrap_err();
    assert!(error.contains("would have 1601 columns"), "{error}");
    let columns = "SELECT COUNT(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0";
    assert_eq!(world.ask(columns), "1585\n");
    drop(world.open(vec![with(15)]));
    assert_eq!(world.ask(columns), "1600\n");
}

/// A thousand columns whose names fill a statement of an insert, and not that of the table.
#[test]
fn a_commit_that_is_too_large_by_itself_says_what_helps() {
    let Some(place) = Place::redshift() else {
        return;
    };
    let mut world = place.world();
    let columns = (0..1_000).map(|n| {
        let values = Arc::new(Int64Array::from(vec![n])) as ArrayRef;
        (format!("c{n:060}"), values)
    });
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    for _ in 0..2 {
        let file = world.job.file("events", &batch);
        world.job.commit_with(vec![file], &[], &[]);
    }
    let key = format!("c{:060}", 0);
    let table = TableSpec {
        columns: columns_of(&batch),
        kind: TableKind::Upsert {
            key: vec![key.clone()],
            order: vec![key],
            reach: None,
        },
        ..events_table()
    };
    let mut loader = world.loader(vec![table], LoaderOptions::default());
    // The first record has no files, so that it fits.
    let tick = loader.tick().unwrap();
    assert_eq!((tick.load.unwrap().last_seq, tick.more), (1, true));
    let error = loader.tick().unwrap_err();
    assert!(!error.is_transient(), "{error}");
    let text = error.to_string();
    for piece in [
        "cannot load records 2 to 2",
        "the Data API takes 100000",
        "One commit cannot be divided: fewer windows",
    ] {
        assert!(text.contains(piece), "{piece} is not in: {text}");
    }
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
                    // Whoever is second goes on after the other, often with nothing left to do.
                    match loader.tick() {
                        Ok(_) => {}
                        // It was second as often as it tries: a job comes back to it later.
                        Err(LoaderError::Load(error))
                            if matches!(error.fault, LoadFault::NotNext { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
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

/// A job with a table whose key has 8 bytes, as an older version made it, and a key of 300 bytes in
/// its second file. `file` writes the files.
fn with_a_long_key<'p>(
    place: &'p Place,
    file: impl Fn(&mut Job, &str, &RecordBatch) -> FileEntry,
) -> World<'p> {
    let mut world = place.world();
    let long = "k".repeat(300).leak();
    for event in [Event("a", 1, 0, 0, 1.0), Event(long, 2, 0, 1, 2.0)] {
        let entry = file(&mut world.job, "events", &events_batch(&[event]));
        world.job.commit_with(vec![entry], &[], &[]);
    }
    drop(world.open(vec![events_table()]));
    world.execute("ALTER TABLE t ALTER COLUMN id TYPE redshift_emulator.varchar(8)");
    world
}

const LENGTHS: &str = "SELECT octet_length(id) FROM t ORDER BY 1";

#[test]
fn a_first_long_text_is_loaded_at_once_where_the_file_says_how_long_it_is() {
    let Some(place) = Place::redshift() else {
        return;
    };
    let world = with_a_long_key(&place, Job::file_with_lengths);
    let mut warehouse = world.open(vec![events_table()]);
    assert_eq!(world.load(warehouse.as_mut(), 0..3).unwrap().rows, 2);
    assert_eq!(world.ask(LENGTHS), "1\n300\n");
}

#[test]
fn a_first_long_text_fails_one_try_where_the_file_does_not_say_how_long_it_is() {
    let Some(place) = Place::redshift() else {
        return;
    };
    let world = with_a_long_key(&place, Job::file);
    let mut warehouse = world.open(vec![events_table()]);
    let error = world.load(warehouse.as_mut(), 0..3).unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(world.load(warehouse.as_mut(), 0..3).unwrap().rows, 2);
    assert_eq!(world.ask(LENGTHS), "1\n300\n");
}

#[test]
fn a_long_text_that_cannot_be_stored_is_left_out_at_once() {
    let Some(place) = Place::redshift() else {
        return;
    };
    let world = with_a_long_key(&place, Job::file_with_lengths);
    world.execute("CREATE VIEW report AS SELECT id FROM t");
    let mut warehouse = world.open(vec![events_table()]);
    world.load(warehouse.as_mut(), 0..3).unwrap();
    assert_eq!(world.ask(LENGTHS), "1\n");
}

/// It is neither made narrower again, nor taken for one that cannot be widened.
#[test]
fn a_column_that_another_loader_has_widened_is_used_as_it_is() {
    let Some(place) = Place::redshift() else {
        return;
    };
    let world = with_a_long_key(&place, Job::file_with_lengths);
    let mut warehouse = world.open(vec![events_table()]);
    world.execute("ALTER TABLE t ALTER COLUMN id TYPE redshift_emulator.varchar(1000)");
    assert_eq!(world.load(warehouse.as_mut(), 0..3).unwrap().rows, 2);
    assert_eq!(world.ask(LENGTHS), "1\n300\n");
    let width = "SELECT character_maximum_length FROM redshift_emulator.svv_columns \
                 WHERE table_schema = current_schema AND table_name = 't' AND column_name = 'id'";
    assert_eq!(world.ask(width), "1000\n");
}
