//! The parts of one SELECT.

use sqlparser::tokenizer::Token;

use super::reserved::is_reserved;
use super::tokens::{is, is_any, name, qualified_name_len, split_commas, starts, syntax_error};
use crate::errors::SqlError;

const SET_OPERATORS: &[&str] = &["UNION", "EXCEPT", "INTERSECT", "MINUS"];

/// SELECT [DISTINCT | ALL] [TOP n] list [FROM ...] [QUALIFY condition] [ORDER BY ...] [LIMIT ...]
#[derive(Debug)]
pub(super) struct Select<'a> {
    pub(super) distinct: Option<&'a Token>,
    pub(super) top: Option<&'a Token>,
    pub(super) list: &'a [Token],
    /// From FROM on, with WHERE, GROUP BY and HAVING.
    pub(super) from: &'a [Token],
    pub(super) qualify: Option<&'a [Token]>,
    pub(super) order: &'a [Token],
    pub(super) limit: &'a [Token],
}

/// What is selected.
#[derive(Debug)]
pub(super) enum Item<'a> {
    /// All columns of a relation.
    Row(&'a Token),
    Column {
        /// With its label where it has one.
        tokens: &'a [Token],
        /// Without it.
        value: &'a [Token],
        label: String,
    },
}

impl<'a> Select<'a> {
    /// The SELECT at `at`, and the place of the set operator after it.
    pub(super) fn parse(tokens: &'a [Token], at: usize) -> Result<(Self, usize), SqlError> {
        let end = find(tokens, at, |token| is_any(token, SET_OPERATORS));
        let mut list = at + 1;
        let distinct = tokens
            .get(list)
            .filter(|token| is_any(Some(token), &["DISTINCT", "ALL"]));
        list += usize::from(distinct.is_some());
        let top = match tokens.get(list + 1) {
            Some(number @ Token::Number(..)) if is(tokens.get(list), "TOP") => Some(number),
            _ => None,
        };
        list += 2 * usize::from(top.is_some());

        let tokens = tokens.get(..end).unwrap_or_default();
        let limit = find(tokens, list, |token| is_any(token, &["LIMIT", "OFFSET"]));
        let order = find(tokens, list, |token| is(token, "ORDER")).min(limit);
        let qualify = find(tokens, list, |token| is(token, "QUALIFY")).min(order);
        let from = find(tokens, list, |token| is(token, "FROM")).min(qualify);
        let part = |from: usize, to: usize| tokens.get(from..to).unwrap_or_default();
        let select = Self {
            distinct,
            top,
            list: part(list, from),
            from: part(from, qualify),
            qualify: (qualify < order).then(|| part(qualify + 1, order)),
            order: part(order, limit),
            limit: part(limit, end),
        };
        if select.qualify.is_some() {
            // After a relation without an alias it would be the alias: so says the documentation.
            let relation = select.relations().last().map(|relation| relation.end);
            let clauses = find(select.from, 0, |token| {
                is_any(token, &["WHERE", "GROUP", "HAVING"])
            });
            if select.from.is_empty()
                || (clauses == select.from.len()
                    && relation == Some(select.from.len())
                    && select.ends_bare())
            {
                return Err(syntax_error(tokens, qualify + 1));
            }
        }
        Ok((select, end))
    }

    /// True where FROM ends with a relation that has no alias.
    fn ends_bare(&self) -> bool {
        self.relations().last().is_some_and(|last| last.bare)
    }

    /// What is selected, `*` as all relations of FROM.
    pub(super) fn items(&self) -> Vec<Item<'a>> {
        let mut items = Vec::new();
        for tokens in split_commas(self.list) {
            match tokens {
                [Token::Mul] => {
                    items.extend(self.relations().into_iter().map(|r| Item::Row(r.name)))
                }
                [.., relation, Token::Period, Token::Mul] => items.push(Item::Row(relation)),
                tokens => {
                    let value = value(tokens);
                    let label = match tokens.last() {
                        Some(label) if value.len() < tokens.len() => name(Some(label)),
                        _ => None,
                    };
                    items.push(Item::Column {
                        tokens,
                        value,
                        label: label.unwrap_or_else(|| label_of(value)),
                    });
                }
            }
        }
        items
    }

    /// The relations of FROM by the names that they have there.
    fn relations(&self) -> Vec<Relation<'a>> {
        let mut relations = Vec::new();
        let mut at = 0;
        while at < self.from.len() {
            let token = self.from.get(at);
            if is_any(token, &["WHERE", "GROUP", "HAVING"]) {
                break;
            }
            if !is_any(token, &["FROM", "JOIN"]) && token != Some(&Token::Comma) {
                at = after(self.from, at);
                continue;
            }
            at += 1;
            let rest = self.from.get(at..).unwrap_or_default();
            let named = qualified_name_len(rest);
            let mut found = named.checked_sub(1).and_then(|last| rest.get(last));
            at = if named > 0 {
                at + named
            } else {
                after(self.from, at)
            };
            let alias = at + usize::from(is(self.from.get(at), "AS"));
            let has_alias = matches!(self.from.get(alias), Some(Token::Word(word))
                if word.quote_style.is_some() || !is_clause(self.from.get(alias)));
            if has_alias {
                found = self.from.get(alias);
                at = alias + 1;
            }
            relations.extend(found.map(|name| Relation {
                name,
                end: at,
                bare: !has_alias,
            }));
        }
        relations
    }
}

