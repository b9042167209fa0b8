//! Reads `[http]`: where the server listens, and who may ask there.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tidegate_core::plan::Plan;
use tidegate_core::spec::WindowSpec;
use tidegate_engine::SourceOptions;
use tidegate_kafka::producer::{Partitioner, TopicOptions};
use tidegate_serve::{
    Chart, GuardOptions, IngestOptions, Limits, Role, Secret, TlsOptions, TokenOptions,
};

use super::diagnostics::Diagnostic;
use super::reader::Section;
use super::serve;
use super::tree::{Entry, Value};

/// What `[http]` says.
#[derive(Debug)]
pub struct Http {
    /// Where the server listens, if it does.
    pub listen: Option<SocketAddr>,
    /// So long may something outside be away before the process is not ready.
    pub ready_after: Duration,
    /// Who may ask there, and how much.
    pub guard: GuardOptions,
    /// How events are taken in there, if they are.
    pub ingest: Option<IngestOptions>,
    /// What the dashboard shows.
    pub charts: Vec<Chart>,
}

/// Reads `[http]`. `source` is where the job reads from, if that is known; `windows` is what charts
/// show.
pub fn read(section: &Section<'_>, source: Option<&SourceOptions>, windows: &[WindowSpec]) -> Http {
    let guard = GuardOptions {
        tokens: tokens(section),
        origins: origins(section),
        tls: tls(&section.section("tls")),
        limits: limits(&section.section("limits")),
    };
    let listen = listen(section, guard.tokens.is_empty());
    let ready_after = section.duration("ready-after", Duration::from_secs(1));
    let ingest = ingest(&section.section("ingest"), source);
    let charts = serve::charts(section, windows);
    section.finish();
    Http {
        listen,
        ready_after: ready_after.unwrap_or(Duration::from_secs(30)),
        guard,
        ingest,
        charts,
    }
}

/// Reads `listen` of `[http]` or `[load]`.
pub fn listen(section: &Section<'_>, nobody_needs_a_token: bool) -> Option<SocketAddr> {
    let address = section.parsed("listen", |text| {
        text.parse::<SocketAddr>()
            .map_err(|_| format!("`{text}` is not an address and a port, as in 127.0.0.1:8080"))
    })?;
    if nobody_needs_a_token && !address.ip().is_loopback() {
        let entry = section.entry("listen")?;
        let message = format!(
            "`{address}` can be reached from other machines, and there are no [[http.tokens]]"
        );
        let hint = format!(
            "use 127.0.0.1:{}, or say who may ask: [[http.tokens]] name = \"...\", roles = [\"read\"], token = \"${{...}}\"",
            address.port()
        );
        section
            .context()
            .report(section.refuse(entry, message).hint(hint));
    }
    Some(address)
}

fn tokens(section: &Section<'_>) -> Vec<TokenOptions> {
    let mut tokens: Vec<TokenOptions> = Vec::new();
    for section in section.sections("tokens") {
        let token = TokenOptions {
            name: section.required_string("name", "name the bearer: name = \"dashboard\""),
            roles: roles(&section),
            secret: secret(&section),
        };
        if !token.name.is_empty()
            && tokens.iter().any(|other| other.name == token.name)
            && let Some(entry) = section.entry("name")
        {
            let message = format!("`{}` is there twice", token.name);
            section.context().report(section.refuse(entry, message));
        }
        section.finish();
        tokens.push(token);
    }
    tokens
}

fn roles(section: &Section<'_>) -> Vec<Role> {
    let Some(entry) = section.entry("roles") else {
        section.missing(
            "roles",
            "say what the bearer may do: roles = [\"read\"]; there are read, ingest and admin",
        );
        return Vec::new();
    };
    let names = section.strings("roles").unwrap_or_default();
    let mut roles = Vec::new();
    for name in &names {
        match Role::NAMES.iter().find(|(known, _)| known == name) {
            Some((_, role)) => roles.push(*role),
            None => {
                let message = format!("`{name}` is not one of read, ingest and admin");
                section.context().report(section.refuse(entry, message));
            }
        }
    }
    if names.is_empty() {
        section.context().report(
            section
                .refuse(entry, "is empty")
                .hint("name at least one of read, ingest and admin"),
        );
    }
    roles
}

/// A secret that stands in the file would be shown with every error in its line, and kept with
/// every copy of the file.
fn secret(section: &Section<'_>) -> Secret {
    let at_the_table = |message: &str, hint: &str| {
        let diagnostic = Diagnostic::error(section.origin().clone(), message).hint(hint);
        section.context().report(diagnostic);
    };
    let none = Secret::Text(String::new());
    match (section.entry("token"), section.entry("token-file")) {
        (None, None) => {
            at_the_table(
                "`http.tokens` has neither `token` nor `token-file`",
                "write token = \"${VARIABLE}\" or token-file = \"PATH\"",
            );
            none
        }
        (Some(_), Some(_)) => {
            at_the_table("`http.tokens` has both `token` and `token-file`", "keep one of them");
            none
        }
        (None, Some(_)) => Secret::File(PathBuf::from(section.string("token-file").unwrap_or_default())),
        (Some(entry), None) => from_environment(entry).unwrap_or_else(|| {
            at_the_table(
                "`http.tokens.token` is not from the environment",
                "keep the secret out of the file: token = \"${VARIABLE}\", or token-file = \"PATH\"",
            );
            none
        }),
    }
}

