//! Which SQL a stranger may run: one that reads the tables of the job, and nothing else.
//!
//! [`crate::reader`] lets no statement through that writes. That is enough for who sits at the
//! machine; over a network a question must not read other files, call what reaches outside, or look
//! into settings either. So DuckDB itself parses the statement, in a database in memory that has
//! nothing in it, and every relation and function of what it understood has to be known as
//! harmless.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::Value;

use crate::duckdb::{Database, DatabaseError, DuckDbOptions, message};
use crate::reader::{QueryError, Watch, on_large_stack};
use crate::statement;
use crate::tree::{self, Functions, Parsed};

pub(crate) mod size;

/// Functions that read nothing but their arguments, and always give the same answer. A test
/// compares both lists with what the pinned DuckDB has: each of its functions has to be in one of
/// them.
static ALLOWED: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    include_str!("guard/allowed.txt")
        .split_whitespace()
        .collect()
});

/// Functions that make more than memory holds out of a few bytes, all of it before they look
/// whether they are interrupted. They are among those that are refused; who asks is told why.
const BOUNDLESS: [&str; 10] = [
    "array_resize",
    "bitstring",
    "format",
    "generate_series",
    "list_resize",
    "lpad",
    "printf",
    "range",
    "repeat",
    "rpad",
];

/// Functions that compare with a pattern. DuckDB tries every place for each wildcard of it, without
/// looking whether it is interrupted: four of them and a text of 5,000 characters take hours.
const PATTERNS: [&str; 9] = [
    "~~",
    "!~~",
    "~~*",
    "!~~*",
    "~~~",
    "like_escape",
    "not_like_escape",
    "ilike_escape",
    "not_ilike_escape",
];

/// Functions that take a regular expression, as their second argument. What they take grows with
/// the length of the text times that of the expression.
const EXPRESSIONS: [&str; 9] = [
    "regexp_extract",
    "regexp_extract_all",
    "regexp_full_match",
    "regexp_matches",
    "regexp_replace",
    "regexp_split_to_array",
    "regexp_split_to_table",
    "str_split_regex",
    "string_split_regex",
];

/// Bytes of a regular expression, at most.
const EXPRESSION_MAX: usize = 256;

/// Functions that make a text longer, and which of their arguments says by how much at each place.
const REPLACEMENTS: [(&str, usize); 2] = [("replace", 2), ("regexp_replace", 2)];

/// Bytes of what is put in the place of something, at most.
const REPLACEMENT_MAX: usize = 64;

/// Table functions that read nothing but their arguments, and hand out rows as they are asked for.
const TABLE_FUNCTIONS: [&str; 3] = ["range", "generate_series", "unnest"];

/// Queries whose parts are known.
const QUERIES: [&str; 3] = ["SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE"];

/// Kinds of relations: each is looked into.
const RELATIONS: [&str; 9] = [
    "BASE_TABLE",
    "SUBQUERY",
    "JOIN",
    "TABLE_FUNCTION",
    "EXPRESSION_LIST",
    "EMPTY",
    "EMPTY_FROM",
    "PIVOT",
    "SHOW_REF",
];

/// Views of `information_schema`. Of another name, DuckDB would look for a file:
/// `information_schema.csv`.
const DESCRIPTIONS: [&str; 9] = [
    "character_sets",
    "columns",
    "constraint_column_usage",
    "constraint_table_usage",
    "key_column_usage",
    "referential_constraints",
    "schemata",
    "table_constraints",
    "tables",
];

/// Checks questions from outside.
#[derive(Debug, Clone)]
pub struct QueryGuard {
    database: Arc<Database>,
    tables: Arc<HashSet<String>>,
    functions: Arc<Functions>,
    bytes_max: usize,
}

/// Names that WITH has given, as far as they can be seen.
struct Scope<'a> {
    names: Vec<String>,
    outer: Option<&'a Scope<'a>>,
}

impl<'a> Scope<'a> {
    fn within(outer: &'a Scope<'a>) -> Self {
        Scope {
            names: Vec::new(),
            outer: Some(outer),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
            || self.outer.is_some_and(|outer| outer.has(name))
    }
}

impl QueryGuard {
    /// `tables` are those that may be read, views included; a statement has `bytes_max` bytes at
    /// most.
    ///
    /// # Errors
    /// If there is no database in memory.
    pub fn new(
        tables: impl IntoIterator<Item = String>,
        bytes_max: usize,
    ) -> Result<Self, DatabaseError> {
        let options = DuckDbOptions {
            memory_limit_bytes: Some(64 << 20),
            threads: Some(1),
        };
        let database = Database::in_memory(&options)?;
        let functions =
            Functions::of(&database.connection()?).map_err(|error| DatabaseError::Refused {
                path: ":memory:".into(),
                message: message(&error),
            })?;
        database.close_off(&[])?;
        let tables = tables
            .into_iter()
            .map(|table| table.to_lowercase())
            .collect();
        Ok(QueryGuard {
            database,
            tables: Arc::new(tables),
            functions: Arc::new(functions),
            bytes_max,
        })
    }

