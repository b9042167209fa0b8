//! What the text of each type becomes.

use super::*;

#[test]
fn integers() {
    for (text, expect) in [
        ("0", "0"),
        ("-0", "0"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("9223372036854775808", RANGE),
        ("-9223372036854775809", RANGE),
        ("99999999999999999999999999", RANGE),
        ("1.0", TYPE),
        ("0.1e1", TYPE),
        ("1e3", TYPE),
        ("01", SYNTAX),
        ("-", SYNTAX),
        ("+1", SYNTAX),
        ("--1", SYNTAX),
        (".5", SYNTAX),
        ("1.", SYNTAX),
        ("1e", SYNTAX),
        ("1e+", SYNTAX),
        ("0x10", SYNTAX),
        ("1_000", SYNTAX),
        ("NaN", SYNTAX),
        ("Infinity", SYNTAX),
        ("\"1\"", TYPE),
    ] {
        let expect = number(expect);
        check(&["a: int64"], &format!(r#"{{"a":{text}}}"#), &expect);
    }
    for (text, expect) in [
        ("2147483647", "2147483647"),
        ("-2147483648", "-2147483648"),
        ("2147483648", RANGE),
        ("-2147483649", RANGE),
        ("9223372036854775808", RANGE),
    ] {
        check(
            &["a: int32"],
            &format!(r#"{{"a":{text}}}"#),
            &number(expect),
        );
    }
}

/// The expectation for a field `a`: a code, or its value in a row.
fn number(expect: &str) -> String {
    if expect.starts_with("decode.") {
        expect.to_owned()
    } else {
        format!(r#"{{"a":{expect}}}"#)
    }
}

#[test]
fn floats() {
    let many_digits = format!("0.{}", "123456789".repeat(50));
    let many_zeros = format!("1{}e-400", "0".repeat(400));
    for (text, expect) in [
        ("0", "0.0"),
        ("-0", "-0.0"),
        ("-0.0e7", "-0.0"),
        ("0.1e1", "1.0"),
        ("100", "100.0"),
        ("0.1", "0.1"),
        ("1e-7", "1.0e-7"),
        ("123456789012345678901234567890", "1.2345678901234568e29"),
        ("9007199254740993", "9.007199254740992e15"),
        ("1.7976931348623157e308", "1.7976931348623157e308"),
        ("1.7976931348623159e308", RANGE),
        ("1e999", RANGE),
        ("-1e999", RANGE),
        ("1e99999999999999999999999", RANGE),
        ("1e-99999999999999999999999", "0.0"),
        ("0e99999999999999999999999", "0.0"),
        ("4.9e-324", "5.0e-324"),
        ("1e-400", "0.0"),
        (many_digits.as_str(), "0.12345678912345678"),
        (many_zeros.as_str(), "1.0"),
        ("1e5x", SYNTAX),
        ("1 2", SYNTAX),
        ("\"1.5\"", TYPE),
        ("true", TYPE),
    ] {
        check(
            &["a: float64"],
            &format!(r#"{{"a":{text}}}"#),
            &number(expect),
        );
    }
}

#[test]
fn decimals_are_exact_or_refused() {
    for (ty, text, expect) in [
        ("decimal(5,2)", "123.45", "123.45"),
        ("decimal(5,2)", "\"123.45\"", "123.45"),
        ("decimal(5,2)", "\"12\\u0033.45\"", "123.45"),
        ("decimal(5,2)", "-999.99", "-999.99"),
        ("decimal(5,2)", "1000", RANGE),
        ("decimal(5,2)", "999.999", RANGE),
        ("decimal(5,2)", "123.4500000", "123.45"),
        ("decimal(5,2)", "1.2345e2", "123.45"),
        ("decimal(5,2)", "1.2340e1", "12.34"),
        ("decimal(5,2)", "12340e-3", "12.34"),
        ("decimal(5,2)", "0.1", "0.10"),
        ("decimal(5,2)", "0.001", RANGE),
        ("decimal(5,2)", "0e999", "0.00"),
        ("decimal(5,2)", "-0", "0.00"),
        ("decimal(5,2)", "1e999999999999", RANGE),
        ("decimal(5,2)", "1e-999999999999", RANGE),
        (
            "decimal(38,0)",
            "99999999999999999999999999999999999999",
            "99999999999999999999999999999999999999",
        ),
        (
            "decimal(38,0)",
            "100000000000000000000000000000000000000",
            RANGE,
        ),
        (
            "decimal(38,0)",
            "1e37",
            "10000000000000000000000000000000000000",
        ),
        ("decimal(38,0)", "1e38", RANGE),
        (
            "decimal(38,38)",
            "0.00000000000000000000000000000000000001",
            "0.00000000000000000000000000000000000001",
        ),
        ("decimal(38,38)", "1", RANGE),
        ("decimal(5,2)", "\"\"", TYPE),
        ("decimal(5,2)", "\"12,5\"", TYPE),
        ("decimal(5,2)", "\"1 2\"", TYPE),
        ("decimal(5,2)", "\"NaN\"", TYPE),
        ("decimal(5,2)", "\"1\"2", SYNTAX),
        ("decimal(5,2)", "false", TYPE),
    ] {
        let field = format!("a: {ty}");
        check(&[&field], &format!(r#"{{"a":{text}}}"#), &number(expect));
    }
    let zeros = format!(r#"{{"a":1.{}}}"#, "0".repeat(400));
    check(&["a: decimal(5,2)"], &zeros, r#"{"a":1.00}"#);
}

#[test]
fn strings() {
    for (text, expect) in [
        (r#""""#, r#""""#),
        (r#""é""#, r#""é""#),
        (r#""\u00e9\u00E9""#, r#""éé""#),
        (r#""\ud83d\ude00""#, r#""😀""#),
        (r#""\u0000""#, r#""\u0000""#),
        (r#""\"\\\/\b\f\n\r\t""#, r#""\"\\/\b\f\n\r\t""#),
        (r#""\ud83d""#, SYNTAX),
        (r#""\ud83dx""#, SYNTAX),
        (r#""\ud83d\u0041""#, SYNTAX),
        (r#""\ude00""#, SYNTAX),
        (r#""\ude00\ud83d""#, SYNTAX),
        (r#""\u12g4""#, SYNTAX),
        (r#""\u12""#, SYNTAX),
        (r#""\u+123""#, SYNTAX),
        (r#""\x41""#, SYNTAX),
        (r#""\""#, SYNTAX),
        ("\"a\nb\"", SYNTAX),
        ("\"a\0b\"", SYNTAX),
        ("\"1234567\u{1f}89\"", SYNTAX),
        ("\"1234567\u{7f}89\"", "\"1234567\u{7f}89\""),
        ("'a'", SYNTAX),
        ("1", TYPE),
        ("[]", TYPE),
    ] {
        check(
            &["a: string"],
            &format!(r#"{{"a":{text}}}"#),
            &number(expect),
        );
        // The same token in a key that is not known: no value, but the same syntax.
        if text.starts_with('"') {
            let expect = if expect == SYNTAX { SYNTAX } else { "{}" };
            check(&["a: string"], &format!("{{{text}:1}}"), expect);
        }
    }
}

#[test]
fn control_characters_are_found_at_every_position() {
    for position in 0..40 {
        for control in 0..0x20_u8 {
            let mut text = vec![b'x'; 40];
            text[position] = control;
            let text = String::from_utf8(text).expect("ASCII");
            check(&["a: string"], &format!(r#"{{"a":"{text}"}}"#), SYNTAX);
        }
    }
}

#[test]
fn times_and_dates() {
    for (ty, text, expect) in [
        (
            "timestamp",
            r#""2026-01-01T10:00:00.123456+00:00""#,
            r#""2026-01-01T10:00:00.123456Z""#,
        ),
        (
            "timestamp",
            r#""2026-01-01T10:00:00+02:00""#,
            r#""2026-01-01T08:00:00Z""#,
        ),
        (
            "timestamp",
            r#""2026-01-01T10:00:00\u002B02:00""#,
            r#""2026-01-01T08:00:00Z""#,
        ),
        ("timestamp", r#""2026-01-01T10:00:00""#, RANGE),
        ("timestamp", r#""2026-01-01""#, RANGE),
        ("timestamp", r#""yesterday""#, RANGE),
        ("timestamp", r#""""#, RANGE),
        ("timestamp", r#""0001-01-01T00:00:00+01:00""#, RANGE),
        ("timestamp", r#""9999-12-31T23:59:59-01:00""#, RANGE),
        (
            "timestamp",
            r#""0001-01-01T00:00:00Z""#,
            r#""0001-01-01T00:00:00Z""#,
        ),
        ("timestamp", "1767261600", TYPE),
        ("timestamp_s", "1767261600", r#""2026-01-01T10:00:00Z""#),
        (
            "timestamp_ms",
            "1767261600123",
            r#""2026-01-01T10:00:00.123Z""#,
        ),
        ("timestamp_us", "-1", r#""1969-12-31T23:59:59.999999Z""#),
        ("timestamp_ms", "1767261600.5", TYPE),
        ("timestamp_ms", r#""2026-01-01T10:00:00Z""#, TYPE),
        ("timestamp_s", "9223372036854775807", RANGE),
        ("timestamp_ms", "9223372036854775807", RANGE),
        ("timestamp_us", "9223372036854775807", RANGE),
        ("timestamp_s", "253402300800", RANGE),
        ("timestamp_s", "253402300799", r#""9999-12-31T23:59:59Z""#),
        ("date", r#""2024-02-29""#, r#""2024-02-29""#),
        ("date", r#""2024\u002d02-29""#, r#""2024-02-29""#),
        ("date", r#""2023-02-29""#, RANGE),
        ("date", r#""2023-2-9""#, RANGE),
        ("date", "20230209", TYPE),
    ] {
        let field = format!("a: {ty}");
        check(&[&field], &format!(r#"{{"a":{text}}}"#), &number(expect));
    }
}

#[test]
fn every_pair_of_types() {
    let values = [
        ("string", r#""x""#),
        ("int64", "7"),
        ("float64", "7.5"),
        ("bool", "true"),
        ("list<int64>", "[7]"),
        ("struct<k: int64>", r#"{"k":7}"#),
    ];
    for (ty, _) in values {
        for (of, text) in values {
            let json = format!(r#"{{"a":{text}}}"#);
            let field = format!("a: {ty}");
            let fits = ty == of || (ty, of) == ("float64", "int64");
            let expect = match (fits, ty, of) {
                (true, "float64", "int64") => r#"{"a":7.0}"#,
                (true, ..) => json.as_str(),
                _ => TYPE,
            };
            check(&[&field], &json, expect);
            check(&[&field], r#"{"a":null}"#, "{}");
            check(&[&field], r#"{"a":nul}"#, SYNTAX);
            check(&[&field], r#"{"a":}"#, SYNTAX);
            check(&[&field], r#"{"a":tru}"#, SYNTAX);
        }
    }
    for ty in [
        "int32",
        "decimal(9,2)",
        "timestamp",
        "timestamp_ms",
        "date",
        "map<string,int64>",
    ] {
        for (of, text) in values {
            let field = format!("a: {ty}");
            let (found, _) = outcome(&fields(&[&field]), format!(r#"{{"a":{text}}}"#));
            let fits = match ty {
                "decimal(9,2)" => matches!(of, "int64" | "float64"),
                "map<string,int64>" => of == "struct<k: int64>",
                "int32" | "timestamp_ms" => of == "int64",
                _ => false,
            };
            assert_eq!(
                matches!(found, Outcome::Row(_)),
                fits,
                "{ty} from {of}: {found:?}"
            );
        }
    }
}

#[test]
fn a_wrong_type_far_inside_is_found() {
    let field = ["a: struct<b: list<map<string,struct<c: list<int64>>>>>"];
    check(
        &field,
        r#"{"a":{"b":[{"k":{"c":[1,2]}},null]}}"#,
        r#"{"a":{"b":[{"k":{"c":[1,2]}},null]}}"#,
    );
    check(&field, r#"{"a":{"b":[{"k":{"c":[1,"2"]}}]}}"#, TYPE);
    check(&field, r#"{"a":{"b":[{"k":{"c":[1,2}]}}]}}"#, SYNTAX);
    check(&field, r#"{"a":{"b":[{"k":{"c":[1]}},{"k":1}]}}"#, TYPE);
    check(&field, r#"{"a":{"b":[{"k":{"c":[1],"c":[]}}]}}"#, TWICE);
}
