//! ExecuteStatement and BatchExecuteStatement.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use sqlparser::tokenizer::Token;
use tokio::sync::watch;
use uuid::Uuid;

use super::shapes::{RequestTarget, Submit};
use super::wait_time;
use crate::errors::ApiError;
use crate::faults::{FaultPoint, RedshiftFault};
use crate::run;
use crate::service::Service;
use crate::session::KEEP_ALIVE_MAX;
use crate::sql::{parameters, tokens};
use crate::statement::{Statement, StatementState, Status, SubStatement, now};

const SQLS_MAX: usize = 40;
const SQL_BYTES_MAX: usize = 100 * 1024;
const NAME_MAX: usize = 2048;

pub(super) async fn submit(
    service: &Arc<Service>,
    batch: bool,
    call: Submit,
) -> Result<Value, ApiError> {
    let wait = wait_time(call.wait_time_seconds)?;
    let sqls = sqls(batch, &call)?;
    let parsed = parse(batch, &call, &sqls)?;
    limits(&call)?;
    let keep_alive = keep_alive(call.session_keep_alive_seconds)?;
    if call.session_id.is_none() {
        check_target(&call.target, &service.options.database)?;
    }

    let faults = &service.faults;
    let operation = if batch {
        "BatchExecuteStatement"
    } else {
        "ExecuteStatement"
    };
    let forgotten = faults.strike(FaultPoint::Submit, operation) == Some(RedshiftFault::Forgotten);
    let new_session = match (&call.session_id, keep_alive) {
        (None, Some(keep_alive)) if !keep_alive.is_zero() => {
            Some((Uuid::new_v4().to_string(), keep_alive))
        }
        _ => None,
    };
    let session_id = call
        .session_id
        .clone()
        .or(new_session.as_ref().map(|(id, _)| id.clone()));
    let statement = Arc::new(statement(batch, &call, sqls, session_id.clone(), forgotten));
    if let Some(before) = service
        .statements
        .add(Arc::clone(&statement), call.client_token.as_deref())?
    {
        return Ok(answer(&before, wait.is_some()));
    }
    let session = match (&session_id, new_session) {
        (Some(id), Some((_, keep_alive))) => Some(service.sessions.create(id, keep_alive)),
        (Some(id), None) => Some(service.sessions.take(id, keep_alive)),
        (None, _) => None,
    };
    let session = match session.transpose() {
        Ok(session) => session,
        Err(error) => {
            service
                .statements
                .remove(&statement.id, call.client_token.as_deref());
            return Err(error);
        }
    };
    if let (Some(id), Some(keep_alive)) = (&call.session_id, keep_alive)
        && keep_alive.is_zero()
    {
        service.sessions.close(id);
    }
    tokio::spawn(run::run(
        Arc::clone(service),
        Arc::clone(&statement),
        session,
        parsed,
    ));
    if let Some(wait) = wait {
        statement.wait(wait).await;
    }
    Ok(answer(&statement, wait.is_some()))
}

fn sqls(batch: bool, call: &Submit) -> Result<Vec<String>, ApiError> {
    let missing = |what: &str| {
        ApiError::validation(format!(
            "Value null at '{what}' failed to satisfy constraint: Member must not be null"
        ))
    };
    let sqls = if batch {
        call.sqls.clone().ok_or_else(|| missing("sqls"))?
    } else {
        vec![call.sql.clone().ok_or_else(|| missing("sql"))?]
    };
    if sqls.is_empty() || sqls.len() > SQLS_MAX {
        return Err(ApiError::validation(format!(
            "Value at 'sqls' failed to satisfy constraint: Member must have length between 1 and {SQLS_MAX}"
        )));
    }
    if sqls.iter().any(|sql| sql.len() > SQL_BYTES_MAX) {
        return Err(ApiError::validation(
            "Cannot process query string larger than 100kB",
        ));
    }
    Ok(sqls)
}

/// The tokens of each statement, with parameters put in. What cannot be read at all fails when it
/// runs.
fn parse(batch: bool, call: &Submit, sqls: &[String]) -> Result<Vec<Vec<Token>>, ApiError> {
    let given = call.parameters.as_deref().unwrap_or_default();
    parameters::check(given)?;
    let mut unused: BTreeSet<String> = given.iter().map(|p| p.name.clone()).collect();
    let mut parsed = Vec::with_capacity(sqls.len());
    for sql in sqls {
        let Ok(tokens) = tokens::tokens(sql) else {
            unused.clear();
            parsed.push(Vec::new());
            continue;
        };
        let mut statements = tokens::split(&tokens);
        let Some(first) = statements.next() else {
            return Err(ApiError::validation("SQL statement is empty."));
        };
        if statements.next().is_some() {
            return Err(ApiError::validation(if batch {
                "Multiple SQL statements in one item of Sqls are not supported."
            } else {
                "Multiple SQL statements are not supported. Use BatchExecuteStatement."
            }));
        }
        parsed.push(parameters::bind(first, given, &mut unused)?);
    }
    if let Some(name) = unused.first() {
        return Err(ApiError::validation(format!(
            "Parameter {name} is not used in the SQL."
        )));
    }
    Ok(parsed)
}

