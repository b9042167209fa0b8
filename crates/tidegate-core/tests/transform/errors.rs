//! Specs that are wrong.

use tidegate_core::plan::Plan;

use super::*;

/// The transactions example with an error of each kind.
fn wrong_everywhere() -> JobSpec {
    let mut spec = transactions();
    spec.fields.extend(fields(&[
        "Amount: int64",
        "source_offset: int64",
        "tags: list<map<string,int64>>",
    ]));
    spec.rules.extend(named(&[
        ("unknown", "no_such_column > 1"),
        ("number", "amount + 1"),
        ("syntax", "amount >"),
        ("function", "no_such_function(amount)"),
        ("aggregate", "sum(amount) > 1"),
        ("subquery", "amount > (SELECT 1)"),
        ("types", "amount > metadata"),
    ]));
    spec.enrich.extend(named(&[
        ("row_hash", "amount"),
        ("status", "'x'"),
        ("cast", "CAST('abc' AS INT)"),
    ]));
    spec.lookups = vec![LookupSpec {
        name: "l".to_owned(),
        on: "nowhere".to_owned(),
        key: "k".to_owned(),
        columns: vec![LookupColumn {
            from: "x".to_owned(),
            name: "merchant".to_owned(),
            ty: FieldType::String,
        }],
    }];
    spec.dedup_key = names(&["metadata", "nowhere", "tags"]);
    spec.windows.push(window(
        "w",
        5 * MINUTE,
        2 * MINUTE,
        &["nowhere", "metadata"],
        &["a = sum(status)", "a = count(*)", "n = count(now())"],
    ));
    spec.windows
        .push(window("v", 300 * DAY, SECOND, &["status", "status"], &[]));
    spec
}

#[test]
fn all_errors_come_at_once_with_their_paths() {
    let errors = errors(&wrong_everywhere());
    let paths: Vec<&str> = errors
        .iter()
        .map(|e| e.split_once(": ").expect("a message").0)
        .collect();
    assert_eq!(
        paths,
        [
            "schema.Amount",
            "schema.source_offset",
            "lookups.0.on",
            "lookups.0.columns.merchant",
            "rules.unknown",
            "rules.number",
            "rules.syntax",
            "rules.function",
            "rules.aggregate",
            "rules.subquery",
            "rules.types",
            "enrich.row_hash",
            "enrich.status",
            "enrich.cast",
            "deduplication.key.0",
            "deduplication.key.1",
            "deduplication.key.2",
            "windows.2.slide",
            "windows.2.group-by.0",
            "windows.2.group-by.1",
            "windows.2.aggregates.a",
            "windows.2.aggregates.a",
            "windows.2.aggregates.n",
            "windows.3.slide",
            "windows.3.group-by.1",
            "windows.3.aggregates",
        ],
        "{errors:#?}"
    );
    for error in &errors {
        assert!(
            !error.contains("now()\"") && !error.contains("DataFusion") && error.len() < 600,
            "{error}"
        );
    }
}

#[test]
fn a_key_that_names_a_member_says_how_to_make_it_a_column() {
    let mut spec = plain_job(&[
        "at: timestamp",
        "user: struct<country: string>",
        "tags: map<string,string>",
    ]);
    spec.dedup_key = names(&["user.country"]);
    let groups = ["user.country", "user.city", "tags.a", "contry"];
    spec.windows
        .push(window("w", MINUTE, MINUTE, &groups, &["n = count(*)"]));
    let brackets = "a member of a struct or map is named in brackets; did you mean";
    let column = "A key is a column: add one with it under [enrich], and name that";
    let mut errors = errors(&spec);
    let last = errors.pop().expect("errors");
    assert_eq!(
        errors,
        [
            format!("deduplication.key.0: `user.country`: {brackets} user['country']? {column}"),
            format!("windows.0.group-by.0: `user.country`: {brackets} user['country']? {column}"),
            format!(
                "windows.0.group-by.1: `user.city`: `user` has no member `city`; it has country. {column}"
            ),
            format!("windows.0.group-by.2: `tags.a`: {brackets} tags['a']? {column}"),
        ]
    );
    let unknown = "windows.0.group-by.3: there is no column `contry`; there are at, user, tags, ";
    assert!(last.starts_with(unknown), "{last}");
}

#[test]
fn errors_of_the_event_time() {
    let message = |change: &dyn Fn(&mut JobSpec)| {
        let mut spec = plain_job(&["at: timestamp", "s: string", "n: int64"]);
        change(&mut spec);
        errors(&spec)
    };
    assert_eq!(message(&|_| ()), Vec::<String>::new());
    let one = |errors: Vec<String>, path: &str| {
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with(path), "{errors:?}");
    };
    one(
        message(&|s| s.event_time.field = "x".to_owned()),
        "event-time.field",
    );
    one(
        message(&|s| s.event_time.field = "n".to_owned()),
        "event-time.field",
    );
    one(
        message(&|s| {
            s.event_time.field = "s".to_owned();
            s.event_time.column = "s".to_owned();
        }),
        "event-time.column",
    );
    one(
        message(&|s| s.event_time.column = "n".to_owned()),
        "event-time.column",
    );
    one(
        message(&|s| s.event_time.column = "Source_Offset".to_owned()),
        "event-time.column",
    );
    one(
        message(&|s| s.event_time.delay = Duration::ZERO),
        "event-time.delay",
    );
    let mut none = plain_job(&["at: timestamp"]);
    none.fields.clear();
    assert_eq!(errors(&none).len(), 2);
}

/// The loader computes no event: it takes names and types alone.
#[test]
fn an_expression_that_always_fails_has_a_type_for_those_who_do_not_compute_it() {
    let mut spec = transactions();
    let always = "date_trunc('fortnight', event_timestamp)";
    spec.enrich.extend(named(&[("never", always)]));
    let errors = Plan::compile(&spec).expect_err("it is tried");
    let message = &errors[0].message;
    assert!(message.contains("fails for every event"), "{message}");
    let plan = Plan::compile_untried(&spec).expect("it is not tried");
    let never = plan.event_schema().field_with_name("never");
    assert!(never.is_ok_and(|field| field.data_type().is_temporal()));
    // What is no expression at all is none to anybody.
    spec.enrich.extend(named(&[("wrong", "amount >")]));
    assert!(Plan::compile_untried(&spec).is_err());
}
