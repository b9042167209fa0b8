//! Reads `[source]`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::diagnostics::{Diagnostic, listed};
use super::options::{FilesConfig, GeneratorConfig, KafkaConfig, KafkaStart, SourceConfig};
use super::reader::{Refusal, Section};
use super::tree::{Entry, Value};

/// Kind of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kafka,
    Files,
    Generator,
}

const KINDS: [(&str, Kind); 3] = [
    ("kafka", Kind::Kafka),
    ("files", Kind::Files),
    ("generator", Kind::Generator),
];

impl Kind {
    fn name(self) -> &'static str {
        KINDS
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| name)
    }

    fn has(self, key: &str) -> bool {
        self.keys().contains(&key)
    }

    /// Keys of this kind, beside `kind`.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Kind::Kafka => &[
                "brokers",
                "topic",
                "group",
                "start",
                "on-missing-offsets",
                "fail-after",
                "properties",
            ],
            Kind::Files => &["path", "follow"],
            Kind::Generator => &[
                "rate",
                "count",
                "partitions",
                "seed",
                "start-time",
                "duplicates",
                "updates",
                "late",
                "malformed",
                "rule-breaking",
                "event-rate",
            ],
        }
    }
}

/// Settings of librdkafka that Tidegate sets itself, and why.
const RESERVED_PROPERTIES: [(&str, &str); 8] = [
    ("bootstrap.servers", "use source.brokers"),
    ("metadata.broker.list", "use source.brokers"),
    ("group.id", "use source.group"),
    (
        "auto.offset.reset",
        "use source.start and source.on-missing-offsets",
    ),
    (
        "enable.auto.commit",
        "positions are in the commit log; leave it out",
    ),
    (
        "enable.auto.offset.store",
        "positions are in the commit log; leave it out",
    ),
    ("enable.partition.eof", "Tidegate needs it; leave it out"),
    (
        "isolation.level",
        "aborted transactions are never read; leave it out",
    ),
];

/// Reads `[source]`; `None` if its kind is not known.
pub fn read(section: &Section<'_>, job_name: &str) -> Option<SourceConfig> {
    let kind_entry = section.entry("kind");
    if kind_entry.is_none() {
        section.missing(
            "kind",
            "write kind = \"kafka\", \"files\" or \"generator\" in [source]",
        );
        return None;
    }
    let kind = section.choice("kind", &KINDS)?;
    let source = match kind {
        Kind::Kafka => SourceConfig::Kafka(kafka(section, job_name)),
        Kind::Files => SourceConfig::Files(files(section)),
        Kind::Generator => SourceConfig::Generator(generator(section)),
    };
    let kind_is_set = kind_entry.is_some_and(|entry| entry.node.origin.is_set());
    // `--set source.kind` switches a file that is written for another kind: what belongs to that
    // kind is then left aside, with one warning.
    let is_left_aside =
        |entry: &Entry| kind_is_set && !entry.key_origin.is_set() && owner(&entry.key).is_some();
    let unused: Vec<&str> = section
        .entries()
        .iter()
        .filter(|e| is_left_aside(e))
        .map(|e| e.key.as_str())
        .filter(|key| !kind.has(key))
        .collect();
    if let Some(entry) = kind_entry.filter(|_| !unused.is_empty()) {
        let message = format!(
            "the source is of kind `{}` by --set, so {} of [source] {} not used",
            kind.name(),
            listed(&unused, "and"),
            if unused.len() == 1 { "is" } else { "are" }
        );
        section
            .context()
            .report(Diagnostic::warning(entry.node.origin.clone(), message));
    }
    section.finish_with(|entry| {
        if is_left_aside(entry) {
            Refusal::Fine
        } else {
            of_another_kind(entry, kind)
        }
    });
    Some(source)
}

/// The kind that a key belongs to.
fn owner(key: &str) -> Option<Kind> {
    KINDS
        .iter()
        .map(|(_, kind)| *kind)
        .find(|kind| kind.has(key))
}

fn of_another_kind(entry: &Entry, kind: Kind) -> Refusal {
    let Some(owner) = owner(&entry.key) else {
        return Refusal::Unknown;
    };
    let (owner, name) = (owner.name(), kind.name());
    let message = format!(
        "`source.{}` is for sources of kind `{owner}`, and this one is `{name}`",
        entry.key
    );
    let hint = format!(
        "remove it, or set kind = \"{owner}\"; a `{name}` source has {}",
        listed(kind.keys(), "and")
    );
    Refusal::Because(Diagnostic::error(entry.key_origin.clone(), message).hint(hint))
}

fn kafka(section: &Section<'_>, job_name: &str) -> KafkaConfig {
    KafkaConfig {
        brokers: section.required_string("brokers", "write brokers = \"host:9092\" in [source]"),
        topic: section.required_string("topic", "write topic = \"...\" in [source]"),
        group: section
            .string("group")
            .unwrap_or_else(|| format!("tidegate-{job_name}")),
        start: start(section),
        fail_on_missing_offsets: section
            .choice("on-missing-offsets", &[("fail", true), ("earliest", false)])
            .unwrap_or(true),
        fail_after: section.duration("fail-after", Duration::from_secs(1)),
        properties: properties(&section.section("properties")),
    }
}

