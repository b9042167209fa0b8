//! Finds the place of a key path in the file, for errors that come from planning.

use super::tree::{Node, Origin, Table, Value};

/// Where `path` was written, or as much of it as there is. In an array of tables the next part of
/// the path is an index or the `name` of one of them.
pub fn locate(table: &Table, path: &[String]) -> Origin {
    let mut origin = Origin::Nowhere;
    let mut table = table;
    let mut rest = path;
    while let [key, tail @ ..] = rest {
        let Some(entry) = table.get(key) else {
            return origin;
        };
        let mut node = &entry.node;
        // A table is shown at its key, a value at itself.
        origin = if node_is_table(node) {
            entry.key_origin.clone()
        } else {
            node.origin.clone()
        };
        rest = tail;
        while let (Value::Array(items), [key, tail @ ..]) = (&node.value, rest) {
            let Some(item) = pick(items, key) else {
                return origin;
            };
            node = item;
            origin = item.origin.clone();
            rest = tail;
        }
        match &node.value {
            Value::Table(inner) => table = inner,
            _ => return origin,
        }
    }
    origin
}

fn node_is_table(node: &Node) -> bool {
    matches!(node.value, Value::Table(_))
}

fn pick<'t>(items: &'t [Node], key: &str) -> Option<&'t Node> {
    if let Ok(index) = key.parse::<usize>() {
        return items.get(index);
    }
    items.iter().find(|item| match &item.value {
        Value::Table(table) => table.get("name").is_some_and(
            |entry| matches!(&entry.node.value, Value::String { text, .. } if text == key),
        ),
        Value::String { text, .. } => text == key,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_place() {
        let text = "[rules]\na = \"x\"\n[[windows]]\nname = \"w\"\n[windows.aggregates]\nn = \"count(*)\"\n";
        let (tree, _) = super::super::tree::parse(text);
        let at = |path: &[&str]| {
            let path: Vec<String> = path.iter().map(|s| (*s).to_owned()).collect();
            match locate(&tree, &path) {
                Origin::File(span) => text[span].to_owned(),
                other => format!("{other:?}"),
            }
        };
        assert_eq!(at(&["rules", "a"]), "\"x\"");
        assert_eq!(at(&["rules", "none"]), "rules");
        assert_eq!(at(&["windows", "w", "aggregates", "n"]), "\"count(*)\"");
        assert_eq!(at(&["windows", "0", "aggregates"]), "aggregates");
        assert_eq!(at(&["nothing"]), "Nowhere");
    }
}
