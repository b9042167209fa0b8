//! SHOW: what is there, as rows.

use sqlparser::tokenizer::Token;

use super::tokens::{
    is, is_any, literal, name, qualified_name_len, starts, string, syntax_error, text,
};
use crate::errors::SqlError;

/// What SHOW brings in Redshift and not here: definitions with keys and encodings, which are not
/// kept, grants, which decide nothing, and what the emulator does not have.
const LACKING: &[&str] = &[
    "COLUMN",
    "CONSTRAINTS",
    "DATASHARES",
    "EXTERNAL",
    "FUNCTIONS",
    "GRANTS",
    "MODEL",
    "PARAMETERS",
    "POLICIES",
    "PROCEDURE",
    "PROCEDURES",
    "TABLE",
    "TEMPLATE",
    "TEMPLATES",
    "VIEW",
];

/// SHOW of databases, schemas, tables or columns; of a parameter otherwise.
pub(super) fn translate(tokens: &[Token]) -> Result<String, SqlError> {
    let list = |view, named_by, order| List {
        view,
        named_by,
        order,
        conditions: String::new(),
    };
    if starts(tokens, &["SHOW", "DATABASES"]) {
        if is(tokens.get(2), "FROM") {
            return Err(SqlError::lacking("SHOW DATABASES FROM DATA CATALOG"));
        }
        return list("svv_redshift_databases", "database_name", "database_name").rows(tokens, 2);
    }
    let within = [
        (["SCHEMAS", "FROM", "DATABASE"], 1, "shown_schemas"),
        (["TABLES", "FROM", "SCHEMA"], 2, "shown_tables"),
        (["COLUMNS", "FROM", "TABLE"], 3, "shown_columns"),
    ];
    for (words, most, view) in within {
        if !starts(tokens.get(1..).unwrap_or_default(), &words) {
            continue;
        }
        let rest = tokens.get(4..).unwrap_or_default();
        let len = qualified_name_len(rest);
        let names = rest.get(..len).unwrap_or_default().iter();
        let names: Vec<String> = names.filter_map(|token| name(Some(token))).collect();
        // The database can be left out where something else is named.
        if names.len() > most || names.len() < most.saturating_sub(1).max(1) {
            return Err(syntax_error(tokens, 4));
        }
        let (named_by, order) = match most {
            1 => ("schema_name", "schema_name"),
            2 => ("table_name", "table_name"),
            _ => ("column_name", "ordinal_position"),
        };
        let levels = ["table_name", "schema_name", "database_name"];
        let mut list = list(view, named_by, order);
        for (level, name) in levels.iter().skip(3 - most).zip(names.iter().rev()) {
            list.add(level, name);
        }
        return list.rows(tokens, 4 + len);
    }
    if is_any(
        tokens.get(1),
        &["DATABASES", "SCHEMAS", "TABLES", "COLUMNS"],
    ) {
        return Err(syntax_error(tokens, 2));
    }
    if is_any(tokens.get(1), LACKING) {
        let what = text(tokens.get(1..2).unwrap_or_default()).to_uppercase();
        return Err(SqlError::lacking(format_args!("SHOW {what}")));
    }
    Ok(text(tokens))
}

/// What is listed.
struct List {
    /// A view of the emulator's.
    view: &'static str,
    /// The column that LIKE compares.
    named_by: &'static str,
    order: &'static str,
    conditions: String,
}

impl List {
    fn add(&mut self, column: &str, value: &str) {
        let value = literal(value);
        self.conditions += &match column {
            "database_name" => format!(" AND redshift_emulator.is_database({value})"),
            column => format!(" AND {column} = redshift_emulator.full_name({value})"),
        };
    }

    /// With [LIKE 'pattern'] [LIMIT n] from `at` on.
    fn rows(mut self, tokens: &[Token], at: usize) -> Result<String, SqlError> {
        let mut at = at;
        if is(tokens.get(at), "LIKE") {
            let pattern = string(tokens.get(at + 1)).ok_or_else(|| syntax_error(tokens, at + 1))?;
            self.conditions += &format!(" AND {} LIKE {}", self.named_by, literal(&pattern));
            at += 2;
        }
        let limit = match tokens.get(at..).unwrap_or_default() {
            [] => String::new(),
            [word, Token::Number(number, _)] if is(Some(word), "LIMIT") => {
                format!(" LIMIT {number}")
            }
            _ => return Err(syntax_error(tokens, at)),
        };
        Ok(format!(
            "SELECT * FROM redshift_emulator.{} WHERE true{} ORDER BY {}{limit}",
            self.view, self.conditions, self.order
        ))
    }
}
