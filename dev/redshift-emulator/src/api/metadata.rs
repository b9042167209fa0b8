//! ListDatabases, ListSchemas, ListTables, DescribeTable.

use serde_json::{Map, Value, json};

use super::shapes::{ColumnMetadata, Metadata};
use super::submit::check_target;
use super::{max_results, page_start, page_token};
use crate::errors::{ApiError, SqlError};
use crate::service::Service;

const LISTED_MAX: usize = 1000;

pub(super) async fn list(
    service: &Service,
    operation: &str,
    call: Metadata,
) -> Result<Value, ApiError> {
    let most = max_results(call.max_results, LISTED_MAX)?;
    let start = page_start(call.next_token.as_deref())?;
    let mut target = call.target.clone();
    if operation == "ListDatabases" && target.database.is_none() {
        target.database = Some(service.options.database.clone());
    }
    check_target(&target, &service.options.database)?;

    let (key, all) = match operation {
        "ListDatabases" => ("Databases", vec![json!(service.options.database)]),
        "ListSchemas" => (
            "Schemas",
            schemas(service, &call)
                .await
                .map_err(|error| lost(&error))?,
        ),
        "ListTables" => (
            "Tables",
            tables(service, &call).await.map_err(|error| lost(&error))?,
        ),
        _ => (
            "ColumnList",
            columns(service, &call)
                .await
                .map_err(|error| lost(&error))?,
        ),
    };
    let mut answer = Map::new();
    let end = start.saturating_add(most);
    if end < all.len() {
        answer.insert("NextToken".to_owned(), json!(page_token(end)));
    }
    let page: Vec<Value> = all.into_iter().skip(start).take(most).collect();
    answer.insert(key.to_owned(), json!(page));
    if operation == "DescribeTable" {
        answer.insert("TableName".to_owned(), json!(call.table));
    }
    Ok(Value::Object(answer))
}

fn lost(error: &SqlError) -> ApiError {
    ApiError::DatabaseConnection(error.to_string())
}

async fn schemas(service: &Service, call: &Metadata) -> Result<Vec<Value>, SqlError> {
    let rows = service
        .postgres
        .own()
        .await?
        .query(
            "SELECT redshift_emulator.full_name(nspname) FROM pg_namespace WHERE nspname <> 'redshift_emulator' AND nspname NOT LIKE 'pg!_toast%' ESCAPE '!'
               AND nspname NOT LIKE 'pg!_temp%' ESCAPE '!' AND redshift_emulator.full_name(nspname) LIKE coalesce($1, '%') ORDER BY 1",
            &[&call.schema_pattern],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| json!(row.get::<_, String>(0)))
        .collect())
}

async fn tables(service: &Service, call: &Metadata) -> Result<Vec<Value>, SqlError> {
    let rows = service
        .postgres
        .own()
        .await?
        .query(
            "SELECT redshift_emulator.full_name(n.nspname), redshift_emulator.full_name(c.relname), CASE c.relkind WHEN 'r' THEN 'TABLE' ELSE 'VIEW' END::text
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'redshift_emulator')
               AND n.nspname NOT LIKE 'pg!_temp%' ESCAPE '!'
               AND redshift_emulator.full_name(n.nspname) LIKE coalesce($1, '%')
               AND redshift_emulator.full_name(c.relname) LIKE coalesce($2, '%') ORDER BY 1, 2",
            &[&call.schema_pattern, &call.table_pattern],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let (schema, name, kind): (String, String, String) =
                (row.get(0), row.get(1), row.get(2));
            json!({"schema": schema, "name": name, "type": kind})
        })
        .collect())
}

async fn columns(service: &Service, call: &Metadata) -> Result<Vec<Value>, SqlError> {
    let rows = service
        .postgres
        .own()
        .await?
        .query(
            "SELECT table_schema, table_name, column_name, data_type, is_nullable, column_default, character_maximum_length,
                    numeric_precision, numeric_scale
             FROM redshift_emulator.svv_columns WHERE table_schema = coalesce($1, 'public') AND table_name = $2
             ORDER BY ordinal_position",
            &[&call.schema, &call.table],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let name: String = row.get(2);
            let nullable: String = row.get(4);
            let length: Option<i32> = row.get(6);
            json!(ColumnMetadata {
                schema_name: row.get(0),
                table_name: row.get(1),
                label: name.clone(),
                name,
                type_name: row.get(3),
                nullable: i32::from(nullable == "YES"),
                column_default: row.get(5),
                length: length.unwrap_or_default(),
                precision: row.get::<_, Option<i32>>(7).or(length).unwrap_or_default(),
                scale: row.get::<_, Option<i32>>(8).unwrap_or_default(),
                ..ColumnMetadata::default()
            })
        })
        .collect())
}
