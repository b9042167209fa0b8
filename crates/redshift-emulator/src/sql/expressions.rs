//! Queries and expressions: the few words that PostgreSQL spells differently, and what Redshift does not have.

use sqlparser::tokenizer::Token;

use super::tokens::{identifier, is, is_any, syntax_error};
use super::types;
use crate::errors::SqlError;

/// The text that PostgreSQL reads, or what Redshift would say.
pub(crate) fn translate(tokens: &[Token]) -> Result<String, SqlError> {
    check(tokens)?;
    let mut text = String::new();
    let mut push = |part: &str| {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(part);
    };
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        let rest = tokens.get(at..).unwrap_or_default();
        let next = tokens.get(at + 1);
        at += 1;
        let Token::Word(word) = token else {
            push(&token.to_string());
            continue;
        };
        let cast = before == Some(&Token::DoubleColon) || (is(before, "AS") && in_cast(tokens, at));
        let call = next == Some(&Token::LParen);
        if cast {
            let found = types::parse(rest)?;
            push(&found.postgres);
            at += found.len - 1;
        } else if let Some(view) = system_view(rest) {
            push(&view);
            at += 2;
        } else if word.quote_style.is_some() || before == Some(&Token::Period) {
            push(&identifier(word));
        } else if is(Some(token), "SYSDATE") && next != Some(&Token::Period) {
            push("redshift_emulator.sysdate()");
            at += usize::from(call) * 2;
        } else if call && is(Some(token), "NVL") {
            push("coalesce");
        } else if call && is(Some(token), "LEN") {
            push("length");
        } else if call
            && is_any(
                Some(token),
                &["DATEADD", "DATEDIFF", "DATE_DIFF", "DATE_ADD"],
            )
        {
            // The unit is a bare word here, and the first argument of a function there.
            let unit = match tokens.get(at + 1) {
                Some(Token::Word(unit)) => unit.value.to_lowercase(),
                Some(Token::SingleQuotedString(unit)) => unit.to_lowercase(),
                _ => return Err(syntax_error(tokens, at + 1)),
            };
            let function = word.value.to_lowercase().replace('_', "");
            push(&format!(
                "redshift_emulator.{function} ( '{}'",
                unit.replace(['\'', '\\'], "")
            ));
            at += 2;
        } else {
            push(&identifier(word));
        }
    }
    Ok(text)
}

/// `information_schema.columns` and the views that Redshift has in `pg_catalog`, with PostgreSQL's name for them.
fn system_view(tokens: &[Token]) -> Option<String> {
    let view = match tokens.get(..3)? {
        [_, Token::Period, Token::Word(view)] => view.value.to_lowercase(),
        _ => return None,
    };
    let first = tokens.first();
    if is(first, "INFORMATION_SCHEMA") && view == "columns" {
        return Some("redshift_emulator.svv_columns".to_owned());
    }
    let redshift = ["svv_", "stv_", "stl_", "sys_"]
        .iter()
        .any(|prefix| view.starts_with(prefix))
        || view == "pg_table_def";
    (is(first, "PG_CATALOG") && redshift).then(|| format!("redshift_emulator.{view}"))
}

/// True where the word that ends before `at` is the type of a CAST( ... AS type ).
fn in_cast(tokens: &[Token], at: usize) -> bool {
    let mut depth = 0usize;
    for (place, token) in tokens.iter().enumerate().take(at).rev() {
        match token {
            Token::RParen => depth += 1,
            Token::LParen if depth == 0 => {
                let before = place.checked_sub(1).and_then(|before| tokens.get(before));
                return is_any(before, &["CAST", "TRY_CAST"]);
            }
            Token::LParen => depth -= 1,
            _ => {}
        }
    }
    false
}

/// Refuses what PostgreSQL has and Redshift lacks.
fn check(tokens: &[Token]) -> Result<(), SqlError> {
    for (at, token) in tokens.iter().enumerate() {
        let token = Some(token);
        let next = tokens.get(at + 1);
        let third = tokens.get(at + 2);
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        let name = before == Some(&Token::Period) || is(before, "AS");
        if name {
            continue;
        }
        let refused = (is(token, "ON") && is(next, "CONFLICT"))
            || (is(token, "RETURNING")
                && before.is_some()
                && !matches!(before, Some(Token::Comma)))
            || (is(token, "DISTINCT") && is(next, "ON") && third == Some(&Token::LParen))
            || (is_any(token, &["ANTI", "SEMI"]) && is(next, "JOIN"))
            || (is(token, "LATERAL") && next == Some(&Token::LParen))
            || (is(token, "FILTER") && next == Some(&Token::LParen) && is(third, "WHERE"))
            || (is(token, "DISTINCT") && is(next, "FROM") && is_any(before, &["IS", "NOT"]))
            || (is_any(token, &["FROM", "JOIN"])
                && next == Some(&Token::LParen)
                && is(third, "VALUES"))
            || (is(token, "TABLESAMPLE"));
        if refused {
            return Err(syntax_error(tokens, at));
        }
        if is(token, "FOR") && is_any(next, &["UPDATE", "SHARE"]) {
            return Err(SqlError::new("SELECT FOR UPDATE/SHARE is not supported"));
        }
        if is(token, "ARRAY") && next == Some(&Token::LBracket) {
            return Err(syntax_error(tokens, at + 1));
        }
        if is(token, "QUALIFY") && before.is_some() {
            return Err(SqlError::lacking("QUALIFY"));
        }
        if is(token, "GEN_RANDOM_UUID") && next == Some(&Token::LParen) {
            return Err(SqlError::new("function gen_random_uuid() does not exist"));
        }
    }
    Ok(())
}
