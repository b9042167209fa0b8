//! Rules, enrichments, lookups and event times: what a worker makes of a chunk.

mod advice;
#[path = "../common/mod.rs"]
mod common;
mod errors;
mod expressions;
mod functions;
mod lookups;
mod rejects;
mod restore;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use tidegate_base::chunk::{Chunk, Payload};
use tidegate_core::lane::Lane;
use tidegate_core::lookup::{LookupError, LookupTable};
use tidegate_core::prepare::{Prepared, RestoreError};
use tidegate_core::spec::{FieldType, JobSpec, LookupColumn, LookupSpec};

use common::{
    DAY, MINUTE, NOW, SECOND, chunk, errors, fields, iso, named, names, plain_job, plan, prepare,
    preparer, reasons, rows_of, transactions, window,
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
