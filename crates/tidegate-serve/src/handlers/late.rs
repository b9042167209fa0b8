//! `GET /v1/late`: events that came after the watermark had passed their time. They are in the
//! warehouse among the others; their own files tell which they are.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use tidegate_core::plan::{PROCESSING_TIMESTAMP, SOURCE_OFFSET, SOURCE_PARTITION};
use utoipa::ToSchema;

use super::openapi::Refusals;
use super::page::{Before, Order, Pager};
use super::query_string::Parameters;
use super::rejected::{ROWS, ROWS_MAX};
use super::rows::{self, RowQuery, RowTier, Source};
use crate::app::App;
use crate::aside::json;
use crate::error::ApiError;

/// A page of late events.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Late)]
pub(crate) struct LateBody {
    /// The events, with all of their columns.
    #[schema(value_type = Vec<Object>)]
    late: Vec<Value>,
    /// `before` of the next page; null after the last one.
    #[schema(required)]
    next: Option<String>,
    served_by: RowTier,
}

/// Newest first: by commit, then by when they were processed.
#[utoipa::path(
    get,
    path = "/v1/late",
    tag = "job",
    summary = "Late events",
    description = "The newest first: by commit, then by when they were processed.",
    params(
        ("limit" = Option<usize>, Query, minimum = 1, description = "Rows at most."),
        (
            "before" = Option<String>,
            Query,
            description = "Older than this time (out of files: committed before it), or `next` of \
                           an answer.",
            example = json!("2026-11-25T18:00:00.123456Z,3,17")
        ),
    ),
    responses(Refusals, (status = 200, description = "A page of late events.", body = LateBody))
)]
pub(crate) async fn late(
    State(app): State<Arc<App>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let limit = parameters.limit("limit", ROWS, ROWS_MAX)?;
    let before = Before::take(&mut parameters)?;
    parameters.finish("limit and before")?;
    let names = [PROCESSING_TIMESTAMP, SOURCE_PARTITION, SOURCE_OFFSET];
    let mut pager = Pager::new(Order(names), names, before.as_ref(), limit);
    while let Some(group) = pager.group(false) {
        let wanted = RowQuery {
            table: app.tables.events.clone(),
            condition: group.condition,
            order: Order(names).descending(),
            limit: group.limit,
            bytes: group.bytes,
        };
        let source = Source {
            datasets: &["late"],
            times: (i64::MIN, i64::MAX),
            extent: group.extent,
            every_row: true,
        };
        let found = rows::cold_few(&app, wanted, &source, group.timeout).await;
        pager.take(found)?;
    }
    let (late, next) = pager.end();
    json(LateBody {
        late,
        next,
        served_by: RowTier::Cold,
    })
    .await
}
