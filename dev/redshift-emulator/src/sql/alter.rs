//! ALTER TABLE: one thing at a time.

use sqlparser::tokenizer::Token;

use super::plan::{Action, Plan};
use super::table::{Attributes, ColumnDefinition};
use super::tokens::{is, is_any, name, qualified_name_len, starts, syntax_error, text};
use super::{reserved, types};
use crate::errors::SqlError;

/// `tokens` begin with ALTER TABLE.
pub(crate) fn table(tokens: &[Token]) -> Result<Plan, SqlError> {
    let len = qualified_name_len(tokens.get(2..).unwrap_or_default());
    if len == 0 {
        return Err(syntax_error(tokens, 2));
    }
    reserved::check_name(tokens.get(2))?;
    let table = text(tokens.get(2..2 + len).unwrap_or_default());
    let rest = tokens.get(2 + len..).unwrap_or_default();
    let define = |sql| {
        Ok(Plan {
            action: Action::Define,
            sql,
        })
    };
    if is(rest.first(), "ADD")
        && is_any(rest.get(1), &["CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN"])
    {
        // Keys are not enforced; the table has to be there all the same.
        define(format!("ALTER TABLE {table} SET WITHOUT OIDS"))
    } else if is(rest.first(), "ADD") {
        add_column(&table, rest)
    } else if is(rest.first(), "APPEND") {
        append(table, rest)
    } else if is(rest.first(), "ALTER") {
        alter_column(table, rest)
    } else if is(rest.first(), "DROP") && is(rest.get(1), "CONSTRAINT") {
        define(format!("ALTER TABLE {table} SET WITHOUT OIDS"))
    } else if is(rest.first(), "DROP") {
        let at = 1 + usize::from(is(rest.get(1), "COLUMN"));
        reserved::check_name(rest.get(at))?;
        let column = text(rest.get(at..=at).unwrap_or_default());
        let behaviour = match rest.get(at + 1) {
            None => "",
            Some(token) if is(Some(token), "CASCADE") => "CASCADE",
            Some(token) if is(Some(token), "RESTRICT") => "",
            Some(_) => return Err(syntax_error(rest, at + 1)),
        };
        define(format!(
            "ALTER TABLE {table} DROP COLUMN {column} {behaviour}"
        ))
    } else if is(rest.first(), "RENAME") {
        let column = rest.get(1 + usize::from(is(rest.get(1), "COLUMN")));
        if !is(column, "TO") {
            reserved::check_name(column)?;
        }
        reserved::check_name(rest.last())?;
        define(text(tokens))
    } else if starts(rest, &["OWNER", "TO"]) {
        define(text(tokens))
    } else {
        Err(syntax_error(rest, 0))
    }
}

fn add_column(table: &str, rest: &[Token]) -> Result<Plan, SqlError> {
    let at = 1 + usize::from(is(rest.get(1), "COLUMN"));
    let item = rest.get(at..).unwrap_or_default();
    let mut depth = 0usize;
    for (at, token) in item.iter().enumerate() {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            // One column at a time.
            Token::Comma if depth == 0 => return Err(syntax_error(item, at)),
            _ => {}
        }
    }
    let column = ColumnDefinition::parse(item)?;
    if let Some(special) = column.special {
        return Err(SqlError::new(format_args!(
            "ALTER TABLE ADD COLUMN does not support {special}"
        )));
    }
    if column.key {
        return Err(SqlError::new(
            "ALTER TABLE ADD COLUMN does not support DISTKEY or SORTKEY",
        ));
    }
    if column.not_null && !column.default {
        return Err(SqlError::new(
            "ALTER TABLE ADD COLUMN defined as NOT NULL must have a non-null default expression",
        ));
    }
    Ok(Plan {
        action: Action::Define,
        sql: format!("ALTER TABLE {table} ADD COLUMN {}", column.postgres),
    })
}

/// APPEND FROM source [IGNOREEXTRA | FILLTARGET]
fn append(target: String, rest: &[Token]) -> Result<Plan, SqlError> {
    let len = qualified_name_len(rest.get(2..).unwrap_or_default());
    if !is(rest.get(1), "FROM") || len == 0 {
        return Err(syntax_error(rest, 1));
    }
    if rest.len() > 2 + len {
        return Err(SqlError::lacking(
            "ALTER TABLE APPEND with IGNOREEXTRA or FILLTARGET",
        ));
    }
    let source = text(rest.get(2..).unwrap_or_default());
    Ok(Plan {
        action: Action::Append { target, source },
        sql: String::new(),
    })
}

fn alter_column(table: String, rest: &[Token]) -> Result<Plan, SqlError> {
    if is_any(
        rest.get(1),
        &["DISTSTYLE", "DISTKEY", "SORTKEY", "COMPOUND", "ENCODE"],
    ) {
        let mut at = 1;
        Attributes::parse(rest, &mut at)?;
        return Ok(Plan {
            action: Action::Define,
            sql: format!("ALTER TABLE {table} SET WITHOUT OIDS"),
        });
    }
    let at = 1 + usize::from(is(rest.get(1), "COLUMN"));
    let column = name(rest.get(at)).ok_or_else(|| syntax_error(rest, at))?;
    reserved::check_name(rest.get(at))?;
    let quoted = text(rest.get(at..=at).unwrap_or_default());
    let change = rest.get(at + 1..).unwrap_or_default();
    if is(change.first(), "ENCODE") {
        return Ok(Plan {
            action: Action::Define,
            sql: format!("ALTER TABLE {table} SET WITHOUT OIDS"),
        });
    }
    if !is(change.first(), "TYPE") {
        return Err(syntax_error(change, 0));
    }
    let found = types::parse(change.get(1..).unwrap_or_default())?;
    if change.len() > 1 + found.len {
        return Err(syntax_error(change, 1 + found.len));
    }
    if !found.postgres.contains("varchar") {
        return Err(SqlError::new(
            "ALTER COLUMN TYPE is only supported for the size of VARCHAR columns",
        ));
    }
    Ok(Plan {
        sql: format!(
            "ALTER TABLE {table} ALTER COLUMN {quoted} TYPE {}",
            found.postgres
        ),
        action: Action::AlterType {
            table,
            column,
            bytes: found.bytes.unwrap_or_default(),
        },
    })
}
