//! One statement, ready to run.

use sqlparser::tokenizer::Token;

use super::tokens::{
    after_parentheses, is, is_any, literal, name, qualified_name_len, split_commas, starts,
    syntax_error, text,
};
use super::{alter, expressions, reserved, show, table};
use crate::copy::CopyCommand;
use crate::errors::SqlError;

/// What a statement does, and the SQL that PostgreSQL runs for it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) action: Action,
    pub(crate) sql: String,
}

/// What a statement does, as far as running it differs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Has a result set.
    Query,
    /// Changes rows, and tells how many.
    Change,
    /// Anything else.
    Define,
    /// Commits the transaction that it stands in.
    Truncate,
    /// Loads files.
    Copy(CopyCommand),
    /// Not in a transaction block. The table where one was named, and the kind.
    Vacuum { table: Option<String>, kind: String },
    /// The table where one was named.
    Analyze { table: Option<String> },
    /// Not in a transaction block, and only from VARCHAR to VARCHAR.
    AlterType {
        table: String,
        column: String,
        /// The new width.
        bytes: u32,
    },
    /// CREATE OR REPLACE VIEW, or any view WITH NO SCHEMA BINDING.
    View {
        name: String,
        query: String,
        replace: bool,
        late: bool,
    },
    /// ALTER TABLE APPEND: not in a transaction block.
    Append { target: String, source: String },
    /// Ends a transaction.
    Commit,
    /// Undoes a transaction.
    Rollback,
    /// Begins a transaction.
    Begin,
}

impl Plan {
    /// Reads one statement.
    pub(crate) fn new(tokens: &[Token]) -> Result<Self, SqlError> {
        let first = tokens.first();
        let plan = |action, sql| Ok(Self { action, sql });
        if tokens.first() == Some(&Token::LParen) || is_any(first, &["SELECT", "WITH"]) {
            plan(Action::Query, expressions::translate(tokens)?)
        } else if is(first, "SHOW") {
            plan(Action::Query, show::translate(tokens)?)
        } else if is(first, "EXPLAIN") {
            explain(tokens)
        } else if is_any(first, &["INSERT", "UPDATE"]) {
            plan(Action::Change, expressions::translate(tokens)?)
        } else if is(first, "DELETE") {
            check_delete(tokens)?;
            plan(Action::Change, delete(tokens)?)
        } else if is(first, "MERGE") {
            check_merge(tokens)?;
            plan(Action::Change, expressions::translate(tokens)?)
        } else if is(first, "CREATE") {
            create(tokens)
        } else if is(first, "ALTER") && is(tokens.get(1), "TABLE") {
            alter::table(tokens)
        } else if is(first, "TRUNCATE") {
            let at = 1 + usize::from(is(tokens.get(1), "TABLE"));
            let target = tokens.get(at..).unwrap_or_default();
            let len = qualified_name_len(target);
            if len == 0 || len != target.len() {
                return Err(syntax_error(target, len));
            }
            plan(Action::Truncate, format!("TRUNCATE {}", text(target)))
        } else if is(first, "COPY") {
            let command = CopyCommand::parse(tokens)?;
            plan(Action::Copy(command), String::new())
        } else if is(first, "VACUUM") {
            vacuum(tokens)
        } else if is(first, "ANALYZE") {
            analyze(tokens)
        } else if is_any(first, &["COMMIT", "END"]) {
            plan(Action::Commit, "COMMIT".to_owned())
        } else if is_any(first, &["ROLLBACK", "ABORT"]) {
            plan(Action::Rollback, "ROLLBACK".to_owned())
        } else if is(first, "BEGIN") || starts(tokens, &["START", "TRANSACTION"]) {
            plan(Action::Begin, "BEGIN".to_owned())
        } else if is(first, "LOCK") {
            let at = 1 + usize::from(is(tokens.get(1), "TABLE"));
            let tables = text(tokens.get(at..).unwrap_or_default());
            plan(
                Action::Define,
                format!("LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"),
            )
        } else if is(first, "REFRESH") {
            if !starts(tokens, &["REFRESH", "MATERIALIZED", "VIEW"]) {
                return Err(syntax_error(tokens, 1));
            }
            let len = qualified_name_len(tokens.get(3..).unwrap_or_default());
            let view = text(tokens.get(3..3 + len).unwrap_or_default());
            plan(Action::Define, format!("REFRESH MATERIALIZED VIEW {view}"))
        } else if is_any(first, &["GRANT", "REVOKE"]) && is(tokens.get(1), "ASSUMEROLE") {
            // Roles of AWS are not checked by the emulator, nor who may take them.
            plan(Action::Define, String::new())
        } else if is_any(first, &["GRANT", "REVOKE"])
            && let Some(at) = tokens
                .windows(2)
                .position(|two| starts(two, &["ON", "DATABASE"]))
        {
            plan(Action::Define, on_database(tokens, at + 2)?)
        } else if is_any(
            first,
            &[
                "DROP", "GRANT", "REVOKE", "COMMENT", "SET", "RESET", "ALTER",
            ],
        ) {
            plan(Action::Define, text(tokens))
        } else {
            Err(syntax_error(tokens, 0))
        }
    }

