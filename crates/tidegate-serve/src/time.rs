//! Times as the interface writes them: RFC 3339, UTC, microseconds.

use chrono::DateTime;
use serde::{Serialize, Serializer};
pub(crate) use tidegate_base::time::show;
use utoipa::ToSchema;

/// A time: RFC 3339 in UTC, with microseconds.
// Microseconds since the Unix epoch; the comment above is what readers of the interface see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, format = DateTime)]
pub(crate) struct Time(pub(crate) i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&show(self.0))
    }
}

/// Reads a time with an offset, in microseconds since the Unix epoch.
pub(crate) fn read(text: &str) -> Result<i64, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|at| at.timestamp_micros())
        .map_err(|_| {
            format!("`{text}` is not a time; write it as in 2026-11-25T18:00:00Z, with an offset or Z (a + in a URL is %2B)")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_were() {
        let micros = 1_795_629_600_123_456;
        assert_eq!(show(micros), "2026-11-25T18:00:00.123456Z");
        assert_eq!(read(&show(micros)), Ok(micros));
        assert_eq!(read("2026-11-25T19:00:00.123456+01:00"), Ok(micros));
        assert!(read("2026-11-25 18:00:00").unwrap_err().contains("offset"));
        assert!(show(i64::MAX).ends_with('Z'));
    }
}
