//! Growing columns: decode appends values straight from the JSON text, and takes back the row of a
//! record that turns out to be bad.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, BooleanBufferBuilder, Date32Array, Decimal128Array,
    Float64Array, Int32Array, Int64Array, ListArray, MapArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::error::ArrowError;
use tidegate_base::time::{self, UTC};
use tidegate_expr::instant;

use super::object::Object;
use super::strings::{Nulls, Strings};
use super::value;
use crate::json::{DecodeFault, Reader};
use crate::reject::Code;
use crate::spec::{EpochUnit, FieldType};

/// The Arrow type that a field type becomes.
pub fn arrow_type(ty: &FieldType) -> DataType {
    match ty {
        FieldType::String => DataType::Utf8,
        FieldType::Int32 => DataType::Int32,
        FieldType::Int64 => DataType::Int64,
        FieldType::Float64 => DataType::Float64,
        FieldType::Bool => DataType::Boolean,
        FieldType::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale as i8),
        FieldType::Timestamp | FieldType::EpochTimestamp(_) => instant(),
        FieldType::Date => DataType::Date32,
        FieldType::List(item) => {
            DataType::List(Arc::new(Field::new("item", arrow_type(item), true)))
        }
        FieldType::Map(value) => DataType::Map(Arc::new(entries_field(arrow_type(value))), false),
        FieldType::Struct(fields) => DataType::Struct(
            fields
                .iter()
                .map(|(name, ty)| Field::new(name, arrow_type(ty), true))
                .collect(),
        ),
    }
}

fn entries_field(value: DataType) -> Field {
    Field::new("entries", DataType::Struct(entry_fields(value)), false)
}

fn entry_fields(value: DataType) -> Fields {
    Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", value, true),
    ])
}

/// One column of the schema, at any depth.
#[derive(Debug)]
pub(crate) struct ColumnBuilder {
    nulls: Nulls,
    values: Values,
}

#[derive(Debug)]
enum Values {
    String(Strings),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float64(Vec<f64>),
    Bool(BooleanBufferBuilder),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: u8,
    },
    Timestamp(Vec<i64>),
    Epoch {
        values: Vec<i64>,
        micros: i64,
    },
    Date(Vec<i32>),
    List {
        offsets: Vec<i32>,
        item: Box<ColumnBuilder>,
    },
    Map {
        offsets: Vec<i32>,
        keys: Strings,
        value: Box<ColumnBuilder>,
    },
    Struct {
        len: usize,
        object: Object,
    },
}

impl ColumnBuilder {
    pub(crate) fn new(ty: &FieldType) -> Self {
        let values = match ty {
            FieldType::String => Values::String(Strings::default()),
            FieldType::Int32 => Values::Int32(Vec::new()),
            FieldType::Int64 => Values::Int64(Vec::new()),
            FieldType::Float64 => Values::Float64(Vec::new()),
            FieldType::Bool => Values::Bool(BooleanBufferBuilder::new(0)),
            FieldType::Decimal { precision, scale } => Values::Decimal {
                values: Vec::new(),
                precision: *precision,
                scale: *scale,
            },
            FieldType::Timestamp => Values::Timestamp(Vec::new()),
            FieldType::EpochTimestamp(unit) => Values::Epoch {
                values: Vec::new(),
                micros: match unit {
                    EpochUnit::Seconds => time::MICROS,
                    EpochUnit::Millis => 1000,
                    EpochUnit::Micros => 1,
                },
            },
            FieldType::Date => Values::Date(Vec::new()),
            FieldType::List(item) => Values::List {
                offsets: vec![0],
                item: Box::new(ColumnBuilder::new(item)),
            },
            FieldType::Map(value) => Values::Map {
                offsets: vec![0],
                keys: Strings::default(),
                value: Box::new(ColumnBuilder::new(value)),
            },
            FieldType::Struct(fields) => Values::Struct {
                len: 0,
                object: Object::new(fields.iter().map(|(name, ty)| (name.as_str(), ty, false))),
            },
        };
        ColumnBuilder {
            nulls: Nulls::default(),
            values,
        }
    }

    /// The object within this column, if there is one: a struct, or the struct in a list or a map.
    pub(crate) fn object(&mut self) -> Option<&mut Object> {
        match &mut self.values {
            Values::Struct { object, .. } => Some(object),
            Values::List { item, .. } => item.object(),
            Values::Map { value, .. } => value.object(),
            _ => None,
        }
    }

