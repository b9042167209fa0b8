//! Words that stand for themselves only between double quotes.

use sqlparser::tokenizer::Token;

use super::tokens::{is, is_any, split_commas};
use crate::errors::SqlError;

/// All of them, from "Reserved words" in the documentation of Amazon Redshift (`r_pg_keywords`),
/// but for those of `WITHOUT_A_ROLE`.
const WITH_A_ROLE: &[&str] = &[
    "ALL",
    "ANALYSE",
    "ANALYZE",
    "AND",
    "ANY",
    "ARRAY",
    "AS",
    "ASC",
    "AUTHORIZATION",
    "BETWEEN",
    "BINARY",
    "BOTH",
    "CASE",
    "CAST",
    "CHECK",
    "COLLATE",
    "COLUMN",
    "CONSTRAINT",
    "CREATE",
    "CROSS",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURRENT_USER",
    "CURRENT_USER_ID",
    "DEFAULT",
    "DEFERRABLE",
    "DESC",
    "DISTINCT",
    "DO",
    "ELSE",
    "END",
    "EXCEPT",
    "FALSE",
    "FOR",
    "FOREIGN",
    "FREEZE",
    "FROM",
    "FULL",
    "GRANT",
    "GROUP",
    "HAVING",
    "IDENTITY",
    "IGNORE",
    "ILIKE",
    "IN",
    "INITIALLY",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "ISNULL",
    "JOIN",
    "LEADING",
    "LEFT",
    "LIKE",
    "LIMIT",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "MINUS",
    "NATURAL",
    "NOT",
    "NOTNULL",
    "NULL",
    "NULLS",
    "OFF",
    "OFFSET",
    "OID",
    "ON",
    "ONLY",
    "OR",
    "ORDER",
    "OUTER",
    "OVERLAPS",
    "PARTITION",
    "PIVOT",
    "PLACING",
    "PRIMARY",
    "REFERENCES",
    "RESPECT",
    "RIGHT",
    "SELECT",
    "SESSION_USER",
    "SIMILAR",
    "SOME",
    "SYSDATE",
    "TABLE",
    "THEN",
    "TIMESTAMP",
    "TO",
    "TOP",
    "TRAILING",
    "TRUE",
    "UNION",
    "UNIQUE",
    "UNNEST",
    "UNPIVOT",
    "USER",
    "USING",
    "VERBOSE",
    "WHEN",
    "WHERE",
    "WITH",
    "WITHOUT",
];

/// Those that mean nothing within a query.
const WITHOUT_A_ROLE: &[&str] = &[
    "AES128",
    "AES256",
    "ALLOWOVERWRITE",
    "AZ64",
    "BACKUP",
    "BLANKSASNULL",
    "BYTEDICT",
    "BZIP2",
    "CREDENTIALS",
    "DEFLATE",
    "DEFRAG",
    "DELTA",
    "DELTA32K",
    "DISABLE",
    "EMPTYASNULL",
    "ENABLE",
    "ENCODE",
    "ENCRYPT",
    "ENCRYPTION",
    "EXPLICIT",
    "GLOBALDICT256",
    "GLOBALDICT64K",
    "GZIP",
    "LUN",
    "LUNS",
    "LZO",
    "LZOP",
    "MOSTLY16",
    "MOSTLY32",
    "MOSTLY8",
    "NEW",
    "OFFLINE",
    "OLD",
    "OPEN",
    "PARALLEL",
    "PERCENT",
    "PERMISSIONS",
    "RAW",
    "READRATIO",
    "RECOVER",
    "REJECTLOG",
    "RESORT",
    "RESTORE",
    "SNAPSHOT",
    "SYSTEM",
    "TAG",
    "TDES",
    "TEXT255",
    "TEXT32K",
    "TRUNCATECOLUMNS",
    "WALLET",
];

/// True for a reserved word without quotes.
pub(crate) fn is_reserved(token: Option<&Token>) -> bool {
    is_any(token, WITH_A_ROLE) || is_any(token, WITHOUT_A_ROLE)
}

/// Refuses a reserved word where something is named.
pub(crate) fn check_name(token: Option<&Token>) -> Result<(), SqlError> {
    match token {
        Some(reserved) if is_reserved(token) => Err(SqlError::syntax(reserved)),
        _ => Ok(()),
    }
}

/// The same for names between parentheses.
pub(crate) fn check_names(inside: &[Token]) -> Result<(), SqlError> {
    split_commas(inside)
        .iter()
        .try_for_each(|name| check_name(name.first()))
}

/// True for the name of a column in an expression that would need quotes. `before` is not AS and
/// not a period, after which any word is a name.
pub(crate) fn is_bare_column(
    before: Option<&Token>,
    token: Option<&Token>,
    next: Option<&Token>,
) -> bool {
    // What begins a literal or is a type.
    let time = before == Some(&Token::DoubleColon)
        || matches!(
            next,
            Some(Token::SingleQuotedString(_) | Token::LParen | Token::Period)
        )
        || is_any(next, &["WITH", "WITHOUT"]);
    is_any(token, WITHOUT_A_ROLE) || (is(token, "TIMESTAMP") && !time)
}
