//! The form in which events are stored, where a warehouse cannot take every value: nested columns as
//! JSON text, and no text that is longer than a column can be.

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
            true => Field::new(field.name(), DataType::Utf8, field.is_nullable()),
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

/// Rows with text that is longer than `bytes_max`: row, column and length in bytes.
pub(crate) fn too_long(batch: &RecordBatch, bytes_max: usize) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let Some(text) = column.as_string_opt::<i32>() else {
            continue;
        };
        // A whole chunk's text is seldom longer than one value may be.
        let offsets = text.value_offsets();
        if (offsets[text.len()] - offsets[0]) as usize <= bytes_max {
            continue;
        }
        for (row, ends) in offsets.windows(2).enumerate() {
            let length = (ends[1] - ends[0]) as usize;
            if length > bytes_max {
                found.push((row, field.name().clone(), length));
            }
        }
    }
    found
}
