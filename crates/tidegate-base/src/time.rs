//! Instants and dates, how they are read from text, without allocation, and written.

use chrono::{DateTime, SecondsFormat, Utc};

/// The time zone that all instants have in Arrow.
pub const UTC: &str = "UTC";

/// Microseconds in a second.
pub const MICROS: i64 = 1_000_000;

/// First instant that is accepted as a time: 0001-01-01T00:00:00Z, in microseconds.
pub const TIME_MIN: i64 = -62_135_596_800 * MICROS;
/// Last instant that is accepted as a time: 9999-12-31T23:59:59.999999Z, in microseconds.
pub const TIME_MAX: i64 = 253_402_300_799 * MICROS + 999_999;

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar.
///
/// After Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
#[inline]
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y - era * 400;
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

#[inline]
fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[inline]
fn digits(text: &[u8]) -> Option<i64> {
    let mut value = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(value)
}

/// Days since the Unix epoch of `YYYY-MM-DD`, or `None` if the text is not such a date.
#[inline]
pub fn parse_date(text: &[u8]) -> Option<i32> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let (year, month, day) = (
        digits(&text[..4])?,
        digits(&text[5..7])?,
        digits(&text[8..])?,
    );
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return None;
    }
    i32::try_from(days_from_civil(year, month, day)).ok()
}

/// Microseconds since the Unix epoch of an ISO 8601 instant, or what is wrong with it.
///
/// Accepted is `YYYY-MM-DDTHH:MM:SS`, with `T`, `t` or a space, an optional fraction of up to nine
/// digits (cut to microseconds), and an offset: `Z`, `z`, `+HH:MM`, `+HHMM` or `+HH`. An offset is
/// required: without it the text does not name an instant. A leap second counts as the second
/// after.
#[inline]
pub fn parse_instant(text: &[u8]) -> Result<i64, &'static str> {
    const FORM: &str = "not an ISO 8601 time such as 2026-01-31T10:00:00.123456+00:00";
    if text.len() < 19
        || !matches!(text[10], b'T' | b't' | b' ')
        || text[13] != b':'
        || text[16] != b':'
    {
        return Err(FORM);
    }
    let days = parse_date(&text[..10]).ok_or(FORM)?;
    let hour = digits(&text[11..13]).ok_or(FORM)?;
    let minute = digits(&text[14..16]).ok_or(FORM)?;
    let second = digits(&text[17..19]).ok_or(FORM)?;
    if hour > 23 || minute > 59 || second > 60 {
        return Err(FORM);
    }
    let mut rest = &text[19..];
    let mut micros = 0;
    if let [b'.' | b',', fraction @ ..] = rest {
        let len = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        if len == 0 || len > 9 {
            return Err(FORM);
        }
        let kept = len.min(6);
        micros = digits(&fraction[..kept]).ok_or(FORM)? * 10_i64.pow(6 - kept as u32);
        rest = &fraction[len..];
    }
    let offset = match rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), zone @ ..] => {
            let (hours, minutes) = match zone {
                [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => {
                    (digits(&[*h1, *h2]), digits(&[*m1, *m2]))
                }
                [h1, h2] => (digits(&[*h1, *h2]), Some(0)),
                _ => return Err(FORM),
            };
            let (hours, minutes) = (hours.ok_or(FORM)?, minutes.ok_or(FORM)?);
            if hours > 18 || minutes > 59 {
                return Err(FORM);
            }
            let seconds = hours * 3600 + minutes * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        [] => {
            return Err("no offset from UTC (such as Z or +00:00), so it does not name an instant");
        }
        _ => return Err(FORM),
    };
    let seconds = i64::from(days) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    let time = seconds * MICROS + micros;
    // An offset can lead beyond the first and the last year.
    if !(TIME_MIN..=TIME_MAX).contains(&time) {
        return Err("not a time between the years 1 and 9999");
    }
    Ok(time)
}

/// A date, time of day and the rest in UTC: what a path or a message needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Civil {
    /// Year, 1 to 9999 for accepted times.
    pub year: i64,
    /// Month, 1 to 12.
    pub month: i64,
    /// Day of the month, 1 to 31.
    pub day: i64,
    /// Hour, 0 to 23.
    pub hour: i64,
}

/// The UTC date and hour of an instant in microseconds since the Unix epoch.
///
/// After Howard Hinnant, `civil_from_days`.
#[inline]
pub fn civil(micros: i64) -> Civil {
    let seconds = micros.div_euclid(MICROS);
    let z = seconds.div_euclid(86_400) + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    Civil {
        year,
        month,
        day,
        hour: seconds.rem_euclid(86_400) / 3600,
    }
}

/// An instant as RFC 3339 in UTC with microseconds, `2026-11-25T18:00:00.000000Z`; what is beyond
/// what can be written is clamped.
pub fn show(micros: i64) -> String {
    let at = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or(if micros < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    });
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Day of the week of an instant, 1 for Sunday to 7 for Saturday, in UTC, as Spark's `dayofweek`.
pub fn day_of_week(micros: i64) -> i32 {
    let days = micros.div_euclid(86_400 * MICROS);
    // 1970-01-01 was a Thursday, day 5.
    i32::try_from((days + 4).rem_euclid(7)).unwrap_or(0) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike, TimeZone, Timelike};
    use proptest::prelude::*;

    #[test]
    fn instants_are_read_with_their_offset() {
        let at = |text: &str| parse_instant(text.as_bytes());
        let noon = Utc
            .with_ymd_and_hms(2026, 1, 1, 10, 0, 0)
            .unwrap()
            .timestamp_micros();
        assert_eq!(at("2026-01-01T10:00:00.123456+00:00"), Ok(noon + 123_456));
        assert_eq!(at("2026-01-01T10:00:00Z"), Ok(noon));
        assert_eq!(at("2026-01-01 12:30:00+0230"), Ok(noon));
        assert_eq!(at("2026-01-01T05:00:00.1-05"), Ok(noon + 100_000));
        assert_eq!(at("2026-01-01T10:00:00.123456789Z"), Ok(noon + 123_456));
        assert!(at("2026-01-01T10:00:00").unwrap_err().contains("offset"));
        for bad in [
            "",
            "2026-02-29T10:00:00Z",
            "2026-13-01T10:00:00Z",
            "0000-01-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T10:00:00.Z",
            "2026-01-01T10:00:00+1",
            "x026-01-01T10:00:00Z",
            "2026-01-01T10:00:00Zx",
        ] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn instants_agree_with_chrono(micros in TIME_MIN..=TIME_MAX) {
            let time: DateTime<Utc> = DateTime::from_timestamp_micros(micros).unwrap();
            let text = time.format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string();
            prop_assert_eq!(parse_instant(text.as_bytes()), Ok(micros));
            let c = civil(micros);
            prop_assert_eq!((c.year, c.month, c.day, c.hour),
                (i64::from(time.year()), i64::from(time.month()), i64::from(time.day()), i64::from(time.hour())));
            prop_assert_eq!(day_of_week(micros), time.weekday().num_days_from_sunday() as i32 + 1);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = parse_instant(text.as_bytes());
            let _ = parse_date(text.as_bytes());
        }
    }
}
