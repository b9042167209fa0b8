//! Pieces of Redshift's SQL: names, literals, types, and comparisons of rows.

use arrow::datatypes::DataType;
use chrono::{DateTime, NaiveDateTime};

/// The beginnings of the years 1 and 10000, in microseconds since the Unix epoch.
const YEAR_1: i64 = -62_135_596_800_000_000;
const YEAR_10000: i64 = 253_402_300_800_000_000;

/// An identifier, quoted. Redshift folds even quoted ones to lower case, unless it is told
/// otherwise.
pub(super) fn name(identifier: &str) -> String {
    format!("\"{}\"", identifier.to_lowercase().replace('"', "\"\""))
}

/// An identifier as a literal, as the catalog has it: [`name`] makes it so.
pub(super) fn in_catalog(identifier: &str) -> String {
    text(&identifier.to_lowercase())
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

/// The most of a text that has no more than `bytes`. `LEFT` counts characters, which have one to
/// four bytes each.
pub(super) fn cut(text: &str, bytes: u32) -> String {
    let fits: String = (1..4)
        .map(|each| {
            let left = format!("LEFT({text}, {})", bytes / each);
            format!("WHEN OCTET_LENGTH({left}) <= {bytes} THEN {left} ")
        })
        .collect();
    format!("CASE {fits}ELSE LEFT({text}, {}) END", bytes / 4)
}

/// The instant `micros` (microseconds since the Unix epoch, UTC) as a `TIMESTAMP`.
///
/// The watermark of a lane can be as far away as an `i64` goes; what is beyond year 1 or 9999 is
/// clamped to it.
pub(super) fn instant(micros: i64) -> String {
    let clamped = micros.clamp(YEAR_1, YEAR_10000 - 1);
    let time = DateTime::from_timestamp_micros(clamped).unwrap_or_default();
    format!("TIMESTAMP '{}'", time.format("%Y-%m-%d %H:%M:%S%.6f"))
}

/// The same, for all instants that a window can start at, which may be before year 1. Literals are
/// only written of years with four digits.
pub(super) fn exact_instant(micros: i64) -> String {
    const DAY: i64 = 86_400_000_000;
    if micros >= YEAR_1 {
        return instant(micros);
    }
    let days = (micros - YEAR_1).div_euclid(DAY);
    format!(
        "DATEADD(day, {days}, {})",
        instant(YEAR_1 + (micros - YEAR_1).rem_euclid(DAY))
    )
}

/// The last instant that [`instant`] writes, which is also the watermark of a lane that has ended.
pub(super) fn last_instant() -> String {
    instant(YEAR_10000 - 1)
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
    /// Text: as wide as its files need it while it is staged, and as the table has it there.
    Text,
    /// Nested: JSON text in the file, `SUPER` in the table.
    Super,
}

impl Type {
    /// None if no column can have it.
    ///
    /// Instants become `TIMESTAMP` and hold UTC: whether `COPY` from Parquet fills a `TIMESTAMPTZ`
    /// is not documented.
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

    /// The SQL type in a staging table; text takes `bytes`.
    pub(super) fn staged(&self, bytes: u32) -> String {
        match self {
            Type::Plain(ty) => ty.clone(),
            Type::Text | Type::Super => format!("VARCHAR({bytes})"),
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

    /// Any value of the type, as a literal.
    pub(super) fn some_value(&self) -> &'static str {
        match self {
            Type::Text | Type::Super => "''",
            Type::Plain(ty) => match ty.as_str() {
                "BOOLEAN" => "FALSE",
                "DATE" => "DATE '1970-01-01'",
                "TIMESTAMP" => "TIMESTAMP '1970-01-01 00:00:00'",
                _ => "0",
            },
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
    /// Any value of the column's type.
    pub(super) some_value: &'static str,
}

/// A condition that compares two rows' columns for equality. Null equals null. Both sides of each
/// part are of one row, so that the join can hash: `a = b OR (a IS NULL AND b IS NULL)` would make
/// it a nested loop.
///
/// Redshift's `=` does not see blanks at the end of text, so lengths are compared too.
pub(super) fn equal(left: &str, right: &str, columns: &[Compared<'_>]) -> String {
    let pair = |column: &Compared<'_>| {
        let column_name = name(column.name);
        let (l, r) = (
            format!("{left}.{column_name}"),
            format!("{right}.{column_name}"),
        );
        let both = |side: &dyn Fn(&str) -> String| format!("{} = {}", side(&l), side(&r));
        let some = column.some_value;
        match (column.nullable, column.text) {
            (false, false) => both(&str::to_owned),
            (false, true) => format!(
                "{} AND {}",
                both(&str::to_owned),
                both(&|it| format!("OCTET_LENGTH({it})"))
            ),
            (true, true) => format!(
                "{} AND {}",
                both(&|it| format!("COALESCE({it}, {some})")),
                both(&|it| format!("COALESCE(OCTET_LENGTH({it}), -1)"))
            ),
            (true, false) => format!(
                "{} AND {}",
                both(&|it| format!("COALESCE({it}, {some})")),
                both(&|it| format!("CASE WHEN {it} IS NULL THEN 1 ELSE 0 END"))
            ),
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

/// A condition that says whether the row `left` is greater than the row `right`, comparing columns
/// from left to right, with null less than any value. Never null.
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
        assert_eq!(exact_instant(0), "TIMESTAMP '1970-01-01 00:00:00.000000'");
        assert_eq!(
            exact_instant(YEAR_1 - 1),
            "DATEADD(day, -1, TIMESTAMP '0001-01-01 23:59:59.999999')"
        );
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
            some_value: "''",
        };
        let number = Compared {
            name: "n",
            nullable: false,
            text: false,
            some_value: "0",
        };
        assert_eq!(
            equal("a", "b", &[word, number]),
            "COALESCE(a.\"word\", '') = COALESCE(b.\"word\", '') AND COALESCE(OCTET_LENGTH(a.\"word\"), -1) = \
             COALESCE(OCTET_LENGTH(b.\"word\"), -1) AND a.\"n\" = b.\"n\""
        );
        let null = Compared {
            nullable: true,
            ..number
        };
        assert_eq!(
            equal("a", "b", &[null]),
            "COALESCE(a.\"n\", 0) = COALESCE(b.\"n\", 0) AND CASE WHEN a.\"n\" IS NULL THEN 1 ELSE 0 END = \
             CASE WHEN b.\"n\" IS NULL THEN 1 ELSE 0 END"
        );
        assert_eq!(
            distinct(&[word, number]),
            "\"word\", OCTET_LENGTH(\"word\"), \"n\""
        );
    }
}
