//! Null is a value like any other in a key, and less than any other in an order.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use tidegate_warehouse::{TableKind, TableSpec};

use super::Place;
use crate::job::columns;

super::on_each_warehouse! {
    a_key_can_be_null,
    null_is_less_than_any_order,
    blanks_and_case_make_another_key,
}

/// Two columns of the key, two of the order, and a value.
pub(super) type Row<'a> = (Option<&'a str>, Option<i64>, Option<i64>, Option<i64>, i64);

pub(super) fn batch(rows: &[Row<'_>]) -> RecordBatch {
    let text = StringArray::from_iter(rows.iter().map(|row| row.0));
    let ints = |of: fn(&Row<'_>) -> Option<i64>| {
        Arc::new(rows.iter().map(of).collect::<Int64Array>()) as ArrayRef
    };
    RecordBatch::try_from_iter_with_nullable([
        ("word", Arc::new(text) as ArrayRef, true),
        ("part", ints(|row| row.1), true),
        ("first", ints(|row| row.2), true),
        ("second", ints(|row| row.3), true),
        ("value", ints(|row| Some(row.4)), true),
    ])
    .unwrap()
}

pub(super) fn table() -> TableSpec {
    TableSpec {
        name: "t".into(),
        datasets: vec!["events".into()],
        columns: columns(&batch(&[])),
        required: vec![],
        time: None,
        kind: TableKind::Upsert {
            key: vec!["word".into(), "part".into()],
            order: vec!["first".into(), "second".into()],
            reach: None,
        },
    }
}

/// Loads batches, each in its own load or all in one, and expects these rows: key and value.
fn check(place: &Place, batches: &[&[Row<'_>]], expect: &str) {
    place.in_loads_of_any_size(|mut world, rows_max| {
        for rows in batches {
            let file = world.job.file("events", &batch(rows));
            world.job.commit_with(vec![file], &[], &[]);
        }
        world.load_all(vec![table()], rows_max);
        let rows = world.ask("SELECT word, part, value FROM t ORDER BY value");
        assert_eq!(rows, expect, "loads of up to {rows_max} rows");
    });
}

fn a_key_can_be_null(place: &Place) {
    let row = |word, part, order, value| -> Row<'static> { (word, part, Some(order), None, value) };
    check(
        place,
        &[
            &[
                row(None, None, 1, 10),
                row(Some("a"), None, 1, 20),
                row(None, Some(1), 1, 30),
                row(Some(""), None, 1, 40),
            ],
            &[
                row(None, None, 3, 13),
                row(Some("a"), None, 3, 23),
                row(None, Some(1), 3, 33),
            ],
            &[
                row(None, None, 2, 12),
                row(Some("a"), None, 2, 22),
                row(None, Some(1), 2, 32),
            ],
        ],
        ",,13\na,,23\n,1,33\n\"\",,40\n",
    );
}

fn null_is_less_than_any_order(place: &Place) {
    let a = |first, second, value| -> Row<'static> { (Some("a"), None, first, second, value) };
    let b = |first, second, value| -> Row<'static> { (Some("b"), None, first, second, value) };
    let c = |first, second, value| -> Row<'static> { (Some("c"), None, first, second, value) };
    check(
        place,
        &[
            &[
                a(None, Some(9), 10),
                b(Some(-5), None, 20),
                c(None, None, 30),
            ],
            &[
                a(Some(-5), None, 11),
                b(None, Some(9), 21),
                c(None, Some(-5), 31),
            ],
            &[
                a(None, None, 12),
                b(Some(-5), Some(-5), 22),
                c(None, None, 32),
            ],
        ],
        "a,,11\nb,,22\nc,,31\n",
    );
}

fn blanks_and_case_make_another_key(place: &Place) {
    let row = |word, value| -> Row<'static> { (Some(word), None, Some(value), None, value) };
    check(
        place,
        &[
            &[
                row("a", 1),
                row("A", 2),
                row("a ", 3),
                row(" a", 4),
                row("ä", 5),
            ],
            &[row("a", 6), row("a  ", 7)],
        ],
        "A,,2\na ,,3\n a,,4\nä,,5\na,,6\na  ,,7\n",
    );
}
