//! Records of ten megabytes.

use super::*;

const SIZE: usize = 10_000_000;
/// Stands for as many members with different keys.
const DIFFERENT_KEYS: &str = "keys";

/// What a shape is called; a field of the schema; a record, with `@` where the piece is repeated;
/// the piece, whose last comma is left out; and whether the record is accepted.
type Shape = (&'static str, &'static str, &'static str, &'static str, bool);

const SHAPES: [Shape; 22] = [
    ("text", "a: string", r#"{"a":"@"}"#, "abc é", true),
    ("escapes", "a: string", r#"{"a":"@"}"#, r"\n\u00e9", true),
    ("unknown text", "a: string", r#"{"u":"@"}"#, "x", true),
    ("unknown list", "a: string", r#"{"u":[@]}"#, "1,", true),
    ("unknown keys", "a: string", "{@}", DIFFERENT_KEYS, true),
    ("list", "a: list<int64>", r#"{"a":[@]}"#, "1,", true),
    (
        "lists",
        "a: list<list<string>>",
        r#"{"a":[@]}"#,
        "[],",
        true,
    ),
    (
        "structs",
        "a: list<struct<b: string>>",
        r#"{"a":[@]}"#,
        "{},",
        true,
    ),
    (
        "map",
        "a: map<string,int64>",
        r#"{"a":{@}}"#,
        DIFFERENT_KEYS,
        true,
    ),
    (
        "one key",
        "a: map<string,int64>",
        r#"{"a":{@}}"#,
        r#""k":1,"#,
        false,
    ),
    ("one field", "k: int64", "{@}", r#""k":1,"#, false),
    ("float digits", "a: float64", r#"{"a":0.@}"#, "1", true),
    ("float zeros", "a: float64", r#"{"a":0.@1}"#, "0", true),
    ("int digits", "a: int64", r#"{"a":@}"#, "1", false),
    (
        "decimal digits",
        "a: decimal(38,2)",
        r#"{"a":1.@}"#,
        "0",
        true,
    ),
    (
        "decimal zeros",
        "a: decimal(38,2)",
        r#"{"a":1@1}"#,
        "0",
        false,
    ),
    ("exponent", "a: decimal(38,2)", r#"{"a":1e@}"#, "1", false),
    (
        "time",
        "a: timestamp",
        r#"{"a":"2026-01-01T00:00:00.@Z"}"#,
        "1",
        false,
    ),
    ("space", "a: string", "{@}", " ", true),
    ("blank", "a: string", "@", " ", false),
    ("not an object", "a: string", r#""@""#, "x", false),
    ("wrong type", "a: string", r#"{"a":[@]}"#, "1,", false),
];

fn repeated(piece: &str) -> String {
    if piece == DIFFERENT_KEYS {
        let keys: Vec<String> = (0..SIZE / 13).map(|i| format!(r#""{i:08}":1"#)).collect();
        return keys.join(",");
    }
    let mut repeated = piece.repeat(SIZE / piece.len());
    if piece.ends_with(',') {
        repeated.pop();
    }
    repeated
}

/// Records of 10 MB of every shape that could be slow; each in less than a second.
#[test]
fn large_records() {
    for (what, field, around, piece, accepted) in SHAPES {
        let all = fields(&[field]);
        let json = around.replace('@', &repeated(piece));
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
