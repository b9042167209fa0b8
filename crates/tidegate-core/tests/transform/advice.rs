//! What is advised against: a job that is right, and hardly what was meant.

use tidegate_core::advice::advice;

use super::*;

fn advised(spec: &JobSpec, upsert: &[&str]) -> Vec<String> {
    let warnings = advice(spec, &Arc::clone(&plan(spec)), &names(upsert));
    warnings
        .into_iter()
        .map(|warning| format!("{}: {}", warning.path.join("."), warning.message))
        .collect()
}

#[test]
fn a_key_of_contents_without_the_event_time_is_advised_against() {
    let mut spec = transactions();
    assert_eq!(advised(&spec, &["transaction_id"]), Vec::<String>::new());
    for key in [
        &["transaction_id", "row_hash"][..],
        &["row_hash"],
        &["transaction_id", "status"],
    ] {
        spec.dedup_key = names(key);
        let warnings = advised(&spec, &["transaction_id"]);
        assert_eq!(warnings.len(), 1, "{key:?}: {warnings:?}");
        assert!(
            warnings[0].starts_with("deduplication.key: ")
                && warnings[0].contains("\"event_timestamp\"")
        );
    }
    for key in [
        &["transaction_id"][..],
        &["transaction_id", "row_hash", "timestamp"],
        &["transaction_id", "status", "event_timestamp"],
    ] {
        spec.dedup_key = names(key);
        assert_eq!(
            advised(&spec, &["transaction_id"]),
            Vec::<String>::new(),
            "{key:?}"
        );
    }
    spec.enrich.extend(named(&[(
        "content",
        "sha256(concat_ws('|', amount, status))",
    )]));
    spec.dedup_key = names(&["transaction_id", "content"]);
    assert_eq!(advised(&spec, &[]).len(), 1);
    // The hash may have the time in it.
    spec.enrich.retain(|column| column.name != "row_hash");
    spec.enrich.extend(named(&[(
        "row_hash",
        "row_hash(transaction_id, status, event_timestamp)",
    )]));
    spec.dedup_key = names(&["transaction_id", "row_hash"]);
    assert_eq!(advised(&spec, &["transaction_id"]), Vec::<String>::new());
}

#[test]
fn nulls_in_a_row_hash_that_is_a_key_are_advised_against() {
    let mut spec = transactions();
    spec.enrich.extend(named(&[
        ("loose", "row_hash(transaction_id, merchant, category)"),
        ("tight", "key_hash(transaction_id, merchant, category)"),
    ]));
    spec.fields.extend(fields(&["extra: string"]));
    spec.dedup_key = names(&["loose", "event_timestamp"]);
    let warnings = advised(&spec, &["tight"]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with("deduplication.key.0: `loose`"),
        "{warnings:?}"
    );
    assert!(
        warnings[0].contains("`category`, `merchant`") && warnings[0].contains("key_hash"),
        "{warnings:?}"
    );
    // However it gets into the key, and whatever it is computed from.
    spec.enrich.extend(named(&[
        ("low", "lower(merchant)"),
        ("filled", "coalesce(merchant, '')"),
        ("hash", "row_hash(transaction_id, low, filled)"),
        ("outer", "concat(hash, '-')"),
    ]));
    spec.dedup_key = names(&["outer", "event_timestamp"]);
    let warnings = advised(&spec, &["tight"]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("(`low`)"), "{warnings:?}");
    spec.dedup_key = names(&["tight", "event_timestamp"]);
    assert_eq!(advised(&spec, &["loose"]).len(), 1);
    // Other functions leave nulls out, too.
    spec.enrich.extend(named(&[
        ("joined", "md5(concat_ws('|', merchant, category))"),
        ("glued", "concat(merchant, category)"),
        ("marked", "concat(merchant, '-')"),
    ]));
    for (column, count) in [("joined", 1), ("glued", 1), ("marked", 0)] {
        spec.dedup_key = names(&[column, "event_timestamp"]);
        let warnings = advised(&spec, &["tight"]);
        assert_eq!(warnings.len(), count, "{column}: {warnings:?}");
    }
}
