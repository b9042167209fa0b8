//! Arithmetic and comparisons have the values that people expect, or none.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
    StringArray, StructArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};
use proptest::prelude::*;
use tidegate_expr::{Planner, visible_batch, visible_schema, words};

fn evaluate(sql: &str, columns: &[(&str, ArrayRef)]) -> Result<ArrayRef, String> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let schema = visible_schema(&fields);
    let expression = Planner::default().plan(sql, &schema)?;
    let rows = columns.first().map_or(1, |(_, array)| array.len());
    let columns: Vec<ArrayRef> = columns.iter().map(|(_, array)| Arc::clone(array)).collect();
    let batch = visible_batch(&schema, 0, rows, &columns).unwrap();
    let values = expression.evaluate(&batch).map_err(|error| words(&error))?;
    assert_eq!(values.data_type(), expression.data_type(), "{sql}");
    Ok(values)
}

fn int64(value: i64) -> ArrayRef {
    Arc::new(Int64Array::from(vec![value]))
}

fn int32(value: i32) -> ArrayRef {
    Arc::new(Int32Array::from(vec![value]))
}

fn decimal(value: i128, precision: u8, scale: i8) -> ArrayRef {
    let values = Decimal128Array::from(vec![value]);
    Arc::new(values.with_precision_and_scale(precision, scale).unwrap())
}

fn float(value: f64) -> ArrayRef {
    Arc::new(Float64Array::from(vec![value]))
}

#[test]
fn whole_numbers_without_room_are_an_error() {
    for sql in [
        "a + 1",
        "1 + a",
        "a * 2",
        "a - (-1)",
        "-b",
        "b - 1",
        "b * -1",
        "b / -1",
        "a + a",
        "a * a",
        "abs(b)",
        // Nothing is folded to another number either.
        "n + (9223372036854775807 + 1)",
        "n + 9223372036854775807 * 2",
        "a + 1 - 1",
    ] {
        let columns = [
            ("a", int64(i64::MAX)),
            ("b", int64(i64::MIN)),
            ("n", int64(0)),
        ];
        let found = evaluate(sql, &columns);
        assert!(found.is_err(), "{sql}: {found:?}");
    }
    for sql in ["a + b", "a * a", "-c"] {
        let columns = [
            ("a", int32(i32::MAX)),
            ("b", int32(1)),
            ("c", int32(i32::MIN)),
        ];
        let found = evaluate(sql, &columns);
        assert!(found.is_err(), "{sql}: {found:?}");
    }
    let columns = [("a", int32(1_000_000)), ("b", int64(5))];
    for (sql, expected) in [
        ("a + b", 1_000_005),
        ("a * b", 5_000_000),
        // A number that is written out has 64 bits.
        ("a * 3000", 3_000_000_000),
        ("-b", -5),
        ("b / 2", 2),
        ("a - b", 999_995),
    ] {
        let found = evaluate(sql, &columns).unwrap();
        assert_eq!(
            found.as_primitive::<Int64Type>().value(0),
            expected,
            "{sql}"
        );
    }
}

#[test]
fn the_issues_rule_is_not_true_where_its_product_has_no_room() {
    for cents in [1_i64 << 62, i64::MAX] {
        assert!(evaluate("cents * 1000 < 5e18", &[("cents", int64(cents))]).is_err());
        assert!(evaluate("cents * 2", &[("cents", int64(cents))]).is_err());
    }
    let found = evaluate("cents * 1000 < 5e18", &[("cents", int64(5))]).unwrap();
    assert!(found.as_boolean().value(0));
}

#[test]
fn a_decimal_has_no_more_digits_than_its_type() {
    let end = 10_i128.pow(38) - 1;
    for sql in ["d + d", "d * 2", "d + 1", "-1 - d", "d - (-1)"] {
        let found = evaluate(sql, &[("d", decimal(end, 38, 0))]);
        assert!(found.is_err(), "{sql}: {found:?}");
    }
    let sum = evaluate("d + d", &[("d", decimal(999, 3, 2))]).unwrap();
    assert_eq!(sum.data_type(), &DataType::Decimal128(4, 2));
    let product = evaluate("d * d", &[("d", decimal(-999, 3, 2))]).unwrap();
    assert_eq!(product.data_type(), &DataType::Decimal128(7, 4));
    let negated = evaluate("-d", &[("d", decimal(end, 38, 10))]).unwrap();
    assert_eq!(negated.data_type(), &DataType::Decimal128(38, 10));
}

