//! Names of columns, each of which there is once.

use std::collections::HashSet;

use arrow::datatypes::Schema;
use tidegate_expr::explain_member;

use super::SYSTEM_COLUMNS;

#[derive(Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// Takes a name; says whether it was taken already. Warehouses fold case, so names do too.
    pub(super) fn taken(&mut self, name: &str) -> bool {
        if self.0.is_empty() {
            self.0
                .extend(SYSTEM_COLUMNS.iter().map(ToString::to_string));
        }
        !self.0.insert(name.to_lowercase())
    }

    pub(super) fn clash(&self, name: &str) -> String {
        if SYSTEM_COLUMNS.contains(&name.to_lowercase().as_str()) {
            format!("every event has a column `{name}` already; choose another name")
        } else {
            format!("there is another column `{name}`; choose another name")
        }
    }
}

/// The place of a column.
pub(super) fn find(schema: &Schema, name: &str) -> Result<usize, String> {
    schema.index_of(name).map_err(|_| {
        if let Some(message) = explain_member(name, schema) {
            let end = if message.ends_with('?') { "" } else { "." };
            return format!(
                "{message}{end} A key is a column: add one with it under [enrich], and name that"
            );
        }
        let known: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        format!(
            "there is no column `{name}`; there are {}",
            known.join(", ")
        )
    })
}
