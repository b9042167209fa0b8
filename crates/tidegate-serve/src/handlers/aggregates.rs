//! `GET /v1/aggregates`: windows of a view, from the tiers that hold them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::Refusals;
use super::query_string::Parameters;
use crate::app::App;
use crate::aside::aside;
use crate::error::ApiError;
use crate::guard::ErrorBody;
use crate::tiers::plan::{Span, Tier};
use crate::tiers::sql::{self, Filter};
use crate::tiers::{Fallback, Served, WindowQuery};
use crate::time::Time;
use crate::view::{View, array};

/// Rows of an answer, unless the request says otherwise, and at most.
const ROWS: usize = 10_000;
const ROWS_MAX: usize = 100_000;

/// Windows of a view.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Aggregates)]
pub(crate) struct AggregatesBody {
    /// Name of the view.
    view: String,
    /// As it was asked for.
    from: Time,
    /// As it was asked for.
    to: Time,
    /// Which tiers have answered, and for which part of the time.
    served_by: Vec<Served>,
    /// Which tiers were passed over.
    fallbacks: Vec<Fallback>,
    /// Whether there are more rows than `limit`.
    truncated: bool,
    /// One for each window and group: `window_start`, `window_end`, the columns of the group, the
    /// aggregates by their names, and `final`.
    // JSON already, which is added to the text of the others.
    #[serde(skip_serializing_if = "is_json")]
    #[schema(required, value_type = Vec<Object>)]
    rows: String,
}

impl AggregatesBody {
    fn into_json(self) -> Result<String, ApiError> {
        let json = serde_json::to_string(&self);
        let mut json = json.map_err(|error| ApiError::unwritten(&error))?;
        json.pop();
        json.push_str(r#","rows":"#);
        json.push_str(&self.rows);
        json.push('}');
        Ok(json)
    }
}

fn is_json(_: &str) -> bool {
    true
}

/// Windows with `from <= window_start < to`.
#[utoipa::path(
    get,
    path = "/v1/aggregates",
    tag = "job",
    summary = "Aggregates of windows",
    description = "Of the windows that start from `from` until before `to`, from the tiers that \
                   have them. `group.COLUMN=VALUE` takes only those groups. A view that was taken \
                   out of the configuration answers from the warehouse and the files, with what \
                   was committed.",
    params(
        ("view" = String, Query, description = "Name of a window."),
        ("from" = String, Query, format = DateTime, description = "The first start of a window."),
        ("to" = String, Query, format = DateTime, description = "The end of the starts."),
        ("limit" = Option<usize>, Query, minimum = 1, description = "Rows at most."),
        ("tier" = Option<Tier>, Query, description = "Only this tier."),
    ),
    responses(
        Refusals,
        (status = 200, description = "The windows.", body = AggregatesBody),
        (status = 404, description = "There is no such view.", body = ErrorBody),
        (status = 504, description = "It took too long.", body = ErrorBody)
    )
)]
pub(crate) async fn aggregates(
    State(app): State<Arc<App>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let name = parameters.need("view")?;
    let view = app.known_views().find(|view| view.name == name);
    let view = view.ok_or_else(|| {
        let known: Vec<&str> = app.known_views().map(|view| view.name.as_str()).collect();
        ApiError::NotFound(match known.as_slice() {
            [] => format!("there is no view `{name}`; this job has none"),
            known => format!("there is no view `{name}`; there are {}", known.join(", ")),
        })
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
    let question = WindowQuery {
        view,
        span: Span { from, to },
        filters: filters(view, &mut parameters)?,
        limit: parameters.limit("limit", ROWS, ROWS_MAX)?,
        tier: tier.transpose()?,
    };
    parameters.finish("view, from, to, group.<column>, limit and tier")?;
    let answer = app.tiers.answer(&question).await;
    let body = aside(|| {
        let rows = answer.rows.iter();
        let rows = array(rows.map(|(shown, is_final)| (shown.as_ref(), *is_final)));
        let body = AggregatesBody {
            view: view.name.clone(),
            from: Time(from),
            to: Time(to),
            served_by: answer.served_by,
            fallbacks: answer.fallbacks,
            truncated: answer.truncated,
            rows,
        };
        body.into_json()
    });
    let body = body.await?;
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

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use utoipa::PartialSchema as _;

    use super::*;

    #[test]
    fn an_answer_has_the_members_that_are_described() {
        let body = AggregatesBody {
            view: "by_minute".to_owned(),
            from: Time(0),
            to: Time(1),
            served_by: Vec::new(),
            fallbacks: Vec::new(),
            truncated: false,
            rows: r#"[{"final":true}]"#.to_owned(),
        };
        let answer: Value = serde_json::from_str(&body.into_json().unwrap()).unwrap();
        assert_eq!(answer["rows"][0]["final"], true);
        let described = serde_json::to_value(AggregatesBody::schema()).unwrap();
        let members = |value: &Value| -> Vec<String> {
            let members = value.as_object().unwrap();
            members.keys().cloned().collect()
        };
        assert_eq!(members(&answer), members(&described["properties"]));
        let required = described["required"].as_array().unwrap();
        assert_eq!(required.len(), members(&answer).len());
    }
}
