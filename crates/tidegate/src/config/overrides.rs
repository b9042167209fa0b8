//! `--set a.b=c`: changes to the tree before it is read.

use super::diagnostics::Diagnostic;
use super::tree::{Entry, Node, Origin, Table, Value, parse_value};

/// Applies the arguments of `--set`, in order; a later one wins.
pub fn apply(table: &mut Table, sets: &[String]) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for (index, argument) in sets.iter().enumerate() {
        let origin = Origin::Set(index);
        let (path, value) = match split(argument) {
            Ok(parts) => parts,
            Err(message) => {
                diagnostics.push(
                    Diagnostic::error(origin, message)
                        .hint("write --set KEY=VALUE, as in --set batch.interval=10s or --set 'source.properties.\"sasl.mechanism\"=PLAIN'"),
                );
                continue;
            }
        };
        // What is not TOML is text, so that nobody has to write quotes within quotes.
        let node = parse_value(value, &origin).unwrap_or_else(|| Node {
            value: Value::text(value),
            origin: origin.clone(),
        });
        if let Err(message) = put(table, &path, node, &origin) {
            diagnostics.push(Diagnostic::error(origin, message));
        }
    }
    diagnostics
}

/// Splits `a."b.c"=value` into keys and the text of the value.
pub fn split(argument: &str) -> Result<(Vec<String>, &str), String> {
    let mut path = Vec::new();
    let mut key = String::new();
    let mut quote: Option<char> = None;
    let mut was_quoted = false;
    for (at, c) in argument.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => key.push(c),
            (None, '"' | '\'') if key.is_empty() => {
                quote = Some(c);
                was_quoted = true;
            }
            (None, '.' | '=') => {
                let trimmed = key.trim();
                if trimmed.is_empty() && !was_quoted {
                    return Err(format!("`{argument}` has an empty key"));
                }
                path.push(trimmed.to_owned());
                key.clear();
                was_quoted = false;
                if c == '=' {
                    return Ok((path, argument[at + 1..].trim()));
                }
            }
            (None, c) => key.push(c),
        }
    }
    Err(format!("`{argument}` has no `=`"))
}

fn put(table: &mut Table, path: &[String], node: Node, origin: &Origin) -> Result<(), String> {
    let (key, rest) = match path {
        [] => return Err("the key is empty".to_owned()),
        [key, rest @ ..] => (key, rest),
    };
    if table.get(key).is_none() {
        let value = Value::Table(Table::default());
        table.entries.push(Entry {
            key: key.clone(),
            key_origin: origin.clone(),
            node: Node {
                value,
                origin: origin.clone(),
            },
        });
    }
    let Some(entry) = table.get_mut(key) else {
        return Ok(());
    };
    if rest.is_empty() {
        entry.key_origin = origin.clone();
        entry.node = node;
        return Ok(());
    }
    put_below(&mut entry.node, key, rest, node, origin)
}

fn put_below(
    parent: &mut Node,
    name: &str,
    rest: &[String],
    node: Node,
    origin: &Origin,
) -> Result<(), String> {
    match &mut parent.value {
        Value::Table(table) => put(table, rest, node, origin),
        Value::Array(items) => {
            let count = items.len();
            let item = rest[0]
                .parse::<usize>()
                .ok()
                .and_then(|i| items.get_mut(i))
                .ok_or_else(|| format!("`{name}` is an array of {count}; the next part of the key is a number from 0"))?;
            match rest {
                [_] => {
                    *item = node;
                    Ok(())
                }
                _ => put_below(item, &rest[0], &rest[1..], node, origin),
            }
        }
        other => Err(format!(
            "`{name}` is {}, so nothing can be set below it",
            other.kind()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str, sets: &[&str]) -> (Table, Vec<Diagnostic>) {
        let (mut table, errors) = super::super::tree::parse(text);
        assert!(errors.is_empty());
        let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
        let errors = apply(&mut table, &sets);
        (table, errors)
    }

    #[test]
    fn keys_and_values_are_split() {
        let path = |s: &str| split(s).unwrap().0;
        assert_eq!(path("a=1"), ["a"]);
        assert_eq!(path("a.b = x"), ["a", "b"]);
        assert_eq!(
            path("source.properties.\"sasl.username\"=x"),
            ["source", "properties", "sasl.username"]
        );
        assert_eq!(split("a=b=c").unwrap().1, "b=c");
        for wrong in ["a", "", "=1", "a..b=1", "\"a=1"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_replace_and_add() {
        let (table, errors) = after(
            "[a]\nb = 1\n[[w]]\nn = \"x\"\n",
            &["a.b=2", "c.d.e=10s", "w.0.n=y", "a.l=[1, 2]"],
        );
        assert!(errors.is_empty(), "{errors:?}");
        let Value::Table(a) = &table.get("a").unwrap().node.value else {
            panic!()
        };
        assert!(matches!(a.get("b").unwrap().node.value, Value::Integer(2)));
        assert!(matches!(&a.get("l").unwrap().node.value, Value::Array(items) if items.len() == 2));
        let Value::Table(c) = &table.get("c").unwrap().node.value else {
            panic!()
        };
        let Value::Table(d) = &c.get("d").unwrap().node.value else {
            panic!()
        };
        assert!(
            matches!(&d.get("e").unwrap().node.value, Value::String { text, .. } if text == "10s")
        );
    }

    #[test]
    fn what_cannot_be_set_is_an_error() {
        let (_, errors) = after(
            "a = 1\n[[w]]\nn = 1\n",
            &["a.b=2", "w.7.n=1", "w.x=1", "nothing"],
        );
        assert_eq!(errors.len(), 4);
    }
}
