//! What a worker does with a chunk: everything that needs no state.
//!
//! decode → event time → lookups → rules → enrichments → fingerprints and window inputs.

mod bad_rows;
mod evaluate;
mod restore;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, NullBufferBuilder, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use tidegate_base::time::{TIME_MAX, UTC, parse_instant};
use tidegate_expr::compare::one_nan;
use tidegate_expr::{DataFusionError, visible_batch};

use self::bad_rows::BadRows;
use self::evaluate::evaluate;
pub use self::restore::{RestoreError, Restored};

use crate::decode::{Decoder, UnknownFields};
use crate::fingerprint::fingerprints;
use crate::lookup::LookupTable;
use crate::plan::Plan;
use crate::reject::{self, Code, excerpt};
use crate::rejected::{oversized_batch, rejected_batch};
use crate::stored::{Unfit, to_stored, unfit};
use crate::trial::lost;
use crate::window::{WindowEncoder, WindowInput, micros};
use tidegate_base::chunk::Chunk;

/// A chunk after all stateless work.
#[derive(Debug)]
pub struct Prepared {
    /// Partition that the chunk came from.
    pub partition: i32,
    /// Lane whose state it belongs to.
    pub lane: i32,
    /// First offset that it covers.
    pub from: i64,
    /// Offset after the last that it covers.
    pub to: i64,
    /// Offsets that expired before they could be read.
    pub gone: u64,
    /// What the source recognises the partition by: see [`Chunk::identity`].
    pub identity: Option<Arc<str>>,
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
    /// Fields that the schema does not have.
    pub unknown_fields: UnknownFields,
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
        let mut bad = BadRows::new(&decoded.rows, decoded.rejects);
        let mut columns = decoded.columns;

        let times = event_times(&plan, chunk, &columns, now, &mut bad);
        if !plan.event_time.in_place {
            columns.push(Arc::new(times.clone()));
        }
        for (lookup, table) in plan.lookups.iter().zip(lookups) {
            columns.extend(table.join(&columns[lookup.on])?);
        }

        apply_rules(&plan, now, &columns, &mut bad)?;
        enrich(&plan, now, &mut columns, &mut bad)?;
        let visible = visible_batch(&plan.visible_schema, now, rows, &columns)
            .map_err(unexpected("the columns"))?;
        columns.extend(system_columns(chunk, &decoded.rows, now));
        let batch = RecordBatch::try_new(Arc::clone(&plan.event_schema), columns)?;

        let windows = self.window_inputs(&batch, &visible, &mut bad)?;
        let keys: Vec<&ArrayRef> = plan.dedup_key.iter().map(|c| batch.column(*c)).collect();
        let fingerprints = fingerprints(&keys, self.fingerprint_seed)?;

        let batch = to_stored(batch, &plan.stored_schema)?;
        reject_unfit(&plan, &batch, &mut bad);

        let (accepted, rejects) = bad.finish(rows);
        let text_bytes_max = plan.stored.text_bytes_max;
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
            identity: chunk.identity.clone(),
            read: chunk.len() as u64,
            bytes: chunk.bytes(),
            batch,
            accepted,
            times: times.values().to_vec(),
            fingerprints,
            windows,
            rejected: match rejects.as_slice() {
                [] => None,
                rejects => Some(rejected_batch(chunk, rejects, now, text_bytes_max)?),
            },
            oversized: match text_bytes_max {
                Some(max) => oversized_batch(chunk, &rejects, now, max)?,
                None => None,
            },
            rejected_by,
            unknown_fields: decoded.unknown,
        })
    }

    /// What each window needs of the rows.
    fn window_inputs(
        &self,
        batch: &RecordBatch,
        visible: &RecordBatch,
        bad: &mut BadRows<'_>,
    ) -> Result<Vec<Arc<WindowInput>>, PrepareError> {
        let windows = &self.plan.windows;
        let mut encoded: Vec<Arc<WindowInput>> = Vec::with_capacity(windows.len());
        let mut arrays: Vec<Vec<ArrayRef>> = Vec::with_capacity(windows.len());
        for (window, encoder) in windows.iter().zip(&self.windows) {
            let groups = window.groups.iter();
            let groups: Vec<ArrayRef> = groups.map(|c| Arc::clone(batch.column(*c))).collect();
            let mut inputs = Vec::with_capacity(window.inputs.len());
            for expression in &window.inputs {
                let (values, errors) = evaluate(expression, visible)?;
                for (row, error) in errors {
                    let detail =
                        format!("window `{}` cannot be computed: {error}", window.plan.name);
                    bad.add(row, reject::window(&window.plan.name), &detail);
                }
                inputs.push(values);
            }
            // Windows of several sizes over the same columns share one.
            let same = windows.iter().zip(&arrays).position(|(other, known)| {
                other.groups == window.groups
                    && known.len() == inputs.len()
                    && known.iter().zip(&inputs).all(|(a, b)| Arc::ptr_eq(a, b))
            });
            encoded.push(match same {
                Some(same) => Arc::clone(&encoded[same]),
                None => Arc::new(encoder.encode(&groups, &inputs, batch.num_rows())?),
            });
            arrays.push(inputs);
        }
        Ok(encoded)
    }
}

/// Rejects the rows for which a rule is not true.
fn apply_rules(
    plan: &Plan,
    now: i64,
    columns: &[ArrayRef],
    bad: &mut BadRows<'_>,
) -> Result<(), PrepareError> {
    let visible = visible_batch(&plan.rules_schema, now, bad.rows(), columns)
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
            bad.add(row, reject::rule(&rule.name), &detail);
        }
    }
    Ok(())
}

/// Adds the columns under `[enrich]`. Rejects the rows for which one cannot be computed.
fn enrich(
    plan: &Plan,
    now: i64,
    columns: &mut Vec<ArrayRef>,
    bad: &mut BadRows<'_>,
) -> Result<(), PrepareError> {
    for (column, schema) in &plan.enrich {
        let visible =
            visible_batch(schema, now, bad.rows(), columns).map_err(unexpected(&column.name))?;
        let (values, errors) = evaluate(&column.expression, &visible)?;
        for (row, error) in errors {
            let detail = format!("column `{}` cannot be computed: {error}", column.name);
            bad.add(row, reject::enrichment(&column.name), &detail);
        }
        let stored = plan.event_schema.field(columns.len()).data_type();
        let values = one_nan(values);
        columns.push(if values.data_type() == stored {
            values
        } else {
            let cast = cast(&values, stored)?;
            for row in lost(&values, &cast) {
                let detail = format!("column `{}` is beyond what {stored} holds", column.name);
                bad.add(row, reject::enrichment(&column.name), &detail);
            }
            cast
        });
    }
    Ok(())
}

/// Rejects rows with a text that the warehouse cannot take.
fn reject_unfit(plan: &Plan, stored: &RecordBatch, bad: &mut BadRows<'_>) {
    let Some(max) = plan.stored.text_bytes_max else {
        return;
    };
    for (row, column, unfit) in unfit(stored, max) {
        let (code, detail) = match unfit {
            Unfit::TooLong(length) => (
                Code::TooLong,
                format!("column `{column}` has {length} bytes, more than the warehouse can take"),
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
                let payload = chunk.payload(bad.record(row));
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
