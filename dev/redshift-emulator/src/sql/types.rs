//! Types: Redshift's names and defaults, and what it does not have.

use sqlparser::tokenizer::Token;

use super::tokens::{is, name, syntax_error};
use crate::errors::SqlError;

const VARCHAR_MAX: u32 = 65_535;
const CHAR_MAX: u32 = 4_096;
const DECIMAL_MAX: u32 = 38;
/// The most digits after the point.
const SCALE_MAX: u32 = 37;

/// A type as PostgreSQL reads it, and how many tokens it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Type {
    pub(crate) postgres: String,
    pub(crate) len: usize,
    /// The width of a VARCHAR.
    pub(crate) bytes: Option<u32>,
}

/// Reads the type at the beginning of `tokens`.
pub(crate) fn parse(tokens: &[Token]) -> Result<Type, SqlError> {
    let Some(word) = name(tokens.first()) else {
        return Err(syntax_error(tokens, 0));
    };
    let varying = is(tokens.get(1), "VARYING");
    let head = head(&word, tokens);
    let (arguments, len) = arguments(tokens, head)?;
    let sized = |postgres: String| {
        Ok(Type {
            postgres,
            len,
            bytes: None,
        })
    };
    let whole = |postgres: &str| {
        if arguments.is_empty() {
            sized(postgres.to_owned())
        } else {
            Err(syntax_error(tokens, head))
        }
    };
    match word.as_str() {
        "varchar" | "nvarchar" | "text" | "bpchar" | "character" | "char" | "nchar"
            if varying || !matches!(word.as_str(), "character" | "char" | "nchar" | "bpchar") =>
        {
            let bytes = bytes(&arguments, 256, VARCHAR_MAX)?;
            Ok(Type {
                postgres: format!("redshift_emulator.varchar({bytes})"),
                len,
                bytes: Some(bytes),
            })
        }
        "bpchar" => sized(format!("char({})", bytes(&arguments, 256, CHAR_MAX)?)),
        "char" | "character" | "nchar" => {
            sized(format!("char({})", bytes(&arguments, 1, CHAR_MAX)?))
        }
        "decimal" | "numeric" => {
            let (precision, scale) =
                decimal(&arguments).ok_or_else(|| syntax_error(tokens, head))??;
            sized(format!("numeric({precision},{scale})"))
        }
        "boolean" | "bool" => whole("boolean"),
        "smallint" | "int2" => whole("smallint"),
        "integer" | "int" | "int4" => whole("integer"),
        "bigint" | "int8" => whole("bigint"),
        "real" | "float4" => whole("real"),
        "double" if head == 2 => whole("double precision"),
        "float8" => whole("double precision"),
        "float" => match arguments.as_slice() {
            [] => whole("double precision"),
            [bits] if number(bits)? <= 24 => sized("real".to_owned()),
            _ => sized("double precision".to_owned()),
        },
        "date" => whole("date"),
        "timestamp" if head == 4 && is(tokens.get(1), "WITH") => whole("timestamptz"),
        "timestamp" => whole("timestamp"),
        "timestamptz" => whole("timestamptz"),
        "time" if head == 4 && is(tokens.get(1), "WITH") => whole("timetz"),
        "time" => whole("time"),
        "timetz" => whole("timetz"),
        "super" => whole("redshift_emulator.super"),
        "varbyte" | "varbinary" | "binary" => {
            bytes(&arguments, 64_000, 16_777_216)?;
            sized("bytea".to_owned())
        }
        "geometry" | "geography" | "hllsketch" | "interval" => {
            Err(SqlError::lacking(format_args!("the type {word}")))
        }
        _ => Err(unsupported(&word)),
    }
    .and_then(|found: Type| match tokens.get(found.len) {
        Some(Token::LBracket) => Err(unsupported(&format!("{word}[]"))),
        _ => Ok(found),
    })
}

/// How many tokens the name of a type has, whose first is `word`.
fn head(word: &str, tokens: &[Token]) -> usize {
    let is_zoned = || {
        (is(tokens.get(1), "WITHOUT") || is(tokens.get(1), "WITH"))
            && is(tokens.get(2), "TIME")
            && is(tokens.get(3), "ZONE")
    };
    let varying = is(tokens.get(1), "VARYING");
    match word {
        "character" | "char" | "nchar" | "national" | "binary" if varying => 2,
        "double" if is(tokens.get(1), "PRECISION") => 2,
        "timestamp" | "time" if is_zoned() => 4,
        _ => 1,
    }
}

/// Precision and scale of a decimal, if it has at most two arguments.
fn decimal(arguments: &[String]) -> Option<Result<(u32, u32), SqlError>> {
    let (precision, scale) = match arguments {
        [] => ("18", "0"),
        [precision] => (precision.as_str(), "0"),
        [precision, scale] => (precision.as_str(), scale.as_str()),
        _ => return None,
    };
    let within = |(precision, scale): (u32, u32)| {
        if precision == 0 || precision > DECIMAL_MAX {
            return Err(SqlError::new(format_args!(
                "DECIMAL precision {precision} must be between 1 and {DECIMAL_MAX}"
            )));
        }
        if scale > precision || scale > SCALE_MAX {
            return Err(SqlError::new(format_args!(
                "DECIMAL scale {scale} must be between 0 and precision {precision}, and at most {SCALE_MAX}"
            )));
        }
        Ok((precision, scale))
    };
    let numbers = number(precision).and_then(|precision| Ok((precision, number(scale)?)));
    Some(numbers.and_then(within))
}

fn unsupported(what: &str) -> SqlError {
    match what {
        "serial" | "bigserial" | "serial4" | "serial8" | "smallserial" | "uuid" | "json"
        | "jsonb" | "bytea" | "inet" | "cidr" | "xml" | "money" | "tsvector" | "oid" | "bit"
        | "hstore" | "macaddr" | "point" => {
            SqlError::new(format_args!("type \"{what}\" is not supported by Redshift"))
        }
        what if what.ends_with("[]") => SqlError::new(format_args!(
            "array type \"{what}\" is not supported by Redshift"
        )),
        what => SqlError::new(format_args!("type \"{what}\" does not exist")),
    }
}

/// What stands in parentheses after the first `head` tokens, and the place after it.
fn arguments(tokens: &[Token], head: usize) -> Result<(Vec<String>, usize), SqlError> {
    if tokens.get(head) != Some(&Token::LParen) {
        return Ok((Vec::new(), head));
    }
    let mut arguments = Vec::new();
    let mut at = head + 1;
    loop {
        match tokens.get(at) {
            Some(Token::Number(digits, _)) => arguments.push(digits.clone()),
            Some(token) if is(Some(token), "MAX") => arguments.push("max".to_owned()),
            _ => return Err(syntax_error(tokens, at)),
        }
        match tokens.get(at + 1) {
            Some(Token::Comma) => at += 2,
            Some(Token::RParen) => return Ok((arguments, at + 2)),
            _ => return Err(syntax_error(tokens, at + 1)),
        }
    }
}

fn bytes(arguments: &[String], default: u32, max: u32) -> Result<u32, SqlError> {
    let bytes = match arguments {
        [] => default,
        [word] if word == "max" => max,
        [digits] => number(digits)?,
        [_, second, ..] => return Err(SqlError::syntax(second)),
    };
    if bytes == 0 || bytes > max {
        return Err(SqlError::new(format_args!(
            "length for type character varying cannot exceed {max}"
        )));
    }
    Ok(bytes)
}

fn number(digits: &str) -> Result<u32, SqlError> {
    digits.parse().map_err(|_| SqlError::syntax(digits))
}
