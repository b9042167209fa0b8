//! What a job does to its events, as plain data: what the configuration file says, checked for
//! form but not yet planned. [`crate::plan::Plan`] turns it into something that runs.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Everything that one job does to an event.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSpec {
    /// Fields of the event, in order.
    pub fields: Vec<FieldSpec>,
    /// Which field is the event's time.
    pub event_time: EventTimeSpec,
    /// Conditions that a record must meet, in order; one that is not true, null included, rejects.
    pub rules: Vec<NamedExpr>,
    /// Columns that are added, in order; a later one can use an earlier one.
    pub enrich: Vec<NamedExpr>,
    /// Joins with small reference tables, done before `enrich`.
    pub lookups: Vec<LookupSpec>,
    /// Columns whose exact repetition is dropped; empty for no deduplication.
    pub dedup_key: Vec<String>,
    /// Windowed aggregates.
    pub windows: Vec<WindowSpec>,
    /// The form in which events are stored.
    pub stored: StoredForm,
}

/// The form in which events are stored, where a warehouse cannot take every value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoredForm {
    /// Lists, structs and maps are stored as JSON text.
    pub nested_as_json: bool,
    /// An event with a longer text than this, in bytes, or with the character U+0000 in a text, is
    /// rejected. The payload of a reject is cut to it, and kept whole in the dataset `oversized`;
    /// one with U+0000 is kept in base64. None for no limit.
    pub text_bytes_max: Option<usize>,
    /// The files keep to compression and encodings that every reader of Parquet knows.
    pub plain_encodings: bool,
    /// Instants are `INT96`, for readers that take no others.
    pub int96: bool,
}

/// A field of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldSpec {
    /// Key in the JSON object, and column name.
    pub name: String,
    /// Type of the value.
    pub ty: FieldType,
    /// Whether an event without it, or with null, is rejected.
    pub required: bool,
}

/// Which field is the event's time, and how late an event may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTimeSpec {
    /// Field that holds it: a string in ISO 8601 with an offset, or a timestamp.
    pub field: String,
    /// Column that it becomes: timestamp in microseconds, UTC.
    pub column: String,
    /// How far behind the greatest event time an event may be before it counts as late. Also the
    /// time over which repeats are recognised.
    pub delay: Duration,
    /// How far in the future an event time may be; a record beyond it is rejected, because it
    /// would make everything after it late. `None` for no limit.
    pub max_ahead: Option<Duration>,
    /// After this long without a record, a lane that has read all there is follows the others.
    pub idle_after: Duration,
}

/// A named SQL expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedExpr {
    /// Name of the rule or of the column.
    pub name: String,
    /// SQL.
    pub sql: String,
}

/// A join with a reference table that is small enough for memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupSpec {
    /// Name, for messages.
    pub name: String,
    /// Column of the event that is looked up.
    pub on: String,
    /// Column of the reference table that it is compared with.
    pub key: String,
    /// Columns that are taken over: name in the reference table, and name that it gets.
    pub columns: Vec<LookupColumn>,
}

/// A column that a lookup adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupColumn {
    /// Name in the reference table.
    pub from: String,
    /// Name in the event.
    pub name: String,
    /// Type.
    pub ty: FieldType,
}

/// A windowed aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSpec {
    /// Name: dataset and table.
    pub name: String,
    /// Length of a window.
    pub size: Duration,
    /// A window starts every `slide`; equal to `size` for tumbling windows. Divides `size`.
    pub slide: Duration,
    /// Columns that make a group; empty for one group over all.
    pub group_by: Vec<String>,
    /// What is computed.
    pub aggregates: Vec<AggregateSpec>,
}

/// One aggregate of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateSpec {
    /// Column name.
    pub name: String,
    /// Function.
    pub function: AggregateFunction,
    /// SQL expression that it is applied to; `None` is `count(*)`.
    pub input: Option<String>,
}

