//! CREATE TABLE: what PostgreSQL does not know is taken out, and keys, which Redshift does not
//! enforce.

use std::collections::BTreeSet;

use sqlparser::tokenizer::Token;

use super::tokens::{
    after_parentheses, is, is_any, name, qualified_name_len, split_commas, starts, syntax_error,
    text,
};
use super::{expressions, reserved, types};
use crate::errors::SqlError;

/// In the comment of a column that is declared unique, a key, or a reference: its type cannot be
/// changed.
pub(crate) const UNIQUE: &str = "redshift:unique";
/// In the comment of a column with an encoding under which its type cannot be changed.
pub(crate) const NARROW_ENCODING: &str = "redshift:encoding";

/// `CREATE [TEMP] TABLE` as PostgreSQL reads it. `tokens` begin with CREATE.
pub(crate) fn create(tokens: &[Token]) -> Result<String, SqlError> {
    let mut at = 1;
    let mut temporary = false;
    while is_any(tokens.get(at), &["LOCAL", "TEMP", "TEMPORARY"]) {
        temporary = true;
        at += 1;
    }
    if !is(tokens.get(at), "TABLE") {
        return Err(syntax_error(tokens, at));
    }
    at += 1;
    let mut if_not_exists = "";
    if tokens
        .get(at..)
        .is_some_and(|rest| starts(rest, &["IF", "NOT", "EXISTS"]))
    {
        if_not_exists = "IF NOT EXISTS ";
        at += 3;
    }
    let rest = tokens.get(at..).unwrap_or_default();
    let name_len = qualified_name_len(rest);
    if name_len == 0 {
        return Err(syntax_error(tokens, at));
    }
    let table = rest.get(..name_len).unwrap_or_default();
    reserved::check_name(table.first())?;
    temporary |= matches!(table.last(), Some(Token::Word(word)) if word.value.starts_with('#'));
    let table = text(table);
    at += name_len;

    let mut body = None;
    if tokens.get(at) == Some(&Token::LParen) {
        let end = after_parentheses(tokens, at)?;
        body = Some(tokens.get(at + 1..end - 1).unwrap_or_default());
        at = end;
    }
    let attributes = Attributes::parse(tokens, &mut at)?;
    let head = if temporary {
        "CREATE TEMP TABLE"
    } else {
        "CREATE TABLE"
    };
    match tokens.get(at) {
        None => {
            let body = body.ok_or_else(|| syntax_error(tokens, at))?;
            let (columns, declared) = columns(body, &attributes)?;
            let mut sql = format!("{head} {if_not_exists}{table} ({columns})");
            for (column, what) in declared {
                sql += &format!("; COMMENT ON COLUMN {table}.{column} IS '{what}'");
            }
            Ok(sql)
        }
        Some(token) if is(Some(token), "AS") => {
            let query = tokens.get(at + 1..).unwrap_or_default();
            expressions::check_for_table(query)?;
            let query = expressions::translate(query)?;
            let columns = match body {
                None => String::new(),
                Some(body) => {
                    reserved::check_names(body)?;
                    format!("({}) ", text(body))
                }
            };
            Ok(format!("{head} {if_not_exists}{table} {columns}AS {query}"))
        }
        Some(_) => Err(syntax_error(tokens, at)),
    }
}

/// What stands after the columns.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    /// Columns of distribution and sort keys.
    keys: BTreeSet<String>,
    /// EVEN or ALL, which have no key.
    keyless: bool,
    /// KEY, which has to have one.
    keyed: bool,
    dist_key: bool,
}