/// What each comparison of two floats says in DuckDB.
fn in_duckdb(a: f64, op: &str, b: f64) -> bool {
    let order = match (a.is_nan(), b.is_nan()) {
        (false, false) => a.partial_cmp(&b).unwrap(),
        (a, b) => a.cmp(&b),
    };
    match op {
        "=" => order.is_eq(),
        "<>" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    }
}

#[test]
fn floats_compare_as_in_the_warehouse() {
    let values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    let literal = |value: f64| match value {
        value if value.is_nan() => "CAST('NaN' AS DOUBLE)".to_owned(),
        f64::INFINITY => "CAST('inf' AS DOUBLE)".to_owned(),
        f64::NEG_INFINITY => "CAST('-inf' AS DOUBLE)".to_owned(),
        value => format!("{value:?}"),
    };
    for a in values {
        for b in values {
            for op in ["=", "<>", "<", "<=", ">", ">="] {
                let expected = in_duckdb(a, op, b);
                for sql in [
                    format!("a {op} b"),
                    format!("a {op} {}", literal(b)),
                    format!("{} {op} b", literal(a)),
                    format!("a + 0.0 {op} b * 1.0"),
                    format!("CASE WHEN a {op} b THEN true ELSE false END"),
                ] {
                    let found = evaluate(&sql, &[("a", float(a)), ("b", float(b))]).unwrap();
                    assert_eq!(found.as_boolean().value(0), expected, "{sql}: {a} {b}");
                }
            }
            let columns = [("a", float(a)), ("b", float(b))];
            for (sql, expected) in [
                ("a IN (b, 77.0)", in_duckdb(a, "=", b)),
                ("nullif(a, b) IS NULL", in_duckdb(a, "=", b)),
                ("a BETWEEN b AND b", in_duckdb(a, "=", b)),
                (
                    "CASE a WHEN b THEN true ELSE false END",
                    in_duckdb(a, "=", b),
                ),
                ("a IS NOT DISTINCT FROM b", in_duckdb(a, "=", b)),
                (
                    "a BETWEEN 0 AND 1",
                    in_duckdb(a, ">=", 0.0) && in_duckdb(a, "<=", 1.0),
                ),
                (
                    "a NOT BETWEEN -1 AND 0",
                    in_duckdb(a, "<", -1.0) || in_duckdb(a, ">", 0.0),
                ),
                ("a IN (0, 5)", in_duckdb(a, "=", 0.0)),
            ] {
                let found = evaluate(sql, &columns).unwrap();
                assert_eq!(found.as_boolean().value(0), expected, "{sql}: {a} {b}");
            }
        }
    }
}

#[test]
fn what_is_no_number_is_greater_than_all_whatever_its_sign() {
    for sql in [
        "a / b > 5",
        "-(a / b) > 5",
        "a / b = b / a",
        "a / b >= CAST('inf' AS DOUBLE)",
    ] {
        let columns = [("a", float(0.0)), ("b", float(-0.0))];
        let found = evaluate(sql, &columns).unwrap();
        assert!(found.as_boolean().value(0), "{sql}");
    }
}

