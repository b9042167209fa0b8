//! `GET /v1/rejected`: records that did not become events, with all that was wrong with them.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use tidegate_core::plan::{SOURCE_OFFSET, SOURCE_PARTITION};
use tidegate_warehouse::QueryLimits;
use utoipa::ToSchema;

use super::openapi::Refusals;
use super::page::{Before, Order, Pager, next};
use super::query_string::Parameters;
use super::rows::{self, RowTier, Source};
use crate::app::App;
use crate::aside::json;
use crate::error::ApiError;
use crate::tiers::sql::{name, objects, text};
use crate::tiers::warm::{TIMEOUT, limits};

/// Records of an answer, unless the request says otherwise, and at most.
pub(super) const ROWS: usize = 100;
pub(super) const ROWS_MAX: usize = 1_000;

const ORDER: Order<'_> = Order(["rejected_at", SOURCE_PARTITION, SOURCE_OFFSET]);
/// What they are called in the answer.
const NAMES: [&str; 3] = ["rejected_at", "partition", "offset"];

/// Characters of a payload that are shown: the payloads of an answer together are within what one
/// may have.
const PAYLOAD_CHARS: usize = 8 << 10;

/// What is shown of a record besides its payload.
const SMALL: &str = "string_split(reasons, ',') AS reasons, detail, CASE payload_encoding WHEN 'base64' THEN 'base64' ELSE \
     'utf8' END AS payload_encoding, source_partition AS partition, source_offset AS \"offset\", source_timestamp AS timestamp, \
     rejected_at";

/// The payload: its beginning, and how many bytes there are of it.
const PAYLOAD: &str = "head AS payload, payload_bytes";

/// A page of rejected records.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rejected)]
pub(crate) struct RejectedBody {
    /// The records: `reasons`, `detail`, `payload`, `payload_encoding`, `payload_bytes`,
    /// `partition`, `offset`, `timestamp` and `rejected_at` of each.
    #[schema(value_type = Vec<Object>)]
    rejected: Vec<Value>,
    /// `before` of the next page; null after the last one.
    #[schema(required)]
    next: Option<String>,
    served_by: RowTier,
}

/// Newest first.
#[utoipa::path(
    get,
    path = "/v1/rejected",
    tag = "job",
    summary = "Rejected records, the newest first",
    description = "`payload` has at most 8,192 characters; `payload_bytes` says how many bytes \
                   there are of all of it.",
    params(
        ("limit" = Option<usize>, Query, minimum = 1, description = "Rows at most."),
        ("reason" = Option<String>, Query, description = "Only with this reason."),
        (
            "before" = Option<String>,
            Query,
            description = "Older than this time (out of files: committed before it), or `next` of \
                           an answer.",
            example = json!("2026-11-25T18:00:00.123456Z,3,17")
        ),
    ),
    responses(
        Refusals,
        (status = 200, description = "A page of rejected records.", body = RejectedBody)
    )
)]
pub(crate) async fn rejected(
    State(app): State<Arc<App>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let limit = parameters.limit("limit", ROWS, ROWS_MAX)?;
    let reason = parameters.take("reason")?;
    let before = Before::take(&mut parameters)?;
    parameters.finish("limit, reason and before")?;
    let reason = reason.map(|reason| {
        format!(
            "list_contains(string_split(reasons, ','), {})",
            text(&reason)
        )
    });
    let (rejected, next, served_by) = match &app.tiers.warm.reader {
        Some(_) => {
            let place = ORDER.condition(before.as_ref())?;
            let rejected = warm(&app, &both(&place, reason.as_deref()), limit).await?;
            let next = next(&rejected, limit, NAMES);
            (rejected, next, RowTier::Warm)
        }
        None => {
            let pager = Pager::new(ORDER, NAMES, before.as_ref(), limit);
            let (rejected, next) = cold(&app, pager, reason.as_deref()).await?;
            (rejected, next, RowTier::Cold)
        }
    };
    json(RejectedBody {
        rejected,
        next,
        served_by,
    })
    .await
}

fn both(place: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{place} AND {reason}"),
        None => place.to_owned(),
    }
}

/// Out of files, newest first by commit, then by when they were rejected.
async fn cold(
    app: &App,
    mut pager: Pager<'_>,
    reason: Option<&str>,
) -> Result<(Vec<Value>, Option<String>), ApiError> {
    while let Some(group) = pager.group(reason.is_some()) {
        let source = Source {
            datasets: &["rejected"],
            times: (i64::MIN, i64::MAX),
            extent: group.extent,
            every_row: false,
        };
        // Cut before they are sorted: what is sorted is in memory, all of it.
        let sql = format!(
            "SELECT {SMALL}, {PAYLOAD} FROM (SELECT *, strlen(payload) AS payload_bytes, \
             left(payload, {PAYLOAD_CHARS}) AS head FROM {table} WHERE {condition}) {order} LIMIT {limit}",
            order = ORDER.descending(),
            limit = group.limit,
            table = name(&app.tables.rejected),
            condition = both(&group.condition, reason),
        );
        let limits = QueryLimits {
            timeout: group.timeout,
            ..limits(group.limit)
        };
        pager.take(rows::cold(app, sql, &source, limits).await)?;
    }
    Ok(pager.end())
}

/// Payloads that one statement reads: each statement has a cost of its own, and each payload needs
/// memory.
const TOGETHER: usize = 32;

/// Out of the warehouse: first everything but the payloads, then each of those by itself, because
/// DuckDB takes the whole text of 2,048 rows into memory where it reads a column of more than one.
async fn warm(app: &App, condition: &str, limit: usize) -> Result<Vec<Value>, ApiError> {
    let reader = app.tiers.warm.reader()?;
    let table = name(&app.tables.rejected);
    let page = format!(
        "SELECT rowid, {SMALL} FROM {table} WHERE {condition} {} LIMIT {limit}",
        ORDER.descending()
    );
    let work = move || -> Result<Vec<Value>, ApiError> {
        let began = Instant::now();
        let left = || QueryLimits {
            timeout: TIMEOUT.saturating_sub(began.elapsed()),
            ..limits(limit)
        };
        let mut rows = objects(&reader.query(&page, &left())?);
        for rows in rows.chunks_mut(TOGETHER) {
            let one = |(index, row): (usize, &mut Value)| {
                let number = row.as_object_mut()?.remove("rowid")?.as_i64()?;
                Some(format!(
                    "SELECT {index} AS place, {PAYLOAD} FROM (SELECT strlen(payload) AS payload_bytes, \
                     left(payload, {PAYLOAD_CHARS}) AS head FROM {table} WHERE rowid = {number})"
                ))
            };
            let each: Vec<String> = rows.iter_mut().enumerate().filter_map(one).collect();
            let sql = each.join(" UNION ALL ");
            for payload in objects(&reader.query(&sql, &left())?) {
                let Value::Object(mut payload) = payload else {
                    continue;
                };
                let index = payload.remove("place").and_then(|index| index.as_u64());
                if let Some(Value::Object(row)) = index.and_then(|at| rows.get_mut(at as usize)) {
                    row.extend(payload);
                }
            }
        }
        Ok(rows)
    };
    app.tiers.warm.turns.run(work).await
}
