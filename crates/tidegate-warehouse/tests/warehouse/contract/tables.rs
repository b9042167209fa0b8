//! Tables that keep every row, and tables that cannot be.

use arrow::datatypes::DataType;
use tidegate_warehouse::TableSpec;

use super::Place;
use crate::job::{Event, append_table, events_table};

super::on_each_warehouse! {
    every_row_of_an_append_table_is_kept_once,
    tables_that_cannot_be_are_refused,
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
    let mut hidden = events_table();
    hidden.columns.push(("tidegate_row".into(), DataType::Utf8));
    assert!(refused(vec![hidden]).contains("tidegate_row"));
    let mut without = events_table();
    without.columns.remove(1);
    assert!(refused(vec![without]).contains("event_timestamp"));
}
