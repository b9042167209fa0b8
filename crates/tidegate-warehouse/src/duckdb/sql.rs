//! Pieces of DuckDB's SQL: names, literals, types, and how a column of a file becomes one of a
//! table.

use arrow::datatypes::{DataType, Field, TimeUnit};

/// The beginning of the year 10000, in microseconds since the Unix epoch.
const YEAR_10000: i64 = 253_402_300_800_000_000;

/// An identifier, quoted.
pub(crate) fn name(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// Identifiers, quoted, with commas between.
pub(crate) fn names<'a>(identifiers: impl IntoIterator<Item = &'a str>) -> String {
    identifiers
        .into_iter()
        .map(name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// A text literal.
pub(crate) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// The SQL type of an Arrow type; none if no column can have it.
///
/// Timestamps become `TIMESTAMP` and hold UTC, whatever zone the Arrow type names. `TIMESTAMP WITH
/// TIME ZONE` would print in the zone of whoever looks, and most functions on it need DuckDB's ICU
/// extension, which static builds lack.
pub(crate) fn sql_type(ty: &DataType) -> Option<String> {
    let simple = match ty {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INTEGER",
        DataType::Int64 => "BIGINT",
        DataType::UInt8 => "UTINYINT",
        DataType::UInt16 => "USMALLINT",
        DataType::UInt32 => "UINTEGER",
        DataType::UInt64 => "UBIGINT",
        DataType::Float16 | DataType::Float32 => "FLOAT",
        DataType::Float64 => "DOUBLE",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR",
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "BLOB",
        DataType::Date32 | DataType::Date64 => "DATE",
        DataType::Time32(_) | DataType::Time64(_) => "TIME",
        DataType::Timestamp(TimeUnit::Nanosecond, None) => "TIMESTAMP_NS",
        DataType::Timestamp(..) => "TIMESTAMP",
        _ => return nested_type(ty),
    };
    Some(simple.to_owned())
}

fn nested_type(ty: &DataType) -> Option<String> {
    match ty {
        DataType::Decimal128(precision, scale) if *scale >= 0 => {
            Some(format!("DECIMAL({precision},{scale})"))
        }
        DataType::Dictionary(_, value) => sql_type(value),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(format!("{}[]", sql_type(item.data_type())?))
        }
        DataType::Struct(fields) if !fields.is_empty() => {
            Some(format!("STRUCT({})", members(fields)?))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                let (key, value) = (fields[0].data_type(), fields[1].data_type());
                Some(format!("MAP({}, {})", sql_type(key)?, sql_type(value)?))
            }
            _ => None,
        },
        _ => None,
    }
}

fn members(fields: &arrow::datatypes::Fields) -> Option<String> {
    let member = |field: &std::sync::Arc<Field>| {
        Some(format!(
            "{} {}",
            name(field.name()),
            sql_type(field.data_type())?
        ))
    };
    Some(
        fields
            .iter()
            .map(member)
            .collect::<Option<Vec<_>>>()?
            .join(", "),
    )
}

/// An expression that reads the value of `expression`, which has the type `found`, as `wanted`.
///
/// A timestamp that Parquet marks as adjusted to UTC comes as `TIMESTAMP WITH TIME ZONE`. Its
/// microseconds are taken as they are, which is UTC and ten times faster than the cast. Within
/// nested types it is cast; the session's time zone is UTC.
pub(crate) fn read_as(expression: &str, found: &str, wanted: &str) -> String {
    match found {
        found if found == wanted => expression.to_owned(),
        "TIMESTAMP WITH TIME ZONE" if wanted == "TIMESTAMP" => {
            format!("make_timestamp(epoch_us({expression}))")
        }
        _ => format!("CAST({expression} AS {wanted})"),
    }
}

/// The type that a column of a table has for values of files that have this one: see [`sql_type`].
pub(crate) fn table_type(found: &str) -> String {
    // Every second piece is a name of a struct's member, in quotes.
    let pieces = found.split('"').enumerate().map(|(place, piece)| {
        if place % 2 == 0 {
            piece.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMP")
        } else {
            piece.to_owned()
        }
    });
    pieces.collect::<Vec<_>>().join("\"")
}

