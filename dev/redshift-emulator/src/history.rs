//! What happened, as rows of the system views. Like Redshift's they are for people who look, and no
//! part of any transaction.

use tokio_postgres::types::ToSql;

use crate::copy::{CopyCommand, CopyResult, RowError};
use crate::errors::SqlError;
use crate::service::Service;
use crate::session::PostgresConnection;
use crate::statement::{Statement, Status};

const QUERY_TEXT_MAX: usize = 4000;

async fn record(service: &Service, sql: &str, values: &[&(dyn ToSql + Sync)]) {
    let written = async {
        let client = service.postgres.own().await?;
        client.execute(sql, values).await.map_err(SqlError::from)
    };
    if let Err(error) = written.await {
        tracing::warn!(%error, "a row of the system views was not written");
    }
}

/// A statement has ended.
pub(crate) async fn query(service: &Service, statement: &Statement, status: Status) {
    let state = statement.state();
    for part in &state.parts {
        let status = match part.status {
            _ if !statement.batch => status,
            of_part => of_part,
        };
        let status = match status {
            Status::Finished => "success",
            Status::Aborted => "canceled",
            _ => "failed",
        };
        let text: String = part.sql.chars().take(QUERY_TEXT_MAX).collect();
        let kind = text
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_uppercase();
        let micros = i64::try_from(part.duration.as_micros()).unwrap_or(i64::MAX);
        record(
            service,
            "INSERT INTO redshift_emulator.sys_query_history SELECT 100, $1, 'default', 0, $2, current_database(), $3, $4,
               (clock_timestamp() AT TIME ZONE 'UTC') - $5 * interval '1 microsecond', clock_timestamp() AT TIME ZONE 'UTC',
               $5, $6, $7, $8",
            &[
                &part.query_id, &state.pid, &kind, &status, &(micros as f64), &part.rows,
                &part.error, &text,
            ],
        )
        .await;
    }
}

/// A COPY has ended.
pub(crate) async fn load(
    service: &Service,
    statement: &Statement,
    at: usize,
    command: &CopyCommand,
    begin: f64,
    loaded: &Result<CopyResult, (SqlError, Option<Box<RowError>>)>,
) {
    let state = statement.state();
    let query_id = state.parts.get(at).map_or(0, |part| part.query_id);
    let nothing = CopyResult::default();
    let (outcome, status, error) = match loaded {
        Ok(loaded) => (loaded, "completed", None),
        Err((error, _)) => (&nothing, "aborted", Some(error.as_str())),
    };
    record(
        service,
        "INSERT INTO redshift_emulator.sys_load_history SELECT 100, $1, 0, $2, current_database(), $3, $4,
           to_timestamp($5) AT TIME ZONE 'UTC', clock_timestamp() AT TIME ZONE 'UTC',
           (extract(epoch FROM clock_timestamp()) - $5) * 1000000, $6, 'PARQUET', $7, $8, $9, $8, $10",
        &[
            &query_id, &state.pid, &status, &service.names.restore(&command.table), &begin, &command.from,
            &i64::try_from(outcome.rows).unwrap_or(i64::MAX),
            &i64::try_from(outcome.bytes).unwrap_or(i64::MAX),
            &i32::try_from(outcome.files.len()).unwrap_or(i32::MAX),
            &error,
        ],
    )
    .await;
    for (file, rows) in &outcome.files {
        record(
            service,
            "INSERT INTO redshift_emulator.stl_load_commits
             SELECT 100, $1, 0, 0, $2, 0, $3, 0, clock_timestamp() AT TIME ZONE 'UTC', 1, 'Parquet'",
            &[&query_id, file, &i64::try_from(*rows).unwrap_or(i64::MAX)],
        )
        .await;
    }
    if let Err((_, Some(row))) = loaded {
        record(
            service,
            "INSERT INTO redshift_emulator.sys_load_error_detail
             SELECT 100, $1, 0, $2, current_database(), coalesce(to_regclass($3)::oid::bigint, 0), $3,
               to_timestamp($4) AT TIME ZONE 'UTC', $5, $6, $7, $8, $9, 0, $10, $11",
            &[
                &query_id, &state.pid, &command.table, &begin, &row.file, &row.line,
                &service.names.restore(&row.column),
                &row.column_type, &row.column_length, &row.code, &row.message,
            ],
        )
        .await;
    }
}

/// VACUUM has ended.
pub(crate) async fn vacuum(
    service: &Service,
    connection: &PostgresConnection,
    table: Option<&str>,
    kind: &str,
    begin: f64,
) -> Result<(), SqlError> {
    connection
        .client
        .execute(
            "INSERT INTO redshift_emulator.sys_vacuum_history
             SELECT 100, 0, $1, current_database(), redshift_emulator.full_name(n.nspname), redshift_emulator.full_name(c.relname), c.oid::bigint, $2, false, 'Finished',
               to_timestamp($3) AT TIME ZONE 'UTC', clock_timestamp() AT TIME ZONE 'UTC'
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'redshift_emulator')
               AND ($4::text IS NULL OR c.oid = $4::text::regclass)",
            &[&service.next_query_id(), &kind, &begin, &table],
        )
        .await?;
    Ok(())
}

/// ANALYZE has ended.
pub(crate) async fn analyze(
    service: &Service,
    connection: &PostgresConnection,
    table: Option<&str>,
    begin: f64,
) -> Result<(), SqlError> {
    connection
        .client
        .execute(
            "INSERT INTO redshift_emulator.sys_analyze_history
             SELECT 100, 0, $1, current_database(), redshift_emulator.full_name(n.nspname), redshift_emulator.full_name(c.relname), c.oid::bigint, false, 'Finished',
               to_timestamp($2) AT TIME ZONE 'UTC', clock_timestamp() AT TIME ZONE 'UTC'
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'redshift_emulator')
               AND ($3::text IS NULL OR c.oid = $3::text::regclass)",
            &[&service.next_query_id(), &begin, &table],
        )
        .await?;
    Ok(())
}
