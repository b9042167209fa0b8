//! What the tests of this crate share: random numbers, the transactions job, chunks, rows as text.
#![allow(dead_code)] // each test program uses a part of it

pub(crate) mod json;
pub(crate) mod model;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use arrow::json::LineDelimitedWriter;
use tidegate_base::chunk::{Chunk, Payload};
use tidegate_core::decode::{Decoded, Decoder, arrow_type};
use tidegate_core::plan::{Plan, SpecError};
use tidegate_core::prepare::{Prepared, Preparer};
use tidegate_core::spec::{
    AggregateFunction, AggregateSpec, EventTimeSpec, FieldSpec, JobSpec, NamedExpr, StoredForm,
    WindowSpec,
};
pub(crate) use tidegate_random::Random;

pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const DAY: i64 = 24 * 60 * MINUTE;
/// The time of all batches in tests: 2026-01-01T00:00:00Z, a Thursday.
pub(crate) const NOW: i64 = 1_767_225_600 * SECOND;

/// Fields from `name: type` texts; a name with `!` is required.
pub(crate) fn fields(specs: &[&str]) -> Vec<FieldSpec> {
    specs
        .iter()
        .map(|spec| {
            let (name, ty) = spec.split_once(": ").expect("name: type");
            FieldSpec {
                name: name.trim_end_matches('!').to_owned(),
                ty: ty.parse().expect("a type"),
                required: name.ends_with('!'),
            }
        })
        .collect()
}

pub(crate) fn named(pairs: &[(&str, &str)]) -> Vec<NamedExpr> {
    pairs
        .iter()
        .map(|(name, sql)| NamedExpr {
            name: (*name).to_owned(),
            sql: (*sql).to_owned(),
        })
        .collect()
}

