//! Reads typed values out of the tree and collects everything that is wrong.
//!
//! A [`Section`] is one table. It remembers which keys were asked for, so that [`Section::finish`]
//! can refuse the others. A value that is wrong is reported and read as its default, so that one
//! error does not hide the next.

use std::cell::RefCell;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use super::diagnostics::{Diagnostic, listed, nearest};
use super::tree::{Entry, Node, Origin, Table, Value};
use super::units;

/// Where everything that is wrong is gathered.
#[derive(Debug)]
pub struct ConfigContext<'t> {
    diagnostics: RefCell<Vec<Diagnostic>>,
    sets: &'t [String],
}

impl<'t> ConfigContext<'t> {
    /// Nothing is wrong yet. `sets` are the arguments of `--set`.
    pub fn new(sets: &'t [String]) -> Self {
        ConfigContext {
            diagnostics: RefCell::default(),
            sets,
        }
    }

    /// Adds something that is wrong.
    pub fn report(&self, diagnostic: Diagnostic) {
        self.diagnostics.borrow_mut().push(diagnostic);
    }

    /// Everything that is wrong.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics.into_inner()
    }

    /// A node as text, if it is text. A number that came in with `--set` counts as the text that
    /// was typed: `--set name=42`.
    pub fn text<'n>(&self, node: &'n Node) -> Option<&'n str>
    where
        't: 'n,
    {
        match (&node.value, &node.origin) {
            (Value::String { text, .. }, _) => Some(text),
            (Value::Array(_) | Value::Table(_), _) => None,
            (_, Origin::Set(index)) => super::overrides::split(self.sets.get(*index)?)
                .ok()
                .map(|(_, value)| value),
            _ => None,
        }
    }
}

/// Why a key that nobody asked for is refused.
#[derive(Debug)]
pub enum KeyRefusal {
    /// It does not exist.
    Unknown,
    /// It is not: it may stay.
    Fine,
    /// It exists, but does not belong here.
    Because(Diagnostic),
}

/// One table of the configuration while it is read. A table that is not there reads as empty.
#[derive(Debug)]
pub struct Section<'t> {
    context: &'t ConfigContext<'t>,
    table: Option<&'t Table>,
    origin: Origin,
    path: String,
    known: RefCell<Vec<&'static str>>,
}

impl<'t> Section<'t> {
    /// The whole file.
    pub fn root(context: &'t ConfigContext<'t>, table: &'t Table) -> Self {
        Section {
            context,
            table: Some(table),
            origin: Origin::Nowhere,
            path: String::new(),
            known: RefCell::default(),
        }
    }

    /// A table that was found elsewhere, as in an array of tables.
    pub fn of(
        context: &'t ConfigContext<'t>,
        table: &'t Table,
        origin: &Origin,
        path: &str,
    ) -> Self {
        let known = RefCell::default();
        Section {
            context,
            table: Some(table),
            origin: origin.clone(),
            path: path.to_owned(),
            known,
        }
    }

    /// Where everything that is wrong is gathered.
    pub fn context(&self) -> &'t ConfigContext<'t> {
        self.context
    }