    /// Lets a statement through, or says why not. Blocks for as long as parsing takes.
    ///
    /// # Errors
    /// [`QueryError::Refused`] if it does more than read these tables, or
    /// becomes too large, [`QueryError::Sql`] if it is
    /// no SQL, [`QueryError::Timeout`] if that could not be said within `timeout`.
    pub fn check(&self, sql: &str, timeout: Duration) -> Result<(), QueryError> {
        let refused = |message: String| QueryError::Refused(message);
        if sql.len() > self.bytes_max {
            return Err(refused(format!(
                "the statement has {} bytes, and may have {}; make it shorter, or raise http.limits.sql",
                sql.len(),
                self.bytes_max
            )));
        }
        // Without comments: what DuckDB's own lexer spends on them grows with their square.
        let statement = statement::check(sql).map_err(|refusal| refused(refusal.to_string()))?;
        let no_rows = &mut |_| Ok(true);
        let parsed = on_large_stack(statement.len(), no_rows, |_| {
            let connection = self.database.connection()?;
            let watch = Watch::start(&connection, timeout, None, None);
            let parsed = tree::parse(&connection, &statement);
            watch.stop().map_or(parsed, Err)
        })?;
        let tree = match parsed {
            Parsed::Query(tree) => tree,
            Parsed::Wrong(why) => return Err(QueryError::Sql(why)),
            Parsed::Other(why) => {
                tracing::debug!(why, "a statement that has no tree");
                return Err(refused(
                    "this is no query that can be looked into: use SELECT, FROM or WITH; of EXPLAIN, \
                     SHOW, DESCRIBE and PIVOT, `tidegate query` has answers"
                        .to_owned(),
                ));
            }
        };
        let nothing = Scope {
            names: Vec::new(),
            outer: None,
        };
        self.walk(&tree, &nothing).map_err(refused)?;
        size::check(&tree, &self.functions).map_err(refused)
    }

    fn walk(&self, node: &Value, scope: &Scope<'_>) -> Result<(), String> {
        match node {
            Value::Array(items) => items.iter().try_for_each(|item| self.walk(item, scope)),
            Value::Object(members) if members.contains_key("cte_map") => self.query(node, scope),
            Value::Object(members) => {
                if members.contains_key("alias") && members.contains_key("sample") {
                    self.relation(node, scope)?;
                }
                if let Some(function) = text(node, "function_name") {
                    check_function(node, &function)?;
                }
                let is_table_function = text(node, "type").as_deref() == Some("TABLE_FUNCTION");
                members.iter().try_for_each(|(name, member)| match member {
                    // It has been looked at as a relation; what it is called with is left.
                    Value::Object(call) if is_table_function && name == "function" => {
                        call.values().try_for_each(|part| self.walk(part, scope))
                    }
                    _ => self.walk(member, scope),
                })
            }
            _ => Ok(()),
        }
    }

    /// A query: each name of its WITH is known from the next one on, and in the query itself.
    fn query(&self, node: &Value, scope: &Scope<'_>) -> Result<(), String> {
        let kind = text(node, "type").unwrap_or_default();
        if !QUERIES.contains(&kind.as_str()) {
            return Err(format!("`{kind}` is not for questions from outside"));
        }
        let mut inner = Scope::within(scope);
        for entry in node["cte_map"]["map"].as_array().into_iter().flatten() {
            let name = text(entry, "key").unwrap_or_default().to_lowercase();
            if !is_plain(&name) {
                return Err(format!(
                    "WITH gives the name `{name}`, and names from outside have letters, digits and `_`"
                ));
            }
            self.walk(&entry["value"], &inner)?;
            inner.names.push(name);
        }
        let mut itself = Scope::within(&inner);
        if kind == "RECURSIVE_CTE_NODE" {
            itself
                .names
                .extend(text(node, "cte_name").map(|name| name.to_lowercase()));
        }
        for (member, value) in node.as_object().into_iter().flatten() {
            match member.as_str() {
                "cte_map" => {}
                // What is added in each round can see what there is; what it begins with cannot.
                "right" => self.walk(value, &itself)?,
                _ => self.walk(value, &inner)?,
            }
        }
        Ok(())
    }

