//! What is rejected, and with which reasons.

use super::*;

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

/// Times that no event has are rejected with their reason, and what comes after is judged as if
/// they had never come.
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
