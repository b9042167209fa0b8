//! Scalar functions of our own, where SQL's would be slow or would not agree with Spark's.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array,
    StringArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{can_cast_types, cast};
use arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use sha2::{Digest, Sha256};

use crate::compare::canonical_floats;
use tidegate_base::time;

use crate::instant;
use crate::words::type_name;

/// All functions of this module.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(ScalarUDF::new_from_impl(RowHash::new(Nulls::LeftOut))),
        Arc::new(ScalarUDF::new_from_impl(RowHash::new(Nulls::Values))),
        Arc::new(ScalarUDF::new_from_impl(TimePart::new(DatePart::DayOfWeek))),
        Arc::new(ScalarUDF::new_from_impl(TimePart::new(DatePart::HourOfDay))),
    ]
}

/// `row_hash(a, b, ...)`: lower-case hexadecimal SHA-256 over the arguments as text, joined by `|`.
///
/// Text as Spark's `concat_ws` has it: nulls are left out, floats are in the shortest form that
/// reads back to the same value, with at least one decimal (`100.0`, `1.0E-7`).
///
/// `key_hash(a, b, ...)`: the same over texts of which no two rows with other values have the same:
/// a null is a value of its own, each other value has its length before it, and floats that are
/// equal are one (0 and -0).
#[derive(Debug, PartialEq, Eq, Hash)]
struct RowHash {
    nulls: Nulls,
    signature: Signature,
}

/// What a hash makes of nulls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Nulls {
    LeftOut,
    Values,
}

/// Name of the hash that leaves nulls out, and so is unfit for a key of columns that can be null.
pub const ROW_HASH: &str = "row_hash";
/// Name of the hash for keys.
pub const KEY_HASH: &str = "key_hash";