proptest! {
    /// Whole numbers are exact, or there is an error.
    #[test]
    fn arithmetic_is_exact_or_an_error(a in prop_oneof![any::<i64>(), -9..9_i64], b in prop_oneof![any::<i64>(), -9..9_i64]) {
        let columns = [("a", int64(a)), ("b", int64(b))];
        for (sql, exact) in [
            ("a + b", i128::from(a) + i128::from(b)),
            ("a - b", i128::from(a) - i128::from(b)),
            ("a * b", i128::from(a) * i128::from(b)),
            ("-a", -i128::from(a)),
        ] {
            let found = evaluate(sql, &columns).ok();
            let found = found.map(|found| found.as_primitive::<Int64Type>().value(0));
            prop_assert_eq!(found, i64::try_from(exact).ok(), "{} {} {}", sql, a, b);
        }
        for distance in [0_u32, 1, 31, 62, 63, 64, 70] {
            let exact = if distance < 64 { i128::from(a) << distance } else { i128::from(a) * (1 << 64) };
            let found = evaluate(&format!("a << {distance}"), &[("a", int64(a))]).ok();
            let found = found.map(|found| found.as_primitive::<Int64Type>().value(0));
            prop_assert_eq!(found, i64::try_from(exact).ok(), "{} << {}", a, distance);
        }
        let (a, b) = (a as i32, b as i32);
        let found = evaluate("a << 3", &[("a", int32(a))]).ok();
        let found = found.and_then(|found| arrow::compute::cast(&found, &DataType::Int64).ok());
        let found = found.map(|found| found.as_primitive::<Int64Type>().value(0));
        prop_assert!(found.is_none_or(|found| found == i64::from(a) << 3));
        let found = evaluate("a * b", &[("a", int32(a)), ("b", int32(b))]).ok();
        let found = found.map(|found| found.as_primitive::<Int32Type>().value(0));
        prop_assert_eq!(found, a.checked_mul(b));
    }

    /// Rows have one key only if all their values are the same.
    #[test]
    fn a_key_hash_tells_all_rows_apart(
        left in prop::collection::vec(prop::option::of("[a|1:n]{0,3}"), 2),
        right in prop::collection::vec(prop::option::of("[a|1:n]{0,3}"), 2),
    ) {
        let column = |at: usize| -> ArrayRef {
            Arc::new(StringArray::from(vec![left[at].as_deref(), right[at].as_deref()]))
        };
        let found = evaluate("key_hash(a, b)", &[("a", column(0)), ("b", column(1))]).unwrap();
        let found = found.as_string::<i32>();
        prop_assert_eq!(found.value(0) == found.value(1), left == right);
    }
}

#[test]
fn a_key_hash_has_nulls_and_equal_floats() {
    let texts =
        |values: [Option<&str>; 2]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let swapped = [
        ("a", texts([Some("x"), None])),
        ("b", texts([None, Some("x")])),
    ];
    for (sql, same) in [("row_hash(a, b)", true), ("key_hash(a, b)", false)] {
        let found = evaluate(sql, &swapped).unwrap();
        let found = found.as_string::<i32>();
        assert_eq!(found.value(0) == found.value(1), same, "{sql}");
    }
    let zeros: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0]));
    let found = evaluate("key_hash(a)", &[("a", zeros)]).unwrap();
    let found = found.as_string::<i32>();
    assert_eq!(found.value(0), found.value(1));
}

#[test]
fn a_member_that_is_named_with_a_point_is_explained() {
    let fields = vec![Field::new("country", DataType::Utf8, true)];
    let user = Field::new("user", DataType::Struct(fields.into()), true);
    let schema = visible_schema(&[user]);
    let planner = Planner::default();
    let message = planner.plan("user.country = 'DE'", &schema).unwrap_err();
    assert_eq!(
        message,
        "`user.country`: a member of a struct or map is named in brackets; did you mean user['country']?"
    );
    assert!(planner.plan("user['country'] = 'DE'", &schema).is_ok());
    let message = planner.plan("upper(user.nope)", &schema).unwrap_err();
    assert_eq!(
        message,
        "`user.nope`: `user` has no member `nope`; it has country"
    );
    let message = planner
        .plan("upper(user['land']) = 'DE'", &schema)
        .unwrap_err();
    assert_eq!(
        message,
        "`user['land']`: `user` has no member `land`; it has country"
    );
    let message = planner.plan("user.country.x", &schema).unwrap_err();
    assert_eq!(
        message,
        "`user.country.x`: `user['country']` has no members"
    );
}

/// What is said of an expression that cannot be planned, or cannot be computed for one event.
fn said(sql: &str) -> String {
    let members = vec![Field::new("a", DataType::Int64, true)];
    let members: ArrayRef = Arc::new(StructArray::new(members.into(), vec![int64(1)], None));
    let pair = vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Int64, true),
    ];
    let entries = Field::new("entries", DataType::Struct(pair.into()), false);
    let list = DataType::new_list(DataType::Int64, true);
    let time = TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC");
    let columns: [(&str, ArrayRef); 9] = [
        ("n", int64(1)),
        ("f", float(1.0)),
        ("s", Arc::new(StringArray::from(vec!["x"]))),
        ("st", Arc::clone(&members)),
        ("user", members),
        ("at", Arc::new(time)),
        ("dt", Arc::new(Date32Array::from(vec![20_454]))),
        ("li", new_null_array(&list, 1)),
        (
            "mp",
            new_null_array(&DataType::Map(Arc::new(entries), false), 1),
        ),
    ];
    match evaluate(sql, &columns) {
        Err(message) => message,
        Ok(values) => panic!("{sql}: {values:?}"),
    }
}

