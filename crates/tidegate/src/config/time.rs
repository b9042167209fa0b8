//! Times on the command line and in the configuration.

use chrono::{DateTime, SecondsFormat};

/// Reads a time with an offset; microseconds since the Unix epoch.
///
/// # Errors
/// Says what is accepted.
pub fn parse(text: &str) -> Result<i64, String> {
    DateTime::parse_from_rfc3339(text.trim())
        .map(|time| time.timestamp_micros())
        .map_err(|_| {
            format!("`{text}` is not a time with an offset; write it as in 2026-01-31T12:00:00Z")
        })
}

/// Writes microseconds since the Unix epoch as a time in UTC.
pub fn show(micros: i64) -> String {
    match DateTime::from_timestamp_micros(micros) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        None => format!("{micros} us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_it_is_read() {
        for text in ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.250Z"] {
            assert_eq!(show(parse(text).unwrap()), text);
        }
        assert_eq!(
            parse("2026-01-31T12:00:00+02:00"),
            parse("2026-01-31T10:00:00Z")
        );
        assert!(parse("2026-01-31").unwrap_err().contains("offset"));
    }
}
