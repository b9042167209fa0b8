//! Words for what DataFusion and Arrow say: names of SQL in place of their own structures.

use std::str::FromStr as _;

use arrow::datatypes::{DataType, Field};
use datafusion_common::DataFusionError;

/// What stands before a message, for those who write DataFusion and Arrow.
const PREFIXES: [&str; 12] = [
    "Error during planning: ",
    "Execution error: ",
    "Internal error: ",
    "Schema error: ",
    "Arrow error: ",
    "External error: ",
    "Optimizer error: ",
    "This feature is not implemented: ",
    "Compute error: ",
    "Invalid argument error: ",
    "Arithmetic overflow: ",
    "Cast error: ",
];
/// What stands after it.
const TAILS: [&str; 3] = [
    "This was likely caused",
    "This issue was likely caused",
    "\n\nbacktrace: ",
];

/// What an error says, in words for the person who wrote the expression, on one line.
pub fn words(error: &DataFusionError) -> String {
    tidy(&error.strip_backtrace())
}

pub(crate) fn tidy(said: &str) -> String {
    let said = TAILS
        .iter()
        .fold(said, |said, tail| said.split(tail).next().unwrap_or(said));
    if let Some(message) = unreadable_pattern(said) {
        return message;
    }
    if said.contains("Date arithmetic overflow") {
        return "the date has no room: it is beyond the years that a date can have".to_owned();
    }
    let said = PREFIXES
        .iter()
        .fold(said.to_owned(), |said, prefix| said.replace(prefix, ""));
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    in_sql(&lines.collect::<Vec<_>>().join(" "))
}

/// What the engine of regular expressions says of a pattern, of which it draws a picture.
pub(crate) fn unreadable_pattern(said: &str) -> Option<String> {
    let (_, report) = said
        .split_once("Regular expression did not compile: ")
        .or_else(|| said.split_once("regex parse error:"))?;
    let reason = match report.rsplit_once("error: ") {
        Some((_, reason)) => reason.lines().next().unwrap_or(reason).trim(),
        None if report.contains("CompiledTooBig") => "it is too big",
        None => return Some(format!("the pattern `{}` cannot be read", report.trim())),
    };
    Some(format!("the pattern cannot be read: {reason}"))
}

/// The same text with SQL's names of types in place of Arrow's.
fn in_sql(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = &rest[..word_length(rest)];
        if word.is_empty() {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let parentheses = parentheses(&rest[word.len()..]);
        let whole = &rest[..word.len() + parentheses];
        match DataType::from_str(whole).or_else(|_| DataType::from_str(word)) {
            Ok(ty) => {
                out.push_str(&type_name(&ty));
                let is_simple = DataType::from_str(word).is_ok();
                rest = &rest[if is_simple { word.len() } else { whole.len() }..];
            }
            // As it is printed for debugging.
            Err(_) if parentheses > 0 && matches!(word, "Struct" | "Map" | "List") => {
                out.push_str(&word.to_uppercase());
                rest = &rest[whole.len()..];
            }
            Err(_) => {
                out.push_str(word);
                rest = &rest[word.len()..];
            }
        }
    }
    out
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

/// How many bytes the parentheses have with which a text begins.
fn parentheses(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => (),
        }
        if depth == 0 {
            return if c == ')' { at + 1 } else { 0 };
        }
    }
    0
}

/// The name of a type in SQL.
pub fn type_name(ty: &DataType) -> String {
    let of = |field: &Field| type_name(field.data_type());
    match ty {
        DataType::Null => "NULL".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt8 => "TINYINT UNSIGNED".to_owned(),
        DataType::UInt16 => "SMALLINT UNSIGNED".to_owned(),
        DataType::UInt32 => "INT UNSIGNED".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        DataType::Float16 | DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".to_owned(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Date32 | DataType::Date64 => "DATE".to_owned(),
        DataType::Timestamp(..) => "TIMESTAMP".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        DataType::Duration(_) | DataType::Interval(_) => "INTERVAL".to_owned(),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "BYTEA".to_owned(),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => format!("LIST<{}>", of(item)),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                format!("MAP<{}, {}>", of(&pair[0]), of(&pair[1]))
            }
            _ => "MAP".to_owned(),
        },
        DataType::Struct(members) => {
            let members = members.iter();
            let members = members.map(|member| format!("{}: {}", member.name(), of(member)));
            format!("STRUCT<{}>", members.collect::<Vec<_>>().join(", "))
        }
        DataType::Dictionary(_, values) => type_name(values),
        DataType::RunEndEncoded(_, values) => of(values),
        DataType::Union(..) => "UNION".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_names_that_sql_gives_them() {
        for (said, expected) in [
            ("from Int64 to Utf8View.", "from BIGINT to VARCHAR."),
            ("f(Float64, Utf8)", "f(DOUBLE, VARCHAR)"),
            ("Int64 (a)", "BIGINT (a)"),
            ("Timestamp(µs, \"UTC\"), Date32", "TIMESTAMP, DATE"),
            ("Timestamp(Nanosecond, None)", "TIMESTAMP"),
            ("Interval(MonthDayNano)", "INTERVAL"),
            ("Duration(µs) is", "INTERVAL is"),
            ("List(Int64)", "LIST<BIGINT>"),
            (
                "Struct(\"a\": Int64, \"b\": non-null Utf8)!",
                "STRUCT<a: BIGINT, b: VARCHAR>!",
            ),
            (
                "Map(\"entries\": non-null Struct(\"key\": non-null Utf8, \"value\": Int64), \
                 unsorted)",
                "MAP<VARCHAR, BIGINT>",
            ),
            ("Struct([Field { name: \"a\" }])", "STRUCT"),
            ("an Int64x is as it is (ä)", "an Int64x is as it is (ä)"),
        ] {
            assert_eq!(tidy(said), expected);
        }
    }

    #[test]
    fn a_pattern_has_no_picture() {
        let said = "Internal error: failed to call 'x' Compute error: Regular expression did not \
            compile: Syntax(\n~~~\nregex parse error:\n    (\n    ^\nerror: unclosed group\n\
            ~~~\n).\nThis issue was likely caused by a bug in DataFusion's code.";
        assert_eq!(tidy(said), "the pattern cannot be read: unclosed group");
    }
}
