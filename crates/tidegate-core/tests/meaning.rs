//! What a changed configuration means for the rows that are there.

mod common;

use std::time::Duration;

use tidegate_core::meaning::{Change, Gap, MEANING_VERSION, Meaning, Reached};
use tidegate_core::spec::JobSpec;

use common::{MINUTE, aggregates, fields, named, names, plain_job, plan, transactions, window};

fn meaning(spec: &JobSpec, upsert_key: Option<&[&str]>) -> Meaning {
    let key = upsert_key.map(names);
    Meaning::new(&plan(spec), spec, key.as_deref())
}

/// What changes from the transactions job, with an upsert key, to one that differs from it.
fn change(change: impl FnOnce(&mut JobSpec)) -> Change {
    let mut spec = transactions();
    let before = meaning(&spec, Some(&["transaction_id"]));
    change(&mut spec);
    before.change_to(&meaning(&spec, Some(&["transaction_id"])))
}

#[track_caller]
fn refused(change: &Change, why: &str, way_out: &str) {
    let Change::Refused(refusals) = change else {
        panic!("{change:?}")
    };
    let found = refusals
        .iter()
        .any(|refusal| refusal.why.contains(why) && refusal.way_out.contains(way_out));
    assert!(found, "{refusals:#?}");
}

#[track_caller]
fn restarts(change: &Change, what: &str) {
    let Change::Restarts(all) = change else {
        panic!("{change:?}")
    };
    assert!(all.iter().any(|one| one.contains(what)), "{all:#?}");
}

#[track_caller]
fn added(change: &Change, what: &str) {
    let Change::Added(all) = change else {
        panic!("{change:?}")
    };
    assert!(all.iter().any(|one| one.contains(what)), "{all:#?}");
}

#[test]
fn what_state_does_not_depend_on_changes_nothing() {
    assert_eq!(change(|_| ()), Change::Same);
    assert_eq!(
        change(|spec| {
            spec.rules.clear();
            spec.enrich.push(named(&[("band", "'x'")]).remove(0));
            spec.fields.push(fields(&["more: string"]).remove(0));
            spec.event_time.idle_after = Duration::from_secs(1);
            spec.dedup_key.reverse();
            spec.windows.reverse();
        }),
        Change::Same
    );
}

#[test]
fn another_upsert_key_is_refused() {
    let spec = transactions();
    let key = |columns: Option<&[&str]>| meaning(&spec, columns);
    let before = key(Some(&["transaction_id", "status"]));
    assert_eq!(
        before.change_to(&key(Some(&["status", "transaction_id"]))),
        Change::Same
    );
    let other = before.change_to(&key(Some(&["customer_id"])));
    refused(&other, "`status`, `transaction_id`", "another job");
    refused(&other, "`customer_id`", "Put the old key back");
    refused(&before.change_to(&key(Some(&[]))), "none", "another job");
    refused(&key(Some(&[])).change_to(&before), "none", "another job");
    // Without a warehouse there is no table whose rows would be of another key.
    assert_eq!(key(None).change_to(&before), Change::Same);
    assert_eq!(before.change_to(&key(None)), Change::Same);
    // It is still known when the warehouse comes back.
    let mut meanwhile = key(None);
    meanwhile.follow(&before, Reached::default());
    refused(
        &meanwhile.change_to(&key(Some(&["customer_id"]))),
        "upsert.key",
        "another job",
    );
}

#[test]
fn another_deduplication_key_is_refused_and_a_first_one_begins() {
    let other = change(|spec| spec.dedup_key = names(&["customer_id"]));
    refused(
        &other,
        "event_timestamp, row_hash, transaction_id",
        "without [deduplication]",
    );
    let one_more = change(|spec| spec.dedup_key.push("status".to_owned()));
    refused(&one_more, "status", "Put the old key back");
    restarts(&change(|spec| spec.dedup_key.clear()), "repeats are kept");
    let mut without = transactions();
    without.dedup_key.clear();
    let begins = meaning(&without, None).change_to(&meaning(&transactions(), None));
    added(
        &begins,
        "deduplication by event_timestamp, row_hash, transaction_id begins",
    );
}

