//! Arrow values as JSON, in answers of all kinds.
//!
//! Instants are RFC 3339 in UTC with microseconds, dates `2026-11-25`, binary data base64. Decimals
//! are numbers. In text ([`write()`]) they have all their digits; as a [`Value`], whole ones of up
//! to 64 bits are exact, and others the nearest float. What JSON has no number for (NaN, infinity)
//! is null.

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
use tidegate_base::time;

/// Appends a value of a column as JSON text.
pub fn write(out: &mut String, array: &dyn Array, row: usize) {
    if array.is_null(row) {
        return out.push_str("null");
    }
    match array.data_type() {
        DataType::Decimal128(_, scale) => {
            let value = array.as_primitive::<Decimal128Type>().value(row);
            digits(out, value, *scale);
        }
        DataType::List(_) => write_list(out, &array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => write_list(out, &array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => write_list(out, &array.as_fixed_size_list().value(row)),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            out.push('{');
            for (place, (field, column)) in fields.iter().zip(columns).enumerate() {
                member(out, place, field.name());
                write(out, column, row);
            }
            out.push('}');
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            out.push('{');
            for entry in 0..entries.len() {
                member(out, entry, &text(&value(entries.column(0), entry)));
                write(out, entries.column(1), entry);
            }
            out.push('}');
        }
        _ => out.push_str(&value(array, row).to_string()),
    }
}

fn write_list(out: &mut String, items: &ArrayRef) {
    out.push('[');
    for item in 0..items.len() {
        if item > 0 {
            out.push(',');
        }
        write(out, items, item);
    }
    out.push(']');
}

/// What stands before the value of a member of an object, which is the one at some place.
pub fn member(out: &mut String, place: usize, name: &str) {
    if place > 0 {
        out.push(',');
    }
    out.push_str(&Value::from(name).to_string());
    out.push(':');
}

/// All digits of a decimal.
fn digits(out: &mut String, value: i128, scale: i8) {
    let places = usize::from(scale.max(0).unsigned_abs());
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = places + 1);
    let (whole, rest) = digits.split_at(digits.len() - places);
    if value < 0 {
        out.push('-');
    }
    out.push_str(whole);
    if places > 0 {
        out.push('.');
        out.push_str(rest);
    } else if value != 0 {
        out.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
    }
}

/// A value of a column.
pub fn value(array: &dyn Array, row: usize) -> Value {
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
        DataType::FixedSizeList(..) => list(&array.as_fixed_size_list().value(row)),
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

/// The name of a type, as answers over HTTP have it: those of the configuration, without members.
pub fn type_name(ty: &DataType) -> String {
    match ty {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Time32(_) | DataType::Time64(_) => "time".to_owned(),
        DataType::Interval(_) => "interval".to_owned(),
        DataType::Union(..) => "union".to_owned(),
        DataType::Dictionary(_, values) => type_name(values),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            format!("list<{}>", type_name(item.data_type()))
        }
        DataType::Struct(_) => "struct".to_owned(),
        DataType::Map(..) => "map".to_owned(),
        ty => ty.to_string().to_lowercase(),
    }
}

/// A value as text: a string as it is, others as JSON.
pub fn text(value: &Value) -> String {
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

/// A date: so many days since 1970-01-01.
pub fn date(days: i32) -> Value {
    let epoch = NaiveDate::default();
    let (count, back) = (Days::new(u64::from(days.unsigned_abs())), days < 0);
    let date = if back {
        epoch.checked_sub_days(count)
    } else {
        epoch.checked_add_days(count)
    };
    date.map_or(Value::Null, |date| date.to_string().into())
}

/// A decimal: so many units of its last digit.
pub fn decimal(value: i128, scale: i8) -> Value {
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

/// A whole number; one of more than 64 bits is the nearest float.
#[allow(clippy::cast_precision_loss)]
pub fn whole(value: i128) -> Value {
    match (i64::try_from(value), u64::try_from(value)) {
        (Ok(value), _) => value.into(),
        (_, Ok(value)) => value.into(),
        _ => (value as f64).into(),
    }
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
        assert_eq!(decimal(huge, 0), json!(9_223_372_036_854_775_808_u64));
        assert_eq!(decimal(7, 0), json!(7));
    }

    #[test]
    fn text_has_all_digits_of_a_decimal() {
        let greatest = 99_999_999_999_999_999_999_999_999_999_999_999_999;
        for (value, scale, text) in [
            (-12_345, 2, "-123.45"),
            (5, 2, "0.05"),
            (-5, 3, "-0.005"),
            (0, 2, "0.00"),
            (7, 0, "7"),
            (7, -2, "700"),
            (0, -2, "0"),
            (greatest, 37, "9.9999999999999999999999999999999999999"),
        ] {
            let decimals = Decimal128Array::from(vec![value]).with_precision_and_scale(38, scale);
            let mut out = String::new();
            write(&mut out, &decimals.unwrap(), 0);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn text_reads_as_the_value_that_it_is() {
        let words: ArrayRef = Arc::new(StringArray::from(vec![Some("a \"b\" \n \u{1}"), None]));
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, 0.1]));
        let field = |name: &str, column: &ArrayRef| {
            Arc::new(arrow::datatypes::Field::new(
                name,
                column.data_type().clone(),
                true,
            ))
        };
        let both = arrow::array::StructArray::from(vec![
            (field("the \"word\"", &words), Arc::clone(&words)),
            (field("f", &floats), Arc::clone(&floats)),
        ]);
        for row in 0..2 {
            let mut out = String::new();
            write(&mut out, &both, row);
            let read: Value = serde_json::from_str(&out).unwrap();
            assert_eq!(read, value(&both, row), "{out}");
        }
    }
}
