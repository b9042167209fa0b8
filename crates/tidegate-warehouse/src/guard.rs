//! Which SQL a stranger may run: one that reads the tables of the job, and nothing else.
//!
//! [`crate::reader`] lets no statement through that writes. That is enough for who sits at the machine; over a
//! network a question must not read other files, call what reaches outside, or look into settings either. So
//! DuckDB itself parses the statement, in a database in memory that has nothing in it, and every relation and
//! function of what it understood has to be known as harmless.

use std::collections::HashSet;
use std::sync::Arc;

use duckdb::Connection;
use serde_json::Value;

use crate::duckdb::{Database, DatabaseError, DuckDbOptions, message};
use crate::reader::QueryError;
use crate::statement;

/// Table functions that read nothing but their arguments.
const TABLE_FUNCTIONS: [&str; 3] = ["range", "generate_series", "unnest"];

/// Functions that tell about the process or reach outside of the query.
const FUNCTIONS: [&str; 8] = [
    "getenv",
    "current_setting",
    "nextval",
    "currval",
    "write_log",
    "set_config",
    "getvariable",
    "parse_duckdb_log_message",
];

/// Schemas that describe the tables.
const SCHEMAS: [&str; 3] = ["", "main", "information_schema"];

/// Kinds of relations: each is looked into.
const RELATIONS: [&str; 10] = [
    "BASE_TABLE",
    "SUBQUERY",
    "JOIN",
    "TABLE_FUNCTION",
    "EXPRESSION_LIST",
    "EMPTY",
    "EMPTY_FROM",
    "PIVOT",
    "SHOW_REF",
    "CTE",
];

/// Checks questions from outside.
#[derive(Debug, Clone)]
pub struct QueryGuard {
    database: Arc<Database>,
    tables: Arc<HashSet<String>>,
}

impl QueryGuard {
    /// `tables` are those that may be read, views included.
    ///
    /// # Errors
    /// If there is no database in memory.
    pub fn new(tables: impl IntoIterator<Item = String>) -> Result<Self, DatabaseError> {
        let options = DuckDbOptions {
            memory_limit_bytes: Some(64 << 20),
            threads: Some(1),
        };
        let database = Database::in_memory(&options)?;
        let tables = tables
            .into_iter()
            .map(|table| table.to_lowercase())
            .collect();
        Ok(QueryGuard {
            database,
            tables: Arc::new(tables),
        })
    }

    /// Lets a statement through, or says why not. Blocks for as long as parsing takes.
    ///
    /// # Errors
    /// [`QueryError::Refused`] if it does more than read these tables, [`QueryError::Sql`] if it is no SQL.
    pub fn check(&self, sql: &str) -> Result<(), QueryError> {
        let refused = |message: String| QueryError::Refused(message);
        let statement = statement::check(sql).map_err(|refusal| refused(refusal.to_string()))?;
        let tree = self.parse(&self.database.connection()?, statement)?;
        let mut named = HashSet::new();
        collect_ctes(&tree, &mut named);
        self.walk(&tree, &named).map_err(refused)
    }

    fn parse(&self, connection: &Connection, sql: &str) -> Result<Value, QueryError> {
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
            QueryError::Sql(format!("the statement cannot be looked into: {error}"))
        })?;
        if tree["error"] != Value::Bool(false) {
            let message = tree["error_message"]
                .as_str()
                .unwrap_or("the statement cannot be looked into");
            return Err(match tree["error_type"].as_str() {
                Some("parser") => QueryError::Sql(message.to_owned()),
                _ => QueryError::Refused(format!("only SELECT is answered here: {message}")),
            });
        }
        Ok(tree)
    }

    fn walk(&self, node: &Value, named: &HashSet<String>) -> Result<(), String> {
        match node {
            Value::Array(items) => items.iter().try_for_each(|item| self.walk(item, named)),
            Value::Object(members) => {
                if members.contains_key("alias") && members.contains_key("sample") {
                    self.relation(node, named)?;
                }
                if let Some(function) = text(node, "function_name") {
                    let schema = text(node, "schema").unwrap_or_default();
                    if FUNCTIONS.contains(&function.to_lowercase().as_str())
                        || !["", "main"].contains(&schema.as_str())
                    {
                        return Err(format!(
                            "the function `{function}` is not for questions from outside"
                        ));
                    }
                }
                members
                    .values()
                    .try_for_each(|member| self.walk(member, named))
            }
            _ => Ok(()),
        }
    }

    fn relation(&self, node: &Value, named: &HashSet<String>) -> Result<(), String> {
        let kind = text(node, "type").unwrap_or_default();
        if !RELATIONS.contains(&kind.as_str()) {
            return Err(format!(
                "`{kind}` is not for questions from outside; use tables, joins and subqueries"
            ));
        }
        if kind == "TABLE_FUNCTION" {
            let function = text(&node["function"], "function_name").unwrap_or_default();
            if !TABLE_FUNCTIONS.contains(&function.to_lowercase().as_str()) {
                return Err(format!(
                    "the function `{function}` is not for questions from outside: ask the tables of the job"
                ));
            }
        }
        if kind == "BASE_TABLE" {
            let table = text(node, "table_name").unwrap_or_default();
            let schema = text(node, "schema_name").unwrap_or_default().to_lowercase();
            let catalog = text(node, "catalog_name").unwrap_or_default();
            let known = self.tables.contains(&table.to_lowercase())
                || named.contains(&table.to_lowercase());
            let is_ours = catalog.is_empty()
                && SCHEMAS.contains(&schema.as_str())
                && (known || schema == "information_schema");
            if !is_ours {
                let mut tables: Vec<&str> = self.tables.iter().map(String::as_str).collect();
                tables.sort_unstable();
                return Err(format!(
                    "there is no table `{table}` here; there are {}",
                    tables.join(", ")
                ));
            }
        }
        Ok(())
    }
}

