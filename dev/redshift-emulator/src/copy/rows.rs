//! Rows of Arrow as PostgreSQL's COPY reads them: text, tabs between, `\N` for NULL.

use std::fmt::Write;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DecimalType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use arrow::json::writer::{JsonArray, WriterBuilder};

use super::schema::{ColumnType, TargetColumn};
use crate::errors::SqlError;

/// A row that cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadValue {
    /// The column's place.
    pub(crate) column: usize,
    /// The row's place in the batch.
    pub(crate) row: usize,
    pub(crate) code: i32,
    pub(crate) message: String,
}

/// Why a batch was not written.
#[derive(Debug)]
pub(crate) enum Bad {
    Value(BadValue),
    Other(SqlError),
}

/// Appends the rows of `batch` to `text`. Columns of `targets` that the file lacks become NULL.
pub(crate) fn write(
    batch: &RecordBatch,
    targets: &[TargetColumn],
    text: &mut String,
) -> Result<(), Bad> {
    let mut columns = Vec::with_capacity(targets.len());
    for (at, target) in targets.iter().enumerate() {
        columns.push(match batch.columns().get(at) {
            None => CopyColumn::Missing,
            Some(_) if target.kind == ColumnType::Super => CopyColumn::Json(json(batch, at)?),
            Some(array) => CopyColumn::Plain(array.as_ref()),
        });
    }
    for row in 0..batch.num_rows() {
        for (at, (target, column)) in targets.iter().zip(&columns).enumerate() {
            if at > 0 {
                text.push('\t');
            }
            let bad = |(code, message)| {
                Bad::Value(BadValue {
                    column: at,
                    row,
                    code,
                    message,
                })
            };
            let null = match column {
                CopyColumn::Missing => true,
                CopyColumn::Json(values) => values.get(row).is_none_or(Option::is_none),
                CopyColumn::Plain(array) => array.is_null(row),
            };
            if null {
                if target.not_null {
                    return Err(bad((1213, "Missing data for not-null field".to_owned())));
                }
                text.push_str("\\N");
                continue;
            }
            match column {
                CopyColumn::Missing => {}
                CopyColumn::Json(values) => {
                    if let Some(Some(value)) = values.get(row) {
                        escape(value, text);
                    }
                }
                CopyColumn::Plain(array) => value(*array, row, target, text).map_err(bad)?,
            }
        }
        text.push('\n');
    }
    Ok(())
}

enum CopyColumn<'a> {
    Missing,
    Json(Vec<Option<String>>),
    Plain(&'a dyn Array),
}

fn value(
    array: &dyn Array,
    row: usize,
    target: &TargetColumn,
    text: &mut String,
) -> Result<(), (i32, String)> {
    // Writing to a String cannot fail.
    macro_rules! put {
        ($kind:ty) => {{
            let _ = write!(text, "{}", array.as_primitive::<$kind>().value(row));
        }};
    }
    match array.data_type() {
        DataType::Boolean => text.push(if array.as_boolean().value(row) {
            't'
        } else {
            'f'
        }),
        DataType::Int8 => put!(Int8Type),
        DataType::Int16 => put!(Int16Type),
        DataType::Int32 => put!(Int32Type),
        DataType::Int64 => put!(Int64Type),
        DataType::Float32 => put!(Float32Type),
        DataType::Float64 => put!(Float64Type),
        // Arrow cuts digits off that are too many; Redshift refuses the value.
        DataType::Decimal128(precision, _)
            if !Decimal128Type::is_valid_decimal_precision(
                array.as_primitive::<Decimal128Type>().value(row),
                *precision,
            ) =>
        {
            return Err((
                1207,
                format!("a value has more than the {precision} digits of its type"),
            ));
        }
        DataType::Decimal32(..) => {
            text.push_str(&array.as_primitive::<Decimal32Type>().value_as_string(row))
        }
        DataType::Decimal64(..) => {
            text.push_str(&array.as_primitive::<Decimal64Type>().value_as_string(row))
        }
        DataType::Decimal128(..) => {
            text.push_str(&array.as_primitive::<Decimal128Type>().value_as_string(row))
        }
        DataType::Decimal256(..) => {
            text.push_str(&array.as_primitive::<Decimal256Type>().value_as_string(row))
        }
        DataType::Date32 => {
            let days = i64::from(array.as_primitive::<Date32Type>().value(row));
            moment(days.checked_mul(86_400_000_000), "-%m-%d", text)?;
        }
        DataType::Timestamp(unit, _) => {
            let micros = micros(array, row, *unit, target.misread);
            moment(micros, "-%m-%d %H:%M:%S%.6f+00", text)?;
        }
        DataType::Utf8 => string(array.as_string::<i32>().value(row), target, text)?,
        DataType::LargeUtf8 => string(array.as_string::<i64>().value(row), target, text)?,
        DataType::Utf8View => string(array.as_string_view().value(row), target, text)?,
        DataType::Binary => hex(array.as_binary::<i32>().value(row), text),
        DataType::LargeBinary => hex(array.as_binary::<i64>().value(row), text),
        other => return Err((1202, format!("the emulator cannot load {other}"))),
    }
    Ok(())
}

