//! The form in which events are stored, where a warehouse cannot take every value: nested columns
//! as JSON text, and no text that is longer than a column can be.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};
use arrow::record_batch::RecordBatch;

use crate::spec::StoredForm;

/// The schema of events as they are stored in that form.
pub(crate) fn stored_schema(schema: &SchemaRef, form: StoredForm) -> SchemaRef {
    if !form.nested_as_json || !schema.fields().iter().any(|f| f.data_type().is_nested()) {
        return Arc::clone(schema);
    }
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| match field.data_type().is_nested() {
            true => Field::new(field.name(), DataType::Utf8, field.is_nullable())
                .with_metadata([(JSON.to_owned(), String::new())].into()),
            false => field.as_ref().clone(),
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// The batch in the form of `stored`, which [`stored_schema`] has made from its schema.
pub(crate) fn to_stored(batch: RecordBatch, stored: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if Arc::ptr_eq(&batch.schema(), stored) {
        return Ok(batch);
    }
    let schema = batch.schema();
    let columns = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| match field.data_type().is_nested() {
            true => json_text(field, column),
            false => Ok(Arc::clone(column)),
        })
        .collect::<Result<_, _>>()?;
    RecordBatch::try_new(Arc::clone(stored), columns)
}

/// Each value of a nested column as a JSON text; null stays null.
fn json_text(field: &Arc<Field>, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(field, column, &options)?;
    let mut texts = Vec::with_capacity(column.len());
    for row in 0..column.len() {
        texts.push(if encoder.is_null(row) {
            None
        } else {
            let mut text = Vec::new();
            encoder.encode(row, &mut text);
            Some(
                String::from_utf8(text)
                    .map_err(|error| ArrowError::JsonError(error.to_string()))?,
            )
        });
    }
    Ok(Arc::new(StringArray::from(texts)))
}

/// What is wrong with a text for the warehouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Its length in bytes is more than a column can have.
    TooLong(usize),
    /// It has the character U+0000.
    Nul,
}

/// Texts that the warehouse cannot take: row, column, and what is wrong.
pub(crate) fn unfit(batch: &RecordBatch, bytes_max: usize) -> Vec<(usize, String, Unfit)> {
    let mut found = Vec::new();
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let Some(text) = column.as_string_opt::<i32>() else {
            continue;
        };
        let offsets = text.value_offsets();
        let (start, end) = (offsets[0] as usize, offsets[text.len()] as usize);
        let bytes = &text.value_data()[start..end];
        // JSON text has U+0000 as an escape.
        let json = field.data_type() == &DataType::Utf8 && is_json(field);
        let nul = memchr::memchr(0, bytes).is_some() || (json && has_nul_escape(bytes));
        // A whole chunk's text is seldom longer than one value may be.
        if bytes.len() <= bytes_max && !nul {
            continue;
        }
        for row in (0..text.len()).filter(|row| text.is_valid(*row)) {
            let value = text.value(row).as_bytes();
            let name = || field.name().clone();
            if value.len() > bytes_max {
                found.push((row, name(), Unfit::TooLong(value.len())));
            } else if nul && (value.contains(&0) || (json && has_nul_escape(value))) {
                found.push((row, name(), Unfit::Nul));
            }
        }
    }
    found
}

/// Marks a field that [`stored_schema`] has turned into JSON text.
const JSON: &str = "tidegate.json";

fn is_json(field: &Field) -> bool {
    field.metadata().contains_key(JSON)
}

/// Whether JSON text has U+0000 in a string: the escape, and not a backslash that is escaped
/// itself.
fn has_nul_escape(json: &[u8]) -> bool {
    memchr::memmem::find_iter(json, br"\u0000").any(|at| {
        let backslashes = json[..at]
            .iter()
            .rev()
            .take_while(|byte| **byte == b'\\')
            .count();
        backslashes.is_multiple_of(2)
    })
}
