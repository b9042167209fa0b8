//! What a value is: arithmetic without room, equality, and expressions that can never have one.

#![allow(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod common;

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Decimal128Type, Int64Type};
use tidegate_core::lane::Lane;
use tidegate_core::plan::Plan;
use tidegate_core::prepare::Prepared;
use tidegate_core::spec::JobSpec;
use tidegate_core::window::{ClosedWindows, SumsWithoutRoom};

use common::{
    MINUTE, NOW, errors, named, names, plain_job, plan, prepare, preparer, reasons, window,
};

fn details(prepared: &Prepared) -> Vec<String> {
    let rejected = prepared.rejected.as_ref().expect("rejects");
    let details = rejected.column_by_name("detail").expect("detail");
    let details = details.as_string::<i32>().iter();
    details
        .map(|detail| detail.expect("never null").to_owned())
        .collect()
}

#[test]
fn an_enrichment_without_room_rejects_the_record_and_says_why() {
    let end = "9".repeat(38);
    for (ty, sql, inside, beyond) in [
        (
            "int64",
            "n * 2",
            "4611686018427387903",
            "4611686018427387904",
        ),
        (
            "int64",
            "n + 1",
            "9223372036854775806",
            "9223372036854775807",
        ),
        (
            "int64",
            "-n - 2",
            "9223372036854775806",
            "9223372036854775807",
        ),
        ("int32", "n * n", "46340", "46341"),
        ("int32", "-n", "-2147483647", "-2147483648"),
        ("decimal(38,0)", "n + n", &"4".repeat(38), &end),
        ("decimal(38,0)", "n * 10", &end[1..], &end),
        ("decimal(38,0)", "n - (-1)", &end[1..], &end),
    ] {
        let mut spec = plain_job(&["at!: timestamp_us", &format!("n: {ty}")]);
        spec.enrich = named(&[("out", sql)]);
        let prepared = prepare(
            &spec,
            &[
                format!(r#"{{"at":{NOW},"n":{inside}}}"#),
                format!(r#"{{"at":{NOW},"n":{beyond}}}"#),
                format!(r#"{{"at":{NOW}}}"#),
            ],
        );
        assert_eq!(prepared.accepted, [true, false, true], "{sql} of {ty}");
        assert_eq!(reasons(&prepared), ["enrich.out"], "{sql} of {ty}");
        let detail = &details(&prepared)[0];
        assert!(
            detail.starts_with("column `out` cannot be computed: "),
            "{detail}"
        );
    }
}

#[test]
fn a_rule_without_room_is_not_true() {
    let mut spec = plain_job(&["at!: timestamp_us", "cents: int64"]);
    spec.rules = named(&[("small", "cents * 1000 < 5e18")]);
    let records = [1_i64 << 62, i64::MAX, 5, i64::MIN]
        .map(|cents| format!(r#"{{"at":{NOW},"cents":{cents}}}"#));
    let prepared = prepare(&spec, &records);
    assert_eq!(prepared.accepted, [false, false, true, false]);
    assert_eq!(reasons(&prepared), ["rule.small"; 3]);
    assert!(
        details(&prepared)[0].contains("cannot be evaluated"),
        "{:?}",
        details(&prepared)
    );
}

fn with_rule(sql: &str) -> JobSpec {
    let mut spec = plain_job(&[
        "at!: timestamp_us",
        "n: int64",
        "m: int32",
        "f: float64",
        "d: decimal(9,2)",
        "s: string",
        "day: date",
        "ok: bool",
        "tags: map<string,string>",
        "user: struct<country: string, age: int32>",
        "mp: map<string,int64>",
        "li: list<int64>",
        "st: struct<c: struct<e: list<int64>>>",
    ]);
    spec.enrich = named(&[("out", sql)]);
    spec
}

#[test]
fn what_fails_for_every_event_is_refused() {
    for sql in [
        "n / 0",
        "n % 0",
        "d / 0",
        "m / (2 - 2)",
        "n / (n - n)",
        "date_trunc('fortnight', at)",
        "date_part('moon', at)",
        "extract('moon' FROM day)",
        "9223372036854775807 + 1",
        "n + 9223372036854775807 * 2",
        "to_timestamp('never')",
        "CASE WHEN ok THEN n / 0 ELSE n / 0 END",
        "user['age'] / 0 = 1",
        "mp['k'] / 0",
        "mp['k'] % 0",
        "get_field(mp, 'k') / 0",
        "li[1] / 0",
        "st['c']['e'][1] / 0",
        "length(s) / 0",
        "substr(s, 1, -1)",
        "substr(s, -5, -3)",
        "substr(tags['a'], 1, -1)",
        "substr(upper(CAST(n AS TEXT)), 1, -1)",
        "substring(s FROM 0 FOR -1)",
        "overlay(s PLACING 'x' FROM 0)",
        "split_part(s, ',', 0)",
        "regexp_count(s, 'a', 0)",
        "regexp_match(s, '(a')",
        "regexp_instr(s, 'a', 0)",
        "s ~ '(a'",
        "s SIMILAR TO '('",
        "to_date(s, '%Q')",
        "to_timestamp(s, '%Y-%Q')",
        "at AT TIME ZONE 'Europe/Nowhere'",
    ] {
        let errors = errors(&with_rule(sql));
        assert_eq!(errors.len(), 1, "{sql}: {errors:?}");
        assert!(errors[0].starts_with("enrich.out: "), "{sql}: {errors:?}");
    }
    let mut spec = plain_job(&["at!: timestamp_us", "n: int64"]);
    spec.rules = named(&[("never", "n / 0 = 1")]);
    spec.windows = vec![window("w", MINUTE, MINUTE, &[], &["a = sum(n / 0)"])];
    let errors = errors(&spec);
    let paths: Vec<_> = errors
        .iter()
        .map(|error| error.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        paths,
        ["rules.never", "windows.0.aggregates.a"],
        "{errors:?}"
    );
}

#[test]
fn a_part_that_can_never_be_computed_is_refused_and_named() {
    for (sql, part) in [
        ("CASE WHEN n = 1 THEN 1 / 0 END", "1 / 0"),
        ("CASE WHEN n = 1 THEN m ELSE n / 0 END", "n / 0"),
        ("CASE n WHEN 1 THEN m WHEN 2 THEN n % 0 END", "n % 0"),
        ("coalesce(n, 1 / 0)", "1 / 0"),
        ("nullif(n, n / (2 - 2))", "n / 0"),
        (
            "ok AND n > 9223372036854775807 + 1",
            "9223372036854775807 + 1",
        ),
        ("ok OR 10 / (n - n) > 1", "10 / (n - n)"),
        (
            "CASE WHEN ok THEN date_trunc('fortnight', at) END",
            "date_trunc('fortnight', at)",
        ),
        (
            "CASE WHEN s = 'x' THEN date_trunc('fortnight', to_timestamp(s)) END",
            "date_trunc('fortnight', to_timestamp(s))",
        ),
        (
            "CASE WHEN ok THEN date_trunc('fortnight', now()) END",
            "date_trunc('fortnight', now())",
        ),
        // Members of structs are tried, whatever is beside them.
        (
            "CASE WHEN ok THEN user['age'] / 0 END",
            "CAST(user['age'] AS BIGINT) / 0",
        ),
        ("CASE WHEN ok THEN d / 0 END", "d / 0"),
        // Wherever a value comes from, this fails for each.
        ("CASE WHEN mp['k'] > 0 THEN mp['k'] / 0 END", "mp['k'] / 0"),
        ("CASE WHEN ok THEN li[1] % 0 END", "li[1] % 0"),
        ("CASE WHEN ok THEN substr(s, 1, -1) END", "substr(s, 1, -1)"),
        ("coalesce(to_date(s, '%Q'), day)", "to_date(s, '%Q')"),
        // Texts cannot be guessed, but this part reads none.
        ("concat(s, CAST(n / 0 AS TEXT))", "n / 0"),
        ("s IN ('a', CAST(n / 0 AS TEXT))", "n / 0"),
    ] {
        let errors = errors(&with_rule(sql));
        assert_eq!(errors.len(), 1, "{sql}: {errors:?}");
        let named = format!("enrich.out: `{part}` fails for every event that gets to it: ");
        assert!(errors[0].starts_with(&named), "{sql}: {errors:?}");
    }
    let mut spec = with_rule("n");
    spec.rules = named(&[("r", "n IS NULL OR 5 / 0 > n")]);
    spec.windows = vec![window(
        "w",
        MINUTE,
        MINUTE,
        &[],
        &["a = sum(CASE WHEN ok THEN n / 0 END)"],
    )];
    let errors = errors(&spec);
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].starts_with("rules.r: `5 / 0` "), "{errors:?}");
    assert!(
        errors[1].starts_with("windows.0.aggregates.a: `n / 0` "),
        "{errors:?}"
    );
}

#[test]
fn what_a_condition_keeps_away_or_leaves_out_is_no_fault() {
    for sql in [
        "CASE WHEN m <> 0 THEN n / m END",
        "CASE WHEN m = 0 THEN 0 ELSE n / m END",
        "n / nullif(m, 0)",
        "m <> 0 AND n / m > 1",
        "CASE WHEN length(s) = 8 THEN CAST(s AS INT) END",
        "CASE WHEN s LIKE '20%' THEN CAST(substr(s, 1, 10) AS DATE) END",
        "CASE WHEN tags IS NOT NULL THEN CAST(tags['a'] AS INT) END",
        "CASE WHEN ok THEN CAST(user['country'] AS INT) END",
        "coalesce(TRY_CAST(s AS INT), m)",
        "make_date(n / 10000, n / 100 % 100, n % 100)",
        "CASE WHEN n > 1000000000000 THEN 1000000 / (n / 1000000000000) END",
        "CASE WHEN false THEN 1 / 0 ELSE n END",
        "false AND 1 / 0 = 1",
        "CASE WHEN mp['k'] <> 0 THEN n / mp['k'] END",
        "CASE WHEN mp['k'] > 1900 THEN chr(mp['k'] - 1000) END",
        "CASE WHEN strpos(s, '|#|') > 0 THEN substr(s, 1, strpos(s, '|#|') - 1) END",
        "CASE WHEN s LIKE '%|%' THEN split_part(s, '|', CAST(split_part(s, '|', 1) AS INT)) END",
        "CASE WHEN length(s) > 4 THEN overlay(s PLACING 'x' FROM length(s) - 4) END",
    ] {
        assert_eq!(errors(&with_rule(sql)), Vec::<String>::new(), "{sql}");
    }
}

#[test]
fn what_works_for_some_events_is_taken() {
    for sql in [
        "n / m",
        "1 / n",
        "n / (m - n)",
        "CAST(s AS INT)",
        "CAST(substr(s, 4) AS BIGINT) * 1000",
        "CAST(s AS DATE)",
        "to_timestamp(s)",
        "date_trunc('hour', at)",
        "date_part('dow', at)",
        "n * 9223372036854775807",
        "CAST(f AS INT)",
        "CAST(n AS DECIMAL(3,2))",
        "tags['a']",
        "user['country']",
        "CAST(tags['a'] AS INT)",
        "sqrt(f)",
        "ln(f)",
        "power(n, 2)",
        "CASE WHEN n = 0 THEN NULL ELSE m / n END",
        "make_date(n, m, 1)",
        "row_hash(n, s)",
        "arrow_cast(n, 'Int8')",
        "chr(n)",
        "d * d",
        "NULL",
        "mp['k'] / m",
        "li[1] / li[2]",
        "chr(li[1] - 1000)",
        "st['c']['e'][1] * 2",
        "make_date(mp['k'], 2, 29)",
        "make_date(2024, li[1], 31)",
        "CAST(tags['a'] AS DATE)",
        "substr(s, -5, 6)",
        "substr(s, 1, n - m)",
        "substr(s, 1, strpos(s, '|#|') - 1)",
        "substring(s FROM 2 FOR 3)",
        "substr(CAST(to_timestamp(s, '%d|%m|%Y') AS TEXT), 1, 4)",
        "overlay(s PLACING 'x' FROM 1)",
        "split_part(s, ',', -1)",
        "regexp_count(s, 'a', 1)",
        "regexp_match(s, '(a)')[1]",
        "regexp_instr(s, 'a', 2)",
        "regexp_replace(s, '[0-9]+', '', 'g')",
        "s ~ s",
        "CAST(s AS BOOLEAN)",
        "CAST(s AS TIMESTAMP)",
        "CAST(regexp_match(s, 'id=(\\d+)')[1] AS BIGINT)",
        "to_date(s, '%d|%m|%Y')",
        "to_date(s, '%Q', '%Y-%m-%d')",
        "to_timestamp(s, '%Y-%m-%dT%H:%M:%S%.f%z')",
        "to_timestamp(s, '%Y %Z')",
        "CAST(decode(s, 'base64') AS TEXT)",
        "at AT TIME ZONE 'Europe/Berlin'",
    ] {
        assert_eq!(errors(&with_rule(sql)), Vec::<String>::new(), "{sql}");
    }
}

#[test]
fn a_member_that_is_named_with_a_point_is_explained() {
    let errors = errors(&with_rule("user.country"));
    assert_eq!(
        errors,
        [
            "enrich.out: `user.country`: a member of a struct or map is named in brackets; did you mean user['country']?"
        ]
    );
}

/// Values of a field as JSON, and which of them are the same for a key.
type Values<'a> = (&'a str, &'a [(&'a str, u32)]);

