//! Sensor readings, with nested values and with everything that can be wrong with them.

use chrono::DateTime;
use tidegate_testkit::Random;

use crate::common::NOW_MICROS;

const FILES: usize = 3;
/// Milliseconds of event time between two readings.
const STEP: i64 = 100;

/// A sequence of random numbers.
struct Draw(Random);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    fn one_of<'a>(&mut self, values: &[&'a str]) -> &'a str {
        values[self.below(values.len() as u64) as usize]
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Values that are not right, by field: of another type, beyond the type, or against a rule.
const FAULTS: [(&str, &[&str]); 13] = [
    ("sensor_id", &["null", "7", "{}"]),
    (
        "sequence",
        &["\"two\"", "1.5", "-1", "null", "9223372036854775808", "[]"],
    ),
    ("sensor_type", &["\"wind\"", "null", "\"Power\"", "true"]),
    ("site", &["5", "[\"A-101\"]"]),
    ("value", &["null", "\"21.5\"", "-1e9", "{}"]),
    (
        "energy_kwh",
        &[
            "\"abc\"",
            "0.0000001",
            "\"1.2345678\"",
            "1234567890123.5",
            "true",
            "\"\"",
        ],
    ),
    (
        "battery_percent",
        &["101", "-1", "3000000000", "\"12\"", "12.5"],
    ),
    ("calibrated", &["\"yes\"", "1", "[true]"]),
    (
        "installed_on",
        &["\"2025-02-30\"", "\"2025-3-4\"", "5", "\"\"", "\"today\""],
    ),
    (
        "position",
        &["[1,2]", "{\"lat\":\"x\"}", "\"here\"", "{\"lon\":true}"],
    ),
    ("samples", &["{\"a\":1}", "[1,\"x\"]", "[[1]]", "3"]),
    (
        "tags",
        &["{\"a\":1}", "[\"a\"]", "{\"a\":\"1\",\"a\":\"2\"}"],
    ),
    (
        "measured_at",
        &[
            "\"2026-03-02T10:00:00Z\"",
            "1e300",
            "null",
            "1772452800000.5",
        ],
    ),
];

/// `count` lines in a few files, in the order of their names.
pub fn files(count: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut draw = Draw(Random::new(seed));
    let mut lines: Vec<String> = Vec::with_capacity(count);
    let start = NOW_MICROS / 1000 - 3 * 3_600_000;
    for n in 0..count {
        let back = match draw.below(100) {
            // An exact repeat, mostly soon enough to be known.
            0..3 => Some(draw.below(400)),
            3 => Some(draw.below(4000)),
            _ => None,
        };
        let line = match back {
            Some(back) if n > 0 => lines[n - 1 - (back as usize).min(n - 1)].clone(),
            _ => reading(&mut draw, start + n as i64 * STEP, n),
        };
        lines.push(line);
    }
    lines
        .chunks(count.div_ceil(FILES))
        .map(|file| {
            file.iter()
                .flat_map(|l| [l.as_bytes(), b"\n"].concat())
                .collect()
        })
        .collect()
}

fn reading(draw: &mut Draw, time: i64, n: usize) -> String {
    let measured_at = match draw.below(200) {
        0..4 => time - 60_000 - draw.below(600_000) as i64,
        // A clock that is too far ahead. None is a little ahead: that would make all the rest late.
        4 => NOW_MICROS / 1000 + 300_001 + draw.below(600_000) as i64,
        _ => time - draw.below(20_000) as i64,
    };
    let kind = draw.one_of(&["temperature", "humidity", "power"]);
    // A sensor's readings count up, apart from a few that are sent again with other values.
    let sequence = if draw.percent(2) { n / 40 } else { n };
    let mut fields = vec![
        (
            "sensor_id",
            format!("\"{}-{}\"", &kind[..1], draw.below(40)),
        ),
        ("sequence", sequence.to_string()),
        ("sensor_type", format!("\"{kind}\"")),
        (
            "value",
            match kind {
                "temperature" => format!("{:.2}", draw.below(19_000) as f64 / 100.0 - 65.0),
                "humidity" => (draw.below(102)).to_string(),
                _ => format!("{:e}", draw.below(1_000_000) as f64 / 7.0),
            },
        ),
        ("measured_at", measured_at.to_string()),
    ];
    optional(draw, time, &mut fields);
    if draw.percent(4) {
        let (field, values) = FAULTS[draw.below(FAULTS.len() as u64) as usize];
        fields.retain(|(name, _)| *name != field);
        if !draw.percent(10) {
            fields.push((field, draw.one_of(values).to_owned()));
        }
    }
    let members: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("\"{name}\": {value}"))
        .collect();
    let mut line = format!("{{{}}}", members.join(", "));
    if draw.below(1000) == 0 {
        line.truncate(line.len() / 2);
    }
    line
}

/// Fields that need not be there, each in several forms.
fn optional(draw: &mut Draw, time: i64, fields: &mut Vec<(&'static str, String)>) {
    let whole = draw.below(1_000_000);
    let energy = match draw.below(2000) {
        // The least that fits, as text: DuckDB's JSON reads numbers as floats.
        0 => "\"-999999999999.999999\"".to_owned(),
        1..50 => "\"1E+3\"".to_owned(),
        50..100 => "0".to_owned(),
        100..700 => format!("-{whole}e-6"),
        700..1400 => format!("\"0.{whole:06}\""),
        _ => format!("{}.{whole:06}", whole % 5),
    };
    let day = DateTime::from_timestamp_millis(time - draw.below(1000) as i64 * 86_400_000).unwrap();
    let candidates = [
        (
            "site",
            format!(
                "\"{}\"",
                draw.one_of(&["A-101", "A-201", "B-001", "C-900", "", "é"])
            ),
        ),
        ("energy_kwh", energy),
        ("battery_percent", draw.below(101).to_string()),
        ("calibrated", draw.one_of(&["true", "false"]).to_owned()),
        ("installed_on", format!("\"{}\"", day.format("%Y-%m-%d"))),
        (
            "position",
            draw.one_of(&[
                r#"{"lat": 53.5503, "lon": 9.992}"#,
                r#"{"lon": -0.1, "lat": 51}"#,
                r#"{"lat": 1e1}"#,
                r#"{"lat": null, "lon": 5.5, "alt": [1, {"m": 2}]}"#,
                "{}",
            ])
            .to_owned(),
        ),
        (
            "samples",
            draw.one_of(&[
                "[]",
                "[1]",
                "[21.4, 21.5, null, 2e1]",
                "[null]",
                "[ 0.1 , -0.25 ]",
            ])
            .to_owned(),
        ),
        (
            "tags",
            draw.one_of(&[
                "{}",
                r#"{"vendor": "acme", "fw": "1.2"}"#,
                r#"{"fw": null}"#,
                r#"{"größe": "\u00fc\n"}"#,
            ])
            .to_owned(),
        ),
    ];
    for (name, value) in candidates {
        match draw.below(10) {
            0 => {}
            1 => fields.push((name, "null".to_owned())),
            _ => fields.push((name, value)),
        }
    }
}
