//! What DuckDB's own parser makes of a statement.

use std::collections::{HashMap, HashSet};

use duckdb::Connection;
use serde_json::Value;

use crate::duckdb::message;
use crate::reader::QueryError;

/// A statement as it was parsed.
pub(crate) enum Parsed {
    /// A query.
    Query(Value),
    /// Something else, of which DuckDB gives no tree; why, in its words.
    Other(String),
    /// No SQL; why, in DuckDB's words.
    Wrong(String),
}

/// Has a statement parsed. Nothing of it is run.
///
/// # Errors
/// [`QueryError::Sql`] if it is nested too deep, or cannot be parsed in time.
pub(crate) fn parse(connection: &Connection, sql: &str) -> Result<Parsed, QueryError> {
    // The function takes no parameter, only what is constant.
    let literal = sql.replace('\'', "''");
    let text: String = connection
        .query_row(
            &format!("SELECT json_serialize_sql('{literal}')"),
            [],
            |row| row.get(0),
        )
        .map_err(|error| QueryError::Sql(message(&error)))?;
    let tree: Value = serde_json::from_str(&text).map_err(|error| {
        // Its limit is the one error that has no place in the text; an infinite number is written
        // as a word.
        QueryError::Sql(if error.to_string().contains("recursion limit") {
            format!(
                "the statement is nested too deep to be looked into ({error}); join fewer tables, or \
                 ask in several questions"
            )
        } else {
            "the statement has a number that is larger than a DOUBLE can be; write infinity as \
             'infinity'::DOUBLE"
                .to_owned()
        })
    })?;
    if tree["error"] == Value::Bool(false) {
        return Ok(Parsed::Query(tree));
    }
    let message = tree["error_message"]
        .as_str()
        .unwrap_or("the statement cannot be looked into");
    Ok(match tree["error_type"].as_str() {
        Some("parser") => Parsed::Wrong(message.to_owned()),
        _ => Parsed::Other(message.to_owned()),
    })
}

/// What is known of a database's functions.
#[derive(Debug, Default)]
pub(crate) struct Functions {
    /// Those that make one row of many.
    pub(crate) aggregates: HashSet<String>,
    /// Those that DuckDB puts SQL in the place of. One name can stand for several, with different
    /// numbers of parameters.
    pub(crate) macros: HashMap<String, Vec<Macro>>,
}

/// A function that DuckDB puts SQL in the place of, with its arguments in that of its parameters.
#[derive(Debug)]
pub(crate) struct Macro {
    pub(crate) parameters: Vec<String>,
    /// Whether it stands for a query.
    pub(crate) is_table: bool,
    /// That query, or one with the expression that it stands for.
    pub(crate) query: Value,
}

impl Functions {
    /// Asks a database for its functions.
    pub(crate) fn of(connection: &Connection) -> Result<Self, duckdb::Error> {
        let mut functions = Functions::default();
        let mut statement = connection.prepare(
            "SELECT lower(function_name), to_json(parameters)::VARCHAR, \
             CASE function_type WHEN 'macro' THEN json_serialize_sql('SELECT ' || macro_definition) \
             WHEN 'table_macro' THEN json_serialize_sql(macro_definition) END, \
             function_type = 'table_macro' \
             FROM duckdb_functions() WHERE function_type IN ('aggregate', 'macro', 'table_macro')",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            let Some(body) = row.get::<_, Option<String>>(2)? else {
                functions.aggregates.insert(name);
                continue;
            };
            let parameters: Option<String> = row.get(1)?;
            let parameters: Vec<String> = parameters
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default();
            let tree: Value = serde_json::from_str(&body).unwrap_or_default();
            functions.macros.entry(name).or_default().push(Macro {
                parameters: parameters.iter().map(|name| name.to_lowercase()).collect(),
                is_table: row.get(3)?,
                query: tree["statements"][0]["node"].clone(),
            });
        }
        Ok(functions)
    }
}