const VALUES: [Values<'_>; 11] = [
    (
        "string",
        &[
            (r#""""#, 0),
            (r#""a""#, 1),
            (r#""A""#, 2),
            ("null", 3),
            (r#""null""#, 4),
        ],
    ),
    (
        "int32",
        &[("0", 0), ("-0", 0), ("1", 1), ("-1", 2), ("null", 3)],
    ),
    (
        "int64",
        &[("0", 0), ("-0", 0), ("9223372036854775807", 1), ("null", 3)],
    ),
    (
        "float64",
        &[
            ("0.0", 0),
            ("-0.0", 0),
            ("0", 0),
            ("1", 1),
            ("1.0", 1),
            ("5e-324", 2),
            ("null", 3),
        ],
    ),
    ("bool", &[("true", 0), ("false", 1), ("null", 2)]),
    (
        "decimal(5,2)",
        &[("0", 0), ("-0.00", 0), ("1", 1), ("1.00", 1), ("null", 2)],
    ),
    (
        "date",
        &[(r#""2026-01-01""#, 0), (r#""2026-01-02""#, 1), ("null", 2)],
    ),
    (
        "timestamp",
        &[
            (r#""2026-01-01T00:00:00Z""#, 0),
            (r#""2026-01-01T01:00:00+01:00""#, 0),
            (r#""2026-01-01T00:00:00.000001Z""#, 1),
            ("null", 2),
        ],
    ),
    ("timestamp_ms", &[("0", 0), ("1", 1), ("null", 2)]),
    (
        "list<float64>",
        &[
            ("[0.0]", 0),
            ("[-0.0]", 0),
            ("[]", 1),
            ("[null]", 2),
            ("null", 3),
            ("[0.0,0.0]", 4),
        ],
    ),
    (
        "struct<a: float64, b: list<float64>>",
        &[
            (r#"{"a":0.0,"b":[-0.0]}"#, 0),
            (r#"{"a":-0.0,"b":[0.0]}"#, 0),
            (r#"{"a":null,"b":[0.0]}"#, 1),
            ("{}", 2),
            ("null", 3),
        ],
    ),
];

fn records(values: &[(&str, u32)]) -> Vec<String> {
    let record = |(value, _): &(&str, u32)| format!(r#"{{"at":{NOW},"k":{value}}}"#);
    values.iter().map(record).collect()
}

#[test]
fn keys_are_the_same_where_the_warehouse_says_so() {
    for (ty, values) in VALUES {
        let mut spec = plain_job(&["at!: timestamp_us", &format!("k: {ty}")]);
        spec.dedup_key = names(&["k"]);
        let prepared = prepare(&spec, &records(values));
        assert_eq!(reasons(&prepared), Vec::<String>::new(), "{ty}");
        for (a, (left, left_class)) in values.iter().enumerate() {
            for (b, (right, right_class)) in values.iter().enumerate() {
                let is_same = prepared.fingerprints[a] == prepared.fingerprints[b];
                assert_eq!(
                    is_same,
                    left_class == right_class,
                    "{ty}: {left} and {right}"
                );
            }
        }
    }
}

/// The lane's windows after these records, closed.
fn windows_of(spec: &JobSpec, records: &[String]) -> arrow::array::RecordBatch {
    let plan = plan(spec);
    closed_in(0, &plan, records)
        .into_batch(plan.windows().next().unwrap())
        .unwrap()
}

/// The windows of a lane after these records, closed.
fn closed_in(lane: i32, plan: &Arc<Plan>, records: &[String]) -> ClosedWindows {
    let prepared = preparer(plan)
        .prepare(&common::chunk(records), NOW, &[])
        .unwrap();
    assert_eq!(reasons(&prepared), Vec::<String>::new());
    let mut lane = Lane::new(lane, plan, None);
    lane.absorb(&prepared);
    let mut closed = vec![ClosedWindows::default()];
    lane.follow(lane.last_end().unwrap());
    lane.close_windows(&mut closed);
    closed.remove(0)
}

#[test]
fn groups_are_the_same_where_the_warehouse_says_so() {
    for (ty, values) in VALUES {
        let mut spec = plain_job(&["at!: timestamp_us", &format!("k: {ty}")]);
        spec.windows = vec![window("w", MINUTE, MINUTE, &["k"], &["n = count(*)"])];
        let rows = windows_of(&spec, &records(values));
        let mut counts = std::collections::BTreeMap::new();
        for (_, class) in values {
            *counts.entry(class).or_insert(0_i64) += 1;
        }
        let mut expected: Vec<i64> = counts.into_values().collect();
        expected.sort_unstable();
        let found = rows
            .column_by_name("n")
            .unwrap()
            .as_primitive::<Int64Type>();
        let mut found: Vec<i64> = found.values().to_vec();
        found.sort_unstable();
        assert_eq!(found, expected, "{ty}");
    }
}

#[test]
fn what_is_no_number_is_one_key_and_one_group() {
    let mut spec = plain_job(&["at!: timestamp_us", "f: float64", "g: float64"]);
    spec.enrich = named(&[
        ("ratio", "f / g"),
        ("turned", "-(f / g)"),
        ("k", "CASE WHEN f > 0 THEN ratio ELSE turned END"),
    ]);
    spec.dedup_key = names(&["k"]);
    spec.windows = vec![window("w", MINUTE, MINUTE, &["k"], &["n = count(*)"])];
    let records: Vec<String> = [("0.0", "0.0"), ("-0.0", "0.0"), ("1", "0.0"), ("1", "-0.0")]
        .map(|(f, g)| format!(r#"{{"at":{NOW},"f":{f},"g":{g}}}"#))
        .into();
    let prepared = prepare(&spec, &records);
    assert_eq!(prepared.fingerprints[0], prepared.fingerprints[1], "NaN");
    assert_ne!(
        prepared.fingerprints[2], prepared.fingerprints[3],
        "infinities"
    );
    spec.dedup_key.clear();
    assert_eq!(windows_of(&spec, &records).num_rows(), 3);
}

#[test]
fn a_windows_sum_of_decimals_is_exact_in_any_order() {
    let mut spec = plain_job(&["at!: timestamp_us", "d: decimal(38,30)"]);
    spec.windows = vec![window(
        "w",
        MINUTE,
        MINUTE,
        &[],
        &["s = sum(d)", "a = avg(d)"],
    )];
    let record = |value: &str| format!(r#"{{"at":{NOW},"d":{value}}}"#);
    let values = ["99000000", "99000000", "-99000000"];
    for order in [[0, 1, 2], [0, 2, 1], [2, 0, 1]] {
        let records = order.map(|place| record(values[place]));
        let rows = windows_of(&spec, &records);
        let sum = rows
            .column_by_name("s")
            .unwrap()
            .as_primitive::<Decimal128Type>();
        let over = rows
            .column_by_name("s__over")
            .unwrap()
            .as_primitive::<Int64Type>();
        assert_eq!(
            sum.value_as_string(0),
            "99000000.000000000000000000000000000000"
        );
        assert_eq!(over.value(0), 0);
    }
    let rows = windows_of(&spec, &[record("90000000"), record("90000000")]);
    let over = rows
        .column_by_name("s__over")
        .unwrap()
        .as_primitive::<Int64Type>();
    let sum = rows
        .column_by_name("s")
        .unwrap()
        .as_primitive::<Decimal128Type>();
    assert_eq!(
        (over.value(0), sum.value_as_string(0).as_str()),
        (1, "80000000.000000000000000000000000000000")
    );
    let mean = rows
        .column_by_name("a__sum__over")
        .unwrap()
        .as_primitive::<Int64Type>();
    assert_eq!(mean.value(0), 1);
}

#[test]
fn a_sum_without_room_is_counted_once_however_lanes_share_it() {
    let mut spec = plain_job(&["at!: timestamp_us", "g: string", "d: decimal(38,30)"]);
    let aggregates = ["s = sum(d)", "a = avg(d)", "most = max(d)"];
    spec.windows = vec![window("w", MINUTE, MINUTE, &["g"], &aggregates)];
    let plan = plan(&spec);
    let window = plan.windows().next().unwrap();
    let mut sums = SumsWithoutRoom::default();
    // The type has room for less than 100 million; what is counted, by lane.
    for (lane, millions, counted) in [
        (0, vec![("a", 60), ("b", 60), ("c", 1)], 0),
        (1, vec![("a", 60), ("b", -60), ("c", 1)], 1),
        (2, vec![("a", 99), ("b", 60)], 0),
        (3, vec![("c", 99), ("c", 99)], 1),
        (4, vec![("b", 20), ("b", 20)], 1),
    ] {
        let record = |(g, d)| format!(r#"{{"at":{NOW},"g":"{g}","d":{d}000000}}"#);
        let records: Vec<String> = millions.into_iter().map(record).collect();
        let closed = closed_in(lane, &plan, &records);
        assert_eq!(sums.add(window, &closed), counted, "{lane}");
    }
}

#[test]
fn a_group_with_the_name_of_a_windows_own_column_is_refused_for_that() {
    for name in ["lane", "Window_Start"] {
        let mut spec = plain_job(&["at!: timestamp_us", &format!("{name}: string")]);
        spec.windows = vec![window("w", MINUTE, MINUTE, &[name], &["n = count(*)"])];
        let errors = errors(&spec);
        assert_eq!(errors.len(), 1, "{errors:?}");
        let reason = format!("a window has a column `{name}` of its own");
        assert!(errors[0].contains(&reason), "{errors:?}");
    }
}

#[test]
fn aggregates_whose_parts_need_one_name_are_refused() {
    let mut spec = plain_job(&["at!: timestamp_us", "f: float64"]);
    spec.windows = vec![window(
        "w",
        MINUTE,
        MINUTE,
        &[],
        &["s = sum(f)", "S__low = max(f)"],
    )];
    let errors = errors(&spec);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("S__low") || errors[0].contains("s__low"),
        "{errors:?}"
    );
}
