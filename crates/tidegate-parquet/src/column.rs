//! Which encoder a column has.

use arrow::datatypes::{DataType, Field, TimeUnit};
use parquet::basic::Type;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnDescPtr;

use crate::fixed::{Fixed, NumberType};
use crate::int96::Instants;
use crate::leaf::{Encode, Leaf, LeafOptions};
use crate::map::Map;
use crate::text::TextPage;

/// The encoder of a column with these leaves; none where the `parquet` crate's is to be taken.
pub(crate) fn encoder(
    field: &Field,
    leaves: &[ColumnDescPtr],
    properties: &WriterProperties,
) -> Option<Box<dyn Encode>> {
    let options: Vec<LeafOptions> = leaves
        .iter()
        .map(|leaf| LeafOptions::new(properties, leaf))
        .collect::<Option<_>>()?;
    match (field.data_type(), options.as_slice()) {
        (DataType::Utf8, [leaf]) => {
            let text = TextPage::new(leaf)?;
            Some(Box::new(Leaf::new(leaf, text)))
        }
        (DataType::Int32 | DataType::Date32, [leaf]) => fixed::<i32>(leaf, Type::INT32),
        (DataType::Int64, [leaf]) => fixed::<i64>(leaf, Type::INT64),
        (DataType::Timestamp(TimeUnit::Microsecond, _), [leaf])
            if leaf.descriptor.physical_type() == Type::INT96 =>
        {
            let plain = LeafOptions {
                dictionary_bytes: None,
                ..leaf.clone()
            };
            Some(Box::new(Leaf::new(&plain, Instants::new(leaf)?)))
        }
        (DataType::Timestamp(..), [leaf]) => fixed::<i64>(leaf, Type::INT64),
        (DataType::Float32, [leaf]) => fixed::<f32>(leaf, Type::FLOAT),
        (DataType::Float64, [leaf]) => fixed::<f64>(leaf, Type::DOUBLE),
        (DataType::Map(entries, _), [keys, values]) if is_text_to_text(entries) => {
            Some(Box::new(Map::new(field.is_nullable(), keys, values)?))
        }
        _ => None,
    }
}

fn fixed<T: NumberType>(leaf: &LeafOptions, physical: Type) -> Option<Box<dyn Encode>> {
    if leaf.descriptor.physical_type() != physical {
        return None;
    }
    let values = Fixed::<T>::new(leaf)?;
    Some(Box::new(Leaf::new(leaf, values)))
}

fn is_text_to_text(entries: &Field) -> bool {
    let DataType::Struct(fields) = entries.data_type() else {
        return false;
    };
    fields
        .iter()
        .all(|field| *field.data_type() == DataType::Utf8)
}
