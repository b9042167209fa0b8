//! What a worker does with a chunk: everything that needs no state.
//!
//! decode → event time → lookups → rules → enrichments → fingerprints and window inputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, NullBufferBuilder, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use tidegate_expr::time::{TIME_MAX, UTC, parse_instant};
use tidegate_expr::{DataFusionError, Expression, visible_batch};

use crate::chunk::Chunk;
use crate::decode::Decoder;
use crate::fingerprint::fingerprints;
use crate::lookup::LookupTable;
use crate::plan::Plan;
use crate::reject::{Code, Reject, excerpt};
use crate::rejected::{oversized_batch, rejected_batch};
use crate::stored::{Unfit, to_stored, unfit};
use crate::window::{WindowEncoder, WindowInput, micros};

/// A chunk after all stateless work.
#[derive(Debug)]
pub struct Prepared {
    /// Partition that the chunk came from.
    pub partition: i32,
    /// Lane whose state it belongs to.
    pub lane: i32,
    /// First offset that it covers.
    pub from: i64,
    /// Offset behind the last that it covers.
    pub to: i64,
    /// Offsets that expired before they could be read.
    pub gone: u64,
    /// Records that were read.
    pub read: u64,
    /// Bytes of payload.
    pub bytes: usize,
    /// Rows of the stored schema: all records that decoded.
    pub batch: RecordBatch,
    /// For each row, whether it is accepted; the others are among the rejected.
    pub accepted: Vec<bool>,
    /// For each row, its event time in microseconds; meaningless where it is not accepted.
    pub times: Vec<i64>,
    /// For each row, the fingerprint of its deduplication key; empty without deduplication.
    pub fingerprints: Vec<u128>,
    /// What each window needs.
    pub windows: Vec<Arc<WindowInput>>,
    /// The rejected records, if any.
    pub rejected: Option<RecordBatch>,
    /// Rejected records that are longer than the warehouse can take, whole, if any.
    pub oversized: Option<RecordBatch>,
    /// How often each reason occurred.
    pub rejected_by: BTreeMap<String, u64>,
}

/// Why a chunk could not be prepared: always a fault of the program, never of the data.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Arrow refused.
    #[error("cannot build the columns of a chunk: {0}")]
    Arrow(#[from] ArrowError),
    /// An expression failed in a way that no single row explains.
    #[error("cannot evaluate `{name}`: {source}")]
    Expression {
        /// Rule or column.
        name: String,
        /// What DataFusion says.
        source: Box<DataFusionError>,
    },
}

/// Prepares chunks; each worker thread has its own.
#[derive(Debug)]
pub struct Preparer {
    plan: Arc<Plan>,
    decoder: Decoder,
    windows: Vec<WindowEncoder>,
    fingerprint_seed: u64,
}

impl Preparer {
    /// A preparer for a job.
    ///
    /// # Errors
    /// If a window groups by a type that cannot be grouped by.
    pub fn new(plan: Arc<Plan>, fingerprint_seed: u64) -> Result<Self, ArrowError> {
        let windows = plan
            .windows
            .iter()
            .map(|w| WindowEncoder::new(&w.plan))
            .collect::<Result<_, _>>()?;
        Ok(Preparer {
            decoder: Decoder::new(&plan.fields),
            windows,
            fingerprint_seed,
            plan,
        })
    }

