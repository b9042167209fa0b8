//! Records that do not become events: why, and what is kept of them.

use std::fmt::Write as _;

/// Why a record was rejected.
///
/// The codes are an interface: people group by them and alert on them. They do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Null payload.
    Tombstone,
    /// Payload without any character that is not white space.
    Empty,
    /// Larger than the source accepts.
    TooLarge,
    /// Not valid UTF-8.
    NotUtf8,
    /// Not valid JSON.
    Syntax,
    /// Nested more deeply than [`crate::json::DEPTH_MAX`].
    Depth,
    /// Valid JSON, but not an object.
    NotAnObject,
    /// A value of another type than the schema's.
    WrongType,
    /// A value that its type cannot hold.
    OutOfRange,
    /// The same key twice in one object.
    DuplicateKey,
    /// A required field is missing or null.
    Missing,
    /// A text that is longer than the warehouse's columns can be.
    TooLong,
    /// A text with the character U+0000, which the warehouse cannot take.
    Nul,
    /// The event time cannot be read.
    EventTime,
    /// The event time is further in the future than allowed.
    EventTimeAhead,
}

impl Code {
    /// All codes.
    pub const ALL: [Code; 15] = [
        Code::Tombstone,
        Code::Empty,
        Code::TooLarge,
        Code::NotUtf8,
        Code::Syntax,
        Code::Depth,
        Code::NotAnObject,
        Code::WrongType,
        Code::OutOfRange,
        Code::DuplicateKey,
        Code::Missing,
        Code::TooLong,
        Code::Nul,
        Code::EventTime,
        Code::EventTimeAhead,
    ];

    /// The code as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Tombstone => "record.tombstone",
            Code::Empty => "record.empty",
            Code::TooLarge => "record.too_large",
            Code::NotUtf8 => "decode.not_utf8",
            Code::Syntax => "decode.syntax",
            Code::Depth => "decode.depth",
            Code::NotAnObject => "decode.not_an_object",
            Code::WrongType => "decode.wrong_type",
            Code::OutOfRange => "decode.out_of_range",
            Code::DuplicateKey => "decode.duplicate_key",
            Code::Missing => "decode.missing",
            Code::TooLong => "text.too_long",
            Code::Nul => "text.nul",
            Code::EventTime => "event_time.invalid",
            Code::EventTimeAhead => "event_time.too_far_ahead",
        }
    }
}

/// What the reasons begin with that are named after a part of the configuration.
const RULE: &str = "rule.";
const ENRICHMENT: &str = "enrich.";
const WINDOW: &str = "window.";

/// The reason of a record that breaks a rule, as it is stored.
pub fn rule(name: &str) -> String {
    format!("{RULE}{name}")
}

/// The reason of a record for which a column under `[enrich]` cannot be computed, as it is stored.
pub fn enrichment(column: &str) -> String {
    format!("{ENRICHMENT}{column}")
}

/// The reason of a record for which a window cannot be computed, as it is stored.
pub fn window(name: &str) -> String {
    format!("{WINDOW}{name}")
}

/// What a reason is about. The rates of data quality are by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A required field is missing or null.
    Missing,
    /// A rule of the configuration is broken.
    Rule,
    /// The record does not fit the schema in another way.
    Schema,
}

impl Subject {
    /// What a stored reason is about. A reason that this version does not know is about the schema.
    pub fn of(reason: &str) -> Self {
        if reason == Code::Missing.as_str() {
            Subject::Missing
        } else if reason.starts_with(RULE) {
            Subject::Rule
        } else {
            Subject::Schema
        }
    }
}

/// One rejected record, without its payload: that is record `index` of the chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Index of the record in its chunk.
    pub index: usize,
    /// Codes of all reasons: [`Code`]s, or those of [`rule`], [`enrichment`] and [`window`].
    pub codes: Vec<String>,
    /// What is wrong, for people.
    pub detail: String,
}

impl Reject {
    /// A reject with one reason.
    pub fn new(index: usize, code: Code, detail: String) -> Self {
        Reject {
            index,
            codes: vec![code.as_str().to_owned()],
            detail,
        }
    }

    /// Adds a reason.
    pub fn add(&mut self, code: String, detail: &str) {
        if !self.detail.is_empty() {
            self.detail.push_str("; ");
        }
        self.detail.push_str(detail);
        self.codes.push(code);
    }
}

/// Text of a value for a message: at most `max` characters of it.
pub fn excerpt(bytes: &[u8], max: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out: String = text.chars().take(max).collect();
    if text.chars().nth(max).is_some() {
        let _ = write!(out, "… ({} bytes)", bytes.len());
    }
    out
}
