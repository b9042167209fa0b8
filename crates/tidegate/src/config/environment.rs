//! `${VAR}` and `${VAR:-default}` in text values, so that secrets stay out of the file.

use super::diagnostics::Diagnostic;
use super::tree::{Node, Table, Value};

/// Replaces the references in every text of the tree. `$${` is a literal `${`.
pub fn resolve(table: &mut Table, lookup: &dyn Fn(&str) -> Option<String>) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    resolve_table(table, lookup, &mut diagnostics);
    diagnostics
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

fn resolve_table(table: &mut Table, lookup: Lookup<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for entry in &mut table.entries {
        resolve_node(&mut entry.node, lookup, diagnostics);
    }
}

fn resolve_node(node: &mut Node, lookup: Lookup<'_>, diagnostics: &mut Vec<Diagnostic>) {
    match &mut node.value {
        Value::String { text, written } if text.contains("${") => {
            let (replaced, errors) = replace(text, lookup);
            for (message, hint) in errors {
                diagnostics.push(Diagnostic::error(node.origin.clone(), message).hint(hint));
            }
            *written = Some(std::mem::replace(text, replaced));
        }
        Value::Array(items) => {
            for item in items {
                resolve_node(item, lookup, diagnostics);
            }
        }
        Value::Table(table) => resolve_table(table, lookup, diagnostics),
        _ => {}
    }
}

fn replace(text: &str, lookup: Lookup<'_>) -> (String, Vec<(String, String)>) {
    let mut out = String::with_capacity(text.len());
    let mut errors = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if at > 0 && rest.as_bytes()[at - 1] == b'$' {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else {
            let hint = "close it with `}`, or write `$${` for the characters themselves".to_owned();
            errors.push(("the environment reference is not closed".to_owned(), hint));
            return (out, errors);
        };
        let inside = &rest[at + 2..at + end];
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        match lookup(name).filter(|value| !(value.is_empty() && default.is_some())) {
            Some(value) => out.push_str(&value),
            None => match default {
                Some(default) => out.push_str(default),
                None => errors.push((
                    format!("the environment variable `{name}` is not set"),
                    format!("set it, or give a default: ${{{name}:-value}}"),
                )),
            },
        }
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    (out, errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(name: &str) -> Option<String> {
        match name {
            "USER" => Some("ada".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn references_are_replaced() {
        for (text, becomes) in [
            ("${USER}", "ada"),
            ("a-${USER}-${USER}", "a-ada-ada"),
            ("${NONE:-x}", "x"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("^a$${2}$", "^a${2}$"),
            ("cost: $5", "cost: $5"),
        ] {
            assert_eq!(replace(text, &look), (becomes.to_owned(), vec![]), "{text}");
        }
    }

    #[test]
    fn what_is_not_set_is_an_error() {
        assert!(
            replace("${NONE}", &look).1[0]
                .0
                .contains("`NONE` is not set")
        );
        assert!(replace("${USER", &look).1[0].0.contains("not closed"));
    }
}