    /// Does all stateless work on a chunk. `now` is microseconds since the Unix epoch.
    ///
    /// # Errors
    /// Only for faults of the program; bad records are rejected.
    pub fn prepare(
        &mut self,
        chunk: &Chunk,
        now: i64,
        lookups: &[Arc<LookupTable>],
    ) -> Result<Prepared, PrepareError> {
        let plan = Arc::clone(&self.plan);
        let decoded = self.decoder.decode(chunk)?;
        let rows = decoded.rows.len();
        let mut bad = BadRows {
            rows: &decoded.rows,
            rejects: decoded.rejects,
            by_row: BTreeMap::new(),
        };
        let mut columns = decoded.columns;

        let times = event_times(&plan, chunk, &columns, now, &mut bad);
        if !plan.event_time.in_place {
            columns.push(Arc::new(times.clone()));
        }
        for (lookup, table) in plan.lookups.iter().zip(lookups) {
            columns.extend(table.join(&columns[lookup.on])?);
        }

        let visible = visible_batch(&plan.rules_schema, now, rows, &columns)
            .map_err(unexpected("the columns"))?;
        for rule in &plan.rules {
            let (values, errors) = evaluate(&rule.expression, &visible)?;
            let values = values.as_boolean();
            let is_true = match values.nulls() {
                Some(valid) => values.values() & valid.inner(),
                None => values.values().clone(),
            };
            for row in (!&is_true).set_indices() {
                let detail = match errors.get(&row) {
                    Some(error) => format!("rule `{}` cannot be evaluated: {error}", rule.name),
                    None => format!("rule `{}` is not true", rule.name),
                };
                bad.add(row, format!("rule.{}", rule.name), &detail);
            }
        }

        for (column, schema) in &plan.enrich {
            let visible =
                visible_batch(schema, now, rows, &columns).map_err(unexpected(&column.name))?;
            let (values, errors) = evaluate(&column.expression, &visible)?;
            for (row, error) in errors {
                let detail = format!("column `{}` cannot be computed: {error}", column.name);
                bad.add(row, format!("enrich.{}", column.name), &detail);
            }
            let stored = plan.event_schema.field(columns.len()).data_type();
            columns.push(if values.data_type() == stored {
                values
            } else {
                cast(&values, stored)?
            });
        }

        let visible = visible_batch(&plan.visible_schema, now, rows, &columns)
            .map_err(unexpected("the columns"))?;
        columns.extend(system_columns(chunk, &decoded.rows, now));
        let batch = RecordBatch::try_new(Arc::clone(&plan.event_schema), columns)?;

        let mut windows: Vec<Arc<WindowInput>> = Vec::with_capacity(plan.windows.len());
        let mut arrays: Vec<Vec<ArrayRef>> = Vec::with_capacity(plan.windows.len());
        for (window, encoder) in plan.windows.iter().zip(&self.windows) {
            let groups: Vec<ArrayRef> = window
                .groups
                .iter()
                .map(|c| Arc::clone(batch.column(*c)))
                .collect();
            let mut inputs = Vec::with_capacity(window.inputs.len());
            for expression in &window.inputs {
                let (values, errors) = evaluate(expression, &visible)?;
                for (row, error) in errors {
                    let detail =
                        format!("window `{}` cannot be computed: {error}", window.plan.name);
                    bad.add(row, format!("window.{}", window.plan.name), &detail);
                }
                inputs.push(values);
            }
            // Windows of several sizes over the same columns share one.
            let same = plan.windows.iter().zip(&arrays).position(|(other, known)| {
                other.groups == window.groups
                    && known.len() == inputs.len()
                    && known.iter().zip(&inputs).all(|(a, b)| Arc::ptr_eq(a, b))
            });
            windows.push(match same {
                Some(same) => Arc::clone(&windows[same]),
                None => Arc::new(encoder.encode(&groups, &inputs, rows)?),
            });
            arrays.push(inputs);
        }
        let keys: Vec<&ArrayRef> = plan.dedup_key.iter().map(|c| batch.column(*c)).collect();
        let fingerprints = fingerprints(&keys, self.fingerprint_seed)?;

        let batch = to_stored(batch, &plan.stored_schema)?;
        for (row, column, unfit) in plan
            .stored
            .text_bytes_max
            .map_or_else(Vec::new, |max| unfit(&batch, max))
        {
            let (code, detail) = match unfit {
                Unfit::TooLong(length) => (
                    Code::TooLong,
                    format!(
                        "column `{column}` has {length} bytes, more than the warehouse can take"
                    ),
                ),
                Unfit::Nul => (
                    Code::Nul,
                    format!(
                        "column `{column}` has the character U+0000, which the warehouse cannot take"
                    ),
                ),
            };
            bad.add(row, code.as_str().to_owned(), &detail);
        }

        let (accepted, rejects) = bad.finish(rows);
        let mut rejected_by = BTreeMap::new();
        for code in rejects.iter().flat_map(|r| &r.codes) {
            *rejected_by.entry(code.clone()).or_insert(0) += 1;
        }
        Ok(Prepared {
            partition: chunk.partition,
            lane: chunk.lane,
            from: chunk.from,
            to: chunk.to,
            gone: chunk.gone,
            read: chunk.len() as u64,
            bytes: chunk.bytes(),
            batch,
            accepted,
            times: times.values().to_vec(),
            fingerprints,
            windows,
            rejected: if rejects.is_empty() {
                None
            } else {
                Some(rejected_batch(
                    chunk,
                    &rejects,
                    now,
                    plan.stored.text_bytes_max,
                )?)
            },
            oversized: plan
                .stored
                .text_bytes_max
                .map_or(Ok(None), |max| oversized_batch(chunk, &rejects, now, max))?,
            rejected_by,
        })
    }

