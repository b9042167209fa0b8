//! DescribeStatement and CancelStatement.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::shapes::ById;
use super::submit::put_target;
use super::wait_time;
use crate::errors::ApiError;
use crate::service::Service;
use crate::statement::{Statement, SubStatement};

pub(super) async fn describe(service: &Service, call: ById) -> Result<Value, ApiError> {
    let wait = wait_time(call.wait_time_seconds)?;
    let (id, part) = split(call.id.as_deref())?;
    let statement = service.statements.get(id)?;
    if let Some(wait) = wait {
        statement.wait(wait).await;
    }
    match part {
        None => Ok(whole(&statement)),
        Some(number) => {
            let state = statement.state();
            let part = number.checked_sub(1).and_then(|at| state.parts.get(at));
            let part = part.ok_or_else(|| ApiError::statement_not_found(id))?;
            Ok(Value::Object(describe_part(&statement.id, number, part)))
        }
    }
}

/// An id, and the number of a part after a colon.
pub(super) fn split(id: Option<&str>) -> Result<(&str, Option<usize>), ApiError> {
    let id = id.ok_or_else(|| {
        ApiError::validation(
            "Value null at 'id' failed to satisfy constraint: Member must not be null",
        )
    })?;
    let wrong = || {
        ApiError::validation(
            "id must satisfy regex pattern: ^[a-z0-9]{8}(-[a-z0-9]{4}){3}-[a-z0-9]{12}(:\\d{0,2})?$",
        )
    };
    let (uuid, part) = match id.split_once(':') {
        None => (id, None),
        Some((uuid, "")) => (uuid, None),
        Some((uuid, part)) if part.len() <= 2 => (uuid, Some(part.parse().map_err(|_| wrong())?)),
        Some(_) => return Err(wrong()),
    };
    let groups: Vec<usize> = uuid.split('-').map(str::len).collect();
    let letters = uuid
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if groups == [8, 4, 4, 4, 12] && letters {
        Ok((uuid, part))
    } else {
        Err(wrong())
    }
}

fn whole(statement: &Statement) -> Value {
    let state = statement.state();
    let mut answer = match (statement.batch, state.parts.first()) {
        (false, Some(part)) => describe_part(&statement.id, 0, part),
        _ => {
            let parts: Vec<Value> = state
                .parts
                .iter()
                .enumerate()
                .map(|(at, part)| Value::Object(describe_part(&statement.id, at + 1, part)))
                .collect();
            let mut answer = Map::new();
            answer.insert("SubStatements".to_owned(), json!(parts));
            answer.insert("ResultRows".to_owned(), json!(-1));
            answer.insert("ResultSize".to_owned(), json!(-1));
            answer.insert("RedshiftQueryId".to_owned(), json!(0));
            answer.insert(
                "HasResultSet".to_owned(),
                json!(state.parts.iter().any(|part| part.result.is_some())),
            );
            answer.insert("ExecutionMode".to_owned(), json!(statement.mode));
            answer
        }
    };
    put_target(&mut answer, &statement.target);
    answer.insert("Id".to_owned(), json!(statement.id));
    answer.insert("Status".to_owned(), json!(state.status));
    answer.insert("CreatedAt".to_owned(), json!(statement.created_at));
    answer.insert("UpdatedAt".to_owned(), json!(state.updated_at));
    answer.insert("Duration".to_owned(), nanos(state.duration));
    answer.insert("RedshiftPid".to_owned(), json!(state.pid));
    answer.insert("ResultFormat".to_owned(), json!("JSON"));
    if let Some(error) = &state.error {
        answer.insert("Error".to_owned(), json!(error));
    }
    if !statement.parameters.is_empty() {
        answer.insert("QueryParameters".to_owned(), json!(statement.parameters));
    }
    if let Some(session) = &statement.session_id {
        answer.insert("SessionId".to_owned(), json!(session));
    }
    Value::Object(answer)
}

fn describe_part(id: &str, number: usize, part: &SubStatement) -> Map<String, Value> {
    let mut answer = Map::new();
    let size = part
        .result
        .as_ref()
        .map_or(-1, |result| i64::try_from(result.bytes).unwrap_or(i64::MAX));
    answer.insert("Id".to_owned(), json!(format!("{id}:{number}")));
    answer.insert("Status".to_owned(), json!(part.status));
    answer.insert("CreatedAt".to_owned(), json!(part.created_at));
    answer.insert("UpdatedAt".to_owned(), json!(part.updated_at));
    answer.insert("Duration".to_owned(), nanos(part.duration));
    answer.insert("QueryString".to_owned(), json!(part.sql));
    answer.insert("ResultRows".to_owned(), json!(part.rows));
    answer.insert("ResultSize".to_owned(), json!(size));
    answer.insert("RedshiftQueryId".to_owned(), json!(part.query_id));
    answer.insert("HasResultSet".to_owned(), json!(part.result.is_some()));
    if let Some(error) = &part.error {
        answer.insert("Error".to_owned(), json!(error));
    }
    answer
}

fn nanos(duration: Duration) -> Value {
    json!(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

pub(super) fn cancel(service: &Service, call: &ById) -> Result<Value, ApiError> {
    let (id, _) = split(call.id.as_deref())?;
    let statement = service.statements.get(id)?;
    let status = statement.state().status;
    if status.ended() {
        return Err(ApiError::validation(format!(
            "Could not cancel a query that is already in {} state with ID: {id}",
            status.as_str()
        )));
    }
    statement.cancelled.send_replace(true);
    Ok(json!({"Status": true}))
}
