//! Running a statement: its states, its transaction, its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sqlparser::tokenizer::Token;
use tokio_postgres::{CancelToken, NoTls};

use crate::api::shapes::ExecutionMode;
use crate::errors::SqlError;
use crate::execute::{SqlOutcome, execute};
use crate::faults::{FaultPoint, RedshiftFault};
use crate::history;
use crate::service::Service;
use crate::session::{PostgresConnection, Session};
use crate::sql::{Action, Plan};
use crate::statement::{Statement, Status};

/// How long a cancelled statement may take to notice.
const CANCEL_MAX: Duration = Duration::from_secs(10);

/// Runs a statement to its end. `sql` has the tokens of each part, with parameters put in.
pub(crate) async fn run(
    service: Arc<Service>,
    statement: Arc<Statement>,
    session: Option<Arc<Session>>,
    sql: Vec<Vec<Token>>,
) {
    let begin = Instant::now();
    // On a task of its own: should a file make a library panic, the statement still ends.
    let work = {
        let (service, statement, session) = (
            Arc::clone(&service),
            Arc::clone(&statement),
            session.clone(),
        );
        tokio::spawn(
            async move { to_the_end(&service, &statement, session.as_deref(), &sql).await },
        )
    };
    let ended = work
        .await
        .unwrap_or_else(|error| Err(SqlError::new(format_args!("internal error: {error}"))));
    let mut status = match &ended {
        Ok(()) => Status::Finished,
        Err(_) if *statement.cancelled.borrow() => Status::Aborted,
        Err(_) => Status::Failed,
    };
    let mut error = ended
        .err()
        .map(|error| service.names.restore(error.as_str()));
    if status == Status::Finished {
        match service
            .faults
            .strike(FaultPoint::Report, statement.operation())
        {
            Some(RedshiftFault::FailedThoughCommitted) => {
                status = Status::Failed;
                error = Some(SqlError::new("connection to the cluster lost").to_string());
            }
            Some(RedshiftFault::AbortedThoughCommitted) => {
                status = Status::Aborted;
                error = Some(SqlError::cancelled().to_string());
            }
            _ => {}
        }
    }
    if let Some(session) = &session {
        session.release();
    }
    service.statements.ended();
    service.counters.end(status.as_str());
    statement.state.send_modify(|state| {
        state.error = error;
        state.duration = begin.elapsed();
        for part in &mut state.parts {
            // What has not run will not; and a statement that stands alone ends as the whole does.
            if !part.status.ended() || (!statement.batch && status != Status::Finished) {
                part.status = if statement.batch {
                    Status::Aborted
                } else {
                    status
                };
            }
        }
    });
    history::query(&service, &statement, status).await;
    statement.set_status(status);
}

async fn to_the_end(
    service: &Service,
    statement: &Statement,
    session: Option<&Session>,
    sql: &[Vec<Token>],
) -> Result<(), SqlError> {
    service.names.remember(&service.postgres, sql).await?;
    let delays = service.options.delays;
    pause(statement, delays.submitted).await?;
    statement.set_status(Status::Picked);
    pause(statement, delays.picked).await?;
    statement.set_status(Status::Started);
    pause(statement, delays.started).await?;
    if let Some(RedshiftFault::Slow { ms }) = service
        .faults
        .strike(FaultPoint::Start, statement.operation())
    {
        pause(statement, Duration::from_millis(ms)).await?;
    }

    match session {
        None => {
            let mut connection = connect(service).await?;
            cancellable(service, statement, &mut connection, sql).await
        }
        Some(session) => {
            let mut held = session.connection.lock().await;
            let connection = match held.take() {
                Some(connection) if !connection.client.is_closed() => connection,
                _ => connect(service).await?,
            };
            let connection = held.insert(connection);
            cancellable(service, statement, connection, sql).await
        }
    }
}

async fn connect(service: &Service) -> Result<PostgresConnection, SqlError> {
    let client = service.postgres.connect().await?;
    let pid = client
        .query_one("SELECT pg_backend_pid()", &[])
        .await?
        .get(0);
    Ok(PostgresConnection {
        client,
        pid,
        in_transaction: false,
    })
}

