//! Rows of tables: from the warehouse where it is here, from files otherwise.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use serde::Serialize;
use serde_json::Value;
use tidegate_core::plan::{SOURCE_OFFSET, SOURCE_PARTITION};
use tidegate_warehouse::{QueryLimits, WarehouseReader};
use utoipa::ToSchema;

use crate::app::App;
use crate::aside::aside;
use crate::error::ApiError;
use crate::tiers::cold::Files;
use crate::tiers::sql::{name, objects};
use crate::tiers::warm::{TIMEOUT, limits};

/// Which files have the rows, where there is no warehouse.
pub(crate) type Source<'a> = Files<'a>;

/// The tiers that have rows of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RowTier {
    /// The warehouse.
    Warm,
    /// The Parquet files that the commit log names.
    Cold,
}

/// Rows, and what has served them.
pub(crate) struct Rows {
    pub(crate) rows: Vec<Value>,
    pub(crate) served_by: RowTier,
    /// The first record that was read, if older ones were not.
    pub(crate) next: Option<u64>,
    /// First and last of the records that were read, if any was.
    pub(crate) seqs: Option<(u64, u64)>,
    /// Bytes that the rows took in memory, where they are bounded together.
    pub(crate) bytes: usize,
    /// Whether there would be more rows, which an answer has no room for.
    pub(crate) cut: bool,
}

impl Rows {
    /// Nothing was found in what was looked into.
    pub(crate) fn none(served_by: RowTier, next: Option<u64>) -> Self {
        Rows {
            rows: Vec::new(),
            served_by,
            next,
            seqs: None,
            bytes: 0,
            cut: false,
        }
    }
}

/// Rows of one table out of files, as [`cold_few`] fetches them.
pub(crate) struct RowQuery {
    pub(crate) table: String,
    /// What they meet, in SQL.
    pub(crate) condition: String,
    /// `ORDER BY`, or nothing.
    pub(crate) order: String,
    pub(crate) limit: usize,
    /// Bytes in memory after which no more rows are fetched.
    pub(crate) bytes: usize,
}

/// Rows that one statement fetches, at most.
const TOGETHER: usize = 64;
/// Bytes after which fewer are fetched at a time.
const TOGETHER_BYTES: usize = 8 << 20;

/// Runs a statement of this server's own in the warehouse.
pub(crate) async fn warm(app: &App, sql: String, rows_max: usize) -> Result<Rows, ApiError> {
    let answer = app.tiers.warm.query(sql, limits(rows_max)).await?;
    Ok(Rows {
        rows: aside(|| objects(&answer)).await,
        served_by: RowTier::Warm,
        next: None,
        seqs: None,
        bytes: 0,
        cut: answer.truncated,
    })
}

/// Runs a statement of this server's own over files.
pub(crate) async fn cold(
    app: &App,
    sql: String,
    source: &Source<'_>,
    limits: QueryLimits,
) -> Result<Rows, ApiError> {
    let found = app.tiers.cold.query(sql, source, limits).await?;
    Ok(Rows {
        rows: aside(|| objects(&found.result)).await,
        served_by: RowTier::Cold,
        next: found.next,
        seqs: found.seqs,
        bytes: 0,
        cut: found.result.truncated,
    })
}

/// Whole rows out of files, within `timeout`. First only where each is, in their order, because
/// what is sorted is in memory, all of it; then the rows, a few at a time, as many as an answer has
/// room for.
pub(crate) async fn cold_few(
    app: &App,
    wanted: RowQuery,
    source: &Source<'_>,
    timeout: Duration,
) -> Result<Rows, ApiError> {
    let work = move |reader: &WarehouseReader, left: Duration| few(reader, &wanted, left);
    let found = app.tiers.cold.open(source, timeout, work).await?;
    let (rows, bytes, cut) = found.result;
    Ok(Rows {
        rows,
        served_by: RowTier::Cold,
        next: found.next,
        seqs: found.seqs,
        bytes,
        cut,
    })
}

/// The rows, their bytes in memory, and whether some were left out. Blocks.
fn few(
    reader: &WarehouseReader,
    wanted: &RowQuery,
    timeout: Duration,
) -> Result<(Vec<Value>, usize, bool), ApiError> {
    let RowQuery {
        table,
        condition,
        order,
        limit,
        bytes: bytes_max,
    } = wanted;
    let began = Instant::now();
    let bounds = |rows: usize| QueryLimits {
        // One row is always whole.
        bytes: usize::MAX,
        timeout: timeout.saturating_sub(began.elapsed()),
        ..limits(rows)
    };
    let (partition, offset) = (SOURCE_PARTITION, SOURCE_OFFSET);
    let table = name(table);
    let places = format!(
        "SELECT {partition}, {offset} FROM {table} WHERE {condition} {order} LIMIT {limit}"
    );
    let place = |row: &Value| (row[partition].as_i64(), row[offset].as_i64());
    let places = objects(&reader.query(&places, &bounds(*limit))?);
    let places: Vec<_> = places.iter().map(place).collect();
    let mut left = places.as_slice();
    let (mut rows, mut bytes, mut together) = (Vec::new(), 0, 1);
    while let Some((Some(at), _)) = left.first() {
        if bytes >= *bytes_max {
            return Ok((rows, bytes, true));
        }
        // Of one partition, so that what has others is not even read.
        let same = left.iter().take(together);
        let same = same.take_while(|(partition, _)| *partition == Some(*at));
        let (these, others) = left.split_at(same.count());
        left = others;
        let offsets: Vec<_> = these
            .iter()
            .filter_map(|(_, offset)| offset.map(|offset| offset.to_string()))
            .collect();
        let sql = format!(
            "SELECT * FROM {table} WHERE {condition} AND {partition} = {at} AND {offset} IN ({})",
            offsets.join(", ")
        );
        let answer = reader.query(&sql, &bounds(these.len()))?;
        let took: usize = answer
            .batches
            .iter()
            .map(RecordBatch::get_array_memory_size)
            .sum();
        bytes += took;
        together = match took > TOGETHER_BYTES {
            true => (together / 2).max(1),
            false => (together * 2).min(TOGETHER),
        };
        let mut found = objects(&answer);
        found.sort_by_cached_key(|row| these.iter().position(|wanted| *wanted == place(row)));
        rows.extend(found);
    }
    Ok((rows, bytes, false))
}

/// What is left of the time for one question.
pub(crate) fn time_left(began: Instant) -> Duration {
    TIMEOUT.saturating_sub(began.elapsed())
}
