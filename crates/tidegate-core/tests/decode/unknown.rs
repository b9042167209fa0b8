//! Fields that the schema does not have.

use super::*;

/// Counts of fields that the schema does not have, over all records.
#[track_caller]
fn check_unknown(specs: &[&str], records: &[&str], expect: &[(&str, u64)], others: u64) {
    let unknown = decode(&fields(specs), records).unknown;
    let found: Vec<(&str, u64)> = unknown
        .by_name
        .iter()
        .map(|(n, c)| (n.as_str(), *c))
        .collect();
    assert_eq!((found.as_slice(), unknown.others), (expect, others));
}

#[test]
fn fields_that_are_not_in_the_schema_are_counted_by_name() {
    let specs = [
        "id: string",
        "who: struct<name: string>",
        "all: list<struct<n: int64>>",
    ];
    let records = [
        r#"{"id": "a", "surprise": 1, "who": {"name": "x", "age": 3}, "surprise": [{"id": 1}]}"#,
        r#"{"surp\u0072ise": null, "id": "b", "all": [{"n": 1, "m": 2}, {"m": 3}]}"#,
        // It is passed over before it turns out that the record is rejected.
        r#"{"other": 1, "id": 5}"#,
    ];
    let expect = [("all.m", 2), ("other", 1), ("surprise", 3), ("who.age", 1)];
    check_unknown(&specs, &records, &expect, 0);
    check_unknown(&specs, &[r#"{"id": "a"}"#], &[], 0);
}

#[test]
fn names_of_unknown_fields_are_bounded_in_number_and_length() {
    let records: Vec<String> = (0..1000)
        .map(|n| format!(r#"{{"key_{n}": {n}}}"#))
        .collect();
    let unknown = decode(&fields(&["id: string"]), &records).unknown;
    assert_eq!((unknown.by_name.len(), unknown.total()), (64, 1000));
    let long = format!(r#"{{"{}": 1}}"#, "k".repeat(1 << 20));
    check_unknown(&["id: string"], &[&long], &[], 1);
}

#[test]
fn counts_of_unknown_fields_are_of_one_chunk_and_names_stay_known() {
    let mut decoder = Decoder::new(&fields(&["id: string"]));
    for _ in 0..2 {
        let decoded = decoder
            .decode(&chunk(&[r#"{"x": 1, "y": 2}"#, r#"{"x": 1}"#]))
            .unwrap();
        let expect = [("x".to_owned(), 2), ("y".to_owned(), 1)].into();
        assert_eq!(decoded.unknown.by_name, expect);
    }
    let decoded = decoder.decode(&chunk(&[r#"{"id": "a"}"#])).unwrap();
    assert_eq!(decoded.unknown.total(), 0);
}