/// Function of an aggregate. All of them can be computed in parts and merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregateFunction {
    /// Number of rows, or of values that are not null.
    Count,
    /// Sum of the values that are not null.
    Sum,
    /// Mean of the values that are not null.
    Avg,
    /// Least value.
    Min,
    /// Greatest value.
    Max,
}

/// Type of a field, as the configuration writes it: `string`, `decimal(18,2)`,
/// `map<string,string>`, `list<int64>`, `struct<lat: float64, lon: float64>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldType {
    /// UTF-8 text.
    String,
    /// Whole number of 32 bits.
    Int32,
    /// Whole number of 64 bits.
    Int64,
    /// Floating point number of 64 bits.
    Float64,
    /// `true` or `false`.
    Bool,
    /// Exact number with `precision` digits, `scale` of them after the point; at most 38 digits.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// Instant, written as ISO 8601 text with an offset.
    Timestamp,
    /// Instant, written as a whole number of units since the Unix epoch.
    EpochTimestamp(EpochUnit),
    /// Calendar date, written `YYYY-MM-DD`.
    Date,
    /// JSON object with any keys and values of one type.
    Map(Box<FieldType>),
    /// JSON array.
    List(Box<FieldType>),
    /// JSON object with known keys, all optional; unknown ones are ignored.
    Struct(Vec<(String, FieldType)>),
}

/// Unit of a numeric timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochUnit {
    /// `timestamp_s`
    Seconds,
    /// `timestamp_ms`
    Millis,
    /// `timestamp_us`
    Micros,
}

/// Why a type could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TypeError {
    /// What is wrong, and what is accepted.
    pub message: String,
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldType::String => f.write_str("string"),
            FieldType::Int32 => f.write_str("int32"),
            FieldType::Int64 => f.write_str("int64"),
            FieldType::Float64 => f.write_str("float64"),
            FieldType::Bool => f.write_str("bool"),
            FieldType::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            FieldType::Timestamp => f.write_str("timestamp"),
            FieldType::EpochTimestamp(EpochUnit::Seconds) => f.write_str("timestamp_s"),
            FieldType::EpochTimestamp(EpochUnit::Millis) => f.write_str("timestamp_ms"),
            FieldType::EpochTimestamp(EpochUnit::Micros) => f.write_str("timestamp_us"),
            FieldType::Date => f.write_str("date"),
            FieldType::Map(value) => write!(f, "map<string,{value}>"),
            FieldType::List(item) => write!(f, "list<{item}>"),
            FieldType::Struct(fields) => {
                f.write_str("struct<")?;
                for (i, (name, ty)) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{name}: {ty}")?;
                }
                f.write_str(">")
            }
        }
    }
}

impl FromStr for FieldType {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<Self, TypeError> {
        let mut parser = TypeParser {
            text,
            rest: text,
            depth: 0,
        };
        let ty = parser.parse()?;
        parser.skip_space();
        if !parser.rest.is_empty() {
            return Err(parser.error(&format!("unexpected `{}` after the type", parser.rest)));
        }
        Ok(ty)
    }
}

/// Types nest at most this deep, so that neither the parser nor decode can exhaust the stack.
const TYPE_DEPTH_MAX: usize = 16;

struct TypeParser<'a> {
    text: &'a str,
    rest: &'a str,
    depth: usize,
}

impl<'a> TypeParser<'a> {
    fn error(&self, what: &str) -> TypeError {
        TypeError {
            message: format!("type `{}`: {what}", self.text),
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, symbol: char) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, symbol: char) -> Result<(), TypeError> {
        if self.eat(symbol) {
            Ok(())
        } else {
            Err(self.error(&format!("expected `{symbol}`")))
        }
    }

    fn word(&mut self) -> &'a str {
        self.skip_space();
        let end = self
            .rest
            .find(|c: char| !c.is_alphanumeric() && c != '_' && c != '-' && c != '.')
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn number(&mut self) -> Result<u8, TypeError> {
        let word = self.word();
        word.parse()
            .map_err(|_| self.error(&format!("expected a small number, found `{word}`")))
    }