    /// Where the table stands.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether the table is in the file.
    pub fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Entries, for tables whose keys are names.
    pub fn entries(&self) -> &'t [Entry] {
        self.table.map_or(&[], |table| &table.entries)
    }

    /// The table's name in messages.
    fn shown(&self) -> String {
        if self.path.is_empty() {
            "at the top of the file".to_owned()
        } else {
            format!("in [{}]", self.path)
        }
    }

    /// The full name of a key.
    fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The entry of `key`, if it is there.
    pub fn entry(&self, key: &'static str) -> Option<&'t Entry> {
        self.known.borrow_mut().push(key);
        self.table.and_then(|table| table.get(key))
    }

    /// Reports that `key`, which is needed, is not there.
    pub fn missing(&self, key: &str, hint: &str) {
        let message = format!("`{}` is missing", self.key_path(key));
        self.context
            .report(Diagnostic::error(self.origin.clone(), message).hint(hint));
    }

    /// Reports that the table itself, which is needed, is not there or has nothing in it.
    pub fn empty(&self, hint: &str) {
        let state = if self.is_present() {
            "empty"
        } else {
            "missing"
        };
        let message = format!("[{}] is {state}", self.path);
        self.context
            .report(Diagnostic::error(self.origin.clone(), message).hint(hint));
    }

    fn wrong(&self, key: &str, node: &Node, wanted: &str) {
        let message = format!(
            "`{}` is {}, but must be {wanted}",
            self.key_path(key),
            node.value.kind()
        );
        self.context
            .report(Diagnostic::error(node.origin.clone(), message));
    }

    /// Reports that the value of an entry is not accepted.
    pub fn refuse(&self, entry: &Entry, message: impl Display) -> Diagnostic {
        let key = self.key_path(&entry.key);
        let message = message.to_string();
        let is_sentence = ["is ", "must ", "has "]
            .iter()
            .any(|verb| message.starts_with(verb));
        let colon = if is_sentence { "" } else { ":" };
        Diagnostic::error(
            entry.node.origin.clone(),
            format!("`{key}`{colon} {message}"),
        )
    }

    /// A table below this one.
    pub fn section(&self, key: &'static str) -> Section<'t> {
        let path = self.key_path(key);
        let known = RefCell::default();
        let (table, origin) = match self.entry(key) {
            None => (None, self.origin.clone()),
            Some(entry) => match &entry.node.value {
                Value::Table(table) => (Some(table), entry.key_origin.clone()),
                _ => {
                    self.wrong(key, &entry.node, &format!("a table: [{path}]"));
                    (None, entry.key_origin.clone())
                }
            },
        };
        Section {
            context: self.context,
            table,
            origin,
            path,
            known,
        }
    }

    /// The tables of `[[key]]`.
    pub fn sections(&self, key: &'static str) -> Vec<Section<'t>> {
        let path = self.key_path(key);
        let Some(entry) = self.entry(key) else {
            return Vec::new();
        };
        let Value::Array(items) = &entry.node.value else {
            self.wrong(key, &entry.node, &format!("an array of tables: [[{path}]]"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in items {
            match &item.value {
                Value::Table(table) => {
                    sections.push(Section::of(self.context, table, &item.origin, &path))
                }
                _ => self.wrong(key, item, "a table"),
            }
        }
        sections
    }

    /// Text.
    pub fn string(&self, key: &'static str) -> Option<String> {
        let entry = self.entry(key)?;
        match self.context.text(&entry.node) {
            Some("") => {
                self.context.report(
                    self.refuse(entry, "is empty")
                        .hint("give a value, or leave the key out"),
                );
                None
            }
            Some(text) => Some(text.to_owned()),
            None => {
                self.wrong(key, &entry.node, "a string");
                None
            }
        }
    }

    /// Text that has to be there; `hint` says what to write.
    pub fn required_string(&self, key: &'static str, hint: &str) -> String {
        if self.table.and_then(|t| t.get(key)).is_none() {
            self.known.borrow_mut().push(key);
            self.missing(key, hint);
            return String::new();
        }
        self.string(key).unwrap_or_default()
    }

    /// Text that is read by `parse`, whose error says what is accepted.
    pub fn parsed<T, E: Display>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let entry = self.entry(key)?;
        let Some(text) = self.context.text(&entry.node) else {
            let hint = match &entry.node.value {
                Value::Integer(n) => format!(
                    "put it in quotes, with a unit where it has one, as in {key} = \"{n}...\""
                ),
                _ => "put it in quotes".to_owned(),
            };
            let message = format!("is {}, but must be a string", entry.node.value.kind());
            self.context.report(self.refuse(entry, message).hint(hint));
            return None;
        };
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.context.report(self.refuse(entry, error));
                None
            }
        }
    }

    /// Text in the form that `T` reads.
    pub fn from_str<T: FromStr<Err: Display>>(&self, key: &'static str) -> Option<T> {
        self.parsed(key, T::from_str)
    }

    /// A duration of at least `min`.
    pub fn duration(&self, key: &'static str, min: Duration) -> Option<Duration> {
        let value = self.with_unit(key, "10s", units::duration)?;
        if value < min {
            let entry = self.entry(key)?;
            self.context.report(self.refuse(
                entry,
                format!("must be at least {}", units::show_duration(min)),
            ));
            return None;
        }
        Some(value)
    }

    /// A size of at least `min` bytes.
    pub fn size(&self, key: &'static str, min: usize) -> Option<usize> {
        let value = self.with_unit(key, "64MiB", units::size)?;
        if value < min {
            let entry = self.entry(key)?;
            let message = format!("must be at least {}", units::show_size(min as u64));
            self.context.report(self.refuse(entry, message));
            return None;
        }
        Some(value)
    }

    /// A size from `min` to `max` bytes.
    pub fn size_within(&self, key: &'static str, min: usize, max: usize) -> Option<usize> {
        let value = self.size(key, min)?;
        if value > max {
            let entry = self.entry(key)?;
            let message = format!("must be at most {}", units::show_size(max as u64));
            self.context.report(self.refuse(entry, message));
            return None;
        }
        Some(value)
    }

    fn with_unit<T>(
        &self,
        key: &'static str,
        example: &str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let entry = self.entry(key)?;
        if matches!(entry.node.value, Value::Integer(_) | Value::Float(_)) {
            let diagnostic = self.refuse(entry, "has no unit");
            self.context.report(diagnostic.hint(format!(
                "write it with its unit, as in {key} = \"{example}\""
            )));
            return None;
        }
        self.parsed(key, parse)
    }

    /// A whole number from `min` to `max`.
    pub fn integer(&self, key: &'static str, min: i64, max: i64) -> Option<i64> {
        let entry = self.entry(key)?;
        match entry.node.value {
            Value::Integer(n) if (min..=max).contains(&n) => Some(n),
            Value::Integer(n) => {
                let range = if max == i64::MAX {
                    format!("at least {min}")
                } else {
                    format!("from {min} to {max}")
                };
                self.context
                    .report(self.refuse(entry, format!("is {n}, but must be {range}")));
                None
            }
            _ => {
                self.wrong(key, &entry.node, "a whole number");
                None
            }
        }
    }

    /// A whole number from `min`.
    pub fn count(&self, key: &'static str, min: usize) -> Option<usize> {
        let min = i64::try_from(min).unwrap_or(i64::MAX);
        self.integer(key, min, i64::MAX)
            .and_then(|n| usize::try_from(n).ok())
    }

    /// A whole number from `min`.
    pub fn natural(&self, key: &'static str, min: u32) -> Option<u64> {
        self.integer(key, i64::from(min), i64::MAX)
            .map(i64::unsigned_abs)
    }

    /// A number from `min` to `max`.
    pub fn number(&self, key: &'static str, min: f64, max: f64) -> Option<f64> {
        let entry = self.entry(key)?;
        let value = match entry.node.value {
            #[allow(clippy::cast_precision_loss)]
            Value::Integer(n) => n as f64,
            Value::Float(n) => n,
            _ => {
                self.wrong(key, &entry.node, "a number");
                return None;
            }
        };
        if (min..=max).contains(&value) {
            return Some(value);
        }
        let range = if max == f64::MAX {
            format!("at least {min}")
        } else {
            format!("from {min} to {max}")
        };
        self.context
            .report(self.refuse(entry, format!("is {value}, but must be {range}")));
        None
    }

    /// `true` or `false`.
    pub fn boolean(&self, key: &'static str) -> Option<bool> {
        let entry = self.entry(key)?;
        match entry.node.value {
            Value::Boolean(value) => Some(value),
            _ => {
                self.wrong(key, &entry.node, "true or false (without quotes)");
                None
            }
        }
    }

    /// One of several words.
    pub fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let entry = self.entry(key)?;
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let Some(text) = self.context.text(&entry.node) else {
            self.wrong(key, &entry.node, &listed(&names, "or"));
            return None;
        };
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let mut diagnostic = self.refuse(
            entry,
            format!("`{text}` is not one of {}", listed(&names, "and")),
        );
        if let Some(near) = nearest(text, names.iter().copied()) {
            diagnostic = diagnostic.hint(format!("did you mean `{near}`?"));
        }
        self.context.report(diagnostic);
        None
    }

    /// Several texts: `["a", "b"]`.
    pub fn strings(&self, key: &'static str) -> Option<Vec<String>> {
        let entry = self.entry(key)?;
        let Value::Array(items) = &entry.node.value else {
            let message = format!(
                "is {}, but must be an array of strings",
                entry.node.value.kind()
            );
            let example = match self.context.text(&entry.node) {
                Some(text) => format!("write {key} = [\"{text}\"]"),
                None => format!("write {key} = [\"...\"]"),
            };
            self.context
                .report(self.refuse(entry, message).hint(example));
            return None;
        };
        let mut out = Vec::with_capacity(items.len());
        for item in items {
            match self.context.text(item) {
                Some(text) => out.push(text.to_owned()),
                None => self.wrong(key, item, "an array of strings"),
            }
        }
        Some(out)
    }

    /// Refuses the keys that were not asked for.
    pub fn finish(&self) {
        self.finish_with(|_| KeyRefusal::Unknown);
    }

    /// Refuses the keys that were not asked for, for the reason that `why` gives.
    pub fn finish_with(&self, why: impl Fn(&Entry) -> KeyRefusal) {
        let known = self.known.borrow();
        for entry in self.entries() {
            if known.contains(&entry.key.as_str()) {
                continue;
            }
            match why(entry) {
                KeyRefusal::Unknown => {}
                KeyRefusal::Fine => continue,
                KeyRefusal::Because(diagnostic) => {
                    self.context.report(diagnostic);
                    continue;
                }
            }
            let message = format!("unknown key `{}` {}", entry.key, self.shown());
            let hint = match nearest(&entry.key.replace('_', "-"), known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    let mut names = known.clone();
                    names.sort_unstable();
                    names.dedup();
                    format!("known keys here: {}", listed(&names, "and"))
                }
            };
            self.context
                .report(Diagnostic::error(entry.key_origin.clone(), message).hint(hint));
        }
    }
}
