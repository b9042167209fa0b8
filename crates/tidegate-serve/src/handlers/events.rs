//! `GET /v1/events/{key}`: what is known of one event, by its upsert key.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use tidegate_warehouse::TableKind;
use utoipa::ToSchema;

use super::openapi::Refusals;
use super::query_string::Parameters;
use super::rows::{self, RowQuery, RowTier, Rows, Source, time_left};
use crate::app::App;
use crate::aside::json;
use crate::error::ApiError;
use crate::guard::ErrorBody;
use crate::tiers::cold::{Extent, Newest};
use crate::tiers::sql::{instant, name, text};
use crate::tiers::warm::{BYTES_MAX, TIMEOUT};

/// Rows of one key, at most; there is one unless the table only appends.
const ROWS_MAX: usize = 100;

/// What is known of a key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Events)]
pub(crate) struct EventsBody {
    /// The key, as it was asked for.
    key: String,
    /// The events, with all of their columns.
    #[schema(value_type = Vec<Object>)]
    events: Vec<Value>,
    served_by: RowTier,
    /// `before` of the question that looks into older commits; null if there are none.
    #[schema(required)]
    next: Option<u64>,
}

/// The event with this key, whose time is in `from` to `to` if they are given. Out of files, the
/// newest commits are looked into, page by page until it is found or half of the time is spent;
/// `next` says where older ones go on (`before`).
///
/// The values of several columns are given with commas between, in the order of `upsert.key`.
#[utoipa::path(
    get,
    path = "/v1/events/{key}",
    operation_id = "event",
    tag = "job",
    summary = "An event by its upsert key",
    description = "Several columns as `a,b`, in order. Where no warehouse is in the process, the \
                   newest commits are looked into, as many as one question may read; `next` says \
                   where older ones go on.",
    params(
        ("key" = String, Path, min_length = 1, description = "Its upsert key."),
        (
            "from" = Option<String>,
            Query,
            format = DateTime,
            description = "Only with this event time or later."
        ),
        (
            "to" = Option<String>,
            Query,
            format = DateTime,
            description = "Only with an event time before this."
        ),
        (
            "before" = Option<u64>,
            Query,
            description = "Only in commits before this sequence number: `next` of an answer."
        ),
    ),
    responses(
        Refusals,
        (status = 200, description = "The events of the key.", body = EventsBody),
        (status = 404, description = "There is no upsert key.", body = ErrorBody)
    )
)]
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let (from, to) = (parameters.time("from")?, parameters.time("to")?);
    let before = parameters.take("before")?.map(|text| {
        text.parse::<u64>().map_err(|_| {
            ApiError::BadRequest(format!(
                "`before` is `{text}`, and has to be a sequence number, as `next` of an answer"
            ))
        })
    });
    let before = before.transpose()?;
    parameters.finish("from, to and before")?;
    let columns = &app.tables.upsert_key;
    if columns.is_empty() {
        return Err(ApiError::NotFound(
            "events of this job have no key: there is no upsert.key in its configuration"
                .to_owned(),
        ));
    }
    let values: Vec<&str> = key.splitn(columns.len(), ',').collect();
    if values.len() < columns.len() {
        return Err(ApiError::BadRequest(format!(
            "the key has {} columns ({}), with commas between",
            columns.len(),
            columns.join(", ")
        )));
    }
    let conditions = columns
        .iter()
        .zip(&values)
        .map(|(column, value)| format!("{} = {}", name(column), text(value)));
    let time = name(app.job.plan().event_time_column());
    let conditions = conditions
        .chain(from.map(|from| format!("{time} >= {}", instant(from))))
        .chain(to.map(|to| format!("{time} < {}", instant(to))));
    let condition = conditions.collect::<Vec<_>>().join(" AND ");
    let times = (
        from.unwrap_or(i64::MIN),
        to.map_or(i64::MAX, |to| to.saturating_sub(1)),
    );
    let found = match app.tiers.warm.reader {
        Some(_) => warm(&app, &condition).await?,
        None => cold(&app, &condition, times, before).await?,
    };
    json(EventsBody {
        key,
        events: found.rows,
        served_by: found.served_by,
        next: found.next,
    })
    .await
}

async fn warm(app: &App, condition: &str) -> Result<Rows, ApiError> {
    let table = name(&app.tables.events);
    let sql = format!("SELECT * FROM {table} WHERE {condition} LIMIT {ROWS_MAX}");
    rows::warm(app, sql, ROWS_MAX).await
}

/// Page by page, so that it answers however many commits there are.
async fn cold(
    app: &App,
    condition: &str,
    times: (i64, i64),
    mut before: Option<u64>,
) -> Result<Rows, ApiError> {
    let began = Instant::now();
    let (order, limit) = latest(app);
    let mut is_on = false;
    loop {
        let source = Source {
            datasets: &["events", "late"],
            times,
            extent: Extent::Newest(Newest::before(before)),
            every_row: true,
        };
        let wanted = RowQuery {
            table: app.tables.events.clone(),
            condition: condition.to_owned(),
            order: order.clone(),
            limit,
            bytes: BYTES_MAX,
        };
        let page = rows::cold_few(app, wanted, &source, time_left(began)).await;
        let found = match page {
            // What was looked into need not be looked into again.
            Err(ApiError::Timeout(_)) if is_on => Rows::none(RowTier::Cold, before),
            page => page?,
        };
        let is_found = !found.rows.is_empty() || found.next.is_none();
        if is_found || began.elapsed() >= TIMEOUT / 2 {
            return Ok(found);
        }
        before = found.next;
        is_on = true;
    }
}

/// The order in which the row that the warehouse has is the first one of a key, and how many rows
/// of a key there are.
fn latest(app: &App) -> (String, usize) {
    let tables = app.job.tables();
    let events = tables.iter().find(|table| table.name == app.tables.events);
    match events.map(|table| &table.kind) {
        Some(TableKind::Upsert { order, .. }) => {
            let order = order
                .iter()
                .map(|column| format!("{} DESC NULLS LAST", name(column)));
            let order = order.collect::<Vec<_>>().join(", ");
            (format!("ORDER BY {order}"), 1)
        }
        _ => (String::new(), ROWS_MAX),
    }
}