#[derive(Debug)]
struct Relation<'a> {
    name: &'a Token,
    /// The place after it in FROM.
    end: usize,
    /// Without an alias.
    bare: bool,
}

/// Words after a relation that are not its alias.
fn is_clause(token: Option<&Token>) -> bool {
    is_reserved(token) || is_any(token, &["WINDOW", "QUALIFY"])
}

/// The condition with labels of the list as what they stand for.
pub(super) fn resolve_labels(condition: &[Token], items: &[Item<'_>]) -> Vec<Token> {
    let mut resolved = Vec::new();
    for (at, token) in condition.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| condition.get(before));
        let alone = before != Some(&Token::Period)
            && !matches!(condition.get(at + 1), Some(Token::Period | Token::LParen));
        let labelled = items.iter().find_map(|item| match item {
            Item::Column {
                tokens,
                value,
                label,
            } if value.len() < tokens.len()
                && alone
                && name(Some(token)).as_ref() == Some(label) =>
            {
                Some(*value)
            }
            _ => None,
        });
        match labelled {
            Some(value) => {
                resolved.push(Token::LParen);
                resolved.extend_from_slice(value);
                resolved.push(Token::RParen);
            }
            None => resolved.push(token.clone()),
        }
    }
    resolved
}

/// True where the SELECT at `at` comes after UNION or the like.
pub(super) fn follows_set_operator(tokens: &[Token], at: usize) -> bool {
    let before = |n: usize| at.checked_sub(n).and_then(|before| tokens.get(before));
    is_any(before(1), SET_OPERATORS)
        || (is_any(before(1), &["ALL", "DISTINCT"]) && is_any(before(2), SET_OPERATORS))
}

/// An item without its label.
fn value(tokens: &[Token]) -> &[Token] {
    let without = |n: usize| tokens.get(..tokens.len() - n).unwrap_or_default();
    match tokens {
        [_, .., before, Token::Word(_)] if is(Some(before), "AS") => without(2),
        [.., before, last @ Token::Word(_)] => {
            let ends = match before {
                Token::RParen | Token::Number(..) | Token::SingleQuotedString(_) => true,
                Token::Word(word) => {
                    word.quote_style.is_some()
                        || !is_reserved(Some(before))
                        || is(Some(before), "END")
                }
                _ => false,
            };
            if ends && !is_reserved(Some(last)) {
                without(1)
            } else {
                tokens
            }
        }
        tokens => tokens,
    }
}

/// The label of what has none, as PostgreSQL and Redshift make it.
fn label_of(value: &[Token]) -> String {
    let cast = value.iter().rposition(|token| *token == Token::DoubleColon);
    let value = cast.and_then(|at| value.get(..at)).unwrap_or(value);
    let found = if starts(value, &["CASE"]) {
        Some("case".to_owned())
    } else if qualified_name_len(value) == value.len() {
        name(value.last())
    } else if value.get(1) == Some(&Token::LParen) {
        name(value.first())
    } else {
        None
    };
    found.unwrap_or_else(|| "?column?".to_owned())
}

/// The first token from `at` on, outside parentheses, for which `wanted` holds; or the end.
fn find(tokens: &[Token], at: usize, wanted: impl Fn(Option<&Token>) -> bool) -> usize {
    let mut at = at;
    while at < tokens.len() && !wanted(tokens.get(at)) {
        at = after(tokens, at);
    }
    at.min(tokens.len())
}

/// The place after the token at `at`, or after the parenthesis that it opens.
fn after(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(at) {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}
