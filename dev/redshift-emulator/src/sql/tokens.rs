//! Redshift's SQL as tokens, without white space and comments.

use sqlparser::dialect::RedshiftSqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer, Word};

use crate::errors::SqlError;
use crate::names;

/// Text into tokens. String literals keep their escapes, so that what is printed again is what was
/// read.
pub(crate) fn tokens(sql: &str) -> Result<Vec<Token>, SqlError> {
    let tokens = Tokenizer::new(&RedshiftSqlDialect {}, sql)
        .with_unescape(false)
        .tokenize()
        .map_err(|error| SqlError::new(format_args!("syntax error: {error}")))?;
    Ok(tokens
        .into_iter()
        .filter(|token| !matches!(token, Token::Whitespace(_) | Token::EOF))
        .collect())
}

/// Splits at semicolons; what is empty is left out.
pub(crate) fn split(tokens: &[Token]) -> impl Iterator<Item = &[Token]> {
    tokens
        .split(|token| *token == Token::SemiColon)
        .filter(|statement| !statement.is_empty())
}

/// True for the unquoted word `keyword`.
pub(crate) fn is(token: Option<&Token>, keyword: &str) -> bool {
    matches!(token, Some(Token::Word(word))
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(keyword))
}

/// True for any of the unquoted `keywords`.
pub(crate) fn is_any(token: Option<&Token>, keywords: &[&str]) -> bool {
    keywords.iter().any(|keyword| is(token, keyword))
}

/// True where `tokens` begin with these words.
pub(crate) fn starts(tokens: &[Token], words: &[&str]) -> bool {
    words
        .iter()
        .enumerate()
        .all(|(at, word)| is(tokens.get(at), word))
}

/// The text that PostgreSQL reads.
pub(crate) fn text(tokens: &[Token]) -> String {
    let mut text = String::new();
    for token in tokens {
        if !text.is_empty() {
            text.push(' ');
        }
        match token {
            Token::Word(word) => text.push_str(&identifier(word)),
            token => text.push_str(&token.to_string()),
        }
    }
    text
}

/// A word as PostgreSQL reads it. Quoted ones fold to lower case too, as Redshift's do unless a
/// parameter says otherwise.
pub(crate) fn identifier(word: &Word) -> String {
    let name = names::stored(&unquoted(word)).into_owned();
    if word.quote_style.is_some() || word.value.starts_with('#') || name.len() < word.value.len() {
        quoted(&name)
    } else {
        word.value.clone()
    }
}

/// A name between double quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The name that a word is: in lower case, and with its quotes no longer doubled.
fn unquoted(word: &Word) -> String {
    word.value.to_lowercase().replace("\"\"", "\"")
}

/// The name that a word stands for, as PostgreSQL has it: lower case, without quotes.
pub(crate) fn name(token: Option<&Token>) -> Option<String> {
    match token {
        Some(Token::Word(word)) => Some(names::stored(&unquoted(word)).into_owned()),
        _ => None,
    }
}

/// The length of a name such as `t`, `s.t` or `d.s.t` at the beginning; 0 where there is none.
pub(crate) fn qualified_name_len(tokens: &[Token]) -> usize {
    let mut len = 0;
    while matches!(tokens.get(len), Some(Token::Word(_))) {
        len += 1;
        if tokens.get(len) != Some(&Token::Period) {
            return len;
        }
        len += 1;
    }
    0
}

/// The place after the parenthesis that closes the one at `open`.
pub(crate) fn after_parentheses(tokens: &[Token], open: usize) -> Result<usize, SqlError> {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return Ok(at + 1);
        }
    }
    Err(SqlError::new("syntax error at end of input"))
}

/// Splits at the commas outside parentheses.
pub(crate) fn split_commas(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0usize;
    tokens
        .split(|token| {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && *token == Token::Comma
        })
        .collect()
}

/// `near` for a syntax error at `at`.
pub(crate) fn syntax_error(tokens: &[Token], at: usize) -> SqlError {
    match tokens.get(at) {
        Some(token) => SqlError::syntax(token),
        None => SqlError::new("syntax error at end of input"),
    }
}

/// The inside of a string literal, with Redshift's escapes resolved.
pub(crate) fn string(token: Option<&Token>) -> Option<String> {
    let Some(Token::SingleQuotedString(raw)) = token else {
        return None;
    };
    let mut value = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => value.extend(chars.next()),
            '\'' => {
                value.push('\'');
                chars.next(); // the second of a pair
            }
            c => value.push(c),
        }
    }
    Some(value)
}

/// A string literal for connections on which backslashes escape.
pub(crate) fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}