    fn len(&self) -> usize {
        match &self.values {
            Values::String(strings) => strings.len(),
            Values::Int32(v) | Values::Date(v) => v.len(),
            Values::Int64(v) | Values::Timestamp(v) | Values::Epoch { values: v, .. } => v.len(),
            Values::Float64(v) => v.len(),
            Values::Bool(v) => v.len(),
            Values::Decimal { values, .. } => values.len(),
            Values::List { offsets, .. } | Values::Map { offsets, .. } => offsets.len() - 1,
            Values::Struct { len, .. } => *len,
        }
    }

    /// Cuts the column back to `len` rows.
    pub(crate) fn truncate(&mut self, len: usize) {
        if self.len() <= len {
            // A value is pushed before its null bit, and a list's items before its end.
            if let Values::List { offsets, item } = &mut self.values {
                item.truncate(offsets[offsets.len() - 1] as usize);
            }
            if let Values::Map {
                offsets,
                keys,
                value,
            } = &mut self.values
            {
                let end = offsets[offsets.len() - 1] as usize;
                keys.truncate(end);
                value.truncate(end);
            }
            if let Values::Struct { object, .. } = &mut self.values {
                object.truncate(len);
            }
            if let Values::String(strings) = &mut self.values {
                strings.truncate(len);
            }
            return;
        }
        self.nulls.truncate(len);
        match &mut self.values {
            Values::String(strings) => strings.truncate(len),
            Values::Int32(v) | Values::Date(v) => v.truncate(len),
            Values::Int64(v) | Values::Timestamp(v) | Values::Epoch { values: v, .. } => {
                v.truncate(len)
            }
            Values::Float64(v) => v.truncate(len),
            Values::Bool(v) => v.truncate(len),
            Values::Decimal { values, .. } => values.truncate(len),
            Values::List { offsets, item } => {
                offsets.truncate(len + 1);
                item.truncate(offsets[len] as usize);
            }
            Values::Map {
                offsets,
                keys,
                value,
            } => {
                offsets.truncate(len + 1);
                keys.truncate(offsets[len] as usize);
                value.truncate(offsets[len] as usize);
            }
            Values::Struct { len: rows, object } => {
                *rows = len;
                object.truncate(len);
            }
        }
    }

    /// Appends a null.
    pub(crate) fn push_null(&mut self) {
        match &mut self.values {
            Values::String(strings) => strings.push_empty(),
            Values::Int32(v) | Values::Date(v) => v.push(0),
            Values::Int64(v) | Values::Timestamp(v) | Values::Epoch { values: v, .. } => v.push(0),
            Values::Float64(v) => v.push(0.0),
            Values::Bool(v) => v.append(false),
            Values::Decimal { values, .. } => values.push(0),
            Values::List { offsets, .. } | Values::Map { offsets, .. } => {
                let end = offsets[offsets.len() - 1];
                offsets.push(end);
            }
            Values::Struct { len, object } => {
                *len += 1;
                object.push_nulls();
            }
        }
        self.nulls.push(false);
    }

    /// Appends the value that the reader stands before; null included. Says whether it was null.
    #[inline]
    pub(crate) fn push(
        &mut self,
        reader: &mut Reader<'_>,
        depth: usize,
    ) -> Result<bool, DecodeFault> {
        if reader.peek() == b'n' {
            reader.literal("null")?;
            self.push_null();
            return Ok(true);
        }
        self.push_value(reader, depth)?;
        self.nulls.push(true);
        Ok(false)
    }

    #[inline]
    fn push_value(&mut self, reader: &mut Reader<'_>, depth: usize) -> Result<(), DecodeFault> {
        match &mut self.values {
            Values::String(strings) => {
                return strings.push(value::string(reader, depth, "expected a string")?);
            }
            Values::Float64(values) => values.push(value::float64(reader, depth)?),
            Values::Int64(values) => values.push(value::int64(reader, depth)?),
            Values::Int32(values) => values.push(value::int32(reader, depth)?),
            Values::Bool(values) => values.append(value::boolean(reader, depth)?),
            Values::Decimal {
                values,
                precision,
                scale,
            } => values.push(value::decimal(reader, depth, *precision, *scale)?),
            Values::Timestamp(values) => values.push(value::timestamp(reader, depth)?),
            Values::Epoch { values, micros } => values.push(value::epoch(reader, depth, *micros)?),
            Values::Date(values) => values.push(value::date(reader, depth)?),
            Values::List { offsets, item } => return push_list(offsets, item, reader, depth),
            Values::Map {
                offsets,
                keys,
                value,
            } => return push_map(offsets, keys, value, reader, depth),
            Values::Struct { len, object } => {
                let depth = value::open(b'{', "expected an object", reader, depth)?;
                object.push(reader, depth).map_err(|(_, fault)| fault)?;
                *len += 1;
            }
        }
        Ok(())
    }

