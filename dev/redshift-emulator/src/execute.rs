//! One planned statement against PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::TryStreamExt;
use tokio_postgres::{Column, SimpleQueryMessage};

use crate::api::shapes::{ColumnMetadata, Field};
use crate::copy;
use crate::errors::SqlError;
use crate::history;
use crate::service::Service;
use crate::session::PostgresConnection;
use crate::sql::expressions::DIGITS_MAX;
use crate::sql::{Action, Plan, table};
use crate::statement::{ResultSet, Statement, now};

/// What a statement has brought.
#[derive(Debug, Clone)]
pub(crate) struct SqlOutcome {
    /// -1 where there are none to count.
    pub(crate) rows: i64,
    pub(crate) result: Option<Arc<ResultSet>>,
}

impl SqlOutcome {
    pub(crate) fn none() -> Self {
        Self::rows(-1)
    }

    fn rows(rows: i64) -> Self {
        Self { rows, result: None }
    }
}

/// Runs `plan` on the connection, in whatever transaction it is.
pub(crate) async fn execute(
    service: &Service,
    statement: &Statement,
    at: usize,
    connection: &PostgresConnection,
    plan: &Plan,
) -> Result<SqlOutcome, SqlError> {
    let client = &connection.client;
    match &plan.action {
        Action::Query => {
            bind_late_views(connection, &plan.sql).await?;
            query(service, connection, &plan.sql).await
        }
        Action::Change => {
            bind_late_views(connection, &plan.sql).await?;
            let rows = client.execute(plan.sql.as_str(), &[]).await?;
            Ok(SqlOutcome::rows(i64::try_from(rows).unwrap_or(i64::MAX)))
        }
        Action::Define | Action::Truncate | Action::Begin | Action::Commit | Action::Rollback => {
            client.batch_execute(&plan.sql).await?;
            Ok(SqlOutcome::none())
        }
        Action::Copy(command) => {
            let begin = now();
            let loaded = copy::load(command, client, &service.buckets).await;
            history::load(service, statement, at, command, begin, &loaded).await;
            let loaded = loaded.map_err(|(error, _)| error)?;
            service.counters.copies.fetch_add(1, Ordering::Relaxed);
            service
                .counters
                .copied_rows
                .fetch_add(loaded.rows, Ordering::Relaxed);
            service
                .counters
                .copied_bytes
                .fetch_add(loaded.bytes, Ordering::Relaxed);
            Ok(SqlOutcome::rows(
                i64::try_from(loaded.rows).unwrap_or(i64::MAX),
            ))
        }
        Action::Vacuum { table, kind } => {
            let begin = now();
            client.batch_execute(&plan.sql).await?;
            history::vacuum(service, connection, table.as_deref(), kind, begin).await?;
            Ok(SqlOutcome::none())
        }
        Action::Analyze { table } => {
            let begin = now();
            client.batch_execute(&plan.sql).await?;
            history::analyze(service, connection, table.as_deref(), begin).await?;
            Ok(SqlOutcome::none())
        }
        Action::AlterType {
            table,
            column,
            bytes,
        } => {
            check_alter_type(connection, table, column, *bytes).await?;
            client.batch_execute(&plan.sql).await?;
            Ok(SqlOutcome::none())
        }
        Action::View {
            name,
            query,
            replace,
            late,
        } => {
            if *late {
                let sql = "SELECT redshift_emulator.make_late_view($1, $2, $3)";
                client.execute(sql, &[name, query, replace]).await?;
            } else {
                let sql = "SELECT redshift_emulator.replace_view($1, $2)";
                client.execute(sql, &[name, query]).await?;
            }
            Ok(SqlOutcome::none())
        }
        Action::Append { target, source } => append(connection, target, source).await,
    }
}

/// Binds the late-binding views that `sql` names anew, where a table below has changed.
async fn bind_late_views(connection: &PostgresConnection, sql: &str) -> Result<(), SqlError> {
    let names = without_literals(sql);
    connection
        .client
        .execute("SELECT redshift_emulator.bind_late_views($1)", &[&names])
        .await?;
    Ok(())
}

/// SQL without its text literals: a view that is named in one is not read.
fn without_literals(sql: &str) -> String {
    let mut rest = String::with_capacity(sql.len());
    let mut chars = sql.chars();
    while let Some(c) = chars.next() {
        if c != '\'' {
            rest.push(c);
            continue;
        }
        // Within E'...' a backslash takes the next character with it.
        let has_escapes = rest.ends_with(['E', 'e']);
        while let Some(c) = chars.next() {
            match c {
                '\'' => break,
                '\\' if has_escapes => drop(chars.next()),
                _ => {}
            }
        }
    }
    rest
}

/// What Redshift refuses of ALTER COLUMN TYPE, beside columns that a view uses, which PostgreSQL
/// refuses too.
async fn check_alter_type(
    connection: &PostgresConnection,
    table: &str,
    column: &str,
    bytes: u32,
) -> Result<(), SqlError> {
    let found = connection
        .client
        .query_opt(
            "SELECT atttypid = 'redshift_emulator.varchar'::regtype, atttypmod - 4, atthasdef,
                    coalesce(col_description(attrelid, attnum), '')
             FROM pg_attribute
             WHERE attrelid = $1::text::regclass AND attname = $2 AND NOT attisdropped",
            &[&table, &column],
        )
        .await?;
    let Some(found) = found else {
        return Err(SqlError::new(format_args!(
            "column \"{column}\" of relation \"{table}\" does not exist"
        )));
    };
    let refused = |why: &str| {
        Err(SqlError::new(format_args!(
            "cannot alter column \"{column}\" of relation \"{table}\", {why}"
        )))
    };
    let declared: String = found.get(3);
    if !found.get::<_, bool>(0) {
        refused("target data type \"character varying\" is not supported")
    } else if u32::try_from(found.get::<_, i32>(1)) == Ok(bytes) {
        refused("target column size should be different")
    } else if found.get(2) {
        refused("column has a default value")
    } else if declared.contains(table::UNIQUE) {
        refused("column is a primary key, unique or a foreign key")
    } else if declared.contains(table::NARROW_ENCODING) {
        refused("column has the encoding BYTEDICT, RUNLENGTH, TEXT255 or TEXT32K")
    } else {
        Ok(())
    }
}