fn from_environment(entry: &Entry) -> Option<Secret> {
    match &entry.node.value {
        Value::String {
            text,
            written: Some(written),
        } if written.starts_with("${") => Some(Secret::Text(text.clone())),
        _ => None,
    }
}

fn origins(section: &Section<'_>) -> Vec<String> {
    let origins = section.strings("cors-origins").unwrap_or_default();
    if let Some(entry) = section.entry("cors-origins") {
        for origin in origins.iter().filter(|origin| !is_origin(origin)) {
            let message = format!(
                "`{origin}` is not an origin, as in https://dashboard.example or http://localhost:3000"
            );
            let hint = "a scheme, a host, a port unless it is the usual one, and no path; `*` is not accepted";
            section
                .context()
                .report(section.refuse(entry, message).hint(hint));
        }
    }
    origins
}

fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| {
        !host.is_empty()
            && host
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:[]".contains(c))
    })
}

fn tls(section: &Section<'_>) -> Option<TlsOptions> {
    section.is_present().then(|| {
        let options = TlsOptions {
            certificate: section
                .required_string("certificate", "a file in PEM: certificate = \"server.crt\"")
                .into(),
            key: section
                .required_string("key", "a file in PEM: key = \"server.key\"")
                .into(),
        };
        section.finish();
        options
    })
}

fn limits(section: &Section<'_>) -> Limits {
    let defaults = Limits::default();
    let count = |key, default: usize| {
        let given = section
            .integer(key, 1, 1_000_000)
            .and_then(|n| usize::try_from(n).ok());
        given.unwrap_or(default)
    };
    let time = |key, default| {
        section
            .duration(key, Duration::from_millis(100))
            .unwrap_or(default)
    };
    let limits = Limits {
        connections: count("connections", defaults.connections),
        requests: count("requests", defaults.requests),
        body_bytes: section
            .size_within("body", 1 << 10, 1 << 30)
            .unwrap_or(defaults.body_bytes),
        sql_bytes: section
            .size_within("sql", 1 << 10, 1 << 20)
            .unwrap_or(defaults.sql_bytes),
        unsent_bytes: section
            .size_within("unsent", 64 << 20, 64 << 30)
            .unwrap_or(defaults.unsent_bytes),
        request_timeout: time("request-timeout", defaults.request_timeout),
        header_timeout: time("header-timeout", defaults.header_timeout),
    };
    section.finish();
    limits
}

fn ingest(section: &Section<'_>, source: Option<&SourceOptions>) -> Option<IngestOptions> {
    if !section.is_present() {
        return None;
    }
    let second = Duration::from_secs(1);
    let topic = section.string("topic");
    let key = section.required_string(
        "key",
        "name the column that is the key of a record in Kafka, as other senders have it: key = \"customer_id\"",
    );
    let time = |key, default| section.duration(key, second).unwrap_or(default);
    let (delivery_timeout, remember) = (
        time("delivery-timeout", 10 * second),
        time("remember", 600 * second),
    );
    let partitioner = section
        .choice(
            "partitioner",
            &[
                ("java", Partitioner::Java),
                ("librdkafka", Partitioner::Librdkafka),
            ],
        )
        .unwrap_or_default();
    let body_bytes = section
        .size_within("body", 1 << 10, 64 << 20)
        .unwrap_or(4 << 20);
    let records = section
        .integer("records", 1, 1_000_000)
        .and_then(|n| usize::try_from(n).ok());
    let rate = section
        .integer("rate", 1, i64::from(u32::MAX))
        .and_then(|n| u32::try_from(n).ok());
    section.finish();
    let SourceOptions::Kafka(kafka) = source? else {
        let message = "[http.ingest] is not used: events are taken in only where the source is of kind `kafka`";
        section
            .context()
            .report(Diagnostic::warning(section.origin().clone(), message));
        return None;
    };
    Some(IngestOptions {
        topic: TopicOptions {
            brokers: kafka.brokers.clone(),
            topic: topic.unwrap_or_else(|| kafka.topic.clone()),
            delivery_timeout,
            partitioner,
            properties: kafka.properties.clone(),
        },
        key,
        body_bytes,
        records: records.unwrap_or(10_000),
        rate: rate.unwrap_or(10_000),
        remember,
    })
}

/// Checks that the key of taken in events is a column that can be one.
pub fn key_column(root: &Section<'_>, key: &str, plan: &Plan) {
    let section = root.section("http").section("ingest");
    let Some(entry) = section.entry("key") else {
        return;
    };
    let message = match plan.stored_schema().field_with_name(key) {
        Err(_) => format!("there is no column `{key}`"),
        Ok(field) if field.data_type().is_nested() => {
            format!("the column `{key}` is nested, and cannot be a key")
        }
        Ok(_) => return,
    };
    section.context().report(section.refuse(entry, message));
}
