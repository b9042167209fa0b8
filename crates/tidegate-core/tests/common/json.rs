//! Random types, values of them, and many ways to write the same value as JSON.

use chrono::{DateTime, FixedOffset};
use serde_json::{Map, Value, json};
use tidegate_core::spec::{EpochUnit, FieldSpec, FieldType};

use super::Random;

/// A random type, nested at most `depth` deep.
pub(crate) fn random_type(rng: &mut Random, depth: usize) -> FieldType {
    match rng.place(if depth == 0 { 11 } else { 16 }) {
        0 | 1 => FieldType::String,
        2 => FieldType::Int32,
        3 => FieldType::Int64,
        4 => FieldType::Float64,
        5 => FieldType::Bool,
        6 => {
            let precision = rng.range(1, 39) as u8;
            let scale = rng.range(0, i64::from(precision) + 1) as u8;
            FieldType::Decimal { precision, scale }
        }
        7 => FieldType::Timestamp,
        8 => FieldType::Date,
        9 => FieldType::EpochTimestamp(EpochUnit::Millis),
        10 => FieldType::EpochTimestamp(if rng.one_in(2) {
            EpochUnit::Seconds
        } else {
            EpochUnit::Micros
        }),
        11 | 12 => FieldType::List(Box::new(random_type(rng, depth - 1))),
        13 => FieldType::Map(Box::new(random_type(rng, depth - 1))),
        _ => FieldType::Struct(
            (0..rng.range(1, 4))
                .map(|i| (format!("m{i}"), random_type(rng, depth - 1)))
                .collect(),
        ),
    }
}

pub(crate) fn random_fields(rng: &mut Random) -> Vec<FieldSpec> {
    (0..rng.range(1, 6))
        .map(|i| FieldSpec {
            name: format!("f{i}"),
            ty: random_type(rng, 3),
            required: false,
        })
        .collect()
}

fn random_text(rng: &mut Random) -> String {
    let alphabets = [
        "abcXYZ 019_-",
        "\"\\/\u{8}\u{c}\n\r\t\u{0}\u{1f}",
        "äß\u{7f}\u{80}é",
        "日本\u{ffff}\u{e000}",
        "😀𝄞\u{10ffff}",
    ];
    let len = if rng.one_in(20) { 100 } else { rng.place(12) };
    (0..len)
        .map(|_| {
            let alphabet: Vec<char> = alphabets[rng.place(9) % 5].chars().collect();
            alphabet[rng.place(alphabet.len())]
        })
        .collect()
}

fn random_float(rng: &mut Random) -> f64 {
    match rng.place(5) {
        0 => rng.range(-1000, 1000) as f64,
        1 => rng.range(-100_000_000, 100_000_000) as f64 / 100.0,
        2 => -0.0,
        _ => loop {
            let value = f64::from_bits(rng.bits());
            if value.is_finite() {
                break value;
            }
        },
    }
}

fn random_integer(rng: &mut Random, min: i64, max: i64) -> i64 {
    match rng.place(6) {
        0 => min,
        1 => max,
        2 => 0,
        3 => rng.range(-1000, 1000),
        _ => (rng.bits() as i64).clamp(min, max),
    }
}

fn random_micros(rng: &mut Random, unit: i64) -> i64 {
    // The years 1 and 9999 are left out, so that an offset does not lead beyond them.
    let micros = rng.range(-62_104_060_800, 253_370_764_800) * 1_000_000 + rng.range(0, 1_000_000);
    micros.div_euclid(unit) * unit
}

fn random_decimal(rng: &mut Random, precision: u8, scale: u8) -> String {
    let digits = rng.range(1, i64::from(precision) + 1) as usize;
    let mut text: String = (0..digits)
        .map(|_| {
            let digit = if rng.one_in(3) {
                0
            } else {
                rng.place(10) as u32
            };
            char::from_digit(digit, 10).expect("a digit")
        })
        .collect();
    let scale = usize::from(scale);
    while text.len() <= scale {
        text.insert(0, '0');
    }
    if scale > 0 {
        text.insert(text.len() - scale, '.');
    }
    let whole = text.find('.').unwrap_or(text.len());
    let zeros = text[..whole - 1].bytes().take_while(|b| *b == b'0').count();
    let sign = if rng.one_in(3) { "-" } else { "" };
    format!("{sign}{}", &text[zeros..])
}

