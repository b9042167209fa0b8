//! Named parameters of the Data API: `:name` becomes a literal.

use std::collections::BTreeSet;

use sqlparser::tokenizer::Token;

use super::tokens;
use crate::api::shapes::SqlParameter;
use crate::errors::ApiError;

/// Checks the parameters of one call.
pub(crate) fn check(parameters: &[SqlParameter]) -> Result<(), ApiError> {
    let mut names = BTreeSet::new();
    for parameter in parameters {
        let well_formed = !parameter.name.is_empty()
            && parameter
                .name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !well_formed {
            return Err(ApiError::validation(format!(
                "Value '{}' at 'parameters.name' failed to satisfy constraint: Member must satisfy regular expression pattern: [0-9a-zA-Z_]+",
                parameter.name
            )));
        }
        if parameter.value.is_empty() {
            return Err(ApiError::validation(
                "Value '' at 'parameters.value' failed to satisfy constraint: Member must have length greater than or equal to 1",
            ));
        }
        if !names.insert(&parameter.name) {
            return Err(ApiError::validation(format!(
                "Parameter {} is given twice.",
                parameter.name
            )));
        }
    }
    Ok(())
}

/// Puts the values in, and takes the names of those that were used out of `unused`.
pub(crate) fn bind(
    sql: &[Token],
    parameters: &[SqlParameter],
    unused: &mut BTreeSet<String>,
) -> Result<Vec<Token>, ApiError> {
    let mut bound = Vec::with_capacity(sql.len());
    let mut at = 0;
    while let Some(token) = sql.get(at) {
        at += 1;
        if *token != Token::Colon {
            bound.push(token.clone());
            continue;
        }
        let name = match sql.get(at) {
            Some(Token::Word(word)) if word.quote_style.is_none() => word.value.as_str(),
            Some(Token::Number(digits, false)) => digits.as_str(),
            _ => {
                bound.push(token.clone());
                continue;
            }
        };
        at += 1;
        let Some(parameter) = parameters.iter().find(|p| p.name == name) else {
            return Err(ApiError::validation(format!(
                "SQL parameter {name} has no value."
            )));
        };
        unused.remove(&parameter.name);
        let literal = tokens::literal(&parameter.value);
        // Without the quotes, which the token brings when it is printed.
        let inside = literal
            .get(1..literal.len().saturating_sub(1))
            .unwrap_or_default();
        bound.push(Token::SingleQuotedString(inside.to_owned()));
    }
    Ok(bound)
}