    fn parse(&mut self) -> Result<FieldType, TypeError> {
        self.depth += 1;
        if self.depth > TYPE_DEPTH_MAX {
            return Err(self.error("nested too deeply"));
        }
        let word = self.word();
        let ty = match word {
            "string" => FieldType::String,
            "int32" => FieldType::Int32,
            "int64" => FieldType::Int64,
            "float64" => FieldType::Float64,
            "bool" => FieldType::Bool,
            "timestamp" => FieldType::Timestamp,
            "timestamp_s" => FieldType::EpochTimestamp(EpochUnit::Seconds),
            "timestamp_ms" => FieldType::EpochTimestamp(EpochUnit::Millis),
            "timestamp_us" => FieldType::EpochTimestamp(EpochUnit::Micros),
            "date" => FieldType::Date,
            "decimal" => {
                self.expect('(')?;
                let precision = self.number()?;
                let scale = if self.eat(',') { self.number()? } else { 0 };
                self.expect(')')?;
                if precision == 0 || precision > 38 || scale > precision {
                    return Err(self.error(
                        "a decimal has 1 to 38 digits, and no more after the point than in all",
                    ));
                }
                FieldType::Decimal { precision, scale }
            }
            "map" => {
                self.expect('<')?;
                if self.word() != "string" {
                    return Err(self.error("the keys of a map are `string`"));
                }
                self.expect(',')?;
                let value = self.parse()?;
                self.expect('>')?;
                FieldType::Map(Box::new(value))
            }
            "list" => {
                self.expect('<')?;
                let item = self.parse()?;
                self.expect('>')?;
                FieldType::List(Box::new(item))
            }
            "struct" => {
                self.expect('<')?;
                let members = self.members()?;
                self.expect('>')?;
                FieldType::Struct(members)
            }
            _ => {
                return Err(self.error(&format!(
                    "`{word}` is not a type; use string, int32, int64, float64, bool, decimal(p,s), timestamp, \
                     timestamp_s, timestamp_ms, timestamp_us, date, map<string,T>, list<T> or struct<name: T, ...>"
                )));
            }
        };
        self.depth -= 1;
        Ok(ty)
    }

    /// Members of a struct: names and types.
    fn members(&mut self) -> Result<Vec<(String, FieldType)>, TypeError> {
        let mut members: Vec<(String, FieldType)> = Vec::new();
        loop {
            let name = self.word();
            if name.is_empty() {
                return Err(self.error("expected a field name"));
            }
            // As warehouses do, which have no two members that differ by case alone.
            let twin = members.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
            if let Some((twin, _)) = twin {
                let why = match twin.as_str() == name {
                    true => format!("field `{name}` stands twice"),
                    false => format!(
                        "fields `{twin}` and `{name}` differ by case alone, which warehouses take for one; \
                         leave one of them out"
                    ),
                };
                return Err(self.error(&why));
            }
            self.expect(':')?;
            members.push((name.to_owned(), self.parse()?));
            if !self.eat(',') {
                return Ok(members);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_written_as_it_is_read() {
        for text in [
            "string",
            "decimal(18,2)",
            "map<string,string>",
            "list<struct<a: int64, b: list<timestamp_ms>>>",
            "struct<lat: float64, lon: float64>",
        ] {
            let ty: FieldType = text.parse().unwrap();
            assert_eq!(ty.to_string(), text);
        }
    }

    #[test]
    fn a_wrong_type_says_what_is_accepted() {
        for (text, says) in [
            ("text", "is not a type"),
            ("decimal(40,2)", "1 to 38"),
            ("list<string", "expected `>`"),
            ("struct<a: string, a: string>", "twice"),
            ("list<struct<a: string, A: int64>>", "by case alone"),
            ("string string", "after the type"),
        ] {
            let error = text.parse::<FieldType>().unwrap_err();
            assert!(error.message.contains(says), "{text}: {error}");
        }
        let deep = "list<".repeat(100) + "string" + &">".repeat(100);
        assert!(
            deep.parse::<FieldType>()
                .unwrap_err()
                .message
                .contains("deeply")
        );
    }
}