/// Waits, unless somebody cancels.
async fn pause(statement: &Statement, time: Duration) -> Result<(), SqlError> {
    let mut cancelled = statement.cancelled.subscribe();
    let cancelled = cancelled.wait_for(|cancelled| *cancelled);
    match tokio::time::timeout(time, cancelled).await {
        Err(_) => Ok(()),
        Ok(_) => Err(SqlError::cancelled()),
    }
}

/// Runs it, and tells PostgreSQL where somebody cancels. What comes of it then is still waited for,
/// since it may have been committed.
async fn cancellable(
    service: &Service,
    statement: &Statement,
    connection: &mut PostgresConnection,
    sql: &[Vec<Token>],
) -> Result<(), SqlError> {
    let pid = i64::from(connection.pid);
    statement.state.send_modify(|state| state.pid = pid);
    let token: CancelToken = connection.client.cancel_token();
    let work = transactions(service, statement, connection, sql);
    let mut work = std::pin::pin!(work);
    let mut cancelled = statement.cancelled.subscribe();
    tokio::select! {
        ended = &mut work => return ended,
        _ = cancelled.wait_for(|cancelled| *cancelled) => {}
    }
    // Where the request does not come through, the statement ends by itself.
    let _ = token.cancel_query(NoTls).await;
    match tokio::time::timeout(CANCEL_MAX, work).await {
        Ok(ended) => ended,
        Err(_) => Err(SqlError::cancelled()),
    }
}

async fn transactions(
    service: &Service,
    statement: &Statement,
    connection: &mut PostgresConnection,
    sql: &[Vec<Token>],
) -> Result<(), SqlError> {
    if !statement.batch {
        let tokens = sql.first().map(Vec::as_slice).unwrap_or_default();
        return part(
            service,
            statement,
            0,
            alone(service, statement, 0, connection, tokens),
        )
        .await;
    }
    let abort_after = match service
        .faults
        .strike(FaultPoint::Batch, statement.operation())
    {
        Some(RedshiftFault::AbortBatch { after }) => after.min(sql.len().saturating_sub(1)),
        _ => usize::MAX,
    };
    if statement.mode == ExecutionMode::AutoCommit {
        let mut first = Ok(());
        for (at, tokens) in sql.iter().enumerate() {
            let work = alone(service, statement, at, connection, tokens);
            let ended = part(service, statement, at, work).await;
            if *statement.cancelled.borrow() {
                return Err(SqlError::cancelled());
            }
            first = first.and(ended);
        }
        return first;
    }
    let ended = batch(service, statement, connection, sql, abort_after).await;
    if ended.is_err() {
        // Where the connection is gone, so is the transaction.
        let _ = connection.client.batch_execute("ROLLBACK").await;
        connection.in_transaction = false;
    }
    ended
}

/// A batch in one transaction, but for the commits that stand in it.
async fn batch(
    service: &Service,
    statement: &Statement,
    connection: &mut PostgresConnection,
    sql: &[Vec<Token>],
    abort_after: usize,
) -> Result<(), SqlError> {
    connection.client.batch_execute("BEGIN").await?;
    for (at, tokens) in sql.iter().enumerate() {
        if *statement.cancelled.borrow() {
            return Err(SqlError::cancelled());
        }
        let work = async {
            if at >= abort_after {
                return Err(SqlError::new(
                    "1020\n  Detail: the cluster ended the transaction",
                ));
            }
            let plan = Plan::new(tokens)?;
            if let Some(refused) = plan.refused_in_transaction() {
                return Err(refused);
            }
            match plan.action {
                Action::Begin => Ok(SqlOutcome::none()),
                Action::Commit | Action::Rollback => {
                    if plan.action == Action::Commit {
                        commit(service, statement, connection).await?;
                    } else {
                        connection.client.batch_execute("ROLLBACK").await?;
                    }
                    connection.client.batch_execute("BEGIN").await?;
                    Ok(SqlOutcome::none())
                }
                Action::Truncate => {
                    let outcome = execute(service, statement, at, connection, &plan).await?;
                    commit(service, statement, connection).await?;
                    connection.client.batch_execute("BEGIN").await?;
                    Ok(outcome)
                }
                _ => execute(service, statement, at, connection, &plan).await,
            }
        };
        part(service, statement, at, work).await?;
    }
    if *statement.cancelled.borrow() {
        return Err(SqlError::cancelled());
    }
    commit(service, statement, connection).await
}