async fn query(
    service: &Service,
    connection: &PostgresConnection,
    sql: &str,
) -> Result<SqlOutcome, SqlError> {
    // Types from the plan, values as text: so each value is written as PostgreSQL writes it.
    let prepared = connection.client.prepare(sql).await?;
    let columns: Vec<ColumnMetadata> = prepared
        .columns()
        .iter()
        .map(|column| metadata(column, service.names.restore(column.name())))
        .collect();
    let mut result = ResultSet {
        columns,
        ..ResultSet::default()
    };
    let mut messages = std::pin::pin!(connection.client.simple_query_raw(sql).await?);
    while let Some(message) = messages.try_next().await? {
        let SimpleQueryMessage::Row(row) = message else {
            continue;
        };
        let mut fields = Vec::with_capacity(row.len());
        for (at, column) in result.columns.iter().enumerate() {
            let value = row.try_get(at)?;
            if column.type_name == "numeric" && value.is_some_and(is_beyond_decimals) {
                return Err(SqlError::numeric_overflow());
            }
            result.bytes += value.map_or(1, str::len);
            fields.push(field(&column.type_name, value));
        }
        result.rows.push(fields);
        if result.bytes > service.options.result_bytes_max {
            return Err(SqlError::new(
                "The size of the query result exceeds the maximum",
            ));
        }
    }
    let rows = i64::try_from(result.rows.len()).unwrap_or(i64::MAX);
    Ok(SqlOutcome {
        rows,
        result: Some(Arc::new(result)),
    })
}

/// Whether a number has more digits before its point than any decimal of Redshift's: what a
/// function made of others.
fn is_beyond_decimals(number: &str) -> bool {
    let digits = number.chars().take_while(|c| *c != '.');
    digits.filter(char::is_ascii_digit).count() > DIGITS_MAX
}

fn field(type_name: &str, value: Option<&str>) -> Field {
    let Some(value) = value else {
        return Field::IsNull(true);
    };
    let text = || Field::StringValue(value.to_owned());
    match type_name {
        "bool" => Field::BooleanValue(value == "t"),
        "int2" | "int4" | "int8" => value.parse().map_or_else(|_| text(), Field::LongValue),
        "float4" | "float8" => match value.parse::<f64>() {
            Ok(number) if number.is_finite() => Field::DoubleValue(number),
            _ => text(),
        },
        _ => text(),
    }
}

fn metadata(column: &Column, label: String) -> ColumnMetadata {
    let name = column.type_().name();
    let modifier = column.type_modifier();
    let type_name = match name {
        "text" | "unknown" => "varchar",
        "jsonb" | "json" => "super",
        "bytea" => "varbyte",
        name => name,
    };
    let sized = (modifier - 4).max(0);
    let (precision, scale) = match name {
        "numeric" if modifier > 4 => (sized >> 16, sized & 0x7ff),
        "varchar" | "bpchar" if modifier > 4 => (sized, 0),
        "text" | "varchar" => (65_535, 0),
        "int2" => (5, 0),
        "int4" => (10, 0),
        "int8" => (19, 0),
        "float4" => (8, 8),
        "float8" => (17, 17),
        "bool" => (1, 0),
        "timestamp" | "timestamptz" => (29, 6),
        "date" => (13, 0),
        _ => (0, 0),
    };
    ColumnMetadata {
        is_case_sensitive: matches!(type_name, "varchar" | "bpchar" | "super"),
        is_signed: matches!(
            name,
            "int2" | "int4" | "int8" | "float4" | "float8" | "numeric"
        ),
        name: label.clone(),
        label,
        nullable: 1,
        precision,
        scale,
        type_name: type_name.to_owned(),
        ..ColumnMetadata::default()
    }
}

/// Moves all rows from one table into another with the same columns.
async fn append(
    connection: &PostgresConnection,
    target: &str,
    source: &str,
) -> Result<SqlOutcome, SqlError> {
    let columns = |table: String| async move {
        let rows = connection
            .client
            .query(
                "SELECT quote_ident(attname) FROM pg_attribute
                 WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attname",
                &[&table],
            )
            .await?;
        Ok::<_, SqlError>(rows.iter().map(|row| row.get(0)).collect::<Vec<String>>())
    };
    let names = columns(target.to_owned()).await?;
    if names != columns(source.to_owned()).await? {
        return Err(SqlError::new(format_args!(
            "ALTER TABLE APPEND: the columns of {source} and {target} differ"
        )));
    }
    let names = names.join(", ");
    let insert = format!("INSERT INTO {target} ({names}) SELECT {names} FROM {source}");
    let rows = connection.client.execute(insert.as_str(), &[]).await?;
    connection
        .client
        .batch_execute(&format!("DELETE FROM {source}"))
        .await?;
    Ok(SqlOutcome::rows(i64::try_from(rows).unwrap_or(i64::MAX)))
}
