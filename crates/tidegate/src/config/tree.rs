//! The configuration as a tree in which every value knows where it was written.
//!
//! The tree stands between TOML and the typed options, so that `--set` can change it before it is
//! read and every later error can still point at a line.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostics::Diagnostic;

/// Where a key or a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Byte range in the file.
    File(Range<usize>),
    /// Index of the `--set` that wrote it.
    Set(usize),
    /// In no particular place of the file: what is missing altogether.
    Nowhere,
}

impl Origin {
    /// Whether a `--set` wrote it.
    pub fn is_set(&self) -> bool {
        matches!(self, Origin::Set(_))
    }
}

/// A value and where it was written.
#[derive(Debug, Clone)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where the value was written.
    pub origin: Origin,
}

/// A value as TOML knows it.
#[derive(Debug, Clone)]
pub enum Value {
    /// Text. `written` is the text as it was before environment references were replaced, if there
    /// were any: it is what may be shown.
    String {
        /// Text with the environment references replaced.
        text: String,
        /// Text before that, if it had any.
        written: Option<String>,
    },
    /// Whole number.
    Integer(i64),
    /// Number.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// Date, time or both, as written.
    Datetime(String),
    /// Array.
    Array(Vec<Node>),
    /// Table.
    Table(Table),
}

impl Value {
    /// Text without environment references.
    pub fn text(text: impl Into<String>) -> Self {
        Value::String {
            text: text.into(),
            written: None,
        }
    }

    /// Kind of value, with its article, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::String { .. } => "a string",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Boolean(_) => "true or false",
            Value::Datetime(_) => "a date or time",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}

/// Entries of a table, in the order of the file; those of `--set` come last.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Entries; keys are unique.
    pub entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Key, unquoted.
    pub key: String,
    /// Where the key was written.
    pub key_origin: Origin,
    /// Value.
    pub node: Node,
}

impl Table {
    /// Entry of `key`.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.key == key)
    }

    /// Entry of `key`, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|e| e.key == key)
    }
}

/// Reads TOML. What can be read is in the tree even where there are errors.
pub fn parse(text: &str) -> (Table, Vec<Diagnostic>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut diagnostics: Vec<Diagnostic> = errors
        .iter()
        .map(|error| {
            let origin = error.span().map_or(Origin::Nowhere, Origin::File);
            Diagnostic::error(origin, format!("this is not TOML: {}", error.message()))
        })
        .collect();
    let table = convert_table(table.get_ref(), &mut diagnostics);
    (table, diagnostics)
}

/// Reads one TOML value, as in `--set key=VALUE`; `None` if it is not one.
pub fn parse_value(text: &str, origin: &Origin) -> Option<Node> {
    let value = DeValue::parse(text).ok()?;
    let mut diagnostics = Vec::new();
    let mut node = convert(&value, &mut diagnostics);
    if !diagnostics.is_empty() {
        return None;
    }
    stamp(&mut node, origin);
    Some(node)
}

/// Gives a node and everything below it one origin.
fn stamp(node: &mut Node, origin: &Origin) {
    node.origin = origin.clone();
    match &mut node.value {
        Value::Array(items) => items.iter_mut().for_each(|item| stamp(item, origin)),
        Value::Table(table) => table.entries.iter_mut().for_each(|entry| {
            entry.key_origin = origin.clone();
            stamp(&mut entry.node, origin);
        }),
        _ => {}
    }
}

fn convert_table(table: &DeTable<'_>, diagnostics: &mut Vec<Diagnostic>) -> Table {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_origin: Origin::File(key.span()),
            node: convert(value, diagnostics),
        })
        .collect();
    // The parser sorts by name; rules and columns count in the order in which they are written.
    entries.sort_by_key(|entry| match &entry.key_origin {
        Origin::File(span) => span.start,
        Origin::Set(_) | Origin::Nowhere => usize::MAX,
    });
    Table { entries }
}

fn convert(value: &Spanned<DeValue<'_>>, diagnostics: &mut Vec<Diagnostic>) -> Node {
    let origin = Origin::File(value.span());
    let mut number_error = |text: &str| {
        let message = format!("`{text}` is out of range for a number");
        diagnostics.push(Diagnostic::error(origin.clone(), message));
    };
    let value = match value.get_ref() {
        DeValue::String(text) => Value::text(text.as_ref()),
        DeValue::Integer(number) => Value::Integer(
            i64::from_str_radix(number.as_str(), number.radix()).unwrap_or_else(|_| {
                number_error(number.as_str());
                0
            }),
        ),
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or_else(|_| {
            number_error(number.as_str());
            0.0
        })),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(value) => Value::Datetime(value.to_string()),
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| convert(item, diagnostics))
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(convert_table(table, diagnostics)),
    };
    Node { value, origin }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_the_order_of_the_file() {
        let (table, errors) = parse("[rules]\nzeta = \"1\"\nalpha = \"2\"\n[enrich]\nx = 1_000\n");
        assert!(errors.is_empty());
        let keys = |t: &Table| t.entries.iter().map(|e| e.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(&table), ["rules", "enrich"]);
        let Value::Table(rules) = &table.entries[0].node.value else {
            panic!("a table")
        };
        assert_eq!(keys(rules), ["zeta", "alpha"]);
    }

    #[test]
    fn all_syntax_errors_are_reported() {
        let (_, errors) = parse("a = \nb = 1\nc == 2\n");
        assert!(errors.len() >= 2, "{errors:?}");
    }
}
