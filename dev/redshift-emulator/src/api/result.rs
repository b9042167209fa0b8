//! GetStatementResult.

use serde_json::{Map, Value, json};

use super::describe::split;
use super::shapes::ById;
use super::{page_start, page_token, wait_time};
use crate::errors::ApiError;
use crate::service::Service;
use crate::statement::Status;

pub(super) async fn page(service: &Service, call: ById) -> Result<Value, ApiError> {
    let wait = wait_time(call.wait_time_seconds)?;
    let (id, number) = split(call.id.as_deref())?;
    let statement = service.statements.get(id)?;
    if let Some(wait) = wait {
        statement.wait(wait).await;
    }
    let state = statement.state();
    let at = match number {
        None if statement.batch => {
            return Err(ApiError::validation(
                "A batch has no result of its own: give the id of one of its statements.",
            ));
        }
        None => Some(0),
        Some(number) => number.checked_sub(1),
    };
    let part = at.and_then(|at| state.parts.get(at));
    let part = part.ok_or_else(|| ApiError::statement_not_found(id))?;
    if state.status != Status::Finished && part.status != Status::Finished {
        return Err(ApiError::validation(format!(
            "Query is not in a FINISHED state: it is {}.",
            state.status.as_str()
        )));
    }
    let Some(result) = &part.result else {
        return Err(ApiError::NotFound {
            message:
                "Query does not have result. Please check query status with DescribeStatement."
                    .to_owned(),
            id: id.to_owned(),
        });
    };

    let start = page_start(call.next_token.as_deref())?;
    let end = start
        .saturating_add(service.options.page_rows_max)
        .min(result.rows.len());
    if start > result.rows.len() {
        return Err(ApiError::validation("The NextToken is not valid."));
    }
    let mut answer = Map::new();
    answer.insert(
        "Records".to_owned(),
        json!(result.rows.get(start..end).unwrap_or_default()),
    );
    answer.insert("ColumnMetadata".to_owned(), json!(result.columns));
    answer.insert("TotalNumRows".to_owned(), json!(result.rows.len()));
    if end < result.rows.len() {
        answer.insert("NextToken".to_owned(), json!(page_token(end)));
    }
    Ok(Value::Object(answer))
}
