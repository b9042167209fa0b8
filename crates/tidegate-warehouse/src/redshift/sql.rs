//! Pieces of Redshift's SQL: names, literals, types, and comparisons of rows.

use arrow::datatypes::DataType;
use chrono::{DateTime, NaiveDateTime};

use super::options::VARCHAR_MAX;

/// An identifier, quoted. Redshift folds even quoted ones to lower case, unless it is told otherwise.
pub(super) fn name(identifier: &str) -> String {
    format!("\"{}\"", identifier.to_lowercase().replace('"', "\"\""))
}

/// Identifiers, quoted, with commas between.
pub(super) fn names<'a>(identifiers: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<_> = identifiers.into_iter().map(name).collect();
    all.join(", ")
}

/// A text literal. Redshift reads a backslash as an escape.
pub(super) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// The instant `micros` (microseconds since the Unix epoch, UTC) as a `TIMESTAMP`.
///
/// The watermark of a lane can be as far away as an `i64` goes; what is beyond year 1 or 9999 is
/// clamped to it.
pub(super) fn instant(micros: i64) -> String {
    const YEAR_1: i64 = -62_135_596_800_000_000;
    const YEAR_10000: i64 = 253_402_300_800_000_000;
    let clamped = micros.clamp(YEAR_1, YEAR_10000 - 1);
    let time = DateTime::from_timestamp_micros(clamped).unwrap_or_default();
    format!("TIMESTAMP '{}'", time.format("%Y-%m-%d %H:%M:%S%.6f"))
}

/// The microseconds of a time that was written as `YYYY-MM-DD HH24:MI:SS.US`.
pub(super) fn micros(text: &str) -> Option<i64> {
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()?;
    Some(time.and_utc().timestamp_micros())
}

/// What an Arrow type becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    /// A type that the file, the staging table and the table share.
    Plain(String),
    /// Text: as wide as can be while it is staged, and as wide as it has to be in the table.
    Text,
    /// Nested: JSON text in the file, `SUPER` in the table.
    Super,
}

impl Type {
    /// None if no column can have it.
    ///
    /// Instants become `TIMESTAMP` and hold UTC: whether `COPY` from Parquet fills a `TIMESTAMPTZ` is
    /// not documented.
    pub(super) fn of(ty: &DataType) -> Option<Self> {
        Some(match ty {
            DataType::Boolean => Type::Plain("BOOLEAN".to_owned()),
            DataType::Int8 | DataType::Int16 => Type::Plain("SMALLINT".to_owned()),
            DataType::Int32 => Type::Plain("INTEGER".to_owned()),
            DataType::Int64 => Type::Plain("BIGINT".to_owned()),
            DataType::Float32 => Type::Plain("REAL".to_owned()),
            DataType::Float64 => Type::Plain("DOUBLE PRECISION".to_owned()),
            DataType::Decimal128(precision, scale) if *scale >= 0 => {
                Type::Plain(format!("DECIMAL({precision},{scale})"))
            }
            DataType::Date32 => Type::Plain("DATE".to_owned()),
            DataType::Timestamp(..) => Type::Plain("TIMESTAMP".to_owned()),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Type::Text,
            DataType::List(_) | DataType::Struct(_) | DataType::Map(..) => Type::Super,
            _ => return None,
        })
    }

    /// The SQL type in a staging table.
    pub(super) fn staged(&self) -> String {
        match self {
            Type::Plain(ty) => ty.clone(),
            Type::Text | Type::Super => format!("VARCHAR({VARCHAR_MAX})"),
        }
    }

    /// The SQL type in the table; text takes `bytes`.
    pub(super) fn stored(&self, bytes: u32) -> String {
        match self {
            Type::Plain(ty) => ty.clone(),
            Type::Text => format!("VARCHAR({bytes})"),
            Type::Super => "SUPER".to_owned(),
        }
    }

    /// The expression that takes a staged column into the table.
    pub(super) fn load(&self, column: &str) -> String {
        match self {
            Type::Super => format!("JSON_PARSE({})", name(column)),
            _ => name(column),
        }
    }
}