    /// What rebuilding a lane's state needs of committed rows: the batch has the columns of
    /// [`Plan::state_columns`], by name.
    ///
    /// # Errors
    /// If a column is missing or of another type: the files are not of this plan.
    pub fn restore(&mut self, batch: &RecordBatch) -> Result<Restored, PrepareError> {
        let plan = Arc::clone(&self.plan);
        let rows = batch.num_rows();
        for index in plan.state_columns() {
            batch
                .schema_ref()
                .index_of(plan.event_schema.field(index).name())?;
        }
        let column = |index: usize| -> ArrayRef {
            let field = plan.event_schema.field(index);
            batch
                .column_by_name(field.name())
                .map_or_else(|| new_null_array(field.data_type(), rows), Arc::clone)
        };
        let visible_columns: Vec<ArrayRef> = (0..plan.visible_schema.fields().len() - 1)
            .map(column)
            .collect();
        let visible = visible_batch(&plan.visible_schema, 0, rows, &visible_columns)
            .map_err(unexpected("the columns of a committed file"))?;
        let mut windows = Vec::with_capacity(plan.windows.len());
        for (window, encoder) in plan.windows.iter().zip(&self.windows) {
            let groups: Vec<ArrayRef> = window.groups.iter().map(|c| column(*c)).collect();
            let inputs = window
                .inputs
                .iter()
                .map(|expression| evaluate(expression, &visible).map(|(values, _)| values))
                .collect::<Result<Vec<_>, _>>()?;
            windows.push(Arc::new(encoder.encode(&groups, &inputs, rows)?));
        }
        let keys: Vec<ArrayRef> = plan.dedup_key.iter().map(|c| column(*c)).collect();
        let keys: Vec<&ArrayRef> = keys.iter().collect();
        let time_index = plan.event_schema.index_of(&plan.event_time.column)?;
        let times = cast(
            &column(time_index),
            plan.event_schema.field(time_index).data_type(),
        )?;
        let partition = cast(
            &column(plan.event_schema.index_of("source_partition")?),
            &DataType::Int32,
        )?;
        Ok(Restored {
            times: times
                .as_primitive::<TimestampMicrosecondType>()
                .values()
                .to_vec(),
            partitions: partition
                .as_primitive::<arrow::datatypes::Int32Type>()
                .values()
                .to_vec(),
            fingerprints: fingerprints(&keys, self.fingerprint_seed)?,
            windows,
        })
    }
}

/// Committed rows, as far as state depends on them.
#[derive(Debug)]
pub struct Restored {
    /// Event time of each row.
    pub times: Vec<i64>,
    /// Partition of each row.
    pub partitions: Vec<i32>,
    /// Fingerprint of each row; empty without deduplication.
    pub fingerprints: Vec<u128>,
    /// What each window needs.
    pub windows: Vec<Arc<WindowInput>>,
}

/// Rejected rows and records, gathered over the steps.
struct BadRows<'a> {
    /// Record of each row.
    rows: &'a [u32],
    /// Records that did not decode.
    rejects: Vec<Reject>,
    by_row: BTreeMap<usize, Reject>,
}

impl BadRows<'_> {
    fn add(&mut self, row: usize, code: String, detail: &str) {
        let index = self.rows[row] as usize;
        self.by_row
            .entry(row)
            .or_insert_with(|| Reject {
                index,
                codes: Vec::new(),
                detail: String::new(),
            })
            .add(code, detail);
    }

    fn finish(self, rows: usize) -> (Vec<bool>, Vec<Reject>) {
        let mut accepted = vec![true; rows];
        let mut rejects = self.rejects;
        for (row, reject) in self.by_row {
            accepted[row] = false;
            rejects.push(reject);
        }
        rejects.sort_by_key(|reject| reject.index);
        (accepted, rejects)
    }
}

fn unexpected(name: &str) -> impl FnOnce(DataFusionError) -> PrepareError {
    let name = name.to_owned();
    move |source| PrepareError::Expression {
        name,
        source: Box::new(source),
    }
}