    /// Why it cannot run in a transaction block, if so.
    pub(crate) fn refused_in_transaction(&self) -> Option<SqlError> {
        let what = match &self.action {
            Action::Vacuum { .. } => "VACUUM",
            Action::AlterType { .. } => "ALTER TABLE ALTER COLUMN",
            Action::Append { .. } => "ALTER TABLE APPEND",
            _ => return None,
        };
        Some(SqlError::new(format_args!(
            "{what} cannot run inside a transaction block"
        )))
    }
}

/// GRANT and REVOKE ... ON DATABASE: it has another name in PostgreSQL. `at` is the place of the
/// name.
fn on_database(tokens: &[Token], at: usize) -> Result<String, SqlError> {
    let database = name(tokens.get(at)).ok_or_else(|| syntax_error(tokens, at))?;
    let before = text(tokens.get(..at).unwrap_or_default());
    let after = text(tokens.get(at + 1..).unwrap_or_default());
    let body = format!(
        "BEGIN IF NOT EXISTS (SELECT FROM redshift_emulator.settings WHERE database = {database}) THEN \
         RAISE EXCEPTION 'database \"%\" does not exist', {database}; END IF; \
         EXECUTE {before} || quote_ident(current_database()) || {after}; END",
        database = literal(&database),
        before = literal(&format!("{before} ")),
        after = literal(&format!(" {after}")),
    );
    Ok(format!("DO {}", literal(&body)))
}

fn explain(tokens: &[Token]) -> Result<Plan, SqlError> {
    let at = 1 + usize::from(is(tokens.get(1), "VERBOSE"));
    if is_any(tokens.get(at), &["ANALYZE", "COPY", "EXPLAIN"])
        || tokens.get(at) == Some(&Token::LParen)
    {
        return Err(syntax_error(tokens, at));
    }
    let inner = Plan::new(tokens.get(at..).unwrap_or_default())?;
    match inner.action {
        Action::Query | Action::Change | Action::Define => Ok(Plan {
            action: Action::Query,
            sql: format!("EXPLAIN {}", inner.sql),
        }),
        _ => Err(syntax_error(tokens, at)),
    }
}

/// DELETE takes no alias for its target.
fn check_delete(tokens: &[Token]) -> Result<(), SqlError> {
    let at = 1 + usize::from(is(tokens.get(1), "FROM"));
    let end = at + qualified_name_len(tokens.get(at..).unwrap_or_default());
    if end == at {
        return Err(syntax_error(tokens, at));
    }
    if end == tokens.len() || is_any(tokens.get(end), &["WHERE", "USING"]) {
        Ok(())
    } else {
        Err(syntax_error(tokens, end))
    }
}

/// FROM may be left out of DELETE.
fn delete(tokens: &[Token]) -> Result<String, SqlError> {
    let rest = 1 + usize::from(is(tokens.get(1), "FROM"));
    let rest = expressions::translate(tokens.get(rest..).unwrap_or_default())?;
    Ok(format!("DELETE FROM {rest}"))
}

/// The source is a table, and there are two branches without conditions of their own.
fn check_merge(tokens: &[Token]) -> Result<(), SqlError> {
    if !starts(tokens, &["MERGE", "INTO"]) {
        return Err(syntax_error(tokens, 1));
    }
    for (at, token) in tokens.iter().enumerate() {
        let token = Some(token);
        let next = tokens.get(at + 1);
        if is(token, "USING") && next == Some(&Token::LParen) {
            return Err(syntax_error(tokens, at + 1));
        }
        if is(token, "MATCHED") && is(next, "AND") || is(token, "DO") && is(next, "NOTHING") {
            return Err(syntax_error(tokens, at + 1));
        }
        if is(token, "REMOVE") && is(next, "DUPLICATES") {
            return Err(SqlError::lacking("MERGE ... REMOVE DUPLICATES"));
        }
    }
    Ok(())
}