/// A value of a type as the oracle reads it: instants in microseconds, decimals as text.
pub(crate) fn random_value(rng: &mut Random, ty: &FieldType, null: bool) -> Value {
    if null && rng.one_in(6) {
        return Value::Null;
    }
    match ty {
        FieldType::String => json!(random_text(rng)),
        FieldType::Int32 => json!(random_integer(rng, i32::MIN.into(), i32::MAX.into())),
        FieldType::Int64 => json!(random_integer(rng, i64::MIN, i64::MAX)),
        FieldType::Float64 => json!(random_float(rng)),
        FieldType::Bool => json!(rng.one_in(2)),
        FieldType::Decimal { precision, scale } => json!(random_decimal(rng, *precision, *scale)),
        FieldType::Timestamp => json!(random_micros(rng, 1)),
        FieldType::EpochTimestamp(unit) => json!(random_micros(rng, unit_micros(*unit))),
        FieldType::Date => {
            let day = DateTime::from_timestamp_micros(random_micros(rng, 1)).expect("a time");
            json!(day.format("%Y-%m-%d").to_string())
        }
        FieldType::List(item) => (0..rng.place(4))
            .map(|_| random_value(rng, item, true))
            .collect(),
        FieldType::Map(value) => {
            let count = if rng.one_in(10) { 40 } else { rng.place(4) };
            let mut map = Map::new();
            for _ in 0..count {
                map.insert(random_text(rng), random_value(rng, value, true));
            }
            Value::Object(map)
        }
        FieldType::Struct(members) => {
            let mut map = Map::new();
            for (name, ty) in members {
                map.insert(name.clone(), random_value(rng, ty, true));
            }
            Value::Object(map)
        }
    }
}

fn unit_micros(unit: EpochUnit) -> i64 {
    match unit {
        EpochUnit::Seconds => 1_000_000,
        EpochUnit::Millis => 1000,
        EpochUnit::Micros => 1,
    }
}

/// Writes values as senders do: any order of keys, white space, escapes, forms of numbers, unknown
/// keys, nulls left out.
pub(crate) struct Writer<'a> {
    pub(crate) rng: &'a mut Random,
    /// When it comes to 0, the value is written with a wrong type.
    pub(crate) wrong_in: Option<usize>,
}

