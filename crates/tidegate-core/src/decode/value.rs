//! Single values, read from JSON as what the schema says they are.

use tidegate_base::time;

use crate::json::{DEPTH_MAX, DecodeFault, NumberToken, Reader, StringToken};
use crate::reject::Code;

#[inline]
pub(super) fn float64(reader: &mut Reader<'_>, depth: usize) -> Result<f64, DecodeFault> {
    let number = number(reader, depth, "expected a number")?;
    number
        .to_f64()
        .ok_or_else(|| range(number.at, "beyond the range of float64"))
}

#[inline]
pub(super) fn int64(reader: &mut Reader<'_>, depth: usize) -> Result<i64, DecodeFault> {
    Ok(integer(reader, depth)?.1)
}

#[inline]
pub(super) fn int32(reader: &mut Reader<'_>, depth: usize) -> Result<i32, DecodeFault> {
    let (at, value) = integer(reader, depth)?;
    i32::try_from(value).map_err(|_| range(at, "beyond the range of int32"))
}

#[inline]
pub(super) fn boolean(reader: &mut Reader<'_>, depth: usize) -> Result<bool, DecodeFault> {
    let value = match reader.peek() {
        b't' => true,
        b'f' => false,
        _ => return Err(wrong_type(reader, depth, "expected true or false")),
    };
    reader.literal(if value { "true" } else { "false" })?;
    Ok(value)
}

/// The digits of a decimal, without the point. Senders that care for exactness write it as a
/// string.
#[inline]
pub(super) fn decimal(
    reader: &mut Reader<'_>,
    depth: usize,
    precision: u8,
    scale: u8,
) -> Result<i128, DecodeFault> {
    let (at, digits) = if reader.peek() == b'"' {
        let text = reader.string()?;
        let plain = text.plain();
        let mut inner = Reader::new(&plain);
        let wrong = |_| DecodeFault {
            code: Code::WrongType,
            at: text.at,
            what: "expected a decimal number, found other text",
        };
        let number = inner.number().map_err(wrong)?;
        inner.end().map_err(wrong)?;
        (text.at, number.to_decimal(precision, scale))
    } else {
        let number = number(reader, depth, "expected a decimal number")?;
        (number.at, number.to_decimal(precision, scale))
    };
    digits.ok_or_else(|| range(at, "does not fit the decimal type exactly"))
}

/// Microseconds of a time in ISO 8601.
#[inline]
pub(super) fn timestamp(reader: &mut Reader<'_>, depth: usize) -> Result<i64, DecodeFault> {
    let text = string(reader, depth, "expected an ISO 8601 time as a string")?;
    time::parse_instant(&text.plain()).map_err(|what| range(text.at, what))
}

/// Microseconds of a number of units since the Unix epoch, of which each has `micros`.
#[inline]
pub(super) fn epoch(
    reader: &mut Reader<'_>,
    depth: usize,
    micros: i64,
) -> Result<i64, DecodeFault> {
    let (at, value) = integer(reader, depth)?;
    value
        .checked_mul(micros)
        .filter(|time| (time::TIME_MIN..=time::TIME_MAX).contains(time))
        .ok_or_else(|| range(at, "not a time between the years 1 and 9999"))
}

/// Days since the Unix epoch.
#[inline]
pub(super) fn date(reader: &mut Reader<'_>, depth: usize) -> Result<i32, DecodeFault> {
    let text = string(reader, depth, "expected a date as a string")?;
    time::parse_date(&text.plain()).ok_or_else(|| range(text.at, "not a date YYYY-MM-DD"))
}

/// The depth within an array or an object, which begins with `bracket`.
#[inline]
pub(super) fn open(
    bracket: u8,
    expected: &'static str,
    reader: &mut Reader<'_>,
    depth: usize,
) -> Result<usize, DecodeFault> {
    if !reader.eat(bracket) {
        return Err(wrong_type(reader, depth, expected));
    }
    if depth >= DEPTH_MAX {
        return Err(DecodeFault {
            code: Code::Depth,
            at: reader.at(),
            what: "nested too deeply",
        });
    }
    Ok(depth + 1)
}

fn range(at: usize, what: &'static str) -> DecodeFault {
    DecodeFault {
        code: Code::OutOfRange,
        at,
        what,
    }
}

/// The fault for a value of another type, or the syntax fault if it is no value at all.
#[cold]
fn wrong_type(reader: &Reader<'_>, depth: usize, what: &'static str) -> DecodeFault {
    let mut ahead = *reader;
    match ahead.skip(depth) {
        Ok(()) => DecodeFault {
            code: Code::WrongType,
            at: reader.at(),
            what,
        },
        Err(fault) => fault,
    }
}

/// A string.
#[inline]
pub(super) fn string<'a>(
    reader: &mut Reader<'a>,
    depth: usize,
    what: &'static str,
) -> Result<StringToken<'a>, DecodeFault> {
    if reader.peek() == b'"' {
        reader.string()
    } else {
        Err(wrong_type(reader, depth, what))
    }
}

#[inline]
fn number<'a>(
    reader: &mut Reader<'a>,
    depth: usize,
    what: &'static str,
) -> Result<NumberToken<'a>, DecodeFault> {
    if matches!(reader.peek(), b'-' | b'0'..=b'9') {
        reader.number()
    } else {
        Err(wrong_type(reader, depth, what))
    }
}

#[inline]
fn integer(reader: &mut Reader<'_>, depth: usize) -> Result<(usize, i64), DecodeFault> {
    let number = number(reader, depth, "expected a whole number")?;
    match number.to_i64() {
        Some(value) => Ok((number.at, value)),
        None if number.integral => Err(range(number.at, "beyond the range of int64")),
        None => Err(DecodeFault {
            code: Code::WrongType,
            at: number.at,
            what: "expected a whole number",
        }),
    }
}