pub(crate) fn names(all: &[&str]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// Aggregates from `name = function(input)` texts.
pub(crate) fn aggregates(all: &[&str]) -> Vec<AggregateSpec> {
    all.iter()
        .map(|text| {
            let (name, call) = text.split_once(" = ").expect("name = f(x)");
            let (function, input) = call.split_once('(').expect("f(x)");
            let input = input.strip_suffix(')').expect("f(x)");
            AggregateSpec {
                name: name.to_owned(),
                function: match function {
                    "count" => AggregateFunction::Count,
                    "sum" => AggregateFunction::Sum,
                    "avg" => AggregateFunction::Avg,
                    "min" => AggregateFunction::Min,
                    "max" => AggregateFunction::Max,
                    other => panic!("{other}"),
                },
                input: (input != "*").then(|| input.to_owned()),
            }
        })
        .collect()
}

pub(crate) fn window(
    name: &str,
    size: i64,
    slide: i64,
    groups: &[&str],
    all: &[&str],
) -> WindowSpec {
    WindowSpec {
        name: name.to_owned(),
        size: Duration::from_micros(size as u64),
        slide: Duration::from_micros(slide as u64),
        group_by: names(groups),
        aggregates: aggregates(all),
    }
}

/// A job without rules, enrichments and windows; the event time is the field `at`.
pub(crate) fn plain_job(specs: &[&str]) -> JobSpec {
    JobSpec {
        fields: fields(specs),
        event_time: EventTimeSpec {
            field: "at".to_owned(),
            column: "at".to_owned(),
            delay: Duration::from_secs(600),
            max_ahead: None,
            idle_after: Duration::from_secs(60),
        },
        rules: Vec::new(),
        enrich: Vec::new(),
        lookups: Vec::new(),
        dedup_key: Vec::new(),
        windows: Vec::new(),
        stored: StoredForm::default(),
    }
}

/// The job of `examples/transactions.toml`.
pub(crate) fn transactions() -> JobSpec {
    let all = [
        "transaction_count = count(*)",
        "total_amount = sum(amount)",
        "avg_amount = avg(amount)",
        "max_amount = max(amount)",
        "min_amount = min(amount)",
    ];
    JobSpec {
        fields: fields(&[
            "transaction_id!: string",
            "customer_id!: string",
            "amount!: float64",
            "currency: string",
            "merchant: string",
            "category: string",
            "status!: string",
            "timestamp!: string",
            "metadata: map<string,string>",
        ]),
        event_time: EventTimeSpec {
            field: "timestamp".to_owned(),
            column: "event_timestamp".to_owned(),
            delay: Duration::from_secs(600),
            max_ahead: None,
            idle_after: Duration::from_secs(60),
        },
        rules: named(&[
            (
                "transaction_id_format",
                "regexp_like(transaction_id, '^TXN_[0-9]+_[0-9]{4}$')",
            ),
            (
                "customer_id_format",
                "regexp_like(customer_id, '^CUST_[0-9]{6}$')",
            ),
            ("amount_in_range", "amount > 0 AND amount < 1000000"),
            ("currency_known", "currency IN ('USD', 'EUR', 'GBP')"),
            (
                "status_known",
                "status IN ('COMPLETED', 'PENDING', 'FAILED')",
            ),
            ("not_in_the_future", "event_timestamp <= now()"),
            (
                "not_older_than_7_days",
                "event_timestamp >= now() - INTERVAL '7 days'",
            ),
        ]),
        enrich: named(&[
            (
                "amount_category",
                "CASE WHEN amount < 100 THEN 'small' WHEN amount < 1000 THEN 'medium' ELSE 'large' END",
            ),
            ("hour_of_day", "hour_of_day(event_timestamp)"),
            ("day_of_week", "day_of_week(event_timestamp)"),
            (
                "row_hash",
                "row_hash(transaction_id, customer_id, amount, status)",
            ),
        ]),
        lookups: Vec::new(),
        dedup_key: names(&["transaction_id", "row_hash", "event_timestamp"]),
        windows: vec![
            window("transactions_1m", MINUTE, MINUTE, &["status"], &all),
            window("transactions_5m", 5 * MINUTE, MINUTE, &["status"], &all),
        ],
        stored: StoredForm::default(),
    }
}

/// A chunk of these records, from offset 0 on.
pub(crate) fn chunk<T: AsRef<[u8]>>(records: &[T]) -> Chunk {
    chunk_at(0, records)
}

pub(crate) fn chunk_at<T: AsRef<[u8]>>(from: i64, records: &[T]) -> Chunk {
    let mut chunk = Chunk::new(0, 0, from);
    for (i, record) in records.iter().enumerate() {
        chunk.push(from + i as i64, None, Payload::Bytes, record.as_ref());
    }
    chunk
}

pub(crate) fn decode<T: AsRef<[u8]>>(fields: &[FieldSpec], records: &[T]) -> Decoded {
    Decoder::new(fields)
        .decode(&chunk(records))
        .expect("decode does not fail")
}

/// The columns of a decoded chunk as a batch.
pub(crate) fn batch_of(fields: &[FieldSpec], decoded: &Decoded) -> RecordBatch {
    let schema: Vec<Field> = fields
        .iter()
        .map(|f| Field::new(&f.name, arrow_type(&f.ty), true))
        .collect();
    let rows = arrow::array::RecordBatchOptions::new().with_row_count(Some(decoded.rows.len()));
    RecordBatch::try_new_with_options(
        Arc::new(Schema::new(schema)),
        decoded.columns.clone(),
        &rows,
    )
    .expect("columns fit the schema")
}

/// The rows of a batch as JSON, nulls left out.
pub(crate) fn rows_of(batch: &RecordBatch) -> Vec<String> {
    let mut out = Vec::new();
    LineDelimitedWriter::new(&mut out)
        .write(batch)
        .expect("written");
    let text = String::from_utf8(out).expect("JSON is UTF-8");
    text.lines().map(str::to_owned).collect()
}

pub(crate) fn plan(spec: &JobSpec) -> Arc<Plan> {
    Arc::new(Plan::compile(spec).unwrap_or_else(|errors| panic!("{errors:#?}")))
}

/// The errors of a wrong spec as `path.to.key: message`.
pub(crate) fn errors(spec: &JobSpec) -> Vec<String> {
    Plan::compile(spec)
        .err()
        .unwrap_or_default()
        .into_iter()
        .map(|SpecError { path, message }| format!("{}: {message}", path.join(".")))
        .collect()
}

pub(crate) fn preparer(plan: &Arc<Plan>) -> Preparer {
    Preparer::new(Arc::clone(plan), 7).expect("a preparer")
}

/// Prepares records with the batch time [`NOW`].
pub(crate) fn prepare<T: AsRef<[u8]>>(spec: &JobSpec, records: &[T]) -> Prepared {
    preparer(&plan(spec))
        .prepare(&chunk(records), NOW, &[])
        .expect("prepared")
}

/// Reasons of all rejected records, in order.
pub(crate) fn reasons(prepared: &Prepared) -> Vec<String> {
    use arrow::array::AsArray;
    prepared.rejected.as_ref().map_or_else(Vec::new, |batch| {
        let column = batch.column_by_name("reasons").expect("a column");
        column
            .as_string::<i32>()
            .iter()
            .map(|r| r.expect("never null").to_owned())
            .collect()
    })
}

/// An instant as ISO 8601 text.
pub(crate) fn iso(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros)
        .expect("a time")
        .format("%Y-%m-%dT%H:%M:%S%.6f+00:00")
        .to_string()
}