    fn relation(&self, node: &Value, scope: &Scope<'_>) -> Result<(), String> {
        let kind = text(node, "type").unwrap_or_default();
        if !RELATIONS.contains(&kind.as_str()) {
            return Err(format!(
                "`{kind}` is not for questions from outside; use tables, joins and subqueries"
            ));
        }
        match kind.as_str() {
            "TABLE_FUNCTION" => {
                let function = text(&node["function"], "function_name").unwrap_or_default();
                let is_known = TABLE_FUNCTIONS.contains(&function.to_lowercase().as_str());
                if is_known && is_built_in(&node["function"]) {
                    return Ok(());
                }
                Err(format!(
                    "the function `{function}` is not for questions from outside: ask the tables of the job"
                ))
            }
            "SHOW_REF" => {
                let shown = text(node, "table_name").unwrap_or_default();
                if shown.is_empty() || shown == "\"tables\"" {
                    return Ok(());
                }
                Err(format!(
                    "SHOW {shown} is not for questions from outside; use SHOW TABLES, or DESCRIBE a table"
                ))
            }
            "BASE_TABLE" => self.table(node, scope),
            _ => Ok(()),
        }
    }

    fn table(&self, node: &Value, scope: &Scope<'_>) -> Result<(), String> {
        let table = text(node, "table_name").unwrap_or_default();
        let schema = text(node, "schema_name").unwrap_or_default().to_lowercase();
        let catalog = text(node, "catalog_name").unwrap_or_default();
        let lower = table.to_lowercase();
        let is_ours = catalog.is_empty()
            && match schema.as_str() {
                "" => self.tables.contains(&lower) || scope.has(&lower),
                "main" => self.tables.contains(&lower),
                "information_schema" => DESCRIPTIONS.contains(&lower.as_str()),
                _ => false,
            };
        if is_ours {
            return Ok(());
        }
        let mut tables: Vec<&str> = self.tables.iter().map(String::as_str).collect();
        tables.sort_unstable();
        Err(format!(
            "there is no table `{table}` here; there are {}",
            tables.join(", ")
        ))
    }
}

fn is_built_in(function: &Value) -> bool {
    let schema = text(function, "schema").unwrap_or_default();
    let catalog = text(function, "catalog").unwrap_or_default();
    ["", "main"].contains(&schema.as_str()) && catalog.is_empty()
}

fn check_function(node: &Value, function: &str) -> Result<(), String> {
    let lower = function.to_lowercase();
    if PATTERNS.contains(&lower.as_str()) {
        check_pattern(node, &lower)?;
    }
    if EXPRESSIONS.contains(&lower.as_str()) {
        check_short(node, 1, EXPRESSION_MAX, function)?;
    }
    if let Some((_, place)) = REPLACEMENTS.iter().find(|(name, _)| *name == lower) {
        check_short(node, *place, REPLACEMENT_MAX, function)?;
    }
    if is_built_in(node) && ALLOWED.contains(lower.as_str()) {
        return Ok(());
    }
    if TABLE_FUNCTIONS.contains(&lower.as_str()) {
        return Err(format!(
            "the function `{function}` makes a list as long as it is told, and is for FROM only: \
             FROM {function}(...)"
        ));
    }
    if BOUNDLESS.contains(&lower.as_str()) {
        return Err(format!(
            "the function `{function}` makes a value as long as it is told, whatever memory there \
             is, and is not for questions from outside"
        ));
    }
    Err(format!(
        "the function `{function}` is not for questions from outside"
    ))
}

/// Lets an argument through that is short, for all that is known of it.
fn check_short(node: &Value, place: usize, max: usize, function: &str) -> Result<(), String> {
    let argument = &node["children"][place];
    let is_constant = text(argument, "class").as_deref() == Some("CONSTANT");
    let bytes = argument["value"]["value"].as_str().map_or(0, str::len);
    if is_constant && bytes <= max {
        return Ok(());
    }
    Err(format!(
        "argument {} of `{function}` has to be a text in quotes of {max} bytes at most",
        place + 1
    ))
}

/// Lets a pattern through that takes no more than a look at each place of a text.
fn check_pattern(node: &Value, function: &str) -> Result<(), String> {
    let constant = &node["children"][1];
    let value = &constant["value"];
    if text(constant, "class").as_deref() != Some("CONSTANT") {
        return Err(
            "the pattern of LIKE has to be a text in quotes; use starts_with, contains or \
             regexp_matches"
                .to_owned(),
        );
    }
    let Some(pattern) = value["value"].as_str() else {
        // NULL, or no text: there is nothing to try.
        return Ok(());
    };
    // DuckDB cuts these into words, and looks for one after the other.
    if ["~~", "!~~"].contains(&function) && !pattern.contains('_') {
        return Ok(());
    }
    let wildcard = if function == "~~~" { '*' } else { '%' };
    let tried = pattern.trim_end_matches(wildcard).matches(wildcard).count();
    if tried <= 1 {
        return Ok(());
    }
    Err(format!(
        "the pattern `{pattern}` has more than one `{wildcard}` before its end, which can take for \
         ever with `_`, ILIKE, ESCAPE or GLOB; use regexp_matches"
    ))
}

/// Whether a name cannot be taken for a file's.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

fn text(node: &Value, member: &str) -> Option<String> {
    node.get(member)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests;