impl RowHash {
    fn new(nulls: Nulls) -> Self {
        RowHash {
            nulls,
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }

    /// Appends a row as text, nulls left out.
    fn append_joined(columns: &[TextColumn<'_>], row: usize, out: &mut Vec<u8>) {
        let mut first = true;
        for column in columns.iter().filter(|c| !c.is_null(row)) {
            if !first {
                out.push(b'|');
            }
            first = false;
            column.append(row, out);
        }
    }

    /// Appends a row as text that no other row has.
    fn append_whole(
        columns: &[TextColumn<'_>],
        row: usize,
        value: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) {
        for column in columns {
            if column.is_null(row) {
                out.extend_from_slice(b"null|");
                continue;
            }
            value.clear();
            column.append(row, value);
            out.extend_from_slice(itoa::Buffer::new().format(value.len()).as_bytes());
            out.push(b':');
            out.extend_from_slice(value);
            out.push(b'|');
        }
    }
}

/// A column of which row `i` can be appended as text.
enum TextColumn<'a> {
    Text(&'a StringArray),
    Int64(&'a Int64Array),
    Int32(&'a Int32Array),
    Float64(&'a Float64Array),
    Bool(&'a BooleanArray),
    Decimal(&'a Decimal128Array),
}

impl<'a> TextColumn<'a> {
    fn new(array: &'a ArrayRef) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Utf8 => TextColumn::Text(array.as_string()),
            DataType::Int64 => TextColumn::Int64(array.as_primitive::<Int64Type>()),
            DataType::Int32 => TextColumn::Int32(array.as_primitive::<Int32Type>()),
            DataType::Float64 => TextColumn::Float64(array.as_primitive::<Float64Type>()),
            DataType::Boolean => TextColumn::Bool(array.as_boolean()),
            DataType::Decimal128(..) => TextColumn::Decimal(array.as_primitive::<Decimal128Type>()),
            _ => return None,
        })
    }

    fn is_null(&self, i: usize) -> bool {
        match self {
            TextColumn::Text(a) => a.is_null(i),
            TextColumn::Int64(a) => a.is_null(i),
            TextColumn::Int32(a) => a.is_null(i),
            TextColumn::Float64(a) => a.is_null(i),
            TextColumn::Bool(a) => a.is_null(i),
            TextColumn::Decimal(a) => a.is_null(i),
        }
    }

    fn append(&self, i: usize, out: &mut Vec<u8>) {
        match self {
            TextColumn::Text(a) => out.extend_from_slice(a.value(i).as_bytes()),
            TextColumn::Int64(a) => {
                out.extend_from_slice(itoa::Buffer::new().format(a.value(i)).as_bytes())
            }
            TextColumn::Int32(a) => {
                out.extend_from_slice(itoa::Buffer::new().format(a.value(i)).as_bytes())
            }
            TextColumn::Float64(a) => {
                push_float(a.value(i), out);
            }
            TextColumn::Bool(a) => {
                out.extend_from_slice(if a.value(i) { b"true" } else { b"false" })
            }
            TextColumn::Decimal(a) => out.extend_from_slice(a.value_as_string(i).as_bytes()),
        }
    }
}

/// Appends a float as Java's `Double.toString` has it: its shortest digits, with at least one
/// decimal, and from 10^7 on or below 10^-3 in scientific form.
fn push_float(value: f64, out: &mut Vec<u8>) {
    let plain = value.abs();
    if push_cents(value, out) {
        return;
    }
    let mut buffer = ryu::Buffer::new();
    if (1e-3..1e7).contains(&plain) || plain == 0.0 {
        out.extend_from_slice(buffer.format(value).as_bytes());
        return;
    }
    if !value.is_finite() {
        let text: &[u8] = match value {
            f64::INFINITY => b"Infinity",
            f64::NEG_INFINITY => b"-Infinity",
            _ => b"NaN",
        };
        out.extend_from_slice(text);
        return;
    }
    if value < 0.0 {
        out.push(b'-');
    }
    // The shortest digits with the point and the exponent wherever they are: 12345678.9, 0.0005,
    // 1e-7.
    let text = buffer.format_finite(plain);
    let (number, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all = [whole, fraction].concat();
    let digits = all.trim_start_matches('0');
    let leading = all.len() - digits.len();
    let exponent = exponent.parse::<i64>().unwrap_or(0) + whole.len() as i64 - 1 - leading as i64;
    let (first, rest) = digits.split_at(1);
    let rest = rest.trim_end_matches('0');
    let rest = if rest.is_empty() { "0" } else { rest };
    out.extend_from_slice(format!("{first}.{rest}E{exponent}").as_bytes());
}

/// Appends a float that is a whole number of hundredths, as amounts of money are; says whether it
/// is one.
///
/// No two decimals of up to 15 digits are the same float (IEEE 754: `DBL_DIG`), so what reads back
/// to `value` with at most that many digits is its shortest form, once zeros at the end are cut.
fn push_cents(value: f64, out: &mut Vec<u8>) -> bool {
    if !(1e-2..1e7).contains(&value) {
        return false;
    }
    let cents = (value * 100.0).round();
    if cents / 100.0 != value {
        return false;
    }
    // Exact: it is below 10^9.
    let cents = cents as u32;
    out.extend_from_slice(itoa::Buffer::new().format(cents / 100).as_bytes());
    let (tens, ones) = ((cents / 10 % 10) as u8, (cents % 10) as u8);
    out.extend_from_slice(&[b'.', b'0' + tens, b'0' + ones]);
    if ones == 0 {
        out.pop();
    }
    true
}

impl ScalarUDFImpl for RowHash {
    fn name(&self) -> &'static str {
        match self.nulls {
            Nulls::LeftOut => ROW_HASH,
            Nulls::Values => KEY_HASH,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        if types.is_empty() {
            return plan_err!("{} needs at least one argument", self.name());
        }
        if let Some(ty) = types.iter().find(|ty| !can_cast_types(ty, &DataType::Utf8)) {
            return plan_err!(
                "`{}` cannot hash a {}; name what is in it, in brackets, as in column['name']",
                self.name(),
                type_name(ty)
            );
        }
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let mut arrays = ColumnarValue::values_to_arrays(&args.args)?;
        for array in &mut arrays {
            if self.nulls == Nulls::Values {
                *array = canonical_floats(array);
            }
            if TextColumn::new(array).is_none() {
                *array = cast(array, &DataType::Utf8)?;
            }
        }
        let columns: Vec<TextColumn<'_>> = arrays.iter().filter_map(TextColumn::new).collect();
        let rows = arrays.first().map_or(rows, |a| a.len());
        let mut out = Vec::with_capacity(rows * HEX);
        let mut scratch = Vec::with_capacity(128);
        let mut value = Vec::new();
        for i in 0..rows {
            scratch.clear();
            match self.nulls {
                Nulls::LeftOut => Self::append_joined(&columns, i, &mut scratch),
                Nulls::Values => Self::append_whole(&columns, i, &mut value, &mut scratch),
            }
            out.extend_from_slice(&to_hex(&Sha256::digest(&scratch).into()));
        }
        let offsets = OffsetBuffer::from_repeated_length(HEX, rows);
        let hashes = StringArray::try_new(offsets, out.into(), None)?;
        Ok(ColumnarValue::Array(Arc::new(hashes)))
    }
}

/// Digits of a SHA-256.
const HEX: usize = 64;

fn to_hex(digest: &[u8; HEX / 2]) -> [u8; HEX] {
    let mut out = [0; HEX];
    // Arithmetic instead of a table, so that the compiler makes vectors of it.
    let digit = |nibble: u8| nibble + b'0' + u8::from(nibble > 9) * (b'a' - b'0' - 10);
    for (pair, byte) in out.chunks_exact_mut(2).zip(digest) {
        pair[0] = digit(byte >> 4);
        pair[1] = digit(byte & 15);
    }
    out
}

/// A part of an instant as a whole number, in UTC.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TimePart {
    part: DatePart,
    signature: Signature,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum DatePart {
    /// 1 for Sunday to 7 for Saturday.
    DayOfWeek,
    /// 0 to 23.
    HourOfDay,
}

impl TimePart {
    fn new(part: DatePart) -> Self {
        TimePart {
            part,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for TimePart {
    fn name(&self) -> &'static str {
        match self.part {
            DatePart::DayOfWeek => "day_of_week",
            DatePart::HourOfDay => "hour_of_day",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Timestamp(..) | DataType::Date32 | DataType::Null] => Ok(DataType::Int32),
            _ => plan_err!("{} takes one timestamp or date", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [array] = arrays.as_slice() else {
            return exec_err!("{} takes one argument", self.name());
        };
        let micros = cast(array, &instant())?;
        let micros = micros.as_primitive::<TimestampMicrosecondType>();
        let parts: Int32Array = match self.part {
            DatePart::DayOfWeek => micros.unary(time::day_of_week),
            DatePart::HourOfDay => {
                micros.unary(|t| i32::try_from(time::civil(t).hour).unwrap_or(0))
            }
        };
        Ok(ColumnarValue::Array(Arc::new(parts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cents(value: f64) -> Option<String> {
        let mut out = Vec::new();
        push_cents(value, &mut out).then(|| String::from_utf8(out).unwrap())
    }

    proptest! {
        #[test]
        fn hundredths_are_written_as_ryu_writes_them(hundredths in 1_u32..1_000_000_000) {
            let value = f64::from(hundredths) / 100.0;
            prop_assert_eq!(cents(value), Some(ryu::Buffer::new().format(value).to_owned()));
        }

        #[test]
        fn any_float_is_written_as_ryu_writes_it_or_left_to_ryu(value in prop::num::f64::ANY) {
            if let Some(text) = cents(value) {
                prop_assert_eq!(text, ryu::Buffer::new().format(value).to_owned());
            }
        }
    }

    #[test]
    fn what_is_no_whole_number_of_hundredths_is_left_to_ryu() {
        for value in [0.001, 12.345, 1e7, -1.5, 0.0, f64::NAN, 0.1 + 0.2] {
            assert_eq!(cents(value), None, "{value}");
        }
        assert_eq!(cents(100.0).as_deref(), Some("100.0"));
        assert_eq!(cents(0.01).as_deref(), Some("0.01"));
    }
}
