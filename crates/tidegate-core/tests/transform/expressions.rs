//! Enrichments, and expressions that fail.

use super::*;

#[test]
fn a_good_transaction_has_all_columns() {
    let mut chunk = Chunk::new(4, 4, 17);
    let at = NOW - 3 * MINUTE;
    chunk.push(
        20,
        Some(at + 5),
        Payload::Bytes,
        transaction(at, &[]).as_bytes(),
    );
    chunk.push(21, None, Payload::Tombstone, b"");
    let prepared = preparer(&plan(&transactions()))
        .prepare(&chunk, NOW, &[])
        .expect("prepared");
    assert_eq!(
        rows_of(&prepared.batch),
        [concat!(
            r#"{"transaction_id":"TXN_1_0001","customer_id":"CUST_000001","amount":100.0,"currency":"EUR","#,
            r#""merchant":"m","category":"c","status":"PENDING","timestamp":"2025-12-31T23:57:00.000000+00:00","#,
            r#""metadata":{"device":"ios"},"event_timestamp":"2025-12-31T23:57:00Z","amount_category":"medium","#,
            r#""hour_of_day":23,"day_of_week":4,"row_hash":"41f9316ec517306b75404c0a80800faf1bef7bb8321387185cc4b10c3c82c564","#,
            r#""processing_timestamp":"2026-01-01T00:00:00Z","source_partition":4,"source_offset":20,"#,
            r#""source_timestamp":"2025-12-31T23:57:00.000005Z"}"#,
        )]
    );
    assert_eq!((prepared.from, prepared.to, prepared.read), (17, 22, 2));
    assert_eq!(
        rows_of(prepared.rejected.as_ref().expect("a reject")),
        [concat!(
            r#"{"payload":"","payload_encoding":"utf8","reasons":"record.tombstone","detail":"null payload","#,
            r#""source_partition":4,"source_offset":21,"rejected_at":"2026-01-01T00:00:00Z"}"#,
        )]
    );
    assert_eq!(prepared.rejected_by.get("record.tombstone"), Some(&1));
}