#[test]
fn a_retyped_column_of_the_deduplication_key_is_refused() {
    let mut spec = transactions();
    spec.fields.push(fields(&["n: int32"]).remove(0));
    spec.dedup_key = names(&["n"]);
    let before = meaning(&spec, None);
    let last = spec.fields.len() - 1;
    spec.fields[last].ty = "int64".parse().expect("a type");
    let wider = before.change_to(&meaning(&spec, None));
    refused(&wider, "was int32 and is int64 now", "[enrich]");
}

#[test]
fn a_column_of_a_key_that_is_computed_in_another_way_is_refused() {
    let base = || {
        let mut spec = plain_job(&["id: string", "shop: string", "at: timestamp"]);
        spec.enrich = named(&[("k", "concat( id,  '-')"), ("k2", "upper(k)")]);
        spec
    };
    let of = |spec: &JobSpec| meaning(spec, Some(&["k2"]));
    let before = of(&base());
    let mut same = base();
    same.enrich[0].sql = "concat( id, '-')".to_owned();
    same.enrich.push(named(&[("other", "shop")]).remove(0));
    assert_eq!(before.change_to(&of(&same)), Change::Same);

    let mut other = base();
    other.enrich[0].sql = "concat(id, shop)".to_owned();
    let change = before.change_to(&of(&other));
    refused(
        &change,
        "`k2` is in upsert.key",
        "Put the old expression back",
    );
    refused(&change, "concat(id, shop)", "another job");

    let mut field = base();
    field.enrich.truncate(1);
    field.fields.push(fields(&["k2: string"]).remove(0));
    refused(
        &before.change_to(&of(&field)),
        "a field of the event",
        "another job",
    );

    // Also where it is known only that the warehouse had this key before.
    let mut meanwhile = meaning(&base(), None);
    meanwhile.follow(&before, Reached::default());
    refused(
        &meanwhile.change_to(&of(&other)),
        "upsert.key",
        "another job",
    );

    let repeats = |sql: &str| {
        let mut spec = base();
        spec.dedup_key = names(&["k2"]);
        spec.enrich[0].sql = sql.to_owned();
        meaning(&spec, None)
    };
    refused(
        &repeats("id").change_to(&repeats("shop")),
        "deduplication.key",
        "under [enrich]",
    );

    // A log of a program that did not keep it.
    let mut old = before.clone();
    old.computed = None;
    assert_eq!(old.change_to(&of(&other)), Change::Same);
}

#[test]
fn another_column_for_the_event_time_is_refused() {
    let mut spec = plain_job(&["ts: string"]);
    spec.event_time.field = "ts".to_owned();
    spec.event_time.column = "happened".to_owned();
    let before = meaning(&spec, None);
    spec.event_time.column = "happened_at".to_owned();
    refused(
        &before.change_to(&meaning(&spec, None)),
        "was `happened` and is `happened_at`",
        "Set event-time.column to `happened`",
    );
    let other_field = change(|spec| {
        spec.fields.push(fields(&["at: string"]).remove(0));
        spec.event_time.field = "at".to_owned();
    });
    restarts(&other_field, "read from `at` instead of `timestamp`");
    let delay = change(|spec| spec.event_time.delay = Duration::from_secs(90));
    restarts(&delay, "a delay of 90s instead of 10m");
}