impl Attributes {
    /// Reads attributes from `at` on, and leaves `at` after them.
    pub(crate) fn parse(tokens: &[Token], at: &mut usize) -> Result<Self, SqlError> {
        let mut found = Self::default();
        loop {
            let token = tokens.get(*at);
            if is(token, "BACKUP") {
                expect(tokens, *at + 1, &["YES", "NO"])?;
                *at += 2;
            } else if is(token, "DISTSTYLE") {
                expect(tokens, *at + 1, &["AUTO", "EVEN", "KEY", "ALL"])?;
                found.keyless = is_any(tokens.get(*at + 1), &["EVEN", "ALL"]);
                found.keyed = is(tokens.get(*at + 1), "KEY");
                *at += 2;
            } else if is(token, "ENCODE") {
                expect(tokens, *at + 1, &["AUTO"])?;
                *at += 2;
            } else if is(token, "AUTO") && is(tokens.get(*at + 1), "REFRESH") {
                expect(tokens, *at + 2, &["YES", "NO"])?;
                *at += 3;
            } else if is(token, "DISTKEY") {
                *at = found.key(tokens, *at + 1, 1)?;
                found.dist_key = true;
            } else if is(token, "SORTKEY") && is(tokens.get(*at + 1), "AUTO") {
                *at += 2;
            } else if is(token, "SORTKEY") {
                *at = found.key(tokens, *at + 1, 400)?;
            } else if is_any(token, &["COMPOUND", "INTERLEAVED"]) {
                expect(tokens, *at + 1, &["SORTKEY"])?;
                let most = if is(token, "INTERLEAVED") { 8 } else { 400 };
                *at = found.key(tokens, *at + 2, most)?;
            } else {
                return Ok(found);
            }
        }
    }

    /// A style and a key that do not go together. `column_key`: a column is declared DISTKEY.
    fn check_style(&self, column_key: bool) -> Result<(), SqlError> {
        let key = self.dist_key || column_key;
        if self.keyless && key {
            return Err(SqlError::new(
                "DISTKEY cannot be specified with DISTSTYLE EVEN or ALL",
            ));
        }
        if self.keyed && !key {
            return Err(SqlError::new("DISTSTYLE KEY requires a DISTKEY column"));
        }
        Ok(())
    }

    fn key(&mut self, tokens: &[Token], open: usize, most: usize) -> Result<usize, SqlError> {
        if tokens.get(open) != Some(&Token::LParen) {
            return Err(syntax_error(tokens, open));
        }
        let end = after_parentheses(tokens, open)?;
        let columns = split_commas(tokens.get(open + 1..end - 1).unwrap_or_default());
        if columns.len() > most {
            return Err(SqlError::new(
                "too many columns in a distribution or sort key",
            ));
        }
        for column in columns {
            match column {
                [word @ Token::Word(_)] => {
                    reserved::check_name(Some(word))?;
                    self.keys.extend(name(Some(word)));
                }
                _ => return Err(syntax_error(tokens, open + 1)),
            }
        }
        Ok(end)
    }
}

fn expect(tokens: &[Token], at: usize, words: &[&str]) -> Result<(), SqlError> {
    if is_any(tokens.get(at), words) {
        Ok(())
    } else {
        Err(syntax_error(tokens, at))
    }
}