fn create(tokens: &[Token]) -> Result<Plan, SqlError> {
    let mut at = 1;
    if starts(tokens.get(at..).unwrap_or_default(), &["OR", "REPLACE"]) {
        at += 2;
    }
    let kind = tokens.get(at);
    let define = |sql| {
        Ok(Plan {
            action: Action::Define,
            sql,
        })
    };
    if is_any(kind, &["TABLE", "TEMP", "TEMPORARY", "LOCAL"]) && at == 1 {
        define(table::create(tokens)?)
    } else if is(kind, "SCHEMA") {
        let sql = text(tokens);
        match sql.to_uppercase().find(" QUOTA ") {
            None => define(sql),
            Some(end) => define(sql.get(..end).unwrap_or_default().to_owned()),
        }
    } else if is(kind, "VIEW") {
        view(tokens, at)
    } else if is(kind, "MATERIALIZED") && is(tokens.get(at + 1), "VIEW") && at == 1 {
        let start = at + 2;
        let len = qualified_name_len(tokens.get(start..).unwrap_or_default());
        reserved::check_name(tokens.get(start))?;
        let view = text(tokens.get(start..start + len).unwrap_or_default());
        let mut at = start + len;
        table::Attributes::parse(tokens, &mut at)?;
        if len == 0 || !is(tokens.get(at), "AS") {
            return Err(syntax_error(tokens, at));
        }
        let query = expressions::translate(tokens.get(at + 1..).unwrap_or_default())?;
        define(format!("CREATE MATERIALIZED VIEW {view} AS {query}"))
    } else if is(kind, "INDEX") || is(kind, "UNIQUE") {
        Err(SqlError::new(format_args!(
            "SQL command \"{}\" not supported on Redshift tables.",
            text(tokens)
        )))
    } else if is_any(kind, &["USER", "GROUP", "ROLE"]) {
        // A user without a password, who comes by IAM; PostgreSQL's have none unless one is given.
        let head = tokens.len().saturating_sub(2);
        let disabled = starts(
            tokens.get(head..).unwrap_or_default(),
            &["PASSWORD", "DISABLE"],
        );
        let end = if disabled { head } else { tokens.len() };
        define(text(tokens.get(..end).unwrap_or_default()))
    } else if is_any(
        kind,
        &[
            "FUNCTION",
            "PROCEDURE",
            "EXTERNAL",
            "LIBRARY",
            "MODEL",
            "DATASHARE",
        ],
    ) {
        Err(SqlError::lacking(format_args!(
            "CREATE {}",
            text(kind.map(std::slice::from_ref).unwrap_or_default())
        )))
    } else {
        Err(syntax_error(tokens, at))
    }
}

/// CREATE [OR REPLACE] VIEW name [(columns)] AS query [WITH NO SCHEMA BINDING]; `at` is the place
/// of VIEW.
fn view(tokens: &[Token], at: usize) -> Result<Plan, SqlError> {
    const LATE: [&str; 4] = ["WITH", "NO", "SCHEMA", "BINDING"];
    let replace = at > 1;
    let head = tokens.len().saturating_sub(LATE.len());
    let late = starts(tokens.get(head..).unwrap_or_default(), &LATE);
    let tokens = if late {
        tokens.get(..head).unwrap_or_default()
    } else {
        tokens
    };
    let start = at + 1;
    let len = qualified_name_len(tokens.get(start..).unwrap_or_default());
    let name = text(tokens.get(start..start + len).unwrap_or_default()).replace(" . ", ".");
    let named_columns = tokens.get(start + len) == Some(&Token::LParen);
    if len == 0 || (!named_columns && !is(tokens.get(start + len), "AS")) {
        return Err(syntax_error(tokens, start + len));
    }
    reserved::check_name(tokens.get(start))?;
    if named_columns {
        let end = after_parentheses(tokens, start + len)?;
        reserved::check_names(tokens.get(start + len + 1..end - 1).unwrap_or_default())?;
    }
    if named_columns || !(replace || late) {
        if late {
            return Err(SqlError::lacking(
                "late-binding views with a list of columns",
            ));
        }
        return Ok(Plan {
            action: Action::Define,
            sql: expressions::translate(tokens)?,
        });
    }
    if late {
        check_names_have_schemas(tokens)?;
    }
    let query = expressions::translate(tokens.get(start + len + 1..).unwrap_or_default())?;
    Ok(Plan {
        action: Action::View {
            name,
            query,
            replace,
            late,
        },
        sql: String::new(),
    })
}