/// What only those know who write DataFusion and Arrow.
const INTERNAL: [&str; 22] = [
    "Ident",
    "Span(",
    "Error(",
    "sqltorel",
    "Some(",
    "ExprPlanner",
    "Internal error",
    "DataFusion",
    "datafusion",
    "~~~",
    "\n",
    "IntervalMonth",
    "Exact(",
    "Coercible(",
    "Int64",
    "Float64",
    "Utf8",
    "Struct(",
    "non-null",
    "AtArrow",
    "Error during",
    "now()",
];

#[test]
fn what_cannot_be_planned_is_said_in_words_and_in_sql() {
    for (sql, part) in [
        ("upper(s) = 'X' AND s COLLATE de = 'x'", "`s COLLATE de`"),
        ("MATCH (s) AGAINST ('x')", "`MATCH (s) AGAINST ('x')`"),
        ("n RLIKE s", "`n RLIKE s`"),
        ("CONVERT(n, int)", "CONVERT"),
        ("s MEMBER OF(s)", "MEMBER OF"),
        ("MAP {'a': 1}", "MAP"),
        ("ARRAY[1]", "`ARRAY[1]`"),
        ("@x", "@x"),
        (
            "s.*",
            "this is not an expression: expected end of expression, found .",
        ),
        ("PRIOR n", "this is not an expression: "),
        (
            "*",
            "this is not an expression: expected an expression, found *",
        ),
        ("'x", "this is not an expression: "),
        ("s.x", "`s.x`: `s` has no members"),
        ("s SIMILAR TO '('", ""),
        ("s ~ '('", "the pattern cannot be read: unclosed group"),
        ("regexp_like(s, 'a', 'q')", "the pattern cannot be read: "),
        ("regexp_match(s, '(a')", "the pattern cannot be read: "),
        ("dt + INTERVAL '10000000 years'", "the date has no room"),
        (
            "trunc(f, s)",
            "`trunc(f, s)`: `trunc` does not take (DOUBLE, VARCHAR)",
        ),
        (
            "translate(s, 'a')",
            "`translate(s, 'a')`: `translate` does not take (VARCHAR, VARCHAR)",
        ),
        ("sha256(n)", "`sha256(n)`: `sha256` does not take (BIGINT)"),
        ("CAST(st AS STRING)", "STRUCT<a: BIGINT>"),
        (
            "row_hash(st)",
            "`row_hash` cannot hash a STRUCT<a: BIGINT>; ",
        ),
        (
            "key_hash(mp)",
            "`key_hash` cannot hash a MAP<VARCHAR, BIGINT>; ",
        ),
        ("N", "there is no column `N`; did you mean `n`?"),
        ("\"N\" + 1", "there is no column `N`; did you mean `n`?"),
        (
            "nothing_of_it",
            "there is no column `nothing_of_it`; there are n, ",
        ),
        ("li @> li", "@>"),
        ("USER.A", "did you mean user['a']?"),
        (
            "at AT TIME ZONE 'Europe/Nowhere'",
            "time zone `Europe/Nowhere`",
        ),
        (
            "n AS x",
            "`AS x` gives a name, and an expression has none; ",
        ),
    ] {
        let message = said(sql);
        assert!(message.contains(part), "{sql}: {message}");
        for internal in INTERNAL {
            assert!(!message.contains(internal), "{sql}: {message}");
        }
    }
}

#[test]
fn a_time_zone_that_there_is_is_taken() {
    let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC"));
    for zone in ["Europe/Berlin", "UTC", "+02:00", "America/New_York"] {
        let found = evaluate(
            &format!("at AT TIME ZONE '{zone}'"),
            &[("at", Arc::clone(&time))],
        );
        assert!(found.is_ok(), "{zone}: {found:?}");
    }
}