/// Columns, each with what PostgreSQL does not keep of it.
type Declared = Vec<(String, &'static str)>;

/// The columns and table constraints between the parentheses, and what PostgreSQL does not keep of
/// columns.
fn columns(body: &[Token], attributes: &Attributes) -> Result<(String, Declared), SqlError> {
    let mut declared = Vec::new();
    let mut parts = Vec::new();
    let mut names = BTreeSet::new();
    let mut likes = false;
    let mut dist_key = false;
    let mut required: BTreeSet<String> = BTreeSet::new();
    let items = split_commas(body);
    for item in &items {
        let item = match item {
            item if is(item.first(), "CONSTRAINT") => item.get(2..).unwrap_or_default(),
            item => item,
        };
        if starts(item, &["PRIMARY", "KEY"]) {
            let end = after_parentheses(item, 2)?;
            let key = item.get(3..end - 1).unwrap_or_default();
            required.extend(split_commas(key).iter().filter_map(|c| name(c.first())));
        }
    }
    for item in &items {
        if is(item.first(), "LIKE") {
            parts.push(like(item)?);
            likes = true;
        } else if is_any(
            item.first(),
            &["CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN"],
        ) {
            // Keys are declared, believed and not enforced.
            if let Some(open) = item.iter().position(|token| *token == Token::LParen) {
                let end = after_parentheses(item, open)?;
                let key = item.get(open + 1..end - 1).unwrap_or_default();
                reserved::check_names(key)?;
                let key = split_commas(key);
                declared.extend(key.iter().map(|column| (text(column), UNIQUE)));
            }
        } else if is(item.first(), "CHECK") {
            return Err(SqlError::new(
                "CHECK constraints are not supported by Redshift",
            ));
        } else {
            let column = ColumnDefinition::parse(item)?;
            dist_key |= column.dist_key;
            let key = column.key || attributes.keys.contains(&column.name);
            if key && column.postgres.contains("redshift_emulator.super") {
                return Err(SqlError::new(format_args!(
                    "Column \"{}\" of type super cannot be a distribution or sort key",
                    column.name
                )));
            }
            let quoted = text(item.get(..1).unwrap_or_default());
            if column.unique {
                declared.push((quoted, UNIQUE));
            } else if column.narrow_encoding {
                declared.push((quoted, NARROW_ENCODING));
            }
            let not_null = required.contains(&column.name) && !column.not_null;
            parts.push(column.postgres + if not_null { " NOT NULL" } else { "" });
            if !names.insert(column.name.clone()) {
                return Err(SqlError::new(format_args!(
                    "column \"{}\" specified more than once",
                    column.name
                )));
            }
        }
    }
    attributes.check_style(dist_key)?;
    if !likes && let Some(missing) = attributes.keys.difference(&names).next() {
        return Err(SqlError::new(format_args!(
            "column \"{missing}\" does not exist"
        )));
    }
    Ok((parts.join(", "), declared))
}

fn like(item: &[Token]) -> Result<String, SqlError> {
    let len = qualified_name_len(item.get(1..).unwrap_or_default());
    if len == 0 {
        return Err(syntax_error(item, 1));
    }
    let source = text(item.get(1..=len).unwrap_or_default());
    let options = item.get(len + 1..).unwrap_or_default();
    if options.is_empty() || starts(options, &["EXCLUDING", "DEFAULTS"]) {
        Ok(format!("LIKE {source}"))
    } else if starts(options, &["INCLUDING", "DEFAULTS"]) {
        Ok(format!("LIKE {source} INCLUDING DEFAULTS"))
    } else {
        Err(syntax_error(options, 0))
    }
}

/// One column of CREATE TABLE or ALTER TABLE ADD COLUMN.
#[derive(Debug)]
pub(crate) struct ColumnDefinition {
    pub(crate) name: String,
    pub(crate) postgres: String,
    pub(crate) not_null: bool,
    pub(crate) default: bool,
    /// A distribution or sort key.
    pub(crate) key: bool,
    /// The distribution key.
    dist_key: bool,
    /// Declared unique, primary key, or filled by IDENTITY.
    pub(crate) special: Option<&'static str>,
    /// Declared unique, a key, or a reference.
    pub(crate) unique: bool,
    /// Has an encoding under which its type cannot be changed.
    pub(crate) narrow_encoding: bool,
}

const ATTRIBUTES: &[&str] = &[
    "NOT",
    "NULL",
    "DEFAULT",
    "IDENTITY",
    "GENERATED",
    "ENCODE",
    "DISTKEY",
    "SORTKEY",
    "UNIQUE",
    "PRIMARY",
    "REFERENCES",
    "COLLATE",
    "CONSTRAINT",
];

impl ColumnDefinition {
    pub(crate) fn parse(item: &[Token]) -> Result<Self, SqlError> {
        let name = name(item.first()).ok_or_else(|| syntax_error(item, 0))?;
        reserved::check_name(item.first())?;
        let found = types::parse(item.get(1..).unwrap_or_default())?;
        let mut column = Self {
            postgres: format!(
                "{} {}",
                text(item.get(..1).unwrap_or_default()),
                found.postgres
            ),
            name,
            not_null: false,
            default: false,
            key: false,
            dist_key: false,
            special: None,
            unique: false,
            narrow_encoding: false,
        };
        let mut at = 1 + found.len;
        while at < item.len() {
            let rest = item.get(at..).unwrap_or_default();
            if starts(rest, &["NOT", "NULL"]) {
                column.require();
                at += 2;
            } else if is(rest.first(), "NULL") {
                at += 1;
            } else if is(rest.first(), "DEFAULT") {
                let end = end_of_default(rest)?;
                let value = expressions::translate(rest.get(1..end).unwrap_or_default())?;
                column.postgres += &format!(" DEFAULT {value}");
                column.default = true;
                at += end;
            } else if is_any(rest.first(), &["IDENTITY", "GENERATED"]) {
                at += column.identity(rest)?;
            } else if is_any(rest.first(), &["ENCODE", "COLLATE"]) {
                column.narrow_encoding |= is_any(
                    rest.get(1),
                    &["BYTEDICT", "RUNLENGTH", "TEXT255", "TEXT32K"],
                );
                at += 2;
            } else if is_any(rest.first(), &["DISTKEY", "SORTKEY"]) {
                column.key = true;
                column.dist_key |= is(rest.first(), "DISTKEY");
                at += 1;
            } else if is(rest.first(), "UNIQUE") {
                column.special = Some("UNIQUE");
                column.unique = true;
                at += 1;
            } else if starts(rest, &["PRIMARY", "KEY"]) {
                column.special = Some("PRIMARY KEY");
                column.unique = true;
                column.require();
                at += 2;
            } else if is(rest.first(), "REFERENCES") {
                column.unique = true;
                at += 1 + qualified_name_len(rest.get(1..).unwrap_or_default());
                if item.get(at) == Some(&Token::LParen) {
                    at = after_parentheses(item, at)?;
                }
            } else {
                return Err(syntax_error(rest, 0));
            }
        }
        Ok(column)
    }

    fn require(&mut self) {
        if !self.not_null {
            self.postgres += " NOT NULL";
            self.not_null = true;
        }
    }

    /// IDENTITY(seed, step), with or without GENERATED BY DEFAULT AS before it.
    fn identity(&mut self, rest: &[Token]) -> Result<usize, SqlError> {
        let generated = starts(rest, &["GENERATED", "BY", "DEFAULT", "AS", "IDENTITY"]);
        let open = if generated { 5 } else { 1 };
        if !generated && !is(rest.first(), "IDENTITY") {
            return Err(syntax_error(rest, 0));
        }
        match rest.get(open..open + 5) {
            Some(
                [
                    Token::LParen,
                    Token::Number(seed, _),
                    Token::Comma,
                    Token::Number(step, _),
                    Token::RParen,
                ],
            ) => {
                self.postgres += &format!(
                    " GENERATED BY DEFAULT AS IDENTITY (START WITH {seed} INCREMENT BY {step})"
                );
                self.special = Some("IDENTITY");
                Ok(open + 5)
            }
            _ => Err(syntax_error(rest, open)),
        }
    }
}

/// How far DEFAULT and its expression reach.
fn end_of_default(rest: &[Token]) -> Result<usize, SqlError> {
    let mut end = 1;
    // The first token belongs to it even where it is NULL.
    loop {
        match rest.get(end) {
            Some(Token::LParen) => end = after_parentheses(rest, end)?,
            Some(_) => end += 1,
            None if end == 1 => return Err(syntax_error(rest, 1)),
            None => return Ok(end),
        }
        if is_any(rest.get(end), ATTRIBUTES) {
            return Ok(end);
        }
    }
}
