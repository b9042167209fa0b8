//! Rules, enrichments, lookups and event times: what a worker makes of a chunk.

mod common;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use tidegate_core::chunk::{Chunk, Payload};
use tidegate_core::lane::Lane;
use tidegate_core::lookup::{LookupError, LookupTable};
use tidegate_core::prepare::Prepared;
use tidegate_core::spec::{FieldType, JobSpec, LookupColumn, LookupSpec};

use common::{
    DAY, MINUTE, NOW, SECOND, aggregates, chunk, errors, fields, iso, named, names, plain_job,
    plan, prepare, preparer, reasons, rows_of, transactions, window,
};

/// A transaction that meets all rules, with some members replaced.
fn transaction(at: i64, replace: &[(&str, &str)]) -> String {
    let at = format!("\"{}\"", iso(at));
    let mut members = vec![
        ("transaction_id", "\"TXN_1_0001\""),
        ("customer_id", "\"CUST_000001\""),
        ("amount", "100.0"),
        ("currency", "\"EUR\""),
        ("merchant", "\"m\""),
        ("category", "\"c\""),
        ("status", "\"PENDING\""),
        ("timestamp", at.as_str()),
        ("metadata", "{\"device\":\"ios\"}"),
    ];
    for (name, value) in replace {
        let member = members.iter_mut().find(|m| m.0 == *name).expect("known");
        member.1 = value;
    }
    let members: Vec<String> = members
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn text<'a>(prepared: &'a Prepared, column: &str) -> &'a StringArray {
    prepared
        .batch
        .column_by_name(column)
        .expect("a column")
        .as_string()
}

fn int32(prepared: &Prepared, column: &str) -> Vec<Option<i32>> {
    let column = prepared.batch.column_by_name(column).expect("a column");
    column.as_primitive::<Int32Type>().iter().collect()
}

fn int64(prepared: &Prepared, column: &str) -> Vec<Option<i64>> {
    let column = prepared.batch.column_by_name(column).expect("a column");
    column.as_primitive::<Int64Type>().iter().collect()
}

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
fn a_rule_that_is_not_true_rejects() {
    for (replace, expect) in [
        (
            ("transaction_id", "\"TXN_1_001\""),
            "rule.transaction_id_format",
        ),
        (
            ("transaction_id", "\"TXN_1_0001\\n\""),
            "rule.transaction_id_format",
        ),
        (
            ("customer_id", "\"cust_000001\""),
            "rule.customer_id_format",
        ),
        (("amount", "0"), "rule.amount_in_range"),
        (("amount", "-0.01"), "rule.amount_in_range"),
        (("amount", "1000000"), "rule.amount_in_range"),
        (("currency", "\"usd\""), "rule.currency_known"),
        (("currency", "null"), "rule.currency_known"),
        (("currency", ""), "rule.currency_known"),
        (("status", "\"DONE\""), "rule.status_known"),
        (("status", "null"), "decode.missing"),
        (("amount", ""), "decode.missing"),
        (("timestamp", ""), "decode.missing"),
    ] {
        let records = [
            transaction(NOW, &[]),
            transaction(NOW, &[replace]),
            transaction(NOW, &[]),
        ];
        let prepared = prepare(&transactions(), &records);
        assert_eq!(reasons(&prepared), [expect], "{replace:?}");
        assert_eq!(prepared.accepted.iter().filter(|a| **a).count(), 2);
        assert_eq!(prepared.rejected_by.get(expect), Some(&1));
    }
    for accepted in [
        ("amount", "0.01"),
        ("amount", "999999.99"),
        ("merchant", "null"),
        ("metadata", ""),
    ] {
        let prepared = prepare(&transactions(), &[transaction(NOW, &[accepted])]);
        assert_eq!(prepared.accepted, [true], "{accepted:?}");
        assert!(prepared.rejected.is_none());
    }
}