fn limits(call: &Submit) -> Result<(), ApiError> {
    if let Some(token) = &call.client_token
        && !(1..=64).contains(&token.chars().count())
    {
        return Err(ApiError::validation(
            "Value at 'clientToken' failed to satisfy constraint: Member must have length between 1 and 64",
        ));
    }
    if call
        .statement_name
        .as_ref()
        .is_some_and(|name| name.chars().count() > NAME_MAX)
    {
        return Err(ApiError::validation(
            "Value at 'statementName' failed to satisfy constraint: Member must have length less than or equal to 2048",
        ));
    }
    match call.result_format.as_deref() {
        None | Some("JSON") => Ok(()),
        Some("CSV") => Err(ApiError::validation("the emulator lacks results as CSV")),
        Some(_) => Err(ApiError::validation(
            "Value at 'resultFormat' failed to satisfy constraint: Member must satisfy enum value set: [JSON, CSV]",
        )),
    }
}

fn keep_alive(seconds: Option<i64>) -> Result<Option<Duration>, ApiError> {
    let Some(seconds) = seconds else {
        return Ok(None);
    };
    u64::try_from(seconds)
        .map(Duration::from_secs)
        .ok()
        .filter(|keep_alive| *keep_alive <= KEEP_ALIVE_MAX)
        .map(Some)
        .ok_or_else(|| {
            ApiError::validation(
                "Value at 'sessionKeepAliveSeconds' failed to satisfy constraint: Member must have value between 0 and 86400",
            )
        })
}

/// A workgroup or a cluster, and the database that there is.
pub(super) fn check_target(target: &RequestTarget, database: &str) -> Result<(), ApiError> {
    match (&target.workgroup_name, &target.cluster_identifier) {
        (Some(_), Some(_)) => {
            return Err(ApiError::validation(
                "Either WorkgroupName or ClusterIdentifier can be given, not both.",
            ));
        }
        (None, None) => {
            return Err(ApiError::validation(
                "Either WorkgroupName or ClusterIdentifier is required.",
            ));
        }
        (Some(_), None) if target.db_user.is_some() => {
            return Err(ApiError::validation(
                "DbUser cannot be given with WorkgroupName.",
            ));
        }
        (Some(name), None) if !(3..=128).contains(&name.len()) => {
            return Err(ApiError::validation(format!(
                "Value '{name}' at 'workgroupName' failed to satisfy constraint: Member must have length between 3 and 128"
            )));
        }
        (None, Some(name)) if !(1..=63).contains(&name.len()) => {
            return Err(ApiError::validation(format!(
                "Value '{name}' at 'clusterIdentifier' failed to satisfy constraint: Member must have length between 1 and 63"
            )));
        }
        _ => {}
    }
    if target.db_user.is_some() && target.secret_arn.is_some() {
        return Err(ApiError::validation(
            "Either SecretArn or DbUser can be given, not both.",
        ));
    }
    if let Some(arn) = &target.secret_arn
        && !(arn.starts_with("arn:aws") && arn.contains(":secretsmanager:"))
    {
        return Err(ApiError::validation(format!("Invalid secret ARN '{arn}'.")));
    }
    match &target.database {
        None => Err(ApiError::validation("Database is required.")),
        Some(given) if given == database => Ok(()),
        Some(given) => Err(ApiError::validation(format!(
            "FATAL: database \"{given}\" does not exist"
        ))),
    }
}

fn statement(
    batch: bool,
    call: &Submit,
    sqls: Vec<String>,
    session_id: Option<String>,
    forgotten: bool,
) -> Statement {
    let created_at = now();
    let parts = sqls
        .into_iter()
        .map(|sql| SubStatement {
            sql,
            status: Status::Submitted,
            created_at,
            updated_at: created_at,
            duration: Duration::ZERO,
            rows: -1,
            error: None,
            query_id: 0,
            result: None,
        })
        .collect();
    Statement {
        id: Uuid::new_v4().to_string(),
        batch,
        target: call.target.clone(),
        name: call.statement_name.clone(),
        parameters: call.parameters.clone().unwrap_or_default(),
        session_id,
        mode: call.execution_mode.unwrap_or_default(),
        created_at,
        forgotten,
        state: watch::Sender::new(StatementState {
            status: Status::Submitted,
            updated_at: created_at,
            duration: Duration::ZERO,
            error: None,
            pid: 0,
            parts,
            ended: None,
        }),
        cancelled: watch::Sender::new(false),
    }
}

fn answer(statement: &Statement, waited: bool) -> Value {
    let mut answer = Map::new();
    answer.insert("Id".to_owned(), json!(statement.id));
    answer.insert("CreatedAt".to_owned(), json!(statement.created_at));
    put_target(&mut answer, &statement.target);
    if let Some(session) = &statement.session_id {
        answer.insert("SessionId".to_owned(), json!(session));
    }
    if waited {
        let state = statement.state();
        answer.insert("Status".to_owned(), json!(state.status));
        answer.insert(
            "HasResultSet".to_owned(),
            json!(state.parts.iter().any(|part| part.result.is_some())),
        );
    }
    Value::Object(answer)
}

/// Who asked, as answers repeat it.
pub(super) fn put_target(answer: &mut Map<String, Value>, target: &RequestTarget) {
    let fields = [
        ("ClusterIdentifier", &target.cluster_identifier),
        ("WorkgroupName", &target.workgroup_name),
        ("SecretArn", &target.secret_arn),
        ("DbUser", &target.db_user),
        ("Database", &target.database),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            answer.insert(name.to_owned(), json!(value));
        }
    }
}