impl Writer<'_> {
    /// The record of these fields and values.
    pub(crate) fn record(&mut self, fields: &[FieldSpec], values: &[Value]) -> String {
        let mut out = String::new();
        self.space(&mut out);
        let members = fields.iter().map(|f| (f.name.as_str(), &f.ty)).zip(values);
        self.object(&mut out, members.map(|((n, t), v)| (n, t, v)).collect());
        self.space(&mut out);
        out
    }

    fn space(&mut self, out: &mut String) {
        while self.rng.one_in(8) {
            out.push_str(self.rng.choose(&[" ", "\t", "\r\n", "  "]));
        }
    }

    fn object(&mut self, out: &mut String, mut members: Vec<(&str, &FieldType, &Value)>) {
        if self.rng.one_in(3) {
            for i in (1..members.len()).rev() {
                members.swap(i, self.rng.place(i + 1));
            }
        }
        let mut first = true;
        out.push('{');
        self.space(out);
        for (name, ty, value) in members {
            if value.is_null() && self.rng.one_in(2) {
                continue;
            }
            if self.rng.one_in(12) {
                self.comma(out, &mut first);
                let known = self.rng.choose(&[
                    r#""?": {"f0": [1, "}", {"m0": null}]}"#,
                    r#""F0" :false"#,
                    r#""": "\"\\""#,
                    r#""f00":-1.5e-300"#,
                ]);
                out.push_str(known);
            }
            self.comma(out, &mut first);
            self.text(out, name);
            self.space(out);
            out.push(':');
            self.value(out, ty, value);
        }
        out.push('}');
    }

    fn comma(&mut self, out: &mut String, first: &mut bool) {
        if !std::mem::take(first) {
            out.push(',');
            self.space(out);
        }
    }

    fn value(&mut self, out: &mut String, ty: &FieldType, value: &Value) {
        self.space(out);
        self.bare_value(out, ty, value);
        self.space(out);
    }

    fn bare_value(&mut self, out: &mut String, ty: &FieldType, value: &Value) {
        if let Some(left) = &mut self.wrong_in {
            if *left == 0 {
                self.wrong_in = None;
                out.push_str(if *ty == FieldType::Bool {
                    "[1, {}]"
                } else {
                    "true"
                });
                return;
            }
            *left -= 1;
        }
        match (ty, value) {
            (_, Value::Null) => out.push_str("null"),
            (FieldType::Float64, value) => {
                let value = value.as_f64().expect("a float");
                self.float(out, value);
            }
            (FieldType::Decimal { .. }, Value::String(text)) => {
                if self.rng.one_in(2) {
                    self.text(out, text);
                } else {
                    out.push_str(text);
                    if self.rng.one_in(4) {
                        out.push_str(self.rng.choose(&["e0", "E+00", "e-0"]));
                    }
                }
            }
            (FieldType::Timestamp, value) => {
                let micros = value.as_i64().expect("micros");
                self.timestamp(out, micros);
            }
            (FieldType::EpochTimestamp(unit), value) => {
                let micros = value.as_i64().expect("micros");
                out.push_str(&(micros / unit_micros(*unit)).to_string());
            }
            (FieldType::List(ty), Value::Array(items)) => {
                out.push('[');
                self.space(out);
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    self.value(out, ty, item);
                }
                out.push(']');
            }
            (FieldType::Map(ty), Value::Object(map)) => {
                out.push('{');
                self.space(out);
                for (i, (key, value)) in map.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                        self.space(out);
                    }
                    self.text(out, key);
                    out.push(':');
                    self.value(out, ty, value);
                }
                out.push('}');
            }
            (FieldType::Struct(members), Value::Object(map)) => {
                let members = members.iter().map(|(n, t)| (n.as_str(), t, &map[n]));
                self.object(out, members.collect());
            }
            (_, Value::String(text)) => self.text(out, text),
            (_, other) => out.push_str(&other.to_string()),
        }
    }

    fn float(&mut self, out: &mut String, value: f64) {
        out.push_str(&match self.rng.place(3) {
            0 => format!("{value:e}"),
            1 => format!("{value:E}"),
            _ => value.to_string(),
        });
    }

    fn timestamp(&mut self, out: &mut String, micros: i64) {
        let minutes = self.rng.range(-18 * 60, 18 * 60) as i32;
        let offset = FixedOffset::east_opt(minutes * 60).expect("an offset");
        let time = DateTime::from_timestamp_micros(micros)
            .expect("a time")
            .with_timezone(&offset);
        let text = match self.rng.place(3) {
            0 => time.format("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string(),
            1 => time.format("%Y-%m-%d %H:%M:%S%.9f%z").to_string(),
            _ => time.to_utc().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
        };
        self.text(out, &text);
    }

    fn text(&mut self, out: &mut String, text: &str) {
        let often = self.rng.one_in(4);
        out.push('"');
        for c in text.chars() {
            if c < ' ' || matches!(c, '"' | '\\') || often && self.rng.one_in(3) {
                let short = match c {
                    '"' | '\\' | '/' => Some(c),
                    '\u{8}' => Some('b'),
                    '\u{c}' => Some('f'),
                    '\n' => Some('n'),
                    '\r' => Some('r'),
                    '\t' => Some('t'),
                    _ => None,
                };
                match short {
                    Some(short) if self.rng.one_in(2) => {
                        out.push('\\');
                        out.push(short);
                    }
                    _ => {
                        for unit in c.encode_utf16(&mut [0; 2]) {
                            out.push_str(&match self.rng.place(2) {
                                0 => format!("\\u{unit:04x}"),
                                _ => format!("\\u{unit:04X}"),
                            });
                        }
                    }
                }
            } else {
                out.push(c);
            }
        }
        out.push('"');
    }
}
