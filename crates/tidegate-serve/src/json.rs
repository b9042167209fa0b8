//! Arrow values as the JSON of the interface.
//!
//! Instants are RFC 3339 in UTC with microseconds, dates `2026-11-25`, binary data base64. Decimals
//! are numbers: whole ones of up to 64 bits exact, others as the nearest float. What JSON has no
//! number for (NaN, infinity) is null.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{Days, NaiveDate};
use serde_json::{Map, Value};

use crate::number::Number;
use crate::time;

/// A value of a column.
pub(crate) fn value(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float32 => f64::from(array.as_primitive::<Float32Type>().value(row)).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).into(),
        DataType::Decimal128(_, scale) => {
            decimal(array.as_primitive::<Decimal128Type>().value(row), *scale)
        }
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).into(),
        DataType::Utf8View => array.as_string_view().value(row).into(),
        DataType::Binary => STANDARD.encode(array.as_binary::<i32>().value(row)).into(),
        DataType::LargeBinary => STANDARD.encode(array.as_binary::<i64>().value(row)).into(),
        DataType::Date32 => date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            time::show(array.as_primitive::<TimestampMicrosecondType>().value(row)).into()
        }
        DataType::Timestamp(_, zone) => {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            cast(&array.slice(row, 1), &micros)
                .map_or_else(|_| shown(array, row), |micros| value(&micros, 0))
        }
        DataType::List(_) => list(&array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(row)),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let member =
                |(field, column): (&std::sync::Arc<arrow::datatypes::Field>, &ArrayRef)| {
                    (field.name().clone(), value(column, row))
                };
            Value::Object(fields.iter().zip(columns).map(member).collect())
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            let mut object = Map::new();
            for entry in 0..entries.len() {
                object.insert(text(&value(keys, entry)), value(values, entry));
            }
            Value::Object(object)
        }
        _ => shown(array, row),
    }
}

/// A partial value or an aggregate, of the type that its column has.
pub(crate) fn number(number: Number, ty: &DataType) -> Value {
    match (number, ty) {
        (Number::Null, _) => Value::Null,
        (Number::Float(value), _) => value.into(),
        (Number::Int(value), DataType::Timestamp(..)) => time::show(saturated(value)).into(),
        (Number::Int(value), DataType::Date32) => date(i32::try_from(value).unwrap_or(i32::MAX)),
        (Number::Int(value), DataType::Decimal128(_, scale)) => decimal(value, *scale),
        (Number::Int(value), _) => whole(value),
    }
}

/// The name of a type, as in a configuration.
pub(crate) fn type_name(ty: &DataType) -> String {
    match ty {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::List(item) | DataType::LargeList(item) => {
            format!("list<{}>", type_name(item.data_type()))
        }
        DataType::Struct(_) => "struct".to_owned(),
        DataType::Map(..) => "map".to_owned(),
        ty => ty.to_string().to_lowercase(),
    }
}

/// A value as text: a string as it is, others as JSON.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn list(items: &ArrayRef) -> Value {
    (0..items.len()).map(|item| value(items, item)).collect()
}

fn shown(array: &dyn Array, row: usize) -> Value {
    let options = FormatOptions::default();
    match ArrayFormatter::try_new(array, &options) {
        Ok(formatter) => formatter.value(row).to_string().into(),
        Err(_) => Value::Null,
    }
}

fn date(days: i32) -> Value {
    let epoch = NaiveDate::default();
    let (count, back) = (Days::new(u64::from(days.unsigned_abs())), days < 0);
    let date = if back {
        epoch.checked_sub_days(count)
    } else {
        epoch.checked_add_days(count)
    };
    date.map_or(Value::Null, |date| date.to_string().into())
}

fn decimal(value: i128, scale: i8) -> Value {
    if scale <= 0 {
        return whole(
            value.saturating_mul(10_i128.saturating_pow(u32::from(scale.unsigned_abs()))),
        );
    }
    decimal_float(value, scale).into()
}

/// A decimal as the nearest float: through text, which is rounded once.
fn decimal_float(value: i128, scale: i8) -> f64 {
    format!("{value}e{}", -i32::from(scale))
        .parse()
        .unwrap_or(f64::NAN)
}

#[allow(clippy::cast_precision_loss)]
fn whole(value: i128) -> Value {
    match (i64::try_from(value), u64::try_from(value)) {
        (Ok(value), _) => value.into(),
        (_, Ok(value)) => value.into(),
        _ => (value as f64).into(),
    }
}

fn saturated(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Date32Array, Decimal128Array, Float64Array, StringArray, TimestampMicrosecondArray,
    };
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_what_json_has_for_them() {
        let decimals = Decimal128Array::from(vec![-12_345, 5])
            .with_precision_and_scale(10, 2)
            .unwrap();
        assert_eq!(value(&decimals, 0), json!(-123.45));
        assert_eq!(value(&decimals, 1), json!(0.05));
        assert_eq!(value(&Date32Array::from(vec![-1]), 0), json!("1969-12-31"));
        assert_eq!(value(&Float64Array::from(vec![f64::NAN]), 0), Value::Null);
        assert_eq!(
            value(&StringArray::from(vec![None::<&str>]), 0),
            Value::Null
        );
        let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]));
        assert_eq!(value(&at, 0), json!("1970-01-01T00:00:00.000001Z"));
        let seconds = cast(&at, &DataType::Timestamp(TimeUnit::Second, None)).unwrap();
        assert_eq!(value(&seconds, 0), json!("1970-01-01T00:00:00.000000Z"));
        let huge = i128::from(i64::MAX) + 1;
        assert_eq!(
            number(Number::Int(huge), &DataType::Decimal128(38, 0)),
            json!(9_223_372_036_854_775_808_u64)
        );
        assert_eq!(
            number(Number::Int(7), &DataType::Decimal128(38, 0)),
            json!(7)
        );
    }
}