/// A statement that is its own transaction, or one within a session's.
async fn alone(
    service: &Service,
    statement: &Statement,
    at: usize,
    connection: &mut PostgresConnection,
    tokens: &[Token],
) -> Result<SqlOutcome, SqlError> {
    let plan = Plan::new(tokens)?;
    if connection.in_transaction
        && let Some(refused) = plan.refused_in_transaction()
    {
        connection.client.batch_execute("ROLLBACK").await?;
        connection.in_transaction = false;
        return Err(refused);
    }
    match plan.action {
        Action::Begin => {
            connection.client.batch_execute("BEGIN").await?;
            connection.in_transaction = true;
            Ok(SqlOutcome::none())
        }
        Action::Commit => {
            let ended = commit(service, statement, connection).await;
            connection.in_transaction = false;
            ended.map(|()| SqlOutcome::none())
        }
        Action::Rollback => {
            connection.client.batch_execute("ROLLBACK").await?;
            connection.in_transaction = false;
            Ok(SqlOutcome::none())
        }
        Action::Vacuum { .. } => execute(service, statement, at, connection, &plan).await,
        Action::Truncate if connection.in_transaction => {
            let outcome = execute(service, statement, at, connection, &plan).await?;
            connection.in_transaction = false;
            commit(service, statement, connection).await?;
            Ok(outcome)
        }
        _ if connection.in_transaction => execute(service, statement, at, connection, &plan).await,
        _ => {
            connection.client.batch_execute("BEGIN").await?;
            let outcome = execute(service, statement, at, connection, &plan).await;
            let ended = match outcome {
                Ok(outcome) => commit(service, statement, connection)
                    .await
                    .map(|()| outcome),
                Err(error) => Err(error),
            };
            if ended.is_err() {
                // Where the connection is gone, so is the transaction.
                let _ = connection.client.batch_execute("ROLLBACK").await;
            }
            ended
        }
    }
}

async fn commit(
    service: &Service,
    statement: &Statement,
    connection: &PostgresConnection,
) -> Result<(), SqlError> {
    if let Some(fault) = service
        .faults
        .strike(FaultPoint::Commit, statement.operation())
    {
        connection.client.batch_execute("ROLLBACK").await?;
        return Err(match fault {
            RedshiftFault::FailsWith { message } => SqlError::new(message),
            _ => SqlError::serializable_violation(),
        });
    }
    connection.client.batch_execute("COMMIT").await?;
    service.counters.commits.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Keeps the books of one part while `work` runs.
async fn part(
    service: &Service,
    statement: &Statement,
    at: usize,
    work: impl Future<Output = Result<SqlOutcome, SqlError>>,
) -> Result<(), SqlError> {
    let begin = Instant::now();
    statement.part(at, |part| {
        part.status = Status::Started;
        part.query_id = service.next_query_id();
    });
    let ended = work.await;
    let cancelled = *statement.cancelled.borrow();
    statement.part(at, |part| {
        part.duration = begin.elapsed();
        match &ended {
            Ok(outcome) => {
                part.status = Status::Finished;
                part.rows = outcome.rows;
                part.result.clone_from(&outcome.result);
            }
            Err(error) => {
                part.status = if cancelled {
                    Status::Aborted
                } else {
                    Status::Failed
                };
                part.error = Some(service.names.restore(error.as_str()));
            }
        }
    });
    ended.map(|_| ())
}
