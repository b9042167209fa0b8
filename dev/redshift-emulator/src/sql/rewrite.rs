//! What Redshift takes and PostgreSQL spells in another order: tokens in, tokens out.

use std::borrow::Cow;

use sqlparser::dialect::RedshiftSqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::select::{self, Item, Select};
use super::tokens::{after_parentheses, is, is_any, split_commas, starts, syntax_error};
use crate::errors::SqlError;

/// Words that can follow a subquery in FROM and are not its name.
const AFTER_A_SUBQUERY: &[&str] = &[
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "JOIN",
    "LEFT",
    "RIGHT",
    "INNER",
    "FULL",
    "CROSS",
    "NATURAL",
    "ON",
    "USING",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "MINUS",
    "QUALIFY",
    "WINDOW",
];

/// The tokens as PostgreSQL wants them.
pub(crate) fn rewrite(tokens: &[Token]) -> Result<Cow<'_, [Token]>, SqlError> {
    let words = [
        "TOP",
        "APPROXIMATE",
        "NVL2",
        "DECODE",
        "MEDIAN",
        "LISTAGG",
        "FROM",
        "JOIN",
        "QUALIFY",
    ];
    if !tokens.iter().any(|token| is_any(Some(token), &words)) {
        return Ok(Cow::Borrowed(tokens));
    }
    let mut rewriter = Rewriter::default();
    rewriter.block(tokens)?;
    Ok(Cow::Owned(rewriter.out))
}

#[derive(Default)]
struct Rewriter {
    out: Vec<Token>,
    /// Subqueries and columns that were given a name.
    named: usize,
}

