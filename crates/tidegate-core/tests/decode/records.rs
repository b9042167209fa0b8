//! What is a record, and what of it can be found wrong.

use super::*;

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

/// A character that is cut by the border of two records makes the buffer as a whole valid UTF-8,
/// but neither record.
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