/// A column that rows are compared by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compared<'a> {
    pub(super) name: &'a str,
    pub(super) nullable: bool,
    pub(super) text: bool,
}

/// A condition that compares two rows' columns for equality. Null equals null; columns that are never
/// null are compared so that the join can hash.
///
/// Redshift's `=` does not see blanks at the end of text, so lengths are compared too.
pub(super) fn equal(left: &str, right: &str, columns: &[Compared<'_>]) -> String {
    let pair = |column: &Compared<'_>| {
        let column_name = name(column.name);
        let (l, r) = (
            format!("{left}.{column_name}"),
            format!("{right}.{column_name}"),
        );
        let mut same = format!("{l} = {r}");
        if column.text {
            same.push_str(&format!(" AND OCTET_LENGTH({l}) = OCTET_LENGTH({r})"));
        }
        if column.nullable {
            format!("({same} OR ({l} IS NULL AND {r} IS NULL))")
        } else {
            same
        }
    };
    columns.iter().map(pair).collect::<Vec<_>>().join(" AND ")
}

/// Columns whose values together are the same exactly where [`equal`] says that rows are equal.
pub(super) fn distinct(columns: &[Compared<'_>]) -> String {
    let mut all = Vec::new();
    for column in columns {
        all.push(name(column.name));
        if column.text {
            all.push(format!("OCTET_LENGTH({})", name(column.name)));
        }
    }
    all.join(", ")
}

/// A condition that says whether the row `left` is greater than the row `right`, comparing columns from
/// left to right, with null less than any value. Never null.
pub(super) fn greater(left: &str, right: &str, columns: &[Compared<'_>]) -> String {
    let mut sql = String::new();
    for column in columns.iter().rev() {
        let (l, r) = (
            format!("{left}.{}", name(column.name)),
            format!("{right}.{}", name(column.name)),
        );
        let (above, same) = if column.nullable {
            (
                format!("COALESCE({l} > {r}, {l} IS NOT NULL AND {r} IS NULL)"),
                format!("COALESCE({l} = {r}, {l} IS NULL AND {r} IS NULL)"),
            )
        } else {
            (format!("{l} > {r}"), format!("{l} = {r}"))
        };
        sql = if sql.is_empty() {
            above
        } else {
            format!("({above} OR ({same} AND {sql}))")
        };
    }
    sql
}

/// Columns to sort by, greatest first, nulls last.
pub(super) fn descending(columns: &[Compared<'_>]) -> String {
    let all: Vec<_> = columns
        .iter()
        .map(|column| format!("{} DESC NULLS LAST", name(column.name)))
        .collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_are_escaped() {
        assert_eq!(name("A\"b"), "\"a\"\"b\"");
        assert_eq!(text(r"it's \ here"), r"'it''s \\ here'");
    }

    #[test]
    fn instants_have_microseconds() {
        assert_eq!(
            instant(1_767_225_600_123_456),
            "TIMESTAMP '2026-01-01 00:00:00.123456'"
        );
        assert_eq!(instant(i64::MAX), "TIMESTAMP '9999-12-31 23:59:59.999999'");
        assert_eq!(
            micros("2026-01-01 00:00:00.123456"),
            Some(1_767_225_600_123_456)
        );
        assert_eq!(micros("2026-01-01"), None);
    }

    #[test]
    fn blanks_at_the_end_of_text_are_compared() {
        let word = Compared {
            name: "Word",
            nullable: true,
            text: true,
        };
        let number = Compared {
            name: "n",
            nullable: false,
            text: false,
        };
        assert_eq!(
            equal("a", "b", &[word, number]),
            "(a.\"word\" = b.\"word\" AND OCTET_LENGTH(a.\"word\") = OCTET_LENGTH(b.\"word\") OR \
             (a.\"word\" IS NULL AND b.\"word\" IS NULL)) AND a.\"n\" = b.\"n\""
        );
        assert_eq!(
            distinct(&[word, number]),
            "\"word\", OCTET_LENGTH(\"word\"), \"n\""
        );
    }
}