#[test]
fn a_window_is_added_taken_out_and_cannot_become_another_one() {
    let by_currency = || {
        window(
            "by_currency",
            MINUTE,
            MINUTE,
            &["currency"],
            &["n = count(*)"],
        )
    };
    added(
        &change(|spec| spec.windows.push(by_currency())),
        "`by_currency` is new",
    );
    restarts(
        &change(|spec| drop(spec.windows.remove(0))),
        "`transactions_1m` is no more",
    );

    let name = "Give the new window another name";
    let longer = change(|spec| spec.windows[0].size *= 2);
    refused(&longer, "was 1m every 1m and is 2m every 1m now", name);
    let sliding = change(|spec| spec.windows[1].slide = Duration::from_secs(30));
    refused(&sliding, "is 5m every 30s now", name);
    let grouped = change(|spec| spec.windows[0].group_by = names(&["currency", "status"]));
    restarts(
        &grouped,
        "grouped by `status` and is grouped by `currency`, `status`",
    );
    let function = change(|spec| {
        spec.windows[0].aggregates[1] = aggregates(&["total_amount = max(amount)"]).remove(0)
    });
    refused(&function, "has `total_amount` as max and not as sum", name);

    let more = aggregates(&["fees = sum(amount * 0.1)"]).remove(0);
    added(
        &change(|spec| spec.windows[0].aggregates.push(more)),
        "`fees`, which is null",
    );
    restarts(
        &change(|spec| drop(spec.windows[0].aggregates.pop())),
        "no `min_amount` any more",
    );
    let input = change(|spec| spec.windows[0].aggregates[1].input = Some("amount * 2".to_owned()));
    restarts(&input, "computes `total_amount` from another expression");
    let blanks = change(|spec| spec.windows[0].aggregates[1].input = Some("  amount\n".to_owned()));
    assert_eq!(blanks, Change::Same);
}

#[test]
fn a_window_that_is_no_more_is_remembered() {
    let mut spec = transactions();
    let before = meaning(&spec, None);
    let taken = spec.windows.remove(0);
    let mut without = meaning(&spec, None);
    without.follow(&before, Reached::default());
    assert!(!without.has_window("transactions_1m") && without.has_window("transactions_5m"));
    assert_eq!(without.change_to(&meaning(&spec, None)), Change::Same);
    // Its table still has what it had.
    let mut other = taken.clone();
    other.size *= 2;
    spec.windows.push(other);
    refused(
        &without.change_to(&meaning(&spec, None)),
        "was 1m every 1m",
        "another name",
    );
    spec.windows.pop();
    spec.windows.push(taken);
    added(&without.change_to(&meaning(&spec, None)), "is there again");
}

#[test]
fn the_columns_of_a_window_can_be_told_from_the_log_alone() {
    let types = [
        "at: timestamp",
        "s: string",
        "b: bool",
        "i: int32",
        "l: int64",
        "f: float64",
        "d: date",
        "t: timestamp",
        "n: decimal(20,4)",
        "many: list<int32>",
        "nested: struct<a: string, b: list<decimal(5,2)>>",
    ];
    let mut spec = plain_job(&types);
    spec.enrich = named(&[
        ("tiny", "CAST(i AS TINYINT)"),
        ("short", "CAST(i AS SMALLINT)"),
        ("real", "CAST(f AS REAL)"),
        ("half", "i / 2"),
    ]);
    let groups = [
        "s", "b", "i", "l", "d", "t", "n", "many", "nested", "tiny", "short", "half",
    ];
    let computed = [
        "rows = count(*)",
        "some = count(i)",
        "whole = sum(i)",
        "exact = sum(n)",
        "float = sum(f)",
        "mean = avg(n)",
        "mean_real = avg(real)",
        "mean_l = avg(l)",
        "first = min(t)",
        "day = max(d)",
        "least = min(n)",
        "most = max(tiny)",
    ];
    spec.windows = vec![window("w", MINUTE, MINUTE, &groups, &computed)];
    let planned = plan(&spec);
    let kept = meaning(&spec, None).to_value();
    let read = Meaning::read(&kept).expect("it is read");
    let told = read.window("w").and_then(|window| window.plan());
    let told = told.expect("all types are told");
    let window = planned.windows().next().expect("a window");
    assert_eq!(told.part_schema(), window.part_schema());
    assert_eq!((told.size, told.slide), (window.size, window.slide));

    let mut old = read.clone();
    old.windows[0].aggregates[2].ty = None;
    assert!(old.windows[0].plan().is_none(), "the type of a sum");
    old = read;
    old.windows[0].group_by[0].ty = "interval(monthdaynano)".to_owned();
    assert!(old.windows[0].plan().is_none(), "a type that no field has");
}