/// The event time of each row; null where it cannot be read.
fn event_times(
    plan: &Plan,
    chunk: &Chunk,
    columns: &[ArrayRef],
    now: i64,
    bad: &mut BadRows<'_>,
) -> TimestampMicrosecondArray {
    let time = &plan.event_time;
    let latest = time.max_ahead.map_or(TIME_MAX, |ahead| {
        now.saturating_add(micros(ahead)).min(TIME_MAX)
    });
    let column = &columns[time.field];
    let text = column.as_string_opt::<i32>();
    let instants = column.as_primitive_opt::<TimestampMicrosecondType>();
    let mut out = Vec::with_capacity(column.len());
    let mut nulls = NullBufferBuilder::new(column.len());
    for row in 0..column.len() {
        let parsed = if column.is_null(row) {
            Err("missing")
        } else if let Some(text) = text {
            parse_instant(text.value(row).as_bytes())
        } else {
            instants.map(|i| i.value(row)).ok_or("missing")
        };
        let time = match parsed {
            Ok(micros) if micros <= latest => Some(micros),
            Ok(micros) => {
                let payload = chunk.payload(bad.rows[row] as usize);
                let shown = text.map_or_else(
                    || excerpt(payload, 40),
                    |t| excerpt(t.value(row).as_bytes(), 40),
                );
                let detail = format!(
                    "field `{}`: `{shown}` is too far in the future",
                    time.field_name
                );
                bad.add(row, Code::EventTimeAhead.as_str().to_owned(), &detail);
                // The time is known: rules are evaluated with it.
                Some(micros)
            }
            Err(what) => {
                let shown = text
                    .filter(|t| t.is_valid(row))
                    .map_or("", |t| t.value(row));
                let detail = format!(
                    "field `{}`: `{}` is {what}",
                    time.field_name,
                    excerpt(shown.as_bytes(), 40)
                );
                bad.add(row, Code::EventTime.as_str().to_owned(), &detail);
                None
            }
        };
        out.push(time.unwrap_or_default());
        nulls.append(time.is_some());
    }
    TimestampMicrosecondArray::new(out.into(), nulls.finish()).with_timezone(UTC)
}

/// Evaluates an expression. A row that fails does not fail the others: its value is null, and its
/// error is returned.
fn evaluate(
    expression: &Expression,
    batch: &RecordBatch,
) -> Result<(ArrayRef, BTreeMap<usize, String>), PrepareError> {
    let mut errors = BTreeMap::new();
    let mut parts = Vec::new();
    evaluate_rows(expression, batch, 0, &mut parts, &mut errors);
    let values = match parts.as_slice() {
        [all] => Arc::clone(all),
        parts => {
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            concat(&parts)?
        }
    };
    Ok((values, errors))
}

/// Evaluates an expression for rows of which the first is row `first` of its batch, and narrows a
/// failure down by halves.
fn evaluate_rows(
    expression: &Expression,
    rows: &RecordBatch,
    first: usize,
    parts: &mut Vec<ArrayRef>,
    errors: &mut BTreeMap<usize, String>,
) {
    let count = rows.num_rows();
    match expression.evaluate(rows) {
        Ok(values) => parts.push(values),
        Err(error) if count <= 1 => {
            if count == 1 {
                errors.insert(first, error.strip_backtrace());
            }
            parts.push(new_null_array(expression.data_type(), count));
        }
        Err(_) => {
            let half = count / 2;
            evaluate_rows(expression, &rows.slice(0, half), first, parts, errors);
            let rest = rows.slice(half, count - half);
            evaluate_rows(expression, &rest, first + half, parts, errors);
        }
    }
}

/// The columns of [`crate::plan::SYSTEM_COLUMNS`].
fn system_columns(chunk: &Chunk, rows: &[u32], now: i64) -> [ArrayRef; 4] {
    let offsets = rows.iter().map(|r| chunk.offsets()[*r as usize]);
    let timestamps = || rows.iter().map(|r| chunk.timestamp(*r as usize));
    let values = timestamps().map(Option::unwrap_or_default).collect();
    let nulls =
        (!timestamps().all(|t| t.is_some())).then(|| timestamps().map(|t| t.is_some()).collect());
    [
        Arc::new(TimestampMicrosecondArray::from_value(now, rows.len()).with_timezone(UTC)),
        Arc::new(Int32Array::from_value(chunk.partition, rows.len())),
        Arc::new(Int64Array::from_iter_values(offsets)),
        Arc::new(TimestampMicrosecondArray::new(values, nulls).with_timezone(UTC)),
    ]
}