#[test]
fn an_expression_that_fails_rejects_only_its_row() {
    let mut spec = plain_job(&["at!: timestamp", "x: int64", "s: string"]);
    spec.rules = named(&[("ratio", "10 / x >= 1")]);
    spec.enrich = named(&[("number", "CAST(s AS INT)"), ("double", "number * 2")]);
    spec.windows = vec![window(
        "w",
        MINUTE,
        MINUTE,
        &[],
        &["t = sum(100 / (x - 2))"],
    )];
    let at = iso(NOW);
    let records: Vec<String> = [
        (1, "5"),
        (0, "6"),
        (5, "abc"),
        (0, "abc"),
        (2, "7"),
        (20, "8"),
        (10, "9"),
    ]
    .iter()
    .map(|(x, s)| format!(r#"{{"at":"{at}","x":{x},"s":"{s}"}}"#))
    .collect();
    let prepared = prepare(&spec, &records);
    assert_eq!(
        prepared.accepted,
        [true, false, false, false, false, false, true]
    );
    assert_eq!(
        reasons(&prepared),
        [
            "rule.ratio",
            "enrich.number",
            "rule.ratio,enrich.number",
            "window.w",
            "rule.ratio"
        ]
    );
    assert_eq!(
        int32(&prepared, "number"),
        [Some(5), Some(6), None, None, Some(7), Some(8), Some(9)]
    );
    assert_eq!(int64(&prepared, "double")[0], Some(10));
    let rejected = prepared.rejected.expect("rejects");
    let details = rejected
        .column_by_name("detail")
        .expect("detail")
        .as_string::<i32>();
    assert!(
        details
            .value(0)
            .starts_with("rule `ratio` cannot be evaluated: "),
        "{}",
        details.value(0)
    );
    assert!(details.value(1).contains("abc"), "{}", details.value(1));
    assert_eq!(details.value(4), "rule `ratio` is not true");
}

#[test]
fn expressions_reach_into_maps_structs_and_lists() {
    let mut spec = plain_job(&[
        "at!: timestamp",
        "metadata: map<string,string>",
        "place: struct<lat: float64, inner: struct<name: string>>",
        "list: list<int64>",
        "price: decimal(10,2)",
        "Camel: string",
    ]);
    spec.rules = named(&[(
        "known_device",
        "metadata['device'] IS NULL OR metadata['device'] IN ('ios', 'web')",
    )]);
    spec.enrich = named(&[
        ("device", "coalesce(metadata['device'], 'none')"),
        ("north", "place['lat'] > 0"),
        ("inner_name", "place['inner']['name']"),
        ("first", "list[1]"),
        ("gross", "price * 1.19"),
        ("shout", "upper(Camel) || upper(\"Camel\")"),
    ]);
    spec.windows = vec![window(
        "w",
        MINUTE,
        MINUTE,
        &["device"],
        &["lat = max(place['lat'])", "sum = sum(price)"],
    )];
    let at = iso(NOW);
    let records = [
        format!(
            r#"{{"at":"{at}","metadata":{{"x":"1","device":"ios"}},"place":{{"lat":1.5,"inner":{{"name":"n"}}}},"list":[7,8],"price":1.00,"Camel":"c"}}"#
        ),
        format!(r#"{{"at":"{at}","metadata":{{}},"place":{{"lat":-1}},"list":[]}}"#),
        format!(r#"{{"at":"{at}"}}"#),
        format!(r#"{{"at":"{at}","metadata":{{"device":"tv"}}}}"#),
    ];
    let prepared = prepare(&spec, &records);
    assert_eq!(prepared.accepted, [true, true, true, false]);
    let rows = rows_of(&prepared.batch);
    assert!(
        rows[0].contains(r#""device":"ios","north":true,"inner_name":"n","first":7,"gross":1.19"#),
        "{}",
        rows[0]
    );
    assert!(rows[0].contains(r#""shout":"CC""#));
    assert!(
        rows[1].contains(r#""device":"none","north":false,"processing"#),
        "{}",
        rows[1]
    );
    assert!(
        rows[2].contains(r#""device":"none","processing"#),
        "{}",
        rows[2]
    );
}

#[test]
fn a_later_column_sees_those_before_it() {
    let mut spec = plain_job(&["at!: timestamp", "v: int64"]);
    spec.enrich = named(&[
        ("a", "v + 1"),
        ("b", "a * 2"),
        ("c", "a + b"),
        ("nothing", "NULL"),
        ("three", "3"),
    ]);
    let prepared = prepare(&spec, &[format!(r#"{{"at":"{}","v":4}}"#, iso(NOW))]);
    assert_eq!(int64(&prepared, "c"), [Some(15)]);
    assert_eq!(int64(&prepared, "three"), [Some(3)]);
    assert!(
        prepared
            .batch
            .column_by_name("nothing")
            .expect("a column")
            .is_null(0)
    );
}

/// Expressions that could panic, overflow or loop on hostile values must at worst reject.
#[test]
fn hostile_values_at_worst_reject() {
    let mut spec = plain_job(&[
        "at!: timestamp",
        "i: int64",
        "f: float64",
        "s: string",
        "d: decimal(38,2)",
    ]);
    spec.enrich = named(&[
        ("add", "i + 1"),
        ("negate", "-i"),
        ("absolute", "abs(i)"),
        ("divide", "i / -1"),
        ("modulo", "i % -1"),
        ("shift", "i << 70"),
        ("times", "d * 1000000"),
        ("quotient", "d / 0.0001"),
        ("part", "substr(s, i, 3)"),
        ("left_part", "left(s, i)"),
        ("round_f", "round(f, 400)"),
        ("to_int", "CAST(f AS INT)"),
        ("later", "at + INTERVAL '7900 years'"),
        ("month", "date_trunc('month', at)"),
        ("letter", "chr(i)"),
        ("split", "split_part(s, '|', i)"),
        ("power", "power(i, i)"),
        ("factor", "factorial(i)"),
        ("greatest", "gcd(i, -1)"),
        ("nothing", "f / 0"),
    ]);
    let at = [
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2026-01-01T00:00:00Z",
    ];
    let ints = [
        "-9223372036854775808",
        "9223372036854775807",
        "0",
        "-1",
        "21",
        "1114112",
        "55296",
    ];
    let floats = [
        "1.7976931348623157e308",
        "-1.7976931348623157e308",
        "5e-324",
        "0",
        "-0.0",
        "1e19",
    ];
    let texts = ["", "é😀", "a|b", "\\u0000"];
    let decimals = ["999999999999999999999999999999999999.99", "-0.01", "0"];
    let mut records = Vec::new();
    for i in 0..200 {
        records.push(format!(
            r#"{{"at":"{}","i":{},"f":{},"s":"{}","d":{}}}"#,
            at[i % at.len()],
            ints[i % ints.len()],
            floats[i % floats.len()],
            texts[i % texts.len()],
            decimals[i / 3 % decimals.len()],
        ));
    }
    // One at a time, so that each expression meets each value though others fail.
    for expression in spec.enrich.clone() {
        let mut one = spec.clone();
        one.enrich = vec![expression];
        let prepared = prepare(&one, &records);
        assert_eq!(prepared.accepted.len(), 200);
        assert_eq!(
            prepared.accepted.iter().filter(|a| !**a).count(),
            reasons(&prepared).len()
        );
    }
    prepare(&spec, &records);
}

#[test]
fn what_would_differ_from_run_to_run_is_refused() {
    for sql in [
        "random() > 0.5",
        "uuid() <> ''",
        "current_date = at",
        "current_time IS NULL",
        "at = today()",
    ] {
        let mut spec = plain_job(&["at!: timestamp"]);
        spec.rules = named(&[("r", sql)]);
        let errors = errors(&spec);
        assert_eq!(errors.len(), 1, "{sql}: {errors:?}");
        assert!(errors[0].starts_with("rules.r: "), "{errors:?}");
        assert!(errors[0].contains("now()"), "{sql}: {errors:?}");
    }
}