/// An instant in microseconds, if it has one. Where the column is `misread`, microseconds are taken
/// for nanoseconds, as Redshift takes them.
fn micros(array: &dyn Array, row: usize, unit: TimeUnit, misread: bool) -> Option<i64> {
    match unit {
        TimeUnit::Second => None,
        TimeUnit::Millisecond => array
            .as_primitive::<TimestampMillisecondType>()
            .value(row)
            .checked_mul(1000),
        TimeUnit::Microsecond => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            Some(if misread { micros / 1000 } else { micros })
        }
        TimeUnit::Nanosecond => {
            let nanos = array.as_primitive::<TimestampNanosecondType>().value(row);
            Some(nanos.div_euclid(1000))
        }
    }
}

fn string(value: &str, target: &TargetColumn, text: &mut String) -> Result<(), (i32, String)> {
    if let ColumnType::Text { bytes } = target.kind
        && value.len() > bytes
    {
        return Err((
            1204,
            format!(
                "The length of the data column {} is longer than the length defined in the table. Table: {bytes}, Data: {}",
                target.name,
                value.len()
            ),
        ));
    }
    if value.contains('\0') {
        return Err((
            1213,
            "Invalid null byte - field longer than 1 byte".to_owned(),
        ));
    }
    escape(value, text);
    Ok(())
}

fn escape(value: &str, text: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            c => text.push(c),
        }
    }
}

fn hex(bytes: &[u8], text: &mut String) {
    text.push_str("\\\\x");
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
}

/// Redshift's dates and timestamps begin in 4713 BC. They end in 294276, and those of chrono, which
/// writes them here, in 262142. `format` says what follows the year.
fn moment(micros: Option<i64>, format: &str, text: &mut String) -> Result<(), (i32, String)> {
    use chrono::Datelike;
    let moment = micros
        .and_then(chrono::DateTime::from_timestamp_micros)
        .ok_or((1206, "Date or timestamp out of range".to_owned()))?;
    let rest = moment.format(format);
    // Writing to a String cannot fail.
    let _ = match moment.year() {
        year @ 1.. => write!(text, "{year:04}{rest}"),
        // There is no year 0: 1 AD follows 1 BC.
        year @ -4712..=0 => write!(text, "{:04}{rest} BC", 1 - year),
        year => {
            let message = format!("Date or timestamp of the year {year}: out of range");
            return Err((1206, message));
        }
    };
    Ok(())
}

/// A column of any type as JSON, value by value.
fn json(batch: &RecordBatch, column: usize) -> Result<Vec<Option<String>>, Bad> {
    let unreadable = |error: arrow::error::ArrowError| {
        Bad::Other(SqlError::new(format_args!(
            "Cannot serialize to JSON: {error}"
        )))
    };
    let single = batch.project(&[column]).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, JsonArray>(&mut bytes);
    writer.write(&single).map_err(unreadable)?;
    writer.finish().map_err(unreadable)?;
    drop(writer);
    let broken = |error: serde_json::Error| {
        Bad::Other(SqlError::new(format_args!(
            "Cannot serialize to JSON: {error}"
        )))
    };
    let rows: Vec<serde_json::Map<String, serde_json::Value>> = if bytes.is_empty() {
        Vec::new()
    } else {
        serde_json::from_slice(&bytes).map_err(broken)?
    };
    rows.into_iter()
        .map(|row| match row.into_iter().next() {
            None | Some((_, serde_json::Value::Null)) => Ok(None),
            Some((_, value)) => serde_json::to_string(&value).map(Some).map_err(broken),
        })
        .collect()
}