/// Whether a column of the type `wider` holds every value of another, as it is or as text.
pub(crate) fn holds(wider: &str, ty: &str) -> bool {
    let digits = |ty: &str| {
        let (digits, scale) = ty
            .strip_prefix("DECIMAL(")?
            .strip_suffix(')')?
            .split_once(',')?;
        Some((digits.parse::<u8>().ok()?, scale.to_owned()))
    };
    match (wider, ty) {
        ("BIGINT", "INTEGER") | ("DOUBLE", "FLOAT") | ("VARCHAR", _) => true,
        (wider, ty) => match (digits(wider), digits(ty)) {
            (Some((more, same)), Some((digits, scale))) => same == scale && more >= digits,
            _ => wider == ty,
        },
    }
}

/// A condition that compares two rows' columns for equality.
///
/// With `nullable`, null equals null; DuckDB joins about half as fast then.
pub(crate) fn equal(left: &str, right: &str, columns: &[&str], nullable: bool) -> String {
    let operator = if nullable {
        "IS NOT DISTINCT FROM"
    } else {
        "="
    };
    let pair = |column: &&str| format!("{left}.{c} {operator} {right}.{c}", c = name(column));
    columns.iter().map(pair).collect::<Vec<_>>().join(" AND ")
}

/// A condition that says whether the row `left` is greater than the row `right`, comparing columns
/// from left to right, with null less than any value. Never null.
pub(crate) fn greater(left: &str, right: &str, columns: &[&str]) -> String {
    let mut sql = String::from("false");
    for column in columns.iter().rev() {
        let (l, r) = (
            format!("{left}.{}", name(column)),
            format!("{right}.{}", name(column)),
        );
        let above = format!("coalesce({l} > {r}, {r} IS NULL AND {l} IS NOT NULL)");
        sql = format!("({above} OR ({l} IS NOT DISTINCT FROM {r} AND {sql}))");
    }
    sql
}

/// Columns of the row `row` to sort by, greatest first, nulls last, each with a comma after it.
pub(crate) fn descending(row: &str, columns: &[&str]) -> String {
    columns
        .iter()
        .map(|column| format!("{row}.{} DESC NULLS LAST, ", name(column)))
        .collect()
}

/// Columns of the row `row`, with commas between.
pub(crate) fn qualified(row: &str, columns: &[&str]) -> String {
    columns
        .iter()
        .map(|column| format!("{row}.{}", name(column)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The instant `micros` (microseconds since the Unix epoch, UTC) as a `TIMESTAMP`.
///
/// The watermark of a lane can be as far away as an `i64` goes; what is beyond year 1 or 9999 is
/// clamped to it.
pub(crate) fn instant(micros: i64) -> String {
    const YEAR_1: i64 = -62_135_596_800_000_000;
    format!("make_timestamp({})", micros.clamp(YEAR_1, YEAR_10000 - 1))
}

/// The last instant that [`instant`] writes, which is also the watermark of a lane that has ended.
pub(crate) fn last_instant() -> String {
    instant(YEAR_10000 - 1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(name("a\"b"), "\"a\"\"b\"");
        assert_eq!(text("it's"), "'it''s'");
    }

    #[test]
    fn a_table_has_instants_without_a_zone_and_names_as_they_are() {
        let zone = "TIMESTAMP WITH TIME ZONE";
        assert_eq!(
            table_type(&format!("STRUCT(a {zone}, \"\"\"{zone}\" {zone})[]")),
            format!("STRUCT(a TIMESTAMP, \"\"\"{zone}\" TIMESTAMP)[]")
        );
        assert_eq!(table_type("DECIMAL(18,2)"), "DECIMAL(18,2)");
    }

    #[test]
    fn a_column_holds_what_loses_nothing_in_it() {
        for (wider, ty) in [
            ("BIGINT", "INTEGER"),
            ("DOUBLE", "FLOAT"),
            ("DECIMAL(20,2)", "DECIMAL(18,2)"),
            ("VARCHAR", "DATE"),
            ("DATE", "DATE"),
        ] {
            assert!(holds(wider, ty), "{wider}, {ty}");
            assert!(wider == ty || !holds(ty, wider), "{ty}, {wider}");
        }
        assert!(!holds("DECIMAL(20,2)", "DOUBLE"));
        assert!(!holds("DECIMAL(20,2)", "DECIMAL(18,3)"));
    }

    #[test]
    fn nested_types_have_names() {
        let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let fields = vec![
            Field::new("a", DataType::Int64, true),
            Field::new("at", at, true),
        ];
        let list = DataType::List(Arc::new(Field::new(
            "item",
            DataType::Struct(fields.into()),
            true,
        )));
        assert_eq!(
            sql_type(&list).unwrap(),
            "STRUCT(\"a\" BIGINT, \"at\" TIMESTAMP)[]"
        );
        assert_eq!(sql_type(&DataType::Null), None);
    }
}
