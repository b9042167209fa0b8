//! Decode: what each text becomes, and that no text can do harm.

#[path = "../../../fuzz/fuzz_targets/check.rs"]
mod check;
mod common;

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use arrow::json::ReaderBuilder;
use proptest::prelude::*;
use serde_json::{Map, Value};
use tidegate_core::chunk::{Chunk, Payload};
use tidegate_core::decode::{Decoder, arrow_type};
use tidegate_core::json::DEPTH_MAX;
use tidegate_core::spec::FieldSpec;

use common::json::{Writer, random_fields, random_value};
use common::{Rng, batch_of, chunk, decode, fields, rows_of};

/// What becomes of a record.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// A row, as JSON without its nulls.
    Row(String),
    /// A reject with this code.
    Reject(String),
}

fn outcome<T: AsRef<[u8]>>(fields: &[FieldSpec], record: T) -> (Outcome, String) {
    let decoded = decode(fields, &[record]);
    match (decoded.rows.as_slice(), decoded.rejects.as_slice()) {
        ([0], []) => {
            let row = rows_of(&batch_of(fields, &decoded)).remove(0);
            (Outcome::Row(row), String::new())
        }
        ([], [reject]) => {
            assert_eq!(reject.codes.len(), 1, "{reject:?}");
            (
                Outcome::Reject(reject.codes[0].clone()),
                reject.detail.clone(),
            )
        }
        other => panic!("neither one row nor one reject: {other:?}"),
    }
}

/// Decodes `json` and compares: `expect` is a row as JSON, or a code.
#[track_caller]
fn check(specs: &[&str], json: &str, expect: &str) {
    let (found, detail) = outcome(&fields(specs), json);
    let wanted = if expect.starts_with('{') {
        Outcome::Row(expect.to_owned())
    } else {
        Outcome::Reject(expect.to_owned())
    };
    assert_eq!(found, wanted, "{json} ({detail})");
}

const SYNTAX: &str = "decode.syntax";
const RANGE: &str = "decode.out_of_range";
const TYPE: &str = "decode.wrong_type";
const TWICE: &str = "decode.duplicate_key";
const MISSING: &str = "decode.missing";
const DEPTH: &str = "decode.depth";
const NOT_UTF8: &str = "decode.not_utf8";

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