impl Rewriter {
    /// A query, or whatever stands between parentheses.
    fn block(&mut self, tokens: &[Token]) -> Result<(), SqlError> {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let token = Some(token);
            let rest = tokens.get(at..).unwrap_or_default();
            let call = tokens.get(at + 1) == Some(&Token::LParen);
            if is(token, "SELECT") {
                at = self.select(tokens, at)?;
            } else if is(token, "APPROXIMATE") {
                at += 1;
            } else if is_any(token, &["FROM", "JOIN"]) && call {
                self.keep(token);
                at = self.subquery(tokens, at + 1)?;
            } else if call && is_any(token, &["NVL2", "DECODE", "MEDIAN", "LISTAGG"]) {
                at += self.call(rest)?;
            } else if token == Some(&Token::LParen) {
                let end = after_parentheses(tokens, at)?;
                self.parentheses(tokens.get(at + 1..end - 1).unwrap_or_default())?;
                at = end;
            } else {
                self.keep(token);
                at += 1;
            }
        }
        Ok(())
    }

    /// The SELECT at `at`; returns the place after what it took.
    fn select(&mut self, tokens: &[Token], at: usize) -> Result<usize, SqlError> {
        let (select, end) = Select::parse(tokens, at)?;
        if select.top.is_none() && select.qualify.is_none() {
            self.keep(tokens.get(at));
            return Ok(at + 1);
        }
        // What comes after the last SELECT of a UNION belongs to all of it, and TOP to one of them.
        let combined = end < tokens.len() || select::follows_set_operator(tokens, at);
        if combined {
            self.out.push(Token::LParen);
        }
        let inner = if combined { &[][..] } else { select.order };
        match select.qualify {
            Some(condition) => self.qualify(&select, condition, inner)?,
            None => {
                self.text("SELECT")?;
                self.keep(select.distinct);
                self.block(select.list)?;
                self.block(select.from)?;
                self.block(inner)?;
            }
        }
        if !combined {
            self.block(select.limit)?;
        }
        if let Some(number) = select.top {
            self.text("LIMIT")?;
            self.keep(Some(number));
        }
        if combined {
            self.out.push(Token::RParen);
            self.block(select.order)?;
            self.block(select.limit)?;
        }
        Ok(end)
    }

    /// SELECT ... QUALIFY condition: the condition becomes a column of a subquery.
    fn qualify(
        &mut self,
        select: &Select<'_>,
        condition: &[Token],
        order: &[Token],
    ) -> Result<(), SqlError> {
        let items = select.items();
        self.named += 1;
        let query = format!("qualified_{}", self.named);
        self.text("SELECT")?;
        self.keep(select.distinct);
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.out.push(Token::Comma);
            }
            match item {
                Item::Row(_) => self.text(&format!("({query}.column_{at}).*"))?,
                Item::Column { label, .. } => {
                    self.text(&format!("{query}.column_{at} AS"))?;
                    self.out.push(Token::make_word(label, Some('"')));
                }
            }
        }
        self.text("FROM ( SELECT")?;
        for item in &items {
            match item {
                Item::Row(relation) => self.keep(Some(relation)),
                Item::Column { tokens, .. } => self.block(tokens)?,
            }
            self.out.push(Token::Comma);
        }
        self.parentheses(&select::resolve_labels(condition, &items))?;
        self.block(select.from)?;
        // DISTINCT comes last, and then only what is selected can be in the order.
        if select.distinct.is_none() {
            self.block(order)?;
        }
        let columns: String = (0..items.len())
            .map(|at| format!("column_{at}, "))
            .collect();
        self.text(&format!(") AS {query} ({columns}kept) WHERE {query}.kept"))?;
        if select.distinct.is_some() {
            self.block(order)?;
        }
        Ok(())
    }

    fn parentheses(&mut self, inside: &[Token]) -> Result<(), SqlError> {
        self.out.push(Token::LParen);
        self.block(inside)?;
        self.out.push(Token::RParen);
        Ok(())
    }

    /// What stands in parentheses after FROM or JOIN; a query gets a name where it has none.
    fn subquery(&mut self, tokens: &[Token], open: usize) -> Result<usize, SqlError> {
        let end = after_parentheses(tokens, open)?;
        let inside = tokens.get(open + 1..end - 1).unwrap_or_default();
        self.parentheses(inside)?;
        let next = tokens.get(end);
        let has_name = matches!(next, Some(Token::Word(_))) && !is_any(next, AFTER_A_SUBQUERY);
        if is_any(inside.first(), &["SELECT", "WITH"]) && !has_name {
            self.named += 1;
            self.text(&format!("AS subquery_{}", self.named))?;
        }
        Ok(end)
    }

    /// A function that PostgreSQL lacks; `tokens` begin with its name. Returns how many tokens it
    /// took.
    fn call(&mut self, tokens: &[Token]) -> Result<usize, SqlError> {
        let end = after_parentheses(tokens, 1)?;
        let inside = tokens.get(2..end - 1).unwrap_or_default();
        let arguments = split_commas(inside);
        let name = tokens.first();
        match arguments.as_slice() {
            [value, some, none] if is(name, "NVL2") => {
                self.text("CASE WHEN")?;
                self.parentheses(value)?;
                self.text("IS NOT NULL THEN")?;
                self.parentheses(some)?;
                self.text("ELSE")?;
                self.parentheses(none)?;
                self.text("END")?;
                Ok(end)
            }
            [value, pairs @ ..] if is(name, "DECODE") && pairs.len() > 1 => {
                self.decode(value, pairs)?;
                Ok(end)
            }
            [value] if is(name, "MEDIAN") => {
                self.text("redshift_emulator.median")?;
                self.parentheses(value)?;
                Ok(end)
            }
            _ if is(name, "LISTAGG") => self.listagg(tokens, end, &arguments),
            _ => Err(syntax_error(tokens, 1)),
        }
    }

    /// DECODE(value, search, result, ..., default): null is found by null.
    fn decode(&mut self, value: &[Token], pairs: &[&[Token]]) -> Result<(), SqlError> {
        self.text("CASE")?;
        let mut pairs = pairs.chunks_exact(2);
        for pair in pairs.by_ref() {
            self.text("WHEN")?;
            self.parentheses(value)?;
            self.text("IS NOT DISTINCT FROM")?;
            self.parentheses(pair[0])?;
            self.text("THEN")?;
            self.parentheses(pair[1])?;
        }
        if let [default] = pairs.remainder() {
            self.text("ELSE")?;
            self.parentheses(default)?;
        }
        self.text("END")
    }

    /// `LISTAGG([DISTINCT] value [, between]) [WITHIN GROUP (ORDER BY ...)] [OVER (...)]`
    fn listagg(
        &mut self,
        tokens: &[Token],
        end: usize,
        arguments: &[&[Token]],
    ) -> Result<usize, SqlError> {
        let [value, between @ ..] = arguments else {
            return Err(syntax_error(tokens, 1));
        };
        let distinct = is(value.first(), "DISTINCT");
        let value = value.get(usize::from(distinct)..).unwrap_or_default();
        let mut order: &[Token] = &[];
        let mut end = end;
        if starts(tokens.get(end..).unwrap_or_default(), &["WITHIN", "GROUP"]) {
            let open = end + 2;
            end = after_parentheses(tokens, open)?;
            order = tokens.get(open + 1..end - 1).unwrap_or_default();
        }
        let over = is(tokens.get(end), "OVER");
        self.text("redshift_emulator.listagg(")?;
        if over && distinct {
            // PostgreSQL takes no DISTINCT before OVER.
            self.text("redshift_emulator.distinct_values(")?;
            self.listed(value)?;
            let end = self.over(tokens, end, order)?;
            self.separator(tokens, between)?;
            self.out.push(Token::RParen);
            return Ok(end);
        }
        if distinct {
            self.text("DISTINCT")?;
        }
        self.listed(value)?;
        self.separator(tokens, between)?;
        if over {
            return self.over(tokens, end, order);
        }
        self.order_of_listagg(order, value)?;
        self.out.push(Token::RParen);
        Ok(end)
    }

    /// `) OVER (...)` of an aggregate over all of the partition, in an order. Returns the place
    /// after it.
    fn over(&mut self, tokens: &[Token], at: usize, order: &[Token]) -> Result<usize, SqlError> {
        let close = after_parentheses(tokens, at + 1)?;
        self.text(") OVER (")?;
        self.block(tokens.get(at + 2..close - 1).unwrap_or_default())?;
        self.block(order)?;
        if !order.is_empty() {
            self.text("ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING")?;
        }
        self.out.push(Token::RParen);
        Ok(close)
    }

    fn separator(&mut self, tokens: &[Token], between: &[&[Token]]) -> Result<(), SqlError> {
        self.out.push(Token::Comma);
        match between {
            [] => self.text("''"),
            [between] => self.varchar(between),
            _ => Err(syntax_error(tokens, 1)),
        }
    }

    /// A value of LISTAGG, which is null if it is empty.
    fn listed(&mut self, value: &[Token]) -> Result<(), SqlError> {
        self.text("redshift_emulator.listed(")?;
        self.varchar(value)?;
        self.out.push(Token::RParen);
        Ok(())
    }

    /// ORDER BY within the aggregate. The value itself is there as it is aggregated, since
    /// PostgreSQL asks for that where values are DISTINCT.
    fn order_of_listagg(&mut self, order: &[Token], value: &[Token]) -> Result<(), SqlError> {
        let Some(keys) = order.get(2..).filter(|_| starts(order, &["ORDER", "BY"])) else {
            return if order.is_empty() {
                Ok(())
            } else {
                Err(syntax_error(order, 0))
            };
        };
        self.text("ORDER BY")?;
        for (at, key) in split_commas(keys).into_iter().enumerate() {
            if at > 0 {
                self.out.push(Token::Comma);
            }
            match key.strip_prefix(value) {
                Some(direction)
                    if direction.is_empty()
                        || is_any(direction.first(), &["ASC", "DESC", "NULLS"]) =>
                {
                    self.listed(value)?;
                    self.block(direction)?;
                }
                _ => self.block(key)?,
            }
        }
        Ok(())
    }

    fn varchar(&mut self, value: &[Token]) -> Result<(), SqlError> {
        self.text("CAST (")?;
        self.block(value)?;
        self.text("AS VARCHAR(65535))")
    }

    fn keep(&mut self, token: Option<&Token>) {
        self.out.extend(token.cloned());
    }

    fn text(&mut self, sql: &str) -> Result<(), SqlError> {
        let tokens = Tokenizer::new(&RedshiftSqlDialect {}, sql)
            .with_unescape(false)
            .tokenize()
            .map_err(SqlError::new)?;
        let words = tokens
            .into_iter()
            .filter(|token| !matches!(token, Token::Whitespace(_) | Token::EOF));
        self.out.extend(words);
        Ok(())
    }
}
