//! Tidegate's own functions, and the present.

use super::*;

/// Made with Python's hashlib, over the texts that Java's `Double.toString` gives: 100.0, 0.1,
/// 999999.99, 0.001, 5.0E-4, 1.0E-7, 1.23456789E7, 9999999.5, 1.7976931348623157E308.
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
