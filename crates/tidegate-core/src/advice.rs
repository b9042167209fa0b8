//! What is valid in a spec, and is hardly meant.

use std::collections::BTreeSet;

use tidegate_expr::functions::{KEY_HASH, ROW_HASH};

use crate::plan::{Plan, SpecError};
use crate::spec::JobSpec;

/// Warnings about a spec that `plan` was made of, with the columns of which the warehouse keeps one
/// row each.
pub fn advice(spec: &JobSpec, plan: &Plan, upsert_key: &[String]) -> Vec<SpecError> {
    let mut warnings = Vec::new();
    for rule in plan.rules_never_true() {
        let path = vec!["rules".to_owned(), rule.to_owned()];
        let message = "this is true for no event: every record is rejected".to_owned();
        warnings.push(SpecError { path, message });
    }
    if is_of_content(spec, plan, upsert_key) && !has_event_time(spec, plan) {
        let time = plan.event_time_column();
        let path = ["deduplication", "key"].map(str::to_owned).to_vec();
        let message = format!(
            "the key has what an event says, but not when: a value that comes back within {} (PENDING, FAILED, \
             PENDING) is dropped as a repeat. Add \"{time}\" to it",
            show(spec)
        );
        warnings.push(SpecError { path, message });
    }
    for (section, key) in [
        ("deduplication", &spec.dedup_key[..]),
        ("upsert", upsert_key),
    ] {
        for (index, column) in key.iter().enumerate() {
            for function in LEAVE_OUT {
                let nullable = nulls_left_out(spec, plan, column, function);
                if nullable.is_empty() {
                    continue;
                }
                let path = vec![section.to_owned(), "key".to_owned(), index.to_string()];
                let message = format!(
                    "`{column}` is made by {function} of columns that can be null ({}), and it leaves nulls out: rows with \
                     a value in one of them and in another can be one key. Use {KEY_HASH} in its place, or \
                     the columns themselves",
                    nullable.join(", ")
                );
                warnings.push(SpecError { path, message });
            }
        }
    }
    warnings
}

fn show(spec: &JobSpec) -> String {
    format!("the delay of {} s", spec.event_time.delay.as_secs_f64())
}

/// Functions whose result says nothing but whether their input was the same.
const HASHES: [&str; 8] = [
    ROW_HASH, KEY_HASH, "md5", "sha224", "sha256", "sha384", "sha512", "digest",
];
/// Functions that pass over inputs that are null.
const LEAVE_OUT: [&str; 3] = [ROW_HASH, "concat_ws", "concat"];
/// Functions with a value where their input may be null.
const FILLS: [&str; 4] = ["coalesce", "nvl", "ifnull", "concat"];

/// Whether the deduplication key has more than what names a thing: then a repeat is one of its
/// contents.
fn is_of_content(spec: &JobSpec, plan: &Plan, upsert_key: &[String]) -> bool {
    let is_hash = |column: &str| {
        plan.enrichment(column)
            .is_some_and(|e| HASHES.iter().any(|hash| e.calls(hash)))
    };
    let has_hash = spec
        .dedup_key
        .iter()
        .any(|column| made_of(plan, column).iter().any(|column| is_hash(column)));
    let is_within = upsert_key
        .iter()
        .all(|column| spec.dedup_key.contains(column));
    has_hash || !upsert_key.is_empty() && is_within && spec.dedup_key.len() > upsert_key.len()
}

/// Whether a column of the deduplication key is the event's time, or is computed from it.
fn has_event_time(spec: &JobSpec, plan: &Plan) -> bool {
    let is_time =
        |column: &String| column == plan.event_time_column() || column == plan.event_time_field();
    spec.dedup_key
        .iter()
        .any(|column| made_of(plan, column).iter().any(is_time))
}

/// A column, and all those that it is computed from.
fn made_of(plan: &Plan, column: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::from([column.to_owned()]);
    let mut left = vec![column.to_owned()];
    while let Some(column) = left.pop() {
        for read in plan.enrichment(&column).map_or(&[][..], |e| e.columns()) {
            if all.insert(read.clone()) {
                left.push(read.clone());
            }
        }
    }
    all
}

/// Columns that can be null and that `function`, which leaves nulls out, reads beside others, if
/// `column` is its result or is computed from one.
fn nulls_left_out(spec: &JobSpec, plan: &Plan, column: &str, function: &str) -> Vec<String> {
    let all = made_of(plan, column);
    let hashes = all.iter().filter_map(|column| plan.enrichment(column));
    let hashes = hashes.filter(|hash| hash.calls(function) && hash.columns().len() > 1);
    let read: BTreeSet<&String> = hashes.flat_map(|hash| hash.columns()).collect();
    read.into_iter()
        .filter(|name| is_nullable(spec, plan, name))
        .map(|name| format!("`{name}`"))
        .collect()
}

/// Whether a column can be null as far as one can see: those that are computed can where what they
/// are computed from can, unless they fill it in.
fn is_nullable(spec: &JobSpec, plan: &Plan, column: &str) -> bool {
    if let Some(expression) = plan.enrichment(column) {
        let fills = FILLS.iter().any(|function| expression.calls(function));
        let mut read = expression.columns().iter();
        return !fills && read.any(|read| read != column && is_nullable(spec, plan, read));
    }
    let mut optional = spec.fields.iter().filter(|field| !field.required);
    let mut joined = spec.lookups.iter().flat_map(|lookup| &lookup.columns);
    optional.any(|field| field.name == *column) || joined.any(|joined| joined.name == *column)
}