/// The tables of a late-binding view need their schema.
fn check_names_have_schemas(tokens: &[Token]) -> Result<(), SqlError> {
    for (at, token) in tokens.iter().enumerate() {
        if is_any(Some(token), &["FROM", "JOIN"])
            && matches!(tokens.get(at + 1), Some(Token::Word(_)))
            && tokens.get(at + 2) != Some(&Token::Period)
        {
            return Err(SqlError::new(
                "All the relation names inside should be qualified when creating VIEW WITH NO SCHEMA BINDING.",
            ));
        }
    }
    Ok(())
}

/// `VACUUM [FULL | SORT ONLY | DELETE ONLY | REINDEX | RECLUSTER] [table] [TO n PERCENT] [BOOST]`
fn vacuum(tokens: &[Token]) -> Result<Plan, SqlError> {
    let mut at = 1;
    let mut kind = "FULL".to_owned();
    if is_any(tokens.get(at), &["SORT", "DELETE"]) && is(tokens.get(at + 1), "ONLY") {
        kind = text(tokens.get(at..at + 2).unwrap_or_default()).to_uppercase();
        at += 2;
    } else if is_any(tokens.get(at), &["FULL", "REINDEX", "RECLUSTER"]) {
        kind = text(tokens.get(at..=at).unwrap_or_default()).to_uppercase();
        at += 1;
    }
    let mut table = None;
    if !is_any(tokens.get(at), &["TO", "BOOST"]) {
        let len = qualified_name_len(tokens.get(at..).unwrap_or_default());
        if len > 0 {
            table = Some(text(tokens.get(at..at + len).unwrap_or_default()));
        }
        at += len;
    }
    if is(tokens.get(at), "TO") {
        match tokens.get(at + 1) {
            Some(Token::Number(percent, _)) if percent.parse::<u8>().is_ok_and(|p| p <= 100) => {}
            _ => return Err(syntax_error(tokens, at + 1)),
        }
        if !is(tokens.get(at + 2), "PERCENT") {
            return Err(syntax_error(tokens, at + 2));
        }
        at += 3;
    }
    at += usize::from(is(tokens.get(at), "BOOST"));
    if at < tokens.len() {
        return Err(syntax_error(tokens, at));
    }
    let sql = format!("VACUUM {}", table.as_deref().unwrap_or_default());
    Ok(Plan {
        action: Action::Vacuum { table, kind },
        sql,
    })
}

/// `ANALYZE [VERBOSE] [table [(columns)]] [PREDICATE COLUMNS | ALL COLUMNS]`
fn analyze(tokens: &[Token]) -> Result<Plan, SqlError> {
    if is(tokens.get(1), "COMPRESSION") {
        return Err(SqlError::lacking("ANALYZE COMPRESSION"));
    }
    let mut at = 1 + usize::from(is(tokens.get(1), "VERBOSE"));
    let mut table = None;
    let mut columns = String::new();
    if !is_any(tokens.get(at), &["PREDICATE", "ALL"]) {
        let len = qualified_name_len(tokens.get(at..).unwrap_or_default());
        if len > 0 {
            table = Some(text(tokens.get(at..at + len).unwrap_or_default()));
        }
        at += len;
        if table.is_some() && tokens.get(at) == Some(&Token::LParen) {
            let end = after_parentheses(tokens, at)?;
            let names = split_commas(tokens.get(at + 1..end - 1).unwrap_or_default());
            if names
                .iter()
                .any(|column| column.len() != 1 || name(column.first()).is_none())
            {
                return Err(syntax_error(tokens, at + 1));
            }
            columns = text(tokens.get(at..end).unwrap_or_default());
            at = end;
        }
    }
    if is_any(tokens.get(at), &["PREDICATE", "ALL"]) && is(tokens.get(at + 1), "COLUMNS") {
        at += 2;
    }
    if at < tokens.len() {
        return Err(syntax_error(tokens, at));
    }
    let sql = format!("ANALYZE {} {columns}", table.as_deref().unwrap_or_default());
    Ok(Plan {
        action: Action::Analyze { table },
        sql,
    })
}