fn text(node: &Value, member: &str) -> Option<String> {
    node.get(member)?.as_str().map(str::to_owned)
}

/// Names that WITH gives to queries.
fn collect_ctes(node: &Value, named: &mut HashSet<String>) {
    match node {
        Value::Array(items) => items.iter().for_each(|item| collect_ctes(item, named)),
        Value::Object(members) => {
            for (member, value) in members {
                if member == "cte_map" {
                    for entry in value["map"].as_array().into_iter().flatten() {
                        named.extend(text(entry, "key").map(|name| name.to_lowercase()));
                    }
                }
                if member == "cte_name" {
                    named.extend(value.as_str().map(str::to_lowercase));
                }
                collect_ctes(value, named);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str) -> Result<(), QueryError> {
        QueryGuard::new(["events".to_owned(), "per_minute".to_owned()])
            .unwrap()
            .check(sql)
    }

    #[test]
    fn questions_about_the_tables_are_let_through() {
        for sql in [
            "SELECT count(*) FROM events",
            "select a, sum(b) FROM main.events e JOIN Per_Minute m ON e.a = m.a GROUP BY ALL ORDER BY 2 DESC LIMIT 3",
            "WITH recent AS (SELECT * FROM events WHERE a > 1) SELECT * FROM recent UNION ALL SELECT * FROM events",
            "FROM events SELECT a",
            "SELECT * FROM (VALUES (1), (2)) AS t(x), range(3), unnest([1, 2])",
            "SELECT row_number() OVER (PARTITION BY a ORDER BY b) FROM events QUALIFY true",
            "SELECT table_name FROM information_schema.tables",
            "SELECT 1; ",
            "SELECT (SELECT max(a) FROM events), EXISTS (SELECT 1 FROM per_minute)",
        ] {
            assert!(check(sql).is_ok(), "{sql}: {:?}", check(sql));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for sql in [
            "INSERT INTO events VALUES (1)",
            "UPDATE events SET a = 1",
            "DELETE FROM events",
            "DROP TABLE events",
            "CREATE TABLE t AS SELECT 1",
            "COPY events TO '/tmp/x.csv'",
            "COPY (SELECT 1) TO '/tmp/x.csv'",
            "EXPORT DATABASE '/tmp/x'",
            "ATTACH '/tmp/x.duckdb' AS x",
            "INSTALL httpfs",
            "LOAD httpfs",
            "SET memory_limit = '1TB'",
            "RESET memory_limit",
            "PRAGMA database_list",
            "CALL pragma_version()",
            "CHECKPOINT",
            "SELECT 1; SELECT 2",
            "SELECT 1; DROP TABLE events",
            "SELECT * FROM read_csv('/etc/passwd')",
            "SELECT * FROM read_text('/etc/passwd')",
            "SELECT * FROM read_blob('/etc/passwd')",
            "SELECT * FROM read_parquet('s3://bucket/x')",
            "SELECT * FROM glob('/etc/*')",
            "SELECT * FROM '/etc/passwd'",
            "SELECT * FROM \"/etc/passwd\"",
            "SELECT * FROM 'x.csv'",
            "SELECT (SELECT content FROM read_text('/etc/passwd'))",
            "WITH x AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM x",
            "WITH x AS MATERIALIZED (FROM glob('*')) FROM x",
            "SELECT * FROM events WHERE a IN (SELECT file FROM glob('/etc/*'))",
            "SELECT * FROM events ORDER BY (SELECT count(*) FROM glob('*'))",
            "SELECT * FROM duckdb_settings()",
            "SELECT * FROM duckdb_secrets()",
            "SELECT * FROM pragma_database_list()",
            "SELECT getenv('HOME')",
            "SELECT current_setting('home_directory')",
            "SELECT * FROM query('SELECT 1')",
            "SELECT * FROM query_table('events')",
            "SELECT * FROM other.main.events",
            "SELECT * FROM tidegate_ledger",
            "SELECT nextval('s')",
            "DESCRIBE SELECT * FROM read_text('/etc/passwd')",
            "SUMMARIZE SELECT * FROM glob('*')",
            "PIVOT (SELECT * FROM glob('*')) ON file USING count(*)",
            "",
        ] {
            assert!(check(sql).is_err(), "{sql}");
        }
    }
}
