//! Times as the interface writes them: RFC 3339, UTC, microseconds.

use chrono::{DateTime, SecondsFormat, Utc};

/// `2026-11-25T18:00:00.000000Z`; what is beyond what can be written is clamped.
pub(crate) fn show(micros: i64) -> String {
    let at = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or(if micros < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    });
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_whole() {
        let micros = 1_795_629_600_123_456;
        assert_eq!(show(micros), "2026-11-25T18:00:00.123456Z");
        assert!(show(i64::MAX).ends_with('Z'));
    }
}
