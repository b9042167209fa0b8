//! SQL for the warm and the cold tier, which have the same tables.

use std::sync::Arc;

use arrow::datatypes::DataType;
use serde_json::Value;
use tidegate_warehouse::QueryResult;

use super::plan::Span;
use crate::error::ApiError;
use crate::time;
use crate::view::{Row, Shown, View};
use tidegate_warehouse::json;

/// A group column has one of these values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Filter {
    /// Place among the view's groups.
    pub(crate) column: usize,
    pub(crate) values: Vec<Value>,
}

/// An identifier, quoted.
pub(crate) fn name(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// A text literal.
pub(crate) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// The value that a parameter means for a column of a type.
pub(crate) fn value(ty: &DataType, text: &str) -> Result<Value, ApiError> {
    let wrong = |what: &str| ApiError::BadRequest(format!("`{text}` is not {what}"));
    Ok(match ty {
        DataType::Boolean => text
            .parse::<bool>()
            .map_err(|_| wrong("true or false"))?
            .into(),
        ty if ty.is_integer() => text
            .parse::<i64>()
            .map_err(|_| wrong("a whole number"))?
            .into(),
        DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) => {
            text.parse::<f64>().map_err(|_| wrong("a number"))?.into()
        }
        DataType::Timestamp(..) => {
            time::show(time::read(text).map_err(ApiError::BadRequest)?).into()
        }
        _ => text.into(),
    })
}

fn condition(view: &View, filter: &Filter) -> String {
    let (column, ty) = &view.groups[filter.column];
    let values = filter.values.iter().map(|value| match (value, ty) {
        (Value::String(at), DataType::Timestamp(..)) => {
            format!("make_timestamp({})", time::read(at).unwrap_or(0))
        }
        (Value::String(string), _) => text(string),
        (value, _) => value.to_string(),
    });
    format!(
        "{} IN ({})",
        name(column),
        values.collect::<Vec<_>>().join(", ")
    )
}

/// The windows of a view that start in a span.
pub(crate) fn windows(view: &View, span: Span, filters: &[Filter], limit: usize) -> String {
    let groups: Vec<String> = view.groups.iter().map(|(group, _)| name(group)).collect();
    let aggregates = view.aggregates().map(name);
    let columns: Vec<String> = ["window_start".to_owned()]
        .into_iter()
        .chain(groups.iter().cloned())
        .chain(aggregates)
        .collect();
    let conditions: String = filters
        .iter()
        .map(|filter| format!(" AND {}", condition(view, filter)))
        .collect();
    let order: String = groups
        .iter()
        .map(|group| format!(", {group} NULLS LAST"))
        .collect();
    format!(
        "SELECT {} FROM {} WHERE window_start >= {} AND window_start < {}{conditions} ORDER BY window_start{order} LIMIT {limit}",
        columns.join(", "),
        name(&view.name),
        instant(span.from),
        instant(span.to),
    )
}

/// An instant; what is beyond year 1 or 9999 is clamped to it.
pub(crate) fn instant(micros: i64) -> String {
    const YEAR_1: i64 = -62_135_596_800_000_000;
    const YEAR_10000: i64 = 253_402_300_800_000_000;
    format!("make_timestamp({})", micros.clamp(YEAR_1, YEAR_10000 - 1))
}

/// The rows of [`windows`].
pub(crate) fn rows(view: &View, result: &QueryResult) -> Vec<Arc<Shown>> {
    let mut rows = Vec::new();
    for batch in &result.batches {
        for row in 0..batch.num_rows() {
            let mut values = batch
                .columns()
                .iter()
                .map(|column| json::value(column, row));
            let start = values
                .next()
                .as_ref()
                .and_then(Value::as_str)
                .and_then(|start| time::read(start).ok());
            let group = values.by_ref().take(view.groups.len()).collect();
            rows.push(view.show(Row {
                start: start.unwrap_or(0),
                group,
                aggregates: values.collect(),
            }));
        }
    }
    rows
}

/// Rows as JSON objects.
pub(crate) fn objects(result: &QueryResult) -> Vec<Value> {
    let mut objects = Vec::new();
    for batch in &result.batches {
        for row in 0..batch.num_rows() {
            let fields = result.schema.fields().iter().zip(batch.columns());
            objects.push(Value::Object(
                fields
                    .map(|(field, column)| (field.name().clone(), json::value(column, row)))
                    .collect(),
            ));
        }
    }
    objects
}
