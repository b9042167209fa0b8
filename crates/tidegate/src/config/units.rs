//! Durations and sizes with their units, as the configuration and the command line write them.

use std::time::Duration;

/// Reads a duration: `250ms`, `10s`, `5m`, `2h`, `7d`, or several together: `1h30m`.
///
/// # Errors
/// Says what is accepted.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "`{text}` is not a duration; write a number and a unit (ms, s, m, h or d), as in `10s` or `1h30m`"
        )
    };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total_ms: f64 = 0.0;
    while !rest.is_empty() {
        let (number, unit, tail) = split(rest).ok_or_else(wrong)?;
        let unit_ms = match unit {
            "ms" => 1.0,
            "s" => 1e3,
            "m" | "min" => 60e3,
            "h" => 3_600e3,
            "d" => 86_400e3,
            _ => return Err(wrong()),
        };
        total_ms += number * unit_ms;
        rest = tail.trim_start();
    }
    // A hundred years, so that adding it to a time cannot overflow.
    if total_ms > 36_525.0 * 86_400e3 {
        return Err(format!("`{text}` is too long; at most 36525d (100 years)"));
    }
    Ok(Duration::from_secs_f64(total_ms / 1e3))
}

/// Reads a size in bytes: `512B`, `64KiB`, `64MiB`, `2GiB`, or decimal `KB`, `MB`, `GB`.
///
/// # Errors
/// Says what is accepted.
pub fn size(text: &str) -> Result<usize, String> {
    let wrong = || {
        format!(
            "`{text}` is not a size; write a number and a unit (B, KiB, MiB, GiB, or KB, MB, GB), as in `64MiB`"
        )
    };
    let (number, unit, rest) = split(text.trim()).ok_or_else(wrong)?;
    let factor: f64 = match unit {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        "TiB" => 1_099_511_627_776.0,
        "KB" | "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        _ => return Err(wrong()),
    };
    if !rest.is_empty() {
        return Err(wrong());
    }
    let bytes = number * factor;
    if bytes > 1e15 {
        return Err(format!("`{text}` is too large; at most 1000TB"));
    }
    // Exact: not negative, and far below 2^53.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(bytes as usize)
}

/// Number, unit and what follows.
fn split(text: &str) -> Option<(f64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')?;
    let number: f64 = text[..digits].replace('_', "").parse().ok()?;
    let rest = text[digits..].trim_start();
    let end = rest
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(rest.len());
    Some((number, &rest[..end], &rest[end..]))
}

/// A duration for people: `450 ms`, `2.5 s`, `3 m 20 s`, `1 d 4 h`.
pub fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..=59 => {
            let tenths = duration.as_millis() / 100;
            if tenths.is_multiple_of(10) {
                format!("{seconds} s")
            } else {
                format!("{}.{} s", seconds, tenths % 10)
            }
        }
        60..=3_599 => two(seconds / 60, "m", seconds % 60, "s"),
        3_600..=86_399 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

/// A size for people: `64 MiB`.
pub fn show_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    #[allow(clippy::cast_precision_loss)]
    let mut value = bytes as f64;
    while value >= 1024.0 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value.fract() != 0.0 && value < 100.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A count for people: `1,234,567`.
pub fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("10 s", 10_000),
            ("1.5s", 1_500),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in [
            "",
            "10",
            "s",
            "10 parsecs",
            "-1s",
            "1h x",
            "40000d",
            "1..2s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("512B", 512),
            ("64MiB", 64 << 20),
            ("1.5GiB", 3 << 29),
            ("10 MB", 10_000_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "10", "MiB", "64mib", "64MiB x", "9999999TB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn for_people() {
        assert_eq!(show_duration(Duration::from_millis(450)), "450 ms");
        assert_eq!(show_duration(Duration::from_millis(2_530)), "2.5 s");
        assert_eq!(show_duration(Duration::from_secs(600)), "10 m");
        assert_eq!(show_duration(Duration::from_secs(100_000)), "1 d 3 h");
        assert_eq!(show_size(64 << 20), "64 MiB");
        assert_eq!(show_size(1536), "1.5 KiB");
        assert_eq!(show_count(0), "0");
        assert_eq!(show_count(1_234_567), "1,234,567");
    }
}
