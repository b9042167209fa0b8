//! Reads `[source]`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::diagnostics::{Diagnostic, listed};
use super::reader::{KeyRefusal, Section};
use super::tree::{Entry, Value};
use tidegate_engine::SourceOptions;
use tidegate_generator::GeneratorOptions;
use tidegate_kafka::{KafkaClient, KafkaOptions, KafkaStart, MissingOffsets};
use tidegate_source::{ChangedFiles, FilesOptions, MissingFiles, SourceError};

/// Kind of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceKind {
    Kafka,
    Files,
    Generator,
}

const KINDS: [(&str, SourceKind); 3] = [
    ("kafka", SourceKind::Kafka),
    ("files", SourceKind::Files),
    ("generator", SourceKind::Generator),
];

impl SourceKind {
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
            SourceKind::Kafka => &[
                "brokers",
                "topic",
                "group",
                "start",
                "on-missing-offsets",
                "fail-after",
                "topic-wait",
                "discover-every",
                "read-ahead",
                "client",
                "properties",
            ],
            SourceKind::Files => &[
                "path",
                "follow",
                "poll-interval",
                "on-missing-files",
                "on-changed-files",
            ],
            SourceKind::Generator => &[
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
                "hot-key-share",
                "event-rate",
            ],
        }
    }
}

/// Reads `[source]`; `None` if its kind is not known.
pub fn read(section: &Section<'_>, job_name: &str) -> Option<SourceOptions> {
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
        SourceKind::Kafka => SourceOptions::Kafka(kafka(section, job_name)),
        SourceKind::Files => SourceOptions::Files(files(section)),
        SourceKind::Generator => SourceOptions::Generator(generator(section)),
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
            KeyRefusal::Fine
        } else {
            of_another_kind(entry, kind)
        }
    });
    Some(source)
}

/// The kind that a key belongs to.
fn owner(key: &str) -> Option<SourceKind> {
    KINDS
        .iter()
        .map(|(_, kind)| *kind)
        .find(|kind| kind.has(key))
}

