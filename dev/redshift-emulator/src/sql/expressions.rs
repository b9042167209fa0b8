//! Queries and expressions: the few words that PostgreSQL spells differently, and what Redshift
//! does not have.
//!
//! What takes more than another word (subqueries without a name, TOP, DECODE) is in `rewrite`.

use sqlparser::tokenizer::Token;

use super::tokens::{identifier, is, is_any, name, syntax_error};
use super::{paths, reserved, rewrite, types};
use crate::errors::SqlError;

/// The text that PostgreSQL reads, or what Redshift would say.
pub(crate) fn translate(tokens: &[Token]) -> Result<String, SqlError> {
    check(tokens)?;
    check_leader_functions(tokens)?;
    let tokens = paths::rewrite(tokens);
    let tokens = &*rewrite::rewrite(&tokens)?;
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
        } else if is(Some(token), "MINUS") {
            push("EXCEPT");
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

/// `information_schema.columns` and the views that Redshift has in `pg_catalog`, with PostgreSQL's
/// name for them.
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
        || ["pg_table_def", "pg_views"].contains(&view.as_str());
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

/// Functions of PostgreSQL's that Redshift lacks.
const LACKING: &[&str] = &[
    "ARRAY_AGG",
    "GEN_RANDOM_UUID",
    "JSON_AGG",
    "JSON_ARRAY_ELEMENTS",
    "JSON_BUILD_ARRAY",
    "JSON_BUILD_OBJECT",
    "JSON_OBJECT_AGG",
    "JSONB_AGG",
    "JSONB_ARRAY_ELEMENTS",
    "JSONB_BUILD_ARRAY",
    "JSONB_BUILD_OBJECT",
    "JSONB_EACH",
    "JSONB_OBJECT_AGG",
    "JSONB_SET",
    "MAKE_DATE",
    "MAKE_INTERVAL",
    "MAKE_TIMESTAMP",
    "PG_SLEEP",
    "REGEXP_MATCHES",
    "REGEXP_SPLIT_TO_ARRAY",
    "REGEXP_SPLIT_TO_TABLE",
    "ROW_TO_JSON",
    "STRING_AGG",
    "TO_JSON",
    "TO_JSONB",
];

/// `generate_series` runs on the leader node, which has no tables.
fn check_leader_functions(tokens: &[Token]) -> Result<(), SqlError> {
    let calls = |at: usize| {
        is(tokens.get(at), "GENERATE_SERIES") && tokens.get(at + 1) == Some(&Token::LParen)
    };
    let reads_tables = || {
        (0..tokens.len()).any(|at| {
            is_any(tokens.get(at), &["FROM", "JOIN"])
                && matches!(tokens.get(at + 1), Some(Token::Word(_)))
                && !calls(at + 1)
        })
    };
    let writes = !is_any(tokens.first(), &["SELECT", "WITH"]);
    if (0..tokens.len()).any(calls) && (writes || reads_tables()) {
        return Err(not_on_tables());
    }
    Ok(())
}

/// Refuses a query whose rows go into a table and come from the leader node.
pub(crate) fn check_for_table(tokens: &[Token]) -> Result<(), SqlError> {
    if tokens
        .iter()
        .any(|token| is(Some(token), "GENERATE_SERIES"))
    {
        return Err(not_on_tables());
    }
    Ok(())
}

fn not_on_tables() -> SqlError {
    SqlError::new(
        "Specified types or functions (one per INFO message) not supported on Redshift tables.",
    )
}

/// The most digits of a decimal, those before and after its point together.
pub(crate) const DIGITS_MAX: usize = 38;

/// Refuses a number that no decimal holds. One with an exponent can be a float.
fn check_number(number: &str) -> Result<(), SqlError> {
    let (whole, parts) = number.split_once('.').unwrap_or((number, ""));
    let digits = whole.trim_start_matches('0').len() + parts.len();
    let is_decimal = number.chars().all(|c| c.is_ascii_digit() || c == '.');
    if is_decimal && digits > DIGITS_MAX {
        return Err(SqlError::numeric_overflow());
    }
    Ok(())
}

/// Refuses what PostgreSQL has and Redshift lacks.
fn check(tokens: &[Token]) -> Result<(), SqlError> {
    for (at, token) in tokens.iter().enumerate() {
        let token = Some(token);
        let next = tokens.get(at + 1);
        let third = tokens.get(at + 2);
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        if let Some(Token::Number(number, _)) = token {
            check_number(number)?;
        }
        let any_word = before == Some(&Token::Period) || is(before, "AS");
        if any_word {
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
            || is(token, "TABLESAMPLE")
            || (is(token, "FETCH") && is_any(next, &["FIRST", "NEXT"]))
            || (is(token, "SET") && next == Some(&Token::LParen));
        if refused {
            return Err(syntax_error(tokens, at));
        }
        if is(token, "FOR") && is_any(next, &["UPDATE", "SHARE"]) {
            return Err(SqlError::new("SELECT FOR UPDATE/SHARE is not supported"));
        }
        if is(token, "ARRAY") && next == Some(&Token::LBracket) {
            return Err(syntax_error(tokens, at + 1));
        }
        if is_any(token, LACKING) && next == Some(&Token::LParen) {
            return Err(SqlError::new(format_args!(
                "function {}() does not exist",
                name(token).unwrap_or_default()
            )));
        }
        if reserved::is_bare_column(before, token, next) {
            return Err(syntax_error(tokens, at));
        }
    }
    Ok(())
}