    /// The rows as an array; the column is empty afterwards.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        fn take<T>(values: &mut Vec<T>) -> ScalarBuffer<T>
        where
            T: arrow::datatypes::ArrowNativeType,
        {
            let next = Vec::with_capacity(values.len());
            ScalarBuffer::from(std::mem::replace(values, next))
        }
        fn ends(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
            OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])))
        }
        let rows = self.len();
        let nulls = &mut self.nulls;
        Ok(match &mut self.values {
            Values::String(strings) => Arc::new(strings.finish(nulls)?),
            Values::Int32(v) => Arc::new(Int32Array::try_new(take(v), nulls.finish())?),
            Values::Date(v) => Arc::new(Date32Array::try_new(take(v), nulls.finish())?),
            Values::Int64(v) => Arc::new(Int64Array::try_new(take(v), nulls.finish())?),
            Values::Timestamp(v) | Values::Epoch { values: v, .. } => Arc::new(
                TimestampMicrosecondArray::try_new(take(v), nulls.finish())?.with_timezone(UTC),
            ),
            Values::Float64(v) => Arc::new(Float64Array::try_new(take(v), nulls.finish())?),
            Values::Bool(v) => Arc::new(BooleanArray::new(v.finish(), nulls.finish())),
            Values::Decimal {
                values,
                precision,
                scale,
            } => Arc::new(
                Decimal128Array::try_new(take(values), nulls.finish())?
                    .with_precision_and_scale(*precision, *scale as i8)?,
            ),
            Values::List { offsets, item } => {
                let items = item.finish()?;
                let field = Arc::new(Field::new("item", items.data_type().clone(), true));
                Arc::new(ListArray::try_new(
                    field,
                    ends(offsets),
                    items,
                    nulls.finish(),
                )?)
            }
            Values::Map {
                offsets,
                keys,
                value,
            } => {
                let values = value.finish()?;
                let entries = StructArray::try_new(
                    entry_fields(values.data_type().clone()),
                    vec![Arc::new(keys.finish(&mut Nulls::default())?), values],
                    None,
                )?;
                let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
                Arc::new(MapArray::try_new(
                    field,
                    ends(offsets),
                    entries,
                    nulls.finish(),
                    false,
                )?)
            }
            Values::Struct { len, object } => {
                *len = 0;
                let (names, arrays) = object.finish()?;
                let fields: Fields = names
                    .into_iter()
                    .zip(&arrays)
                    .map(|(name, array)| Field::new(name, array.data_type().clone(), true))
                    .collect();
                Arc::new(StructArray::try_new_with_length(
                    fields,
                    arrays,
                    nulls.finish(),
                    rows,
                )?)
            }
        })
    }
}

fn push_list(
    offsets: &mut Vec<i32>,
    item: &mut ColumnBuilder,
    reader: &mut Reader<'_>,
    depth: usize,
) -> Result<(), DecodeFault> {
    let depth = value::open(b'[', "expected an array", reader, depth)?;
    let mut more = !reader.eat(b']');
    while more {
        item.push(reader, depth)?;
        more = reader.more(b']')?;
    }
    offsets.push(end_offset(item.len(), reader)?);
    Ok(())
}

fn push_map(
    offsets: &mut Vec<i32>,
    keys: &mut Strings,
    value: &mut ColumnBuilder,
    reader: &mut Reader<'_>,
    depth: usize,
) -> Result<(), DecodeFault> {
    let depth = value::open(b'{', "expected an object", reader, depth)?;
    let first = keys.len();
    let mut more = !reader.eat(b'}');
    while more {
        let key = reader.string()?;
        keys.push(key)?;
        reader.colon()?;
        value.push(reader, depth)?;
        more = reader.more(b'}')?;
    }
    if !keys.are_different_from(first) {
        return Err(DecodeFault {
            code: Code::DuplicateKey,
            at: reader.at(),
            what: "the same key twice in a map",
        });
    }
    offsets.push(end_offset(keys.len(), reader)?);
    Ok(())
}

fn end_offset(len: usize, reader: &Reader<'_>) -> Result<i32, DecodeFault> {
    i32::try_from(len).map_err(|_| DecodeFault {
        code: Code::TooLarge,
        at: reader.at(),
        what: "more than 2^31 items",
    })
}
