//! Reference tables: read from their files, and read again when these change.

use std::fmt::Display;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType, Field, Schema};
use tidegate_base::chunk::{Chunk, Payload};
use tidegate_base::lock;
use tidegate_core::decode::{Decoder, arrow_type};
use tidegate_core::lookup::LookupTable;
use tidegate_core::spec::{FieldSpec, FieldType, LookupSpec};

use crate::error::{EngineError, LookupFault};
use crate::options::LookupSource;
use crate::shared::Shared;
use crate::work::CurrentLookups;

/// A reference table is meant to fit into memory easily.
const BYTES_MAX: u64 = 1 << 30;

/// What is wrong with the files of the lookups, by reading them as a run would.
pub fn check_lookups(specs: &[LookupSpec], sources: &[LookupSource]) -> Vec<EngineError> {
    let read = specs.iter().zip(sources);
    read.filter_map(|(spec, source)| load(spec, source).err())
        .collect()
}

/// Reads one reference table.
pub(crate) fn load(spec: &LookupSpec, source: &LookupSource) -> Result<LookupTable, EngineError> {
    read(spec, &source.path).map_err(|fault| EngineError::Lookup {
        name: spec.name.clone(),
        path: source.path.clone(),
        fault,
    })
}

fn read(spec: &LookupSpec, path: &Path) -> Result<LookupTable, LookupFault> {
    let file = std::fs::metadata(path).map_err(unread)?;
    if file.is_dir() {
        return Err(LookupFault::File("it is a folder".to_owned()));
    }
    if file.len() > BYTES_MAX {
        return Err(LookupFault::TooLarge {
            size: file.len(),
            max: BYTES_MAX,
        });
    }
    let is_json = path
        .extension()
        .is_some_and(|e| e == "json" || e == "ndjson" || e == "jsonl");
    let mut columns = if is_json {
        read_json(spec, path)?
    } else {
        read_csv(spec, path)?
    };
    let key = columns.remove(0);
    Ok(LookupTable::new(key.as_string::<i32>(), columns)?)
}

fn unread(error: impl Display) -> LookupFault {
    LookupFault::File(error.to_string())
}

fn bad_line(error: impl Display) -> LookupFault {
    LookupFault::Line(error.to_string())
}

/// The key as text, then the columns that are taken over.
fn read_csv(spec: &LookupSpec, path: &Path) -> Result<Vec<ArrayRef>, LookupFault> {
    let header = {
        let file = File::open(path).map_err(unread)?;
        let format = arrow::csv::reader::Format::default().with_header(true);
        let (schema, _) = format.infer_schema(file, Some(0)).map_err(bad_line)?;
        schema
    };
    if header.fields().is_empty() {
        return Err(LookupFault::Empty);
    }
    let text: Vec<Field> = header
        .fields()
        .iter()
        .map(|f| Field::new(f.name(), DataType::Utf8, true))
        .collect();
    let schema = Arc::new(Schema::new(text));
    let file = File::open(path).map_err(unread)?;
    let reader = ReaderBuilder::new(Arc::clone(&schema))
        .with_header(true)
        .build(file)
        .map_err(bad_line)?;
    let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>().map_err(bad_line)?;
    let all = concat_batches(&schema, &batches).map_err(bad_line)?;
    let find = |name: &str| {
        let column = all.column_by_name(name).cloned();
        column.ok_or_else(|| LookupFault::NoColumn {
            column: name.to_owned(),
            known: schema.fields().iter().map(|f| f.name().clone()).collect(),
        })
    };
    let key = find(&spec.key)?;
    let mut columns = vec![Arc::clone(&key)];
    for column in &spec.columns {
        let text = find(&column.from)?;
        let values = typed(&text, &column.ty, &key).map_err(|message| LookupFault::Value {
            column: column.from.clone(),
            message,
        })?;
        columns.push(values);
    }
    Ok(columns)
}

/// The values of a column of text; else the first that is not of the type, with the key of its row:
/// rows and lines are not the same where a value has several lines.
fn typed(text: &ArrayRef, ty: &FieldType, key: &ArrayRef) -> Result<ArrayRef, String> {
    // What is not of the type becomes null.
    let values = cast(text, &arrow_type(ty)).map_err(|e| e.to_string())?;
    match (0..text.len()).find(|&row| text.is_valid(row) && values.is_null(row)) {
        None => Ok(values),
        Some(row) => {
            let of = |column: &ArrayRef| column.as_string::<i32>().value(row).to_owned();
            Err(format!(
                "`{}` in the row with the key `{}` is not of type {ty}",
                of(text),
                of(key)
            ))
        }
    }
}

/// The same from newline-delimited JSON, decoded as events are.
fn read_json(spec: &LookupSpec, path: &Path) -> Result<Vec<ArrayRef>, LookupFault> {
    let mut fields = vec![FieldSpec {
        name: spec.key.clone(),
        ty: FieldType::String,
        required: true,
    }];
    for column in &spec.columns {
        fields.push(FieldSpec {
            name: column.from.clone(),
            ty: column.ty.clone(),
            required: false,
        });
    }
    let text = std::fs::read(path).map_err(unread)?;
    let mut chunk = Chunk::new(0, 0, 0);
    for (line, payload) in text.split(|b| *b == b'\n').enumerate() {
        if !payload.trim_ascii().is_empty() {
            chunk.push(
                i64::try_from(line).unwrap_or(i64::MAX),
                None,
                Payload::Bytes,
                payload,
            );
        }
    }
    let decoded = Decoder::new(&fields).decode(&chunk).map_err(bad_line)?;
    if let Some(bad) = decoded.rejects.first() {
        let line = chunk.offsets()[bad.index] + 1;
        return Err(LookupFault::Line(format!("line {line}: {}", bad.detail)));
    }
    Ok(decoded.columns)
}

/// Looks at the files now and then, and replaces the tables whose file has changed. A file that
/// cannot be read leaves its table as it is.
pub(crate) fn watch(
    specs: &[LookupSpec],
    sources: &[LookupSource],
    current: &CurrentLookups,
    shared: &Shared,
) {
    /// How late a stop is noticed.
    const TICK: Duration = Duration::from_millis(100);
    let changed = |source: &LookupSource| -> Option<SystemTime> {
        std::fs::metadata(&source.path)
            .and_then(|m| m.modified())
            .ok()
    };
    let mut seen: Vec<(Option<SystemTime>, Instant)> = sources
        .iter()
        .map(|source| (changed(source), Instant::now()))
        .collect();
    while !shared.stopping() {
        std::thread::sleep(TICK);
        for (index, (spec, source)) in specs.iter().zip(sources).enumerate() {
            let (last, looked) = &mut seen[index];
            if looked.elapsed() < source.reload_every {
                continue;
            }
            *looked = Instant::now();
            let now = changed(source);
            if now == *last {
                continue;
            }
            *last = now;
            match load(spec, source) {
                Ok(table) => {
                    tracing::info!(lookup = %spec.name, keys = table.len(), "reference table reloaded");
                    let mut current = lock::write(current);
                    let mut tables = current.as_ref().clone();
                    tables[index] = Arc::new(table);
                    *current = Arc::new(tables);
                }
                Err(error) => tracing::warn!("{error}; going on with the table as it was"),
            }
        }
    }
}
