//! The operations of the Data API.

mod describe;
mod list;
mod metadata;
mod result;
pub(crate) mod shapes;
mod submit;

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::errors::ApiError;
use crate::service::Service;

/// The operations that there are.
const OPERATIONS: &[&str] = &[
    "ExecuteStatement",
    "BatchExecuteStatement",
    "DescribeStatement",
    "GetStatementResult",
    "CancelStatement",
    "ListStatements",
    "ListDatabases",
    "ListSchemas",
    "ListTables",
    "DescribeTable",
];

/// The operation of that name.
pub(crate) fn operation(name: &str) -> Option<&'static str> {
    OPERATIONS
        .iter()
        .find(|operation| **operation == name)
        .copied()
}

/// Answers one call.
pub(crate) async fn call(
    service: &Arc<Service>,
    operation: &'static str,
    body: &[u8],
) -> Result<Value, ApiError> {
    match operation {
        "ExecuteStatement" | "BatchExecuteStatement" => {
            submit::submit(service, operation == "BatchExecuteStatement", parse(body)?).await
        }
        "DescribeStatement" => describe::describe(service, parse(body)?).await,
        "GetStatementResult" => result::page(service, parse(body)?).await,
        "CancelStatement" => describe::cancel(service, &parse(body)?),
        "ListStatements" => list::statements(service, &parse(body)?),
        "ListDatabases" | "ListSchemas" | "ListTables" | "DescribeTable" => {
            metadata::list(service, operation, parse(body)?).await
        }
        _ => Err(ApiError::UnknownOperation),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::Serialization(error.to_string()))
}

/// WaitTimeSeconds, from 1 to 30.
fn wait_time(seconds: Option<i64>) -> Result<Option<Duration>, ApiError> {
    match seconds {
        None => Ok(None),
        Some(seconds @ 1..=30) => Ok(Some(Duration::from_secs(seconds.unsigned_abs()))),
        Some(seconds) => Err(ApiError::validation(format!(
            "Value '{seconds}' at 'waitTimeSeconds' failed to satisfy constraint: Member must have value between 1 and 30"
        ))),
    }
}

/// Where a page begins: `page:1000`.
fn page_start(token: Option<&str>) -> Result<usize, ApiError> {
    let Some(token) = token else {
        return Ok(0);
    };
    token
        .strip_prefix("page:")
        .and_then(|start| start.parse().ok())
        .ok_or_else(|| ApiError::validation("The NextToken is not valid."))
}

fn page_token(start: usize) -> String {
    format!("page:{start}")
}

/// How many to list, from 0 to `most`; 0 is the most.
fn max_results(given: Option<i64>, most: usize) -> Result<usize, ApiError> {
    match given.map(usize::try_from) {
        None | Some(Ok(0)) => Ok(most),
        Some(Ok(count)) if count <= most => Ok(count),
        Some(_) => Err(ApiError::validation(format!(
            "Value at 'maxResults' failed to satisfy constraint: Member must have value between 0 and {most}"
        ))),
    }
}