#[test]
fn every_reason_is_listed() {
    let bad = [
        ("amount", "-1"),
        ("currency", "\"XXX\""),
        ("customer_id", "\"\""),
        ("timestamp", "\"2027-01-01T00:00:00Z\""),
    ];
    let prepared = prepare(&transactions(), &[transaction(NOW, &bad)]);
    assert_eq!(
        reasons(&prepared),
        ["rule.customer_id_format,rule.amount_in_range,rule.currency_known,rule.not_in_the_future"]
    );
    assert_eq!(prepared.rejected_by.values().sum::<u64>(), 4);
    let rejected = prepared.rejected.expect("a reject");
    let detail = rejected
        .column_by_name("detail")
        .expect("detail")
        .as_string::<i32>()
        .value(0);
    assert_eq!(
        detail,
        "rule `customer_id_format` is not true; rule `amount_in_range` is not true; \
         rule `currency_known` is not true; rule `not_in_the_future` is not true"
    );
}

#[test]
fn a_payload_that_is_not_text_is_kept_in_base64() {
    let prepared = prepare(&transactions(), &[&b"\xff\x00{"[..], b"{\"a\":"]);
    let rejected = prepared.rejected.expect("rejects");
    let column = |name: &str| -> Vec<String> {
        let column = rejected
            .column_by_name(name)
            .expect("a column")
            .as_string::<i32>();
        column
            .iter()
            .map(|v| v.expect("a value").to_owned())
            .collect()
    };
    assert_eq!(column("payload"), ["/wB7", "{\"a\":"]);
    assert_eq!(column("payload_encoding"), ["base64", "utf8"]);
    assert_eq!(column("reasons"), ["decode.not_utf8", "decode.syntax"]);
}

/// Times that no event has are rejected with their reason, and what comes after is judged as if they
/// had never come.
#[test]
fn impossible_times_do_not_move_the_watermark() {
    let old = "rule.not_older_than_7_days";
    let future = "rule.not_in_the_future";
    let unreadable = "event_time.invalid,rule.not_in_the_future,rule.not_older_than_7_days";
    let cases = [
        ("\"9999-12-31T23:59:59.999999Z\"", future),
        ("\"2026-01-01T00:00:00.000001Z\"", future),
        ("\"9999-12-31T23:59:59-18:00\"", unreadable),
        ("\"12026-01-01T00:00:00Z\"", unreadable),
        ("\"0001-01-01T00:00:00Z\"", old),
        ("\"0001-01-01T00:00:00+18:00\"", unreadable),
        ("\"0000-00-00T00:00:00Z\"", unreadable),
        ("\"1970-01-01T00:00:00Z\"", old),
        ("\"2025-12-24T23:59:59.999999Z\"", old),
        ("\"2026-01-01T00:00:00\"", unreadable),
        ("\"1767225600\"", unreadable),
        ("\"\"", unreadable),
        ("\"2026-01-01T00:00:00.123456789012Z\"", unreadable),
    ];
    let plan = plan(&transactions());
    let mut preparer = preparer(&plan);
    for (time, expect) in cases {
        let records = [
            transaction(NOW - MINUTE, &[]),
            transaction(NOW, &[("timestamp", time)]),
            transaction(NOW - 2 * MINUTE, &[("amount", "7")]),
        ];
        let prepared = preparer
            .prepare(&chunk(&records), NOW, &[])
            .expect("prepared");
        assert_eq!(reasons(&prepared), [expect], "{time}");
        assert_eq!(prepared.accepted, [true, false, true]);
        let mut lane = Lane::new(0, &plan, None);
        let verdict = lane.absorb(&prepared);
        assert_eq!(lane.watermark(), Some(NOW - 11 * MINUTE), "{time}");
        assert_eq!(
            (verdict.events, verdict.late.len(), verdict.duplicates),
            (2, 0, 0)
        );
    }
    // The edges of what is allowed.
    for at in [NOW, NOW - 7 * DAY] {
        assert_eq!(
            prepare(&transactions(), &[transaction(at, &[])]).accepted,
            [true]
        );
    }
}