fn of_another_kind(entry: &Entry, kind: SourceKind) -> KeyRefusal {
    let Some(owner) = owner(&entry.key) else {
        return KeyRefusal::Unknown;
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
    KeyRefusal::Because(Diagnostic::error(entry.key_origin.clone(), message).hint(hint))
}

fn kafka(section: &Section<'_>, job_name: &str) -> KafkaOptions {
    let defaults = KafkaOptions::default();
    let second = Duration::from_secs(1);
    let properties = section.section("properties");
    let mut options = KafkaOptions {
        brokers: brokers(section),
        topic: section.required_string("topic", "write topic = \"...\" in [source]"),
        group: section
            .string("group")
            .unwrap_or_else(|| format!("tidegate-{job_name}")),
        start: start(section),
        on_missing_offsets: section
            .choice(
                "on-missing-offsets",
                &[
                    ("fail", MissingOffsets::Fail),
                    ("earliest", MissingOffsets::Earliest),
                ],
            )
            .unwrap_or_default(),
        fail_after: section.duration("fail-after", second),
        topic_wait: section
            .duration("topic-wait", second)
            .or(defaults.topic_wait),
        discover_every: section
            .duration("discover-every", second)
            .unwrap_or(defaults.discover_every),
        read_ahead_bytes: section
            .size_within("read-ahead", 1 << 20, (1 << 31) - 1)
            .unwrap_or(defaults.read_ahead_bytes),
        client: section
            .choice(
                "client",
                &[
                    ("auto", KafkaClient::Auto),
                    ("librdkafka", KafkaClient::Librdkafka),
                ],
            )
            .unwrap_or_default(),
        properties: BTreeMap::new(),
    };
    let entries = flatten(&properties);
    options.properties = entries
        .iter()
        .map(|(key, (_, value))| (key.clone(), value.clone()))
        .collect();
    check_properties(section, options.clone(), &entries);
    options
}

fn brokers(section: &Section<'_>) -> String {
    let brokers = section.required_string("brokers", "write brokers = \"host:9092\" in [source]");
    // What is missing or empty has been reported already.
    if !brokers.is_empty()
        && let Err(message) = super::brokers::check(&brokers)
        && let Some(entry) = section.entry("brokers")
    {
        section.context().report(section.refuse(entry, message));
    }
    brokers
}

/// Reports every property that the source refuses. The source names one at a time.
fn check_properties(
    section: &Section<'_>,
    mut options: KafkaOptions,
    entries: &BTreeMap<String, (&Entry, String)>,
) {
    // What is missing or empty has been reported already, and would hide the rest.
    for text in [&mut options.brokers, &mut options.topic, &mut options.group] {
        if text.is_empty() {
            text.push('x');
        }
    }
    // What librdkafka makes of all of them is known once it takes each.
    let checked = |options: &KafkaOptions| -> Result<(), SourceError> {
        options.check()?;
        if options.properties.is_empty() {
            return Ok(());
        }
        options.check_client()
    };
    while let Err(SourceError::Option { option, message }) = checked(&options) {
        let key = option.strip_prefix("source.properties.").unwrap_or("");
        let origin = entries
            .get(key)
            .map_or(section.origin(), |(entry, _)| &entry.key_origin);
        section.context().report(Diagnostic::error(
            origin.clone(),
            format!("`{option}`: {message}"),
        ));
        if options.properties.remove(key).is_none() {
            return;
        }
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

/// Settings for librdkafka. `sasl.mechanism = "PLAIN"` without quotes around the key is a table
/// within a table in TOML; both ways of writing it mean the same here.
fn flatten<'t>(section: &Section<'t>) -> BTreeMap<String, (&'t Entry, String)> {
    let mut properties = BTreeMap::new();
    flatten_into(section, section.entries(), "", &mut properties);
    properties
}

fn flatten_into<'t>(
    section: &Section<'t>,
    entries: &'t [Entry],
    prefix: &str,
    properties: &mut BTreeMap<String, (&'t Entry, String)>,
) {
    for entry in entries {
        let key = format!("{prefix}{}", entry.key);
        let value = match &entry.node.value {
            Value::String { text, .. } => text.clone(),
            Value::Integer(n) => n.to_string(),
            Value::Float(n) => n.to_string(),
            Value::Boolean(b) => b.to_string(),
            Value::Table(table) => {
                flatten_into(section, &table.entries, &format!("{key}."), properties);
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
        properties.insert(key, (entry, value));
    }
}

fn files(section: &Section<'_>) -> FilesOptions {
    let defaults = FilesOptions::default();
    let options = FilesOptions {
        path: section.required_string(
            "path",
            "write path = \"folder\", \"file.ndjson\" or \"folder/*.ndjson.gz\"",
        ),
        follow: section.boolean("follow").unwrap_or(defaults.follow),
        poll_interval: section
            .duration("poll-interval", Duration::from_millis(10))
            .unwrap_or(defaults.poll_interval),
        on_missing_files: section
            .choice(
                "on-missing-files",
                &[
                    ("fail", MissingFiles::Fail),
                    ("ignore", MissingFiles::Ignore),
                ],
            )
            .unwrap_or_default(),
        on_changed_files: section
            .choice(
                "on-changed-files",
                &[
                    ("fail", ChangedFiles::Fail),
                    ("read-anew", ChangedFiles::ReadAnew),
                ],
            )
            .unwrap_or_default(),
    };
    if let Err(SourceError::Option { message, .. }) = options.check()
        && let Some(entry) = section.entry("path")
    {
        let hint = "close every [ with ], and write ** as a whole part of the path";
        let diagnostic = section.refuse(entry, message);
        section.context().report(diagnostic.hint(hint));
    }
    options
}

fn generator(section: &Section<'_>) -> GeneratorOptions {
    let defaults = GeneratorOptions::default();
    let share = |key, default| section.number(key, 0.0, 1.0).unwrap_or(default);
    let options = GeneratorOptions {
        rate: section.natural("rate", 0).unwrap_or(defaults.rate),
        event_rate: section
            .natural("event-rate", 1)
            .unwrap_or(defaults.event_rate),
        count: section.natural("count", 0).or(defaults.count),
        partitions: section
            .integer("partitions", 1, 10_000)
            .and_then(|n| i32::try_from(n).ok())
            .unwrap_or(defaults.partitions),
        seed: section.natural("seed", 0).unwrap_or(defaults.seed),
        start_time: time(section, "start-time"),
        delay: defaults.delay,
        duplicates: share("duplicates", defaults.duplicates),
        updates: share("updates", defaults.updates),
        late: share("late", defaults.late),
        malformed: share("malformed", defaults.malformed),
        rule_breaking: share("rule-breaking", defaults.rule_breaking),
        hot_key_share: share("hot-key-share", defaults.hot_key_share),
        event_bytes: defaults.event_bytes,
    };
    let sum = options.duplicates
        + options.updates
        + options.late
        + options.malformed
        + options.rule_breaking;
    if sum > 1.0 {
        let message = format!("the shares in [source] add up to {sum:.3}, which is more than 1");
        section.context().report(
            Diagnostic::error(section.origin().clone(), message)
                .hint("lower duplicates, updates, late, malformed or rule-breaking"),
        );
    }
    options
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
