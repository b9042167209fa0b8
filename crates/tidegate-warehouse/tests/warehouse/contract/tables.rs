//! Tables that keep every row, and tables that cannot be.

use arrow::datatypes::DataType;
use tidegate_warehouse::TableSpec;

use super::{Place, World};
use crate::job::{Event, append_table, events_table};

super::on_each_warehouse! {
    every_row_of_an_append_table_is_kept_once,
    tables_that_cannot_be_are_refused,
    a_table_that_was_loaded_into_and_is_gone_is_refused,
}

fn every_row_of_an_append_table_is_kept_once(place: &Place) {
    let mut world = place.world();
    let same = [Event("same", 1, 0, 0, 1.0), Event("same", 1, 0, 0, 1.0)];
    for _ in 0..3 {
        world.job.commit("rejected", &same);
    }
    let tables = || vec![events_table(), append_table("rejected", "rejected")];
    for _ in 0..2 {
        world.load_all(tables(), 1);
        assert_eq!(world.ask("SELECT COUNT(*) FROM rejected"), "6\n");
    }
}

fn tables_that_cannot_be_are_refused(place: &Place) {
    let world = place.world();
    let refused = |tables: Vec<TableSpec>| world.try_open(tables).unwrap_err();
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
    let mut nameless = events_table();
    nameless.columns.push((String::new(), DataType::Utf8));
    assert!(refused(vec![nameless]).contains("name"));
    let mut cut = events_table();
    cut.columns.push(("a\0b".into(), DataType::Utf8));
    assert!(refused(vec![cut]).contains("a\\0b"));
    let mut without = events_table();
    without.columns.remove(1);
    assert!(refused(vec![without]).contains("event_timestamp"));
}

fn a_table_that_was_loaded_into_and_is_gone_is_refused(place: &Place) {
    let mut world = place.world();
    world.job.commit("events", &[Event("a", 1, 0, 0, 1.0)]);
    world.load_all(vec![events_table()], u64::MAX);
    let refused = |world: &World, name: &str| {
        let table = TableSpec {
            name: name.to_owned(),
            ..events_table()
        };
        let error = world.try_open(vec![table]).unwrap_err();
        for part in [name, "is not there", "records up to 2", "RENAME TO"] {
            assert!(error.contains(part), "no {part} in: {error}");
        }
    };
    refused(&world, "renamed");
    // One that the configuration adds is made.
    let more = vec![events_table(), append_table("rejected", "rejected")];
    drop(world.try_open(more).unwrap());
    world.execute("DROP TABLE t");
    refused(&world, "t");
}