#[test]
fn a_record_too_far_ahead_is_rejected_without_a_rule() {
    for field in ["at!: timestamp", "at!: timestamp_us"] {
        let mut spec = plain_job(&[field]);
        spec.event_time.max_ahead = Some(Duration::from_secs(60));
        let json = |micros: i64| match field {
            "at!: timestamp" => format!(r#"{{"at":"{}"}}"#, iso(micros)),
            _ => format!(r#"{{"at":{micros}}}"#),
        };
        let records = [
            json(NOW + MINUTE),
            json(NOW + MINUTE + 1),
            json(NOW + 3000 * DAY),
            json(NOW - 3000 * DAY),
        ];
        let prepared = prepare(&spec, &records);
        assert_eq!(prepared.accepted, [true, false, false, true]);
        assert_eq!(reasons(&prepared), ["event_time.too_far_ahead"; 2]);
    }
}

#[test]
fn a_record_too_far_ahead_breaks_only_the_rules_that_its_time_breaks() {
    let mut spec = transactions();
    spec.event_time.max_ahead = Some(Duration::from_secs(60));
    let prepared = prepare(&spec, &[transaction(NOW + 3000 * DAY, &[])]);
    assert_eq!(
        reasons(&prepared),
        ["event_time.too_far_ahead,rule.not_in_the_future"]
    );
}

#[test]
fn an_optional_event_time_that_is_null_is_rejected() {
    let spec = plain_job(&["at: timestamp", "v: int64"]);
    let prepared = prepare(&spec, &[r#"{"v":1}"#, r#"{"at":null}"#]);
    assert_eq!(reasons(&prepared), ["event_time.invalid"; 2]);
}

/// Made with Python's hashlib, over the texts that Java's `Double.toString` gives: 100.0, 0.1, 999999.99,
/// 0.001, 5.0E-4, 1.0E-7, 1.23456789E7, 9999999.5, 1.7976931348623157E308.
#[test]
fn row_hash_is_sha_256_over_the_texts() {
    let cases = [
        (
            "100",
            "41f9316ec517306b75404c0a80800faf1bef7bb8321387185cc4b10c3c82c564",
        ),
        (
            "100.0",
            "41f9316ec517306b75404c0a80800faf1bef7bb8321387185cc4b10c3c82c564",
        ),
        (
            "1e2",
            "41f9316ec517306b75404c0a80800faf1bef7bb8321387185cc4b10c3c82c564",
        ),
        (
            "0.1",
            "65fcbec66a4efb0ceb87e27212ba21dd6f9abb87b58110e63f8bd4699633c25e",
        ),
        (
            "0.10",
            "65fcbec66a4efb0ceb87e27212ba21dd6f9abb87b58110e63f8bd4699633c25e",
        ),
        (
            "999999.99",
            "10ac7d0cdd046f09a9ae072b8db0aefcde76fb15360ca823f168f0825cf95713",
        ),
        (
            "0.001",
            "0d936e90a88c735e83b39b624b1902ce4eff8b7b8e5c95f479642658cae76ece",
        ),
        (
            "0.0005",
            "e3c4fb171ee51f2318bf720797f13a419b28bfd223a7d4bc7114209bcaf9d7a3",
        ),
        (
            "0.0000001",
            "2529163febdb5acb8f9344fac761586d1a2d752718da17493282c146f13b5a3e",
        ),
        (
            "12345678.9",
            "c072caa5ee94c32ed5a0c2cd1c8a046ed589d2bcfd54556d915a530951128dcc",
        ),
        (
            "9999999.5",
            "dba954dafa2e24dff06c3c2ba5d29a27ae17aab666b87aa2842b71efac76d7ec",
        ),
        (
            "1.7976931348623157e308",
            "fc0a26e92caaa22a12798ba9816d953eb6660fc75613ec727da378df0398d185",
        ),
    ];
    let records: Vec<String> = cases
        .iter()
        .map(|(amount, _)| transaction(NOW, &[("amount", amount)]))
        .collect();
    let prepared = prepare(&transactions(), &records);
    let hashes = text(&prepared, "row_hash");
    for (row, (amount, hash)) in cases.iter().enumerate() {
        assert_eq!(hashes.value(row), *hash, "{amount}");
    }
}

#[test]
fn row_hash_is_over_bytes_and_leaves_nulls_out() {
    let mut spec = plain_job(&[
        "at: timestamp",
        "a: string",
        "b: string",
        "c: float64",
        "d: bool",
    ]);
    spec.enrich = named(&[
        ("all", "row_hash(a, b, c, 'x')"),
        ("none", "row_hash(b)"),
        ("rest", "row_hash(d, c)"),
    ]);
    let at = iso(NOW);
    let prepared = prepare(
        &spec,
        &[
            format!(r#"{{"at":"{at}","a":"é","b":"é","c":1}}"#),
            format!(r#"{{"at":"{at}","d":true,"c":-0.0}}"#),
        ],
    );
    assert_eq!(
        text(&prepared, "all").value(0),
        "e6a2b33eb9e7ca093bca44b295aa68fc25f07c9df18f5b84103e926ecb7ef7b7"
    );
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(text(&prepared, "none").value(1), empty);
    assert_eq!(
        text(&prepared, "rest").value(1),
        "038bbe0260a3c7a33164947c25a4bfe327dc5991c55d8bc1afb5c6f8e51edd7a"
    );
}

#[test]
fn weekdays_and_hours_are_in_utc() {
    let mut spec = plain_job(&["at!: timestamp"]);
    spec.enrich = named(&[("day", "day_of_week(at)"), ("hour", "hour_of_day(at)")]);
    // 2026-01-01 was a Thursday: day 5, and Sunday is 1.
    let records: Vec<String> = (0..8)
        .flat_map(|day| [NOW + day * DAY, NOW + (day + 1) * DAY - 1])
        .chain([-1, 0, -4 * DAY])
        .map(|at| format!(r#"{{"at":"{}"}}"#, iso(at)))
        .chain([r#"{"at":"2026-01-01T23:30:00-02:00"}"#.to_owned()])
        .collect();
    let prepared = prepare(&spec, &records);
    let days: Vec<i32> = int32(&prepared, "day").into_iter().flatten().collect();
    assert_eq!(
        days,
        [5, 5, 6, 6, 7, 7, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 4, 5, 1, 6]
    );
    let hours: Vec<i32> = int32(&prepared, "hour").into_iter().flatten().collect();
    assert_eq!(&hours[..4], [0, 23, 0, 23]);
    assert_eq!(&hours[16..], [23, 0, 0, 1]);
}

#[test]
fn categories_at_their_edges() {
    let amounts = [
        "0.01",
        "99.99",
        "99.99999999999999",
        "100",
        "999.99",
        "1000",
        "999999",
    ];
    let records: Vec<String> = amounts
        .iter()
        .map(|amount| transaction(NOW, &[("amount", amount)]))
        .collect();
    let prepared = prepare(&transactions(), &records);
    let found: Vec<&str> = text(&prepared, "amount_category")
        .iter()
        .flatten()
        .collect();
    assert_eq!(
        found,
        [
            "small", "small", "small", "medium", "medium", "large", "large"
        ]
    );
}

#[test]
fn now_is_the_time_of_the_batch() {
    let mut spec = plain_job(&["at!: timestamp"]);
    spec.enrich = named(&[
        ("seen", "now()"),
        ("again", "current_timestamp"),
        ("age", "CAST(date_part('epoch', now() - at) AS BIGINT)"),
    ]);
    let plan = plan(&spec);
    let mut preparer = preparer(&plan);
    for now in [NOW, NOW + 5 * SECOND] {
        let prepared = preparer
            .prepare(
                &chunk(&[format!(r#"{{"at":"{}"}}"#, iso(NOW - MINUTE))]),
                now,
                &[],
            )
            .expect("prepared");
        for column in ["seen", "again", "processing_timestamp"] {
            let column = prepared.batch.column_by_name(column).expect("a column");
            assert_eq!(
                column.as_primitive::<TimestampMicrosecondType>().value(0),
                now
            );
        }
        assert_eq!(int64(&prepared, "age"), [Some((now - NOW) / SECOND + 60)]);
    }
}

fn with_lookup() -> JobSpec {
    let mut spec = plain_job(&["at!: timestamp", "shop: string", "code: int64"]);
    spec.lookups = vec![
        LookupSpec {
            name: "shops".to_owned(),
            on: "shop".to_owned(),
            key: "id".to_owned(),
            columns: vec![
                LookupColumn {
                    from: "tier".to_owned(),
                    name: "tier".to_owned(),
                    ty: FieldType::String,
                },
                LookupColumn {
                    from: "limit".to_owned(),
                    name: "shop_limit".to_owned(),
                    ty: FieldType::Int64,
                },
            ],
        },
        LookupSpec {
            name: "codes".to_owned(),
            on: "code".to_owned(),
            key: "code".to_owned(),
            columns: vec![LookupColumn {
                from: "text".to_owned(),
                name: "code_text".to_owned(),
                ty: FieldType::String,
            }],
        },
    ];
    spec.rules = named(&[("tier_is_not_banned", "tier IS NULL OR tier <> 'banned'")]);
    spec.enrich = named(&[(
        "label",
        "coalesce(tier, 'none') || '/' || coalesce(code_text, '?')",
    )]);
    spec
}

#[test]
fn lookups_are_left_joins() {
    let texts = |values: &[Option<&str>]| StringArray::from(values.to_vec());
    let shops = LookupTable::new(
        &texts(&[Some("a"), Some("b"), None, Some("")]),
        vec![
            Arc::new(texts(&[Some("gold"), Some("banned"), Some("ghost"), None])),
            Arc::new(arrow::array::Int64Array::from(vec![
                Some(1),
                None,
                Some(3),
                Some(4),
            ])),
        ],
    )
    .expect("a table");
    let codes = LookupTable::new(
        &texts(&[Some("7"), Some("-9223372036854775808")]),
        vec![Arc::new(texts(&[Some("seven"), Some("least")]))],
    )
    .expect("a table");
    let empty: Vec<ArrayRef> = vec![
        Arc::new(StringArray::new_null(0)),
        Arc::new(arrow::array::Int64Array::new_null(0)),
    ];
    let none = LookupTable::new(&StringArray::new_null(0), empty).expect("a table");
    let at = iso(NOW);
    let records: Vec<String> = [
        r#""shop":"a","code":7"#,
        r#""shop":"b","code":7"#,
        r#""shop":"A","code":70"#,
        r#""shop":"","code":-9223372036854775808"#,
        r#""shop":null"#,
    ]
    .iter()
    .map(|members| format!(r#"{{"at":"{at}",{members}}}"#))
    .collect();
    let plan = plan(&with_lookup());
    let mut preparer = preparer(&plan);
    let (shops, codes, none) = (Arc::new(shops), Arc::new(codes), Arc::new(none));
    let prepared = preparer
        .prepare(&chunk(&records), NOW, &[shops, Arc::clone(&codes)])
        .expect("prepared");
    let labels: Vec<&str> = text(&prepared, "label").iter().flatten().collect();
    assert_eq!(
        labels,
        [
            "gold/seven",
            "banned/seven",
            "none/?",
            "none/least",
            "none/?"
        ]
    );
    assert_eq!(
        int64(&prepared, "shop_limit"),
        [Some(1), None, None, Some(4), None]
    );
    assert_eq!(prepared.accepted, [true, false, true, true, true]);

    let prepared = preparer
        .prepare(&chunk(&records), NOW, &[none, codes])
        .expect("prepared");
    assert_eq!(int64(&prepared, "shop_limit"), [None; 5]);

    let twice = LookupTable::new(&texts(&[Some("a"), Some("a")]), vec![]);
    assert_eq!(twice.err(), Some(LookupError::DuplicateKey("a".to_owned())));
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
        ("later", "at + INTERVAL '9999 years'"),
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

#[test]
fn all_errors_come_at_once_with_their_paths() {
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
    let errors = errors(&spec);
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

#[test]
fn a_chunk_without_good_records_is_prepared_all_the_same() {
    let plan = plan(&transactions());
    let mut preparer = preparer(&plan);
    for records in [vec![], vec!["{"], vec!["", "[]"]] {
        let prepared = preparer
            .prepare(&chunk(&records), NOW, &[])
            .expect("prepared");
        assert_eq!(prepared.batch.num_rows(), 0);
        assert_eq!(reasons(&prepared).len(), records.len());
        assert_eq!(Lane::new(0, &plan, None).absorb(&prepared).events, 0);
    }
}

#[test]
fn what_restore_needs_must_be_there() {
    let plan = plan(&transactions());
    let mut preparer = preparer(&plan);
    let batch = preparer
        .prepare(&chunk(&[transaction(NOW, &[])]), NOW, &[])
        .expect("prepared")
        .batch;
    let needed = batch.project(&plan.state_columns()).expect("columns");
    assert!(preparer.restore(&needed).is_ok());
    for without in 0..needed.num_columns() {
        let rest: Vec<usize> = (0..needed.num_columns())
            .filter(|c| *c != without)
            .collect();
        assert!(
            preparer
                .restore(&needed.project(&rest).expect("columns"))
                .is_err()
        );
    }
    let _ = aggregates(&[]);
}
