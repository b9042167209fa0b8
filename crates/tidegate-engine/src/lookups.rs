//! Reference tables: read from their files, and read again when these change.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType, Field, Schema};
use tidegate_base::chunk::{Chunk, Payload};
use tidegate_base::lock;
use tidegate_core::decode::{Decoder, arrow_type};
use tidegate_core::lookup::LookupTable;
use tidegate_core::spec::{FieldSpec, FieldType, LookupSpec};

use crate::error::EngineError;
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
    let failed = |message: String| EngineError::Lookup {
        name: spec.name.clone(),
        path: source.path.clone(),
        message,
    };
    let size = std::fs::metadata(&source.path)
        .map_err(|e| failed(e.to_string()))?
        .len();
    if size > BYTES_MAX {
        return Err(failed(format!(
            "it has {size} bytes; a reference table can have {BYTES_MAX} at most"
        )));
    }
    let is_json = source
        .path
        .extension()
        .is_some_and(|e| e == "json" || e == "ndjson" || e == "jsonl");
    let columns = if is_json {
        read_json(spec, &source.path)
    } else {
        read_csv(spec, &source.path)
    };
    let mut columns = columns.map_err(failed)?;
    let key = columns.remove(0);
    LookupTable::new(key.as_string::<i32>(), columns).map_err(|e| failed(e.to_string()))
}

/// The key as text, then the columns that are taken over.
fn read_csv(spec: &LookupSpec, path: &Path) -> Result<Vec<ArrayRef>, String> {
    let header = {
        let file = File::open(path).map_err(|e| e.to_string())?;
        let format = arrow::csv::reader::Format::default().with_header(true);
        let (schema, _) = format
            .infer_schema(file, Some(0))
            .map_err(|e| e.to_string())?;
        schema
    };
    let text: Vec<Field> = header
        .fields()
        .iter()
        .map(|f| Field::new(f.name(), DataType::Utf8, true))
        .collect();
    let schema = Arc::new(Schema::new(text));
    let file = File::open(path).map_err(|e| e.to_string())?;
    let reader = ReaderBuilder::new(Arc::clone(&schema))
        .with_header(true)
        .build(file)
        .map_err(|e| e.to_string())?;
    let batches: Vec<RecordBatch> = reader
        .collect::<Result<_, _>>()
        .map_err(|e| e.to_string())?;
    let all = concat_batches(&schema, &batches).map_err(|e| e.to_string())?;
    let find = |name: &str| {
        all.column_by_name(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            format!("it has no column `{name}`; it has {}", known.join(", "))
        })
    };
    let mut columns = vec![find(&spec.key)?];
    for column in &spec.columns {
        let strict = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let values = cast_with_options(&find(&column.from)?, &arrow_type(&column.ty), &strict)
            .map_err(|e| format!("column `{}`: {e}", column.from))?;
        columns.push(values);
    }
    Ok(columns)
}

/// The same from newline-delimited JSON, decoded as events are.
fn read_json(spec: &LookupSpec, path: &Path) -> Result<Vec<ArrayRef>, String> {
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
    let text = std::fs::read(path).map_err(|e| e.to_string())?;
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
    let decoded = Decoder::new(&fields)
        .decode(&chunk)
        .map_err(|e| e.to_string())?;
    if let Some(bad) = decoded.rejects.first() {
        return Err(format!(
            "line {}: {}",
            chunk.offsets()[bad.index] + 1,
            bad.detail
        ));
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