#[test]
fn a_group_can_become_wider_and_nothing_else() {
    let mut spec = transactions();
    spec.fields
        .extend(fields(&["n: int32", "d: decimal(10,2)", "t: string"]));
    spec.windows[0].group_by = names(&["n", "d", "t"]);
    let before = meaning(&spec, None);
    let with = |n: &str, d: &str, t: &str| {
        let mut spec = spec.clone();
        let first = spec.fields.len() - 3;
        for (field, ty) in spec.fields[first..].iter_mut().zip([n, d, t]) {
            field.ty = ty.parse().expect("a type");
        }
        before.change_to(&meaning(&spec, None))
    };
    restarts(
        &with("int64", "decimal(12,2)", "string"),
        "`n` as int64 and not as int32",
    );
    for (n, d, t) in [
        ("string", "decimal(10,2)", "string"),
        ("int32", "decimal(12,3)", "string"),
        ("int32", "decimal(8,2)", "string"),
        ("int32", "decimal(10,2)", "int64"),
    ] {
        refused(&with(n, d, t), "any more", "another name");
    }
}

#[test]
fn the_log_gives_back_what_it_was_given() {
    let mut meaning = meaning(&transactions(), Some(&["transaction_id"]));
    meaning.windows[0].since = Some(1_795_410_000_000_000);
    assert_eq!(Meaning::read(&meaning.to_value()), Ok(meaning.clone()));
    let mut newer = meaning.to_value();
    newer["version"] = (MEANING_VERSION + 1).into();
    assert!(
        Meaning::read(&newer)
            .unwrap_err()
            .contains("use a newer Tidegate")
    );
    assert!(Meaning::read(&serde_json::json!({"upsert_key": ["a"]})).is_err());
}

/// The form is persisted: this file stays as it is, and readable.
#[test]
fn the_sample_of_version_1_stays_readable() {
    let sample = include_str!("samples/meaning-v1.json");
    let value = serde_json::from_str(sample).expect("JSON");
    let read = Meaning::read(&value).expect("the sample is read");
    let mut expected = meaning(&transactions(), Some(&["transaction_id"]));
    expected.windows[1].since = Some(1_795_410_000_000_000);
    assert_eq!(read.change_to(&expected), Change::Same);
    // It was written by a program that kept no types.
    let windows = expected.windows.iter_mut();
    for aggregate in windows.flat_map(|window| &mut window.aggregates) {
        aggregate.ty = None;
    }
    assert_eq!(read, expected);
    assert_eq!(read.to_value(), value);
}

/// The form is persisted: this file stays as it is, and readable.
#[test]
fn the_sample_with_a_window_that_is_no_more_stays_readable() {
    let sample = include_str!("samples/meaning-v1-ended.json");
    let value = serde_json::from_str(sample).expect("JSON");
    let read = Meaning::read(&value).expect("the sample is read");
    let mut spec = transactions();
    let mut before = meaning(&spec, Some(&["transaction_id"]));
    before.windows[1].since = Some(1_795_410_000_000_000);
    before.windows[1].gaps = vec![Gap {
        after: Some(1_795_400_000_000_000),
        before: Some(1_795_410_000_000_000),
    }];
    spec.windows.truncate(1);
    let mut expected = meaning(&spec, Some(&["transaction_id"]));
    let reached = Reached {
        watermark: Some(1_795_420_000_000_000),
        record: 17,
    };
    expected.follow(&before, reached);
    expected.horizon = before.horizon;
    assert_eq!(read, expected);
    assert_eq!(read.to_value(), value);
}
