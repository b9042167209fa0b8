//! `GET /v1/aggregates`: windows of a view, from the tiers that hold them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::query_string::Parameters;
use crate::app::App;
use crate::error::ApiError;
use crate::tiers::Question;
use crate::tiers::plan::{Span, Tier};
use crate::tiers::sql::{self, Filter};
use crate::time;
use crate::view::{View, array};

/// Rows of an answer, unless the request says otherwise, and at most.
const ROWS: usize = 10_000;
const ROWS_MAX: usize = 100_000;

/// Windows with `from <= window_start < to`.
pub(crate) async fn aggregates(
    State(app): State<Arc<App>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let name = parameters.need("view")?;
    let (_, view) = app.view(&name).ok_or_else(|| {
        let known: Vec<&str> = app.views.iter().map(|view| view.name.as_str()).collect();
        ApiError::NotFound(format!(
            "there is no view `{name}`; there are {}",
            known.join(", ")
        ))
    })?;
    let missing = |name: &str| {
        ApiError::BadRequest(format!(
            "`{name}` is missing: a time such as 2026-11-25T18:00:00Z"
        ))
    };
    let from = parameters.time("from")?.ok_or_else(|| missing("from"))?;
    let to = parameters.time("to")?.ok_or_else(|| missing("to"))?;
    if from > to {
        return Err(ApiError::BadRequest("`from` is after `to`".to_owned()));
    }
    let tier = parameters.take("tier")?;
    let tier = tier.map(|tier| {
        Tier::named(&tier).ok_or_else(|| {
            ApiError::BadRequest(format!(
                "`tier` is `{tier}`, and has to be hot, warm or cold"
            ))
        })
    });
    let question = Question {
        view,
        span: Span { from, to },
        filters: filters(view, &mut parameters)?,
        limit: parameters.limit("limit", ROWS, ROWS_MAX)?,
        tier: tier.transpose()?,
    };
    parameters.finish("view, from, to, group.<column>, limit and tier")?;
    let answer = app.tiers.answer(&question).await;
    let rows = answer.rows.iter();
    let rows = array(rows.map(|(shown, is_final)| (shown.as_ref(), *is_final)));
    let about = json!({
        "view": view.name,
        "from": time::show(from),
        "to": time::show(to),
        "served_by": answer.served_by,
        "fallbacks": answer.fallbacks,
        "truncated": answer.truncated,
    });
    // Rows are JSON already.
    let mut body = about.to_string();
    body.pop();
    body.push_str(r#","rows":"#);
    body.push_str(&rows);
    body.push('}');
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn filters(view: &View, parameters: &mut Parameters) -> Result<Vec<Filter>, ApiError> {
    let mut filters = Vec::new();
    for (column, (name, ty)) in view.groups.iter().enumerate() {
        let values = parameters.take_all(&format!("group.{name}"));
        if !values.is_empty() {
            let values = values
                .iter()
                .map(|text| sql::value(ty, text))
                .collect::<Result<_, _>>()?;
            filters.push(Filter { column, values });
        }
    }
    Ok(filters)
}
