//! Which Parquet column goes into which column of a table: by position, and only where the types
//! agree.

use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::schema::types::Type;

use crate::errors::SqlError;

/// A column of the table, in the order in which the file brings them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetColumn {
    pub(crate) name: String,
    pub(crate) kind: ColumnType,
    /// As Redshift writes it.
    pub(crate) type_name: String,
    pub(crate) not_null: bool,
    /// Microseconds are taken for nanoseconds.
    pub(crate) misread: bool,
}

/// The types of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnType {
    Boolean,
    SmallInt,
    Integer,
    BigInt,
    Real,
    Double,
    Decimal {
        precision: u32,
        scale: u32,
    },
    Date,
    Timestamp,
    TimestampTz,
    /// VARCHAR and CHAR, with the most bytes.
    Text {
        bytes: usize,
    },
    VarByte,
    Super,
    Other,
}

impl TargetColumn {
    /// From a column of PostgreSQL's catalogue.
    pub(crate) fn new(name: String, type_name: &str, modifier: i32, not_null: bool) -> Self {
        let sized = |modifier: i32| usize::try_from(modifier - 4).unwrap_or(usize::MAX);
        let kind = match type_name {
            "bool" => ColumnType::Boolean,
            "int2" => ColumnType::SmallInt,
            "int4" => ColumnType::Integer,
            "int8" => ColumnType::BigInt,
            "float4" => ColumnType::Real,
            "float8" => ColumnType::Double,
            "numeric" => {
                let bits = u32::try_from(modifier - 4).unwrap_or_default();
                ColumnType::Decimal {
                    precision: bits >> 16,
                    scale: bits & 0x7ff,
                }
            }
            "date" => ColumnType::Date,
            "timestamp" => ColumnType::Timestamp,
            "timestamptz" => ColumnType::TimestampTz,
            "varchar" | "bpchar" => ColumnType::Text {
                bytes: sized(modifier),
            },
            "text" => ColumnType::Text { bytes: 65_535 },
            "bytea" => ColumnType::VarByte,
            "super" | "jsonb" => ColumnType::Super,
            _ => ColumnType::Other,
        };
        let type_name = match kind {
            ColumnType::Boolean => "BOOLEAN".to_owned(),
            ColumnType::SmallInt => "SMALLINT".to_owned(),
            ColumnType::Integer => "INTEGER".to_owned(),
            ColumnType::BigInt => "BIGINT".to_owned(),
            ColumnType::Real => "REAL".to_owned(),
            ColumnType::Double => "DOUBLE PRECISION".to_owned(),
            ColumnType::Decimal { precision, scale } => format!("DECIMAL({precision},{scale})"),
            ColumnType::Date => "DATE".to_owned(),
            ColumnType::Timestamp => "TIMESTAMP".to_owned(),
            ColumnType::TimestampTz => "TIMESTAMPTZ".to_owned(),
            ColumnType::Text { bytes } if type_name == "bpchar" => format!("CHAR({bytes})"),
            ColumnType::Text { bytes } => format!("VARCHAR({bytes})"),
            ColumnType::VarByte => "VARBYTE".to_owned(),
            ColumnType::Super => "SUPER".to_owned(),
            ColumnType::Other => type_name.to_uppercase(),
        };
        Self {
            name,
            kind,
            type_name,
            not_null,
            misread: false,
        }
    }
}

/// Checks one column of a file against the column that it goes into.
pub(crate) fn check(
    target: &TargetColumn,
    column: &Type,
    serialize_to_json: bool,
    url: &str,
    https: &str,
) -> Result<(), SqlError> {
    if fits(target.kind, column, serialize_to_json) {
        return length(target.kind, column, https);
    }
    Err(SqlError::spectrum(
        15007,
        format_args!(
            "File '{https}' has an incompatible Parquet schema for column '{url}.{name}'. Column type: {kind}, Parquet schema:\n{schema}",
            name = target.name,
            kind = target.type_name,
            schema = describe(column),
        ),
    ))
}

/// A decimal has as many bytes as its column's precision needs: G-Research/ParquetSharp#252,
/// pola-rs/polars#17929. Nobody has been seen to load one that is stored as a number.
fn length(kind: ColumnType, column: &Type, https: &str) -> Result<(), SqlError> {
    let ColumnType::Decimal { precision, .. } = kind else {
        return Ok(());
    };
    let expected = (1..16)
        .find(|bytes| 1_u128 << (8 * bytes - 1) >= 10_u128.pow(precision.min(38)))
        .unwrap_or(16);
    let found = match column {
        Type::PrimitiveType {
            physical_type: Physical::FIXED_LEN_BYTE_ARRAY,
            type_length,
            ..
        } if *type_length == expected => return Ok(()),
        Type::PrimitiveType {
            physical_type: Physical::INT32,
            ..
        } => 4,
        Type::PrimitiveType {
            physical_type: Physical::INT64,
            ..
        } => 8,
        Type::PrimitiveType { type_length, .. } => *type_length,
        Type::GroupType { .. } => 0,
    };
    Err(SqlError::spectrum(
        15001,
        format_args!(
            "File '{https}' has an invalid type length. Expecting: {expected} len in file: {found}"
        ),
    ))
}

