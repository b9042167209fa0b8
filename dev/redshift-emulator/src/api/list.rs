//! ListStatements.

use serde_json::{Map, Value, json};

use super::shapes::ListStatements;
use super::{max_results, page_start, page_token};
use crate::errors::ApiError;
use crate::service::Service;
use crate::statement::Statement;

const LISTED_MAX: usize = 100;
const STATUSES: &[&str] = &[
    "SUBMITTED",
    "PICKED",
    "STARTED",
    "FINISHED",
    "ABORTED",
    "FAILED",
    "ALL",
];

pub(super) fn statements(service: &Service, call: &ListStatements) -> Result<Value, ApiError> {
    let most = max_results(call.max_results, LISTED_MAX)?;
    let start = page_start(call.next_token.as_deref())?;
    if let Some(status) = &call.status
        && !STATUSES.contains(&status.as_str())
    {
        return Err(ApiError::validation(format!(
            "Value '{status}' at 'status' failed to satisfy constraint: Member must satisfy enum value set: {STATUSES:?}"
        )));
    }
    let same = |wanted: &Option<String>, is: &Option<String>| wanted.is_none() || wanted == is;
    let found: Vec<_> = service
        .statements
        .all()
        .into_iter()
        .filter(|statement| {
            let status = statement.state.borrow().status.as_str();
            call.status
                .as_deref()
                .is_none_or(|wanted| wanted == "ALL" || wanted == status)
                && call.statement_name.as_deref().is_none_or(|prefix| {
                    statement
                        .name
                        .as_deref()
                        .is_some_and(|name| name.starts_with(prefix))
                })
                && same(&call.database, &statement.target.database)
                && same(
                    &call.cluster_identifier,
                    &statement.target.cluster_identifier,
                )
                && same(&call.workgroup_name, &statement.target.workgroup_name)
        })
        .collect();
    let listed: Vec<Value> = found
        .iter()
        .skip(start)
        .take(most)
        .map(|s| summary(s))
        .collect();
    let mut answer = Map::new();
    let end = start.saturating_add(most);
    answer.insert("Statements".to_owned(), json!(listed));
    if end < found.len() {
        answer.insert("NextToken".to_owned(), json!(page_token(end)));
    }
    Ok(Value::Object(answer))
}

fn summary(statement: &Statement) -> Value {
    let state = statement.state();
    let mut answer = Map::new();
    answer.insert("Id".to_owned(), json!(statement.id));
    answer.insert("Status".to_owned(), json!(state.status));
    answer.insert("CreatedAt".to_owned(), json!(statement.created_at));
    answer.insert("UpdatedAt".to_owned(), json!(state.updated_at));
    answer.insert("IsBatchStatement".to_owned(), json!(statement.batch));
    answer.insert("ResultFormat".to_owned(), json!("JSON"));
    let sqls: Vec<&str> = state.parts.iter().map(|part| part.sql.as_str()).collect();
    if statement.batch {
        answer.insert("QueryStrings".to_owned(), json!(sqls));
    } else {
        answer.insert("QueryString".to_owned(), json!(sqls.first()));
    }
    if let Some(name) = &statement.name {
        answer.insert("StatementName".to_owned(), json!(name));
    }
    if let Some(arn) = &statement.target.secret_arn {
        answer.insert("SecretArn".to_owned(), json!(arn));
    }
    if let Some(session) = &statement.session_id {
        answer.insert("SessionId".to_owned(), json!(session));
    }
    if !statement.parameters.is_empty() {
        answer.insert("QueryParameters".to_owned(), json!(statement.parameters));
    }
    Value::Object(answer)
}
