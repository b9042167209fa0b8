//! Writes the effective configuration: the file with `--set` applied, without its secrets.

use std::fmt::Write as _;

use super::tree::{Table, Value};

const MASK: &str = "********";

/// The tree as TOML. Secrets are masked, and values with environment references are shown as they
/// were written.
pub fn show(table: &Table) -> String {
    let mut out = String::new();
    write_table(&mut out, table, "");
    out
}

fn write_table(out: &mut String, table: &Table, path: &str) {
    // Writing to a String cannot fail.
    for entry in table.entries.iter().filter(|e| !is_block(&e.node.value)) {
        let _ = writeln!(
            out,
            "{} = {}",
            key(&entry.key),
            inline(&entry.key, &entry.node.value)
        );
    }
    for entry in table.entries.iter().filter(|e| is_block(&e.node.value)) {
        let path = if path.is_empty() {
            key(&entry.key)
        } else {
            format!("{path}.{}", key(&entry.key))
        };
        match &entry.node.value {
            Value::Table(inner) => {
                let _ = writeln!(out, "\n[{path}]");
                write_table(out, inner, &path);
            }
            Value::Array(items) => {
                for item in items {
                    if let Value::Table(inner) = &item.value {
                        let _ = writeln!(out, "\n[[{path}]]");
                        write_table(out, inner, &path);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Whether a value gets a header of its own: large tables and arrays of tables.
fn is_block(value: &Value) -> bool {
    match value {
        Value::Table(table) => !table
            .entries
            .iter()
            .any(|e| e.key == "type" || e.key == "from"),
        Value::Array(items) => {
            !items.is_empty() && items.iter().all(|i| matches!(i.value, Value::Table(_)))
        }
        _ => false,
    }
}

fn key(name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { name.to_owned() } else { quoted(name) }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn inline(name: &str, value: &Value) -> String {
    match value {
        Value::String {
            written: Some(written),
            ..
        } => quoted(written),
        Value::String { .. } if is_secret(name) => quoted(MASK),
        Value::String { text, .. } => quoted(&without_password(text)),
        Value::Integer(n) => n.to_string(),
        Value::Float(n) => toml::Value::Float(*n).to_string(),
        Value::Boolean(b) => b.to_string(),
        Value::Datetime(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| inline(name, &item.value)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Table(table) => {
            let entries: Vec<String> = table
                .entries
                .iter()
                .map(|e| format!("{} = {}", key(&e.key), inline(&e.key, &e.node.value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// Whether a secret is written out in the table, and not taken from the environment.
pub fn has_secrets(table: &Table) -> bool {
    table
        .entries
        .iter()
        .any(|entry| holds_secret(&entry.key, &entry.node.value))
}

fn holds_secret(name: &str, value: &Value) -> bool {
    match value {
        Value::String {
            written: Some(_), ..
        } => false,
        Value::String { text, .. } => {
            !text.is_empty() && (is_secret(name) || without_password(text) != *text)
        }
        Value::Array(items) => items.iter().any(|item| holds_secret(name, &item.value)),
        Value::Table(table) => has_secrets(table),
        _ => false,
    }
}

/// Whether a key is one that holds a secret, and not the name of its file.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if name.ends_with("-file") {
        return false;
    }
    [
        "password",
        "passwd",
        "secret",
        "token",
        "credential",
        "private",
        "key.pem",
        "sasl.jaas",
        "oauthbearer.config",
    ]
    .iter()
    .any(|part| name.contains(part))
}

/// Masks the password of a URL: `scheme://user:password@host`.
fn without_password(text: &str) -> String {
    let masked = text.split_once("://").and_then(|(scheme, rest)| {
        let (user, host) = rest.split_once('@')?;
        let (user, _) = user.split_once(':')?;
        Some(format!("{scheme}://{user}:{MASK}@{host}"))
    });
    masked.unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{environment, overrides, tree};

    #[test]
    fn a_secret_in_the_file_is_noticed_and_one_from_the_environment_is_not() {
        let has = |text: &str| {
            let (mut tree, errors) = tree::parse(text);
            assert!(errors.is_empty(), "{errors:?}");
            environment::resolve(&mut tree, &|_| Some("hunter2".to_owned()));
            has_secrets(&tree)
        };
        assert!(has("[source.properties]\n\"sasl.password\" = \"hunter2\""));
        assert!(has("[hot]\nurl = \"redis://ada:hunter2@host\""));
        assert!(has("[[http.tokens]]\ntoken = \"hunter2\""));
        assert!(!has(
            "[source.properties]\n\"sasl.password\" = \"${PASSWORD}\""
        ));
        assert!(!has("[[http.tokens]]\ntoken-file = \"/run/secrets/ada\""));
        assert!(!has("name = \"x\"\n[hot]\nurl = \"redis://host\""));
    }

    #[test]
    fn what_is_shown_reads_back_and_has_no_secrets() {
        let text = r#"
name = "x"
[source.properties]
"sasl.username" = "${USER_NAME}"
"sasl.password" = "hunter2"
sasl.oauthbearer.client.secret = "hunter2"
[schema]
a = { type = "string", required = true }
"odd key" = "int64"
[storage]
url = "redis://ada:hunter2@host"
[[windows]]
name = "w"
group-by = ["a"]
[windows.aggregates]
n = "count(*)"
[[http.tokens]]
token = "hunter2"
[[http.tokens]]
token-file = "/run/secrets/ada"
"#;
        let (mut tree, errors) = tree::parse(text);
        assert!(errors.is_empty(), "{errors:?}");
        overrides::apply(&mut tree, &["name=y".to_owned()]);
        environment::resolve(&mut tree, &|_| Some("hunter2".to_owned()));
        let shown = show(&tree);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(
            shown.contains("name = \"y\"")
                && shown.contains("${USER_NAME}")
                && shown.contains("/run/secrets/ada"),
            "{shown}"
        );
        let (again, errors) = tree::parse(&shown);
        assert!(errors.is_empty(), "{errors:?}\n{shown}");
        assert_eq!(show(&again), shown);
    }
}
