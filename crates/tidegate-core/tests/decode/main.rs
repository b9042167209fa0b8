//! Decode: what each text becomes, and that no text can do harm.

mod anything;
#[path = "../../../../dev/fuzz/fuzz_targets/check.rs"]
mod check;
#[path = "../common/mod.rs"]
mod common;
mod large;
mod records;
mod types;
mod unknown;

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use arrow::json::ReaderBuilder;
use proptest::prelude::*;
use serde_json::{Map, Value};
use tidegate_base::chunk::{Chunk, Payload};
use tidegate_core::decode::{Decoder, arrow_type};
use tidegate_core::json::DEPTH_MAX;
use tidegate_core::spec::FieldSpec;

use common::json::{Writer, random_fields, random_value};
use common::{Random, batch_of, chunk, decode, fields, rows_of};

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