fn start(section: &Section<'_>) -> KafkaStart {
    let Some(entry) = section.entry("start") else {
        return KafkaStart::Earliest;
    };
    if let Value::Table(table) = &entry.node.value {
        let mut offsets = BTreeMap::new();
        for offset in &table.entries {
            match (offset.key.parse::<i32>(), &offset.node.value) {
                (Ok(partition), Value::Integer(at)) if partition >= 0 && *at >= 0 => {
                    offsets.insert(partition, *at);
                }
                _ => {
                    let message =
                        "`source.start` takes partition = offset, both whole numbers from 0";
                    let diagnostic = Diagnostic::error(offset.key_origin.clone(), message);
                    section
                        .context()
                        .report(diagnostic.hint("for example start = { 0 = 100, 1 = 250 }"));
                }
            }
        }
        return KafkaStart::Offsets(offsets);
    }
    match section.context().text(&entry.node) {
        Some("earliest") => KafkaStart::Earliest,
        Some("latest") => KafkaStart::Latest,
        _ => {
            let diagnostic = section.refuse(entry, "must be \"earliest\", \"latest\" or offsets");
            section
                .context()
                .report(diagnostic.hint("offsets are written start = { 0 = 100, 1 = 250 }"));
            KafkaStart::Earliest
        }
    }
}

fn properties(section: &Section<'_>) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::new();
    flatten(section, section.entries(), "", &mut properties);
    properties
}

/// `sasl.mechanism = "PLAIN"` without quotes around the key is a table within a table in TOML;
/// both ways of writing it mean the same here.
fn flatten(
    section: &Section<'_>,
    entries: &[Entry],
    prefix: &str,
    properties: &mut BTreeMap<String, String>,
) {
    for entry in entries {
        let key = format!("{prefix}{}", entry.key);
        if let Some((_, why)) = RESERVED_PROPERTIES.iter().find(|(name, _)| *name == key) {
            let message = format!("`{key}` is set by Tidegate itself");
            section
                .context()
                .report(Diagnostic::error(entry.key_origin.clone(), message).hint(*why));
            continue;
        }
        let value = match &entry.node.value {
            Value::String { text, .. } => text.clone(),
            Value::Integer(n) => n.to_string(),
            Value::Float(n) => n.to_string(),
            Value::Boolean(b) => b.to_string(),
            Value::Table(table) => {
                flatten(section, &table.entries, &format!("{key}."), properties);
                continue;
            }
            Value::Array(_) | Value::Datetime(_) => {
                let message = format!("`{key}` must be a string, a number, or true or false");
                section
                    .context()
                    .report(Diagnostic::error(entry.node.origin.clone(), message));
                continue;
            }
        };
        properties.insert(key, value);
    }
}

fn files(section: &Section<'_>) -> FilesConfig {
    FilesConfig {
        path: section.required_string(
            "path",
            "write path = \"folder\", \"file.ndjson\" or \"folder/*.ndjson.gz\"",
        ),
        follow: section.boolean("follow").unwrap_or(false),
    }
}

fn generator(section: &Section<'_>) -> GeneratorConfig {
    let share = |key, default| section.number(key, 0.0, 1.0).unwrap_or(default);
    let config = GeneratorConfig {
        rate: section.number("rate", 0.0, f64::MAX).unwrap_or(1_000.0),
        count: section.integer("count", 0, i64::MAX).map(i64::unsigned_abs),
        partitions: section
            .integer("partitions", 1, 10_000)
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(4),
        seed: section
            .integer("seed", 0, i64::MAX)
            .map_or(1, i64::unsigned_abs),
        start_time: time(section, "start-time"),
        duplicates: share("duplicates", 0.01),
        updates: share("updates", 0.02),
        late: share("late", 0.005),
        malformed: share("malformed", 0.001),
        rule_breaking: share("rule-breaking", 0.005),
        event_rate: section.number("event-rate", 0.001, f64::MAX),
    };
    let sum =
        config.duplicates + config.updates + config.late + config.malformed + config.rule_breaking;
    if sum > 1.0 {
        let message = format!("the shares in [source] add up to {sum}, which is more than 1");
        section.context().report(
            Diagnostic::error(section.origin().clone(), message)
                .hint("lower duplicates, updates, late, malformed or rule-breaking"),
        );
    }
    config
}

/// A time with an offset, as text or as a TOML time; microseconds since the Unix epoch.
fn time(section: &Section<'_>, key: &'static str) -> Option<i64> {
    let entry = section.entry(key)?;
    let text = match &entry.node.value {
        Value::Datetime(text) => text.as_str(),
        _ => section.context().text(&entry.node).unwrap_or(""),
    };
    match super::time::parse(text) {
        Ok(micros) => Some(micros),
        Err(message) => {
            section.context().report(section.refuse(entry, message));
            None
        }
    }
}
