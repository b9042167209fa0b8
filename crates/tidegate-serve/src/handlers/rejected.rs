//! `GET /v1/rejected`: records that did not become events, with all that was wrong with them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::page::{Before, Order, next};
use super::query_string::Parameters;
use super::rows::{self, Source};
use crate::app::App;
use crate::error::ApiError;
use crate::tiers::sql::{name, text};

/// Records of an answer, unless the request says otherwise, and at most.
pub(super) const ROWS: usize = 100;
pub(super) const ROWS_MAX: usize = 1_000;

const ORDER: Order<'_> = Order(["rejected_at", "source_partition", "source_offset"]);

/// Newest first.
pub(crate) async fn rejected(
    State(app): State<Arc<App>>,
    mut parameters: Parameters,
) -> Result<Json<Value>, ApiError> {
    let limit = parameters.limit("limit", ROWS, ROWS_MAX)?;
    let reason = parameters.take("reason")?;
    let before = Before::take(&mut parameters)?;
    parameters.finish("limit, reason and before")?;
    let mut conditions = vec![ORDER.condition(before.as_ref())];
    conditions.extend(reason.as_ref().map(|reason| {
        format!(
            "list_contains(string_split(reasons, ','), {})",
            text(reason)
        )
    }));
    let sql = format!(
        "SELECT string_split(reasons, ',') AS reasons, detail, payload, CASE payload_encoding WHEN 'base64' THEN 'base64' ELSE 'utf8' \
         END AS payload_encoding, source_partition AS partition, source_offset AS \"offset\", source_timestamp AS timestamp, \
         rejected_at FROM {} WHERE {} {} LIMIT {limit}",
        name(&app.tables.rejected),
        conditions.join(" AND "),
        ORDER.descending()
    );
    let source = Source {
        datasets: &["rejected"],
        times: (i64::MIN, i64::MAX),
        // A reason may be rare: then all files are looked into.
        newest_rows: (reason.is_none() && before.is_none()).then_some(limit as u64),
    };
    let (rejected, served_by) = rows::warm_or_cold(&app, sql, &source, limit).await?;
    let next = next(&rejected, limit, ["rejected_at", "partition", "offset"]);
    Ok(Json(
        json!({ "rejected": rejected, "next": next, "served_by": served_by }),
    ))
}
