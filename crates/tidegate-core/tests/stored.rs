//! The form in which events are stored for a warehouse that cannot take every value.

mod common;

use arrow::array::{Array, AsArray};
use tidegate_core::spec::StoredForm;

use common::{NOW, errors, iso, names, plain_job, plan, prepare, reasons};

fn form(text_bytes_max: usize) -> StoredForm {
    StoredForm {
        int96: false,
        nested_as_json: true,
        text_bytes_max: Some(text_bytes_max),
        plain_encodings: true,
    }
}

#[test]
fn nested_columns_are_stored_as_json_text() {
    let mut spec = plain_job(&[
        "at!: timestamp",
        "tags: map<string,string>",
        "sizes: list<int64>",
        "place: struct<x: float64, name: string>",
    ]);
    spec.stored = form(100);
    let at = iso(NOW);
    let lines = [
        format!(r#"{{"at":"{at}","tags":{{"a":"ü\"1"}},"sizes":[1,null,3],"place":{{"x":1.5}}}}"#),
        format!(r#"{{"at":"{at}"}}"#),
    ];
    let prepared = prepare(&spec, &lines);
    let text = |name: &str, row: usize| {
        let column = prepared.batch.column_by_name(name).expect("a column");
        let text = column.as_string::<i32>();
        text.is_valid(row).then(|| text.value(row).to_owned())
    };
    assert_eq!(text("tags", 0).as_deref(), Some(r#"{"a":"ü\"1"}"#));
    assert_eq!(text("sizes", 0).as_deref(), Some("[1,null,3]"));
    assert_eq!(
        text("place", 0).as_deref(),
        Some(r#"{"x":1.5,"name":null}"#)
    );
    assert_eq!(text("tags", 1), None);
    assert_eq!(prepared.batch.schema_ref(), plan(&spec).stored_schema());
}

#[test]
fn text_that_is_too_long_is_rejected_and_kept_whole() {
    let mut spec = plain_job(&["at!: timestamp", "s: string", "m: map<string,string>"]);
    spec.stored = form(100);
    let at = iso(NOW);
    let long = "ü".repeat(51);
    let lines = [
        format!(r#"{{"at":"{at}","s":"{}"}}"#, "x".repeat(100)),
        format!(r#"{{"at":"{at}","s":"{long}"}}"#),
        format!(r#"{{"at":"{at}","m":{{"k":"{long}"}}}}"#),
    ];
    let prepared = prepare(&spec, &lines);
    assert_eq!(prepared.accepted, [true, false, false]);
    assert_eq!(reasons(&prepared), ["text.too_long", "text.too_long"]);
    let rejected = prepared.rejected.as_ref().expect("rejects");
    for row in 0..2 {
        let text = |name: &str| {
            let column = rejected.column_by_name(name).expect("a column");
            column.as_string::<i32>().value(row).to_owned()
        };
        assert_eq!(text("payload_encoding"), "utf8,cut");
        assert!(text("payload").len() <= 100);
        assert!(lines[row + 1].starts_with(&text("payload")));
    }
    let oversized = prepared.oversized.as_ref().expect("whole payloads");
    let whole = oversized.column(0).as_binary::<i64>();
    assert_eq!(whole.value(0), lines[1].as_bytes());
    assert_eq!(whole.value(1), lines[2].as_bytes());
}

#[test]
fn text_with_nul_is_rejected_and_its_payload_is_kept_in_base64() {
    let mut spec = plain_job(&["at!: timestamp", "s: string", "m: map<string,string>"]);
    spec.stored = form(100);
    let at = iso(NOW);
    let lines = [
        format!(r#"{{"at":"{at}","s":"a\u0000b"}}"#).into_bytes(),
        format!(r#"{{"at":"{at}","m":{{"k":"\u0000"}}}}"#).into_bytes(),
        format!(r#"{{"at":"{at}","s":"\\u0000","m":{{"k":"\\u0000"}}}}"#).into_bytes(),
        b"\0\0\0\0\x07avro".to_vec(),
    ];
    let prepared = prepare(&spec, &lines);
    assert_eq!(prepared.accepted, [false, false, true]);
    assert_eq!(
        reasons(&prepared),
        ["text.nul", "text.nul", "decode.syntax"]
    );
    let rejected = prepared.rejected.as_ref().expect("rejects");
    let text = |name: &str, row: usize| {
        let column = rejected.column_by_name(name).expect("a column");
        column.as_string::<i32>().value(row).to_owned()
    };
    assert_eq!(
        (
            text("payload_encoding", 2).as_str(),
            text("payload", 2).as_str()
        ),
        ("base64", "AAAAAAdhdnJv")
    );
    assert!(prepared.oversized.is_none());
}

#[test]
fn without_a_limit_nothing_is_cut() {
    let spec = plain_job(&["at!: timestamp"]);
    let line = format!(r#"{{"at":1,"s":"{}"}}"#, "x".repeat(100_000));
    let prepared = prepare(&spec, std::slice::from_ref(&line));
    let rejected = prepared.rejected.as_ref().expect("a reject");
    assert_eq!(rejected.column(0).as_string::<i32>().value(0), line);
    assert!(prepared.oversized.is_none());
}

#[test]
fn a_nested_key_is_refused_where_it_would_be_text() {
    let mut spec = plain_job(&["at!: timestamp", "ids: list<int64>"]);
    spec.dedup_key = names(&["ids"]);
    assert!(errors(&spec).is_empty());
    spec.stored = form(100);
    assert_eq!(errors(&spec).len(), 1);
}
