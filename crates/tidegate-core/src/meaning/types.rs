//! Types as the log names them.

use arrow::datatypes::{DataType, TimeUnit};
use tidegate_expr::instant;

use crate::decode::arrow_type;
use crate::spec::FieldType;

/// The name of a type, as the configuration writes it where it can. It is in the log: a name that
/// was given stays.
pub fn type_name(ty: &DataType) -> String {
    match ty {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "string".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::Int8 => "int8".to_owned(),
        DataType::Int16 => "int16".to_owned(),
        DataType::Int32 => "int32".to_owned(),
        DataType::Int64 => "int64".to_owned(),
        DataType::UInt8 => "uint8".to_owned(),
        DataType::UInt16 => "uint16".to_owned(),
        DataType::UInt32 => "uint32".to_owned(),
        DataType::UInt64 => "uint64".to_owned(),
        DataType::Float32 => "float32".to_owned(),
        DataType::Float64 => "float64".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => "timestamp".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::List(item) => format!("list<{}>", type_name(item.data_type())),
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|field| format!("{}: {}", field.name(), type_name(field.data_type())))
                .collect();
            format!("struct<{}>", fields.join(", "))
        }
        other => format!("{other:?}").to_lowercase(),
    }
}

/// The type that [`type_name`] has given this name; none if the name does not say it.
pub(super) fn named_type(name: &str) -> Option<DataType> {
    Some(match name {
        "int8" => DataType::Int8,
        "int16" => DataType::Int16,
        "uint8" => DataType::UInt8,
        "uint16" => DataType::UInt16,
        "uint32" => DataType::UInt32,
        "uint64" => DataType::UInt64,
        "float32" => DataType::Float32,
        "timestamp" => instant(),
        // A name that the parser takes for something else is not one of these.
        name => {
            let parsed = name.parse::<FieldType>().ok().map(|ty| arrow_type(&ty));
            parsed.filter(|ty| type_name(ty) == name)?
        }
    })
}

/// Whether each value of a type is, unchanged, one of a wider type.
pub(crate) fn widens(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Int32, DataType::Int64) | (DataType::Float32, DataType::Float64) => true,
        (DataType::Decimal128(p, s), DataType::Decimal128(wider, scale)) => {
            s == scale && p <= wider
        }
        (from, to) => from == to,
    }
}