#[test]
fn keys() {
    let two = ["a: int64", "b: int64"];
    check(&two, r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2}"#);
    check(&two, r#"{"b":2,"a":1}"#, r#"{"a":1,"b":2}"#);
    check(
        &two,
        r#"{"x":[{}],"b":2,"y":null,"a":1,"z":""}"#,
        r#"{"a":1,"b":2}"#,
    );
    check(&two, r#"{"\u0061":1,"\u0062":2}"#, r#"{"a":1,"b":2}"#);
    check(&two, r#"{ "a" : 1 , "b" : 2 }"#, r#"{"a":1,"b":2}"#);
    check(&two, r#"{"a":1}"#, r#"{"a":1}"#);
    check(&two, r#"{"A":1}"#, "{}");
    check(&two, "{}", "{}");
    check(&two, r#"{"a":1,"a":1}"#, TWICE);
    check(&two, r#"{"a":1,"b":2,"a":1}"#, TWICE);
    check(&two, r#"{"a":1,"\u0061":1}"#, TWICE);
    check(&two, r#"{"\u0061":1,"a":1}"#, TWICE);
    check(&two, r#"{"a":null,"a":1}"#, TWICE);
    check(&two, r#"{"x":1,"x":2}"#, "{}");
    check(&["s: struct<a: int64>"], r#"{"s":{"a":1,"a":2}}"#, TWICE);
    check(
        &["s: struct<a: int64>"],
        r#"{"s":{"a":1,"\u0061":2}}"#,
        TWICE,
    );
    check(
        &["s: struct<a: int64>"],
        r#"{"s":{"x":1,"x":2}}"#,
        r#"{"s":{}}"#,
    );
    check(&["m: map<string,int64>"], r#"{"m":{"a":1,"a":2}}"#, TWICE);
    check(
        &["m: map<string,int64>"],
        r#"{"m":{"a":1,"\u0061":2}}"#,
        TWICE,
    );
    let many: Vec<String> = (0..50).map(|i| format!(r#""k{i}":{i}"#)).collect();
    let many = many.join(",");
    check(
        &["m: map<string,int64>"],
        &format!(r#"{{"m":{{{many}}}}}"#),
        &format!(r#"{{"m":{{{many}}}}}"#),
    );
    check(
        &["m: map<string,int64>"],
        &format!(r#"{{"m":{{{many},"k\u0030":1}}}}"#),
        TWICE,
    );

    check(&["a!: int64"], "{}", MISSING);
    check(&["a!: int64"], r#"{"b":1}"#, MISSING);
    check(&["a!: int64"], r#"{"a":null}"#, MISSING);
    check(&["a!: int64"], r#"{"a":1}"#, r#"{"a":1}"#);
}

#[test]
fn names_that_json_must_escape() {
    for name in ["a\"b", "a\\b", "a\tb", "ä", ""] {
        let field = FieldSpec {
            name: name.to_owned(),
            ty: "int64".parse().expect("a type"),
            required: true,
        };
        let key = serde_json::to_string(name).expect("a string");
        let (found, _) = outcome(std::slice::from_ref(&field), format!("{{{key}:1}}"));
        assert_eq!(found, Outcome::Row(format!("{{{key}:1}}")));
        let (found, detail) = outcome(&[field], format!("{{\"{name}\":1}}"));
        let raw_is_valid =
            serde_json::from_str::<Value>(&format!("\"{name}\"")).is_ok_and(|value| value == name);
        assert_eq!(
            matches!(found, Outcome::Row(_)),
            raw_is_valid,
            "{name}: {detail}"
        );
    }
}

#[test]
fn what_is_not_an_object() {
    for (text, expect) in [
        ("", "record.empty"),
        (" \t\r\n ", "record.empty"),
        ("[]", "decode.not_an_object"),
        ("[{\"a\":1}]", "decode.not_an_object"),
        ("1", "decode.not_an_object"),
        ("\"a\"", "decode.not_an_object"),
        ("null", "decode.not_an_object"),
        ("true", "decode.not_an_object"),
        ("{\"a\":1}{\"a\":1}", SYNTAX),
        ("{\"a\":1}]", SYNTAX),
        ("{\"a\":1},", SYNTAX),
        ("{\"a\":1} x", SYNTAX),
        ("{\"a\":1}\0", SYNTAX),
        ("\0", SYNTAX),
        ("\u{feff}{\"a\":1}", SYNTAX),
        ("\u{a0}{\"a\":1}", SYNTAX),
        ("{\"a\":1,}", SYNTAX),
        ("{,\"a\":1}", SYNTAX),
        ("{\"a\",1}", SYNTAX),
        ("{\"a\" 1}", SYNTAX),
        ("{a:1}", SYNTAX),
        ("{\"a\":1 \"b\":2}", SYNTAX),
        ("{\"b\":[1,]}", SYNTAX),
        ("{\"b\":[1 2]}", SYNTAX),
        ("{\"b\":[1}", SYNTAX),
        ("{\"b\":{1:2}}", SYNTAX),
        ("}", SYNTAX),
        ("// {}", SYNTAX),
        ("{} ", "{}"),
        ("\r\n{}\t", "{}"),
    ] {
        check(&["a: int64"], text, expect);
    }
}

#[test]
fn kinds_of_payload() {
    let mut chunk = Chunk::new(3, 3, 0);
    chunk.push(0, None, Payload::Tombstone, b"");
    chunk.push(1, None, Payload::Truncated, br#"{"a":1}"#);
    chunk.push(2, None, Payload::Bytes, br#"{"a":1}"#);
    chunk.push(9, None, Payload::Bytes, b"");
    let decoded = Decoder::new(&fields(&["a: int64"]))
        .decode(&chunk)
        .expect("decoded");
    assert_eq!(decoded.rows, [2]);
    let codes: Vec<(usize, &str)> = decoded
        .rejects
        .iter()
        .map(|r| (r.index, r.codes[0].as_str()))
        .collect();
    assert_eq!(
        codes,
        [
            (0, "record.tombstone"),
            (1, "record.too_large"),
            (3, "record.empty")
        ]
    );
}

#[test]
fn an_empty_chunk_is_an_empty_batch() {
    let all = fields(&["a: string", "b: list<map<string,struct<c: decimal(9,2)>>>"]);
    let decoded = decode::<&str>(&all, &[]);
    assert_eq!(batch_of(&all, &decoded).num_rows(), 0);
}

#[test]
fn what_is_not_utf8() {
    let all = fields(&["a: string"]);
    for bytes in [
        &b"{\"a\":\"\xff\"}"[..],
        b"{\"a\":\"\xc3\"}",
        b"{\"a\":\"\xe2\x82\"}",
        b"{\"a\":\"\xed\xa0\x80\"}",     // a surrogate
        b"{\"a\":\"\xc0\xaf\"}",         // overlong
        b"{\"a\":\"\xf4\x90\x80\x80\"}", // beyond U+10FFFF
        b"{\"\xff\":1}",
        b"\xff\xfe{\x00}\x00",
        b"{\"a\":1}\x80",
        b"\x80{}",
    ] {
        let (found, detail) = outcome(&all, bytes);
        assert_eq!(
            found,
            Outcome::Reject(NOT_UTF8.to_owned()),
            "{bytes:?} {detail}"
        );
    }
}

/// A character that is cut by the border of two records makes the buffer as a whole valid UTF-8, but
/// neither record.
#[test]
fn a_character_cut_at_the_border_of_records() {
    let all = fields(&["a: string"]);
    let text = "{\"a\":\"x€\"}".as_bytes();
    for cut in 0..=text.len() {
        let (head, tail) = text.split_at(cut);
        let records: [&[u8]; 4] = [b"{}", head, tail, b"{}"];
        let together = decode(&all, &records);
        let alone: Vec<String> = records
            .iter()
            .map(|record| match outcome(&all, record).0 {
                Outcome::Row(_) => "row".to_owned(),
                Outcome::Reject(code) => code,
            })
            .collect();
        let mut found = vec!["row".to_owned(); 4];
        for reject in &together.rejects {
            found[reject.index].clone_from(&reject.codes[0]);
        }
        assert_eq!(found, alone, "cut at {cut}");
        assert_eq!(together.rows.len() + together.rejects.len(), 4);
    }
}

#[test]
fn truncated_at_every_byte() {
    let specs = [
        "a: string",
        "m: map<string,string>",
        "l: list<struct<x: float64>>",
        "t: timestamp",
        "d: decimal(9,2)",
    ];
    let all = fields(&specs);
    let text = r#"{"a":"é\u00e9😀","m":{"k\n":"v"},"l":[{"x":1.5e3},null],"u":[true,false],"t":"2026-01-01T10:00:00Z","d":"1.50"}"#;
    assert!(matches!(outcome(&all, text).0, Outcome::Row(_)));
    let cuts: Vec<&[u8]> = (0..text.len()).map(|n| &text.as_bytes()[..n]).collect();
    let decoded = decode(&all, &cuts);
    assert_eq!(decoded.rejects.len(), text.len());
    for (n, reject) in decoded.rejects.iter().enumerate() {
        let expect = match n {
            0 => "record.empty",
            n if !text.is_char_boundary(n) => NOT_UTF8,
            _ => SYNTAX,
        };
        assert_eq!(reject.codes, [expect], "{n} bytes: {}", reject.detail);
    }
}

#[test]
fn nesting() {
    let open = |n: usize| "[".repeat(n) + &"]".repeat(n);
    // The record is the first level.
    let deepest = DEPTH_MAX - 1;
    check(&[], &format!(r#"{{"u":{}}}"#, open(deepest)), "{}");
    for levels in [DEPTH_MAX + 1, 1000, 100_000, 5_000_000] {
        for (field, json) in [
            ("x: int64", format!(r#"{{"u":{}}}"#, open(levels))),
            ("x: int64", format!(r#"{{"u":{}"#, "[".repeat(levels))),
            (
                "x: int64",
                format!(r#"{{"u":{}"#, r#"{"k":"#.repeat(levels)),
            ),
            ("x: int64", format!(r#"{{"x":{}}}"#, open(levels))),
            ("x: int64", open(levels)),
            (
                "x: list<list<int64>>",
                format!(r#"{{"x":{}}}"#, open(levels)),
            ),
            (
                "x: map<string,map<string,int64>>",
                r#"{"x":"#.repeat(levels),
            ),
            ("x: struct<x: struct<x: string>>", r#"{"x":"#.repeat(levels)),
        ] {
            check(&[field], &json, DEPTH);
        }
    }
}

/// Records of 10 MB of every shape that could be slow; each in less than a second.
#[test]
fn large_records() {
    const SIZE: usize = 10_000_000;
    let many = |piece: &str| piece.repeat(SIZE / piece.len());
    let list = |piece: &str| {
        let mut items = many(piece);
        items.pop();
        items
    };
    let keys: Vec<String> = (0..SIZE / 13).map(|i| format!(r#""{i:08}":1"#)).collect();
    let keys = keys.join(",");
    let same = list(r#""k":1,"#);
    for (what, field, json, accepted) in [
        (
            "text",
            "a: string",
            format!(r#"{{"a":"{}"}}"#, many("abc é")),
            true,
        ),
        (
            "escapes",
            "a: string",
            format!(r#"{{"a":"{}"}}"#, many(r"\n\u00e9")),
            true,
        ),
        (
            "unknown text",
            "a: string",
            format!(r#"{{"u":"{}"}}"#, many("x")),
            true,
        ),
        (
            "unknown list",
            "a: string",
            format!(r#"{{"u":[{}]}}"#, list("1,")),
            true,
        ),
        ("unknown keys", "a: string", format!("{{{keys}}}"), true),
        (
            "list",
            "a: list<int64>",
            format!(r#"{{"a":[{}]}}"#, list("1,")),
            true,
        ),
        (
            "lists",
            "a: list<list<string>>",
            format!(r#"{{"a":[{}]}}"#, list("[],")),
            true,
        ),
        (
            "structs",
            "a: list<struct<b: string>>",
            format!(r#"{{"a":[{}]}}"#, list("{},")),
            true,
        ),
        (
            "map",
            "a: map<string,int64>",
            format!(r#"{{"a":{{{keys}}}}}"#),
            true,
        ),
        (
            "one key",
            "a: map<string,int64>",
            format!(r#"{{"a":{{{same}}}}}"#),
            false,
        ),
        ("one field", "k: int64", format!("{{{same}}}"), false),
        (
            "float digits",
            "a: float64",
            format!(r#"{{"a":0.{}}}"#, many("1")),
            true,
        ),
        (
            "float zeros",
            "a: float64",
            format!(r#"{{"a":0.{}1}}"#, many("0")),
            true,
        ),
        (
            "int digits",
            "a: int64",
            format!(r#"{{"a":{}}}"#, many("1")),
            false,
        ),
        (
            "decimal digits",
            "a: decimal(38,2)",
            format!(r#"{{"a":1.{}}}"#, many("0")),
            true,
        ),
        (
            "decimal zeros",
            "a: decimal(38,2)",
            format!(r#"{{"a":1{}1}}"#, many("0")),
            false,
        ),
        (
            "exponent",
            "a: decimal(38,2)",
            format!(r#"{{"a":1e{}}}"#, many("1")),
            false,
        ),
        (
            "time",
            "a: timestamp",
            format!(r#"{{"a":"2026-01-01T00:00:00.{}Z"}}"#, many("1")),
            false,
        ),
        ("space", "a: string", format!("{{{}}}", many(" ")), true),
        ("blank", "a: string", many(" "), false),
        (
            "not an object",
            "a: string",
            format!(r#""{}""#, many("x")),
            false,
        ),
        (
            "wrong type",
            "a: string",
            format!(r#"{{"a":[{}]}}"#, list("1,")),
            false,
        ),
    ] {
        let all = fields(&[field]);
        let records = [b"{}".to_vec(), json.into_bytes(), b"{}".to_vec()];
        let chunk = chunk(&records);
        let mut decoder = Decoder::new(&all);
        let start = Instant::now();
        let decoded = decoder.decode(&chunk).expect("decoded");
        let took = start.elapsed();
        assert_eq!(
            decoded.rows.len(),
            2 + usize::from(accepted),
            "{what}: {:?}",
            decoded.rejects
        );
        assert!(took < Duration::from_secs(1), "{what} took {took:?}");
        assert!(
            decoded.rejects.iter().all(|r| r.detail.len() < 500),
            "{what}"
        );
    }
}

/// What arrow-json makes of the same values: the independent answer.
fn oracle(fields: &[FieldSpec], rows: &[Vec<Value>]) -> RecordBatch {
    let schema: Vec<Field> = fields
        .iter()
        .map(|f| Field::new(&f.name, arrow_type(&f.ty), true))
        .collect();
    let mut text = String::new();
    for row in rows {
        let object: Map<String, Value> = fields
            .iter()
            .zip(row)
            .map(|(f, v)| (f.name.clone(), v.clone()))
            .collect();
        text += &Value::Object(object).to_string();
        text.push('\n');
    }
    ReaderBuilder::new(Arc::new(Schema::new(schema)))
        .build(Cursor::new(text))
        .expect("a reader")
        .next()
        .expect("a batch")
        .expect("valid")
}

const CODES: [&str; 10] = [
    "record.empty",
    "decode.not_utf8",
    SYNTAX,
    DEPTH,
    "decode.not_an_object",
    TYPE,
    RANGE,
    TWICE,
    MISSING,
    "record.too_large",
];

fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.below(3) {
        let at = rng.below(bytes.len() + 1);
        match rng.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.next() as u8),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 if at < bytes.len() => bytes[at] = rng.next() as u8,
            4 if at < bytes.len() => bytes[at] = b"{}[]\":,\\u0e.-+tn "[rng.below(17)],
            _ => {
                let from = rng.below(at + 1);
                let piece = bytes[from..at].to_vec();
                let to = rng.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
        }
    }
}

/// Pieces of JSON in any order: near to the grammar, so that most rules are met.
fn soup(rng: &mut Rng) -> Vec<u8> {
    const PIECES: [&str; 28] = [
        "{", "}", "[", "]", ":", ",", "\"", "\"a\"", "\"b\":", "1", "-", "0", ".", "e", "+",
        "true", "null", "false", " ", "\\", "\\u00e9", "\\ud83d", "\\ude00", "é", "\n", "{\"a\":",
        "\"f0\":", "[1,2]",
    ];
    let mut out = Vec::new();
    if rng.one_in(2) {
        out.push(b'{');
    }
    for _ in 0..rng.below(12) {
        out.extend_from_slice(rng.pick(&PIECES).as_bytes());
    }
    if rng.one_in(2) {
        out.push(b'}');
    }
    out
}

/// Whether serde_json takes it for an object; `None` where its limits are others than ours.
fn is_object(bytes: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) => Some(value.is_object()),
        Err(error) if error.to_string().contains("out of range") => None,
        Err(error) if error.to_string().contains("recursion") => None,
        Err(_) => Some(false),
    }
}

/// The fuzz target's seeds, whole, cut at every byte, and changed a little.
#[test]
fn the_seeds_of_the_fuzz_target_hold() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/decode");
    let mut rng = Rng(1);
    let mut seeds = 0;
    for entry in std::fs::read_dir(folder).expect("the seeds") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a seed");
        for cut in 0..=bytes.len() {
            check::decode(&bytes[..cut]);
            let mut changed = bytes.clone();
            mutate(&mut rng, &mut changed);
            check::decode(&changed);
        }
        seeds += 1;
    }
    assert!(seeds >= 6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Any types, any values, any way of writing them: the same columns as arrow-json's.
    #[test]
    fn rows_agree_with_arrow_json(seed: u64) {
        let mut rng = Rng(seed);
        let all = random_fields(&mut rng);
        let rows: Vec<Vec<Value>> = (0..1 + rng.below(20))
            .map(|_| all.iter().map(|f| random_value(&mut rng, &f.ty, true)).collect())
            .collect();
        let texts: Vec<String> = rows
            .iter()
            .map(|row| Writer { rng: &mut rng, wrong_in: None }.record(&all, row))
            .collect();
        let mut decoder = Decoder::new(&all);
        // The second time everything is reused.
        for _ in 0..2 {
            let decoded = decoder.decode(&chunk(&texts)).unwrap();
            prop_assert!(decoded.rejects.is_empty(), "{:?} {texts:?}", decoded.rejects);
            prop_assert_eq!(batch_of(&all, &decoded), oracle(&all, &rows));
        }
    }

    /// Bad records, wrong at any depth, leave no trace in the rows before and after them.
    #[test]
    fn a_bad_record_does_not_disturb_its_neighbours(seed: u64) {
        let mut rng = Rng(seed);
        let all = random_fields(&mut rng);
        let mut rows = Vec::new();
        let mut texts = Vec::new();
        let mut good = Vec::new();
        for i in 0..30_u32 {
            let row: Vec<Value> = all.iter().map(|f| random_value(&mut rng, &f.ty, true)).collect();
            let wrong_in = rng.one_in(3).then(|| rng.below(12));
            let mut writer = Writer { rng: &mut rng, wrong_in };
            let mut text = writer.record(&all, &row);
            let mut bad = wrong_in.is_some() && writer.wrong_in.is_none();
            if rng.one_in(4) {
                // Without its last brace it is never complete.
                let end = text.rfind('}').unwrap();
                let cut = (0..=rng.below(end + 1)).rev().find(|n| text.is_char_boundary(*n)).unwrap();
                text.truncate(cut);
                bad = true;
            } else if rng.one_in(8) {
                text.push('x');
                bad = true;
            }
            if !bad {
                good.push(i);
                rows.push(row);
            }
            texts.push(text);
        }
        let decoded = Decoder::new(&all).decode(&chunk(&texts)).unwrap();
        prop_assert_eq!(&decoded.rows, &good);
        prop_assert_eq!(decoded.rejects.len(), 30 - good.len());
        if !rows.is_empty() {
            prop_assert_eq!(batch_of(&all, &decoded), oracle(&all, &rows));
        }
    }

    /// Whatever comes, each record ends as one row or as one reject with a known code, the same as if
    /// it had come alone.
    #[test]
    fn anything_is_a_row_or_a_reject(seed: u64) {
        let mut rng = Rng(seed);
        let all = random_fields(&mut rng);
        let records: Vec<Vec<u8>> = (0..20)
            .map(|_| match rng.below(4) {
                0 => (0..rng.below(40)).map(|_| rng.next() as u8).collect(),
                1 => soup(&mut rng),
                _ => {
                    let row: Vec<Value> = all.iter().map(|f| random_value(&mut rng, &f.ty, true)).collect();
                    let mut bytes = Writer { rng: &mut rng, wrong_in: None }.record(&all, &row).into_bytes();
                    mutate(&mut rng, &mut bytes);
                    bytes
                }
            })
            .collect();
        let decoded = decode(&all, &records);
        let mut ends = vec![None; records.len()];
        for row in &decoded.rows {
            prop_assert!(ends[*row as usize].replace("row".to_owned()).is_none());
        }
        for reject in &decoded.rejects {
            prop_assert!(CODES.contains(&reject.codes[0].as_str()), "{reject:?}");
            prop_assert!(!reject.detail.is_empty());
            prop_assert!(ends[reject.index].replace(reject.codes[0].clone()).is_none());
        }
        let rows = rows_of(&batch_of(&all, &decoded));
        for (index, end) in ends.iter().enumerate() {
            let alone = outcome(&all, &records[index]).0;
            match end.as_deref() {
                Some("row") => {
                    let row = decoded.rows.iter().position(|r| *r as usize == index).unwrap();
                    prop_assert_eq!(alone, Outcome::Row(rows[row].clone()));
                }
                Some(code) => prop_assert_eq!(alone, Outcome::Reject(code.to_owned())),
                None => prop_assert!(false, "record {} vanished", index),
            }
        }
    }

    /// Without known fields, a record is accepted if and only if it is a JSON object.
    #[test]
    fn validity_agrees_with_serde_json(seed: u64) {
        let mut rng = Rng(seed);
        let records: Vec<Vec<u8>> = (0..100)
            .map(|_| {
                let mut bytes = soup(&mut rng);
                if rng.one_in(2) {
                    let all = random_fields(&mut rng);
                    let row: Vec<Value> = all.iter().map(|f| random_value(&mut rng, &f.ty, true)).collect();
                    bytes = Writer { rng: &mut rng, wrong_in: None }.record(&all, &row).into_bytes();
                    mutate(&mut rng, &mut bytes);
                }
                bytes
            })
            .collect();
        let decoded = decode(&[], &records);
        for (index, record) in records.iter().enumerate() {
            let accepted = decoded.rows.contains(&(index as u32));
            if let Some(valid) = is_object(record) {
                prop_assert_eq!(accepted, valid, "{}", String::from_utf8_lossy(record));
            }
        }
    }
}