fn fits(kind: ColumnType, column: &Type, serialize_to_json: bool) -> bool {
    if kind == ColumnType::Super {
        return serialize_to_json;
    }
    if column.is_group()
        || column.get_basic_info().has_repetition()
            && column.get_basic_info().repetition() == Repetition::REPEATED
    {
        return false;
    }
    let info = column.get_basic_info();
    let logical = info.logical_type_ref().cloned();
    let converted = info.converted_type();
    let plain = logical.is_none() && converted == ConvertedType::NONE;
    let signed = |bits: i8| {
        matches!(&logical, Some(LogicalType::Integer { bit_width, is_signed: true }) if *bit_width <= bits)
            || (logical.is_none()
                && match converted {
                    ConvertedType::INT_8 => bits >= 8,
                    ConvertedType::INT_16 => bits >= 16,
                    ConvertedType::INT_32 => bits >= 32,
                    ConvertedType::INT_64 => bits >= 64,
                    _ => false,
                })
    };
    let unit = match &logical {
        Some(LogicalType::Timestamp { unit, .. }) => Some(*unit),
        None if converted == ConvertedType::TIMESTAMP_MICROS => Some(TimeUnit::MICROS),
        None if converted == ConvertedType::TIMESTAMP_MILLIS => Some(TimeUnit::MILLIS),
        _ => None,
    };
    let text = matches!(
        logical,
        Some(LogicalType::String | LogicalType::Enum | LogicalType::Json)
    ) || logical.is_none()
        && matches!(
            converted,
            ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON
        );
    let physical = column.get_physical_type();
    match (kind, physical) {
        (ColumnType::Boolean, Physical::BOOLEAN) => true,
        (ColumnType::SmallInt, Physical::INT32) => signed(16),
        (ColumnType::Integer, Physical::INT32) => plain || signed(32),
        (ColumnType::BigInt, Physical::INT64) => plain || signed(64),
        (ColumnType::Real, Physical::FLOAT) => true,
        (ColumnType::Double, Physical::DOUBLE) => true,
        (ColumnType::Decimal { precision, scale }, _) => match &logical {
            Some(LogicalType::Decimal {
                scale: s,
                precision: p,
            }) => {
                u32::try_from(*s).is_ok_and(|s| s == scale)
                    && u32::try_from(*p).is_ok_and(|p| p <= precision)
            }
            _ => false,
        },
        (ColumnType::Date, Physical::INT32) => {
            logical == Some(LogicalType::Date) || converted == ConvertedType::DATE
        }
        (ColumnType::Timestamp | ColumnType::TimestampTz, Physical::INT96) => true,
        (ColumnType::Timestamp | ColumnType::TimestampTz, Physical::INT64) => match unit {
            Some(TimeUnit::MICROS) => {
                if kind == ColumnType::TimestampTz {
                    tracing::warn!("INT64 timestamps into TIMESTAMPTZ: not verified on Redshift");
                }
                true
            }
            Some(TimeUnit::MILLIS) => {
                tracing::warn!("timestamps in milliseconds: not verified on Redshift");
                true
            }
            _ => false,
        },
        (ColumnType::Text { .. }, Physical::BYTE_ARRAY) => text,
        (ColumnType::VarByte, Physical::BYTE_ARRAY) => plain,
        _ => false,
    }
}

/// As Redshift prints it: `optional int64 name [i:0 d:1 r:0]`, without the levels.
fn describe(column: &Type) -> String {
    let info = column.get_basic_info();
    let repetition = match info.has_repetition().then(|| info.repetition()) {
        Some(Repetition::OPTIONAL) => "optional",
        Some(Repetition::REPEATED) => "repeated",
        _ => "required",
    };
    let physical = if column.is_group() {
        "group".to_owned()
    } else {
        column.get_physical_type().to_string().to_lowercase()
    };
    let annotation = match (info.logical_type_ref(), info.converted_type()) {
        (Some(logical), _) => format!(" ({logical:?})"),
        (None, ConvertedType::NONE) => String::new(),
        (None, converted) => format!(" ({converted})"),
    };
    format!("{repetition} {physical} {}{annotation}", info.name())
}
