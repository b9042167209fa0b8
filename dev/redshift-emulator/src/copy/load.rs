//! Running a COPY: files in, rows into PostgreSQL.

use std::sync::Arc;

use bytes::Bytes;
use futures::SinkExt;
use parquet::schema::types::Type;
use tokio_postgres::{Client, CopyInSink};

use super::command::CopyCommand;
use super::manifest::{self, DataFile};
use super::objects::BucketStores;
use super::parquet_file::{ParquetFile, is_int96};
use super::rows::{self, Bad};
use super::schema::{self, TargetColumn};
use crate::errors::SqlError;

const SEND_BYTES: usize = 256 << 10;

/// What a COPY has loaded: the rows, and the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CopyResult {
    pub(crate) rows: u64,
    pub(crate) files: Vec<(String, u64)>,
    pub(crate) bytes: u64,
}

/// A row of `sys_load_error_detail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowError {
    pub(crate) file: String,
    pub(crate) line: i64,
    pub(crate) column: String,
    pub(crate) column_type: String,
    pub(crate) column_length: String,
    pub(crate) code: i32,
    pub(crate) message: String,
}

/// Why it did not load, with the row where it was one.
pub(crate) type CopyFailure = (SqlError, Option<Box<RowError>>);

/// Loads all files or none; the caller rolls back what an error leaves behind.
pub(crate) async fn load(
    command: &CopyCommand,
    client: &Client,
    buckets: &BucketStores,
) -> Result<CopyResult, CopyFailure> {
    let plain = |error: SqlError| (error, None);
    let mut targets = targets(command, client).await.map_err(plain)?;
    misread_if_told(client, &mut targets).await.map_err(plain)?;
    let files = manifest::files(command, buckets).await.map_err(plain)?;
    // All schemas before the first row.
    let mut open = Vec::with_capacity(files.len());
    for file in &files {
        let parquet = ParquetFile::open(file, buckets).await.map_err(plain)?;
        check(command, &targets, &parquet).map_err(plain)?;
        open.push(parquet);
    }

    let columns: Vec<String> = targets
        .iter()
        .map(|target| format!("\"{}\"", target.name.replace('"', "\"\"")))
        .collect();
    let sql = format!("COPY {} ({}) FROM STDIN", command.table, columns.join(", "));
    let sink = client
        .copy_in::<str, Bytes>(&sql)
        .await
        .map_err(|error| plain(error.into()))?;
    let mut sink = Box::pin(sink);
    let mut loaded = CopyResult::default();
    for parquet in open {
        let targets = as_read(&targets, &parquet);
        let rows = send(&parquet, &targets, sink.as_mut()).await?;
        loaded.rows += rows;
        loaded.bytes += parquet.file.size;
        loaded.files.push((parquet.file.address.url(), rows));
    }
    sink.as_mut()
        .finish()
        .await
        .map_err(|error| plain(error.into()))?;
    Ok(loaded)
}

async fn send(
    parquet: &ParquetFile,
    targets: &[TargetColumn],
    mut sink: std::pin::Pin<&mut CopyInSink<Bytes>>,
) -> Result<u64, CopyFailure> {
    let plain = |error: SqlError| (error, None);
    let mut text = String::new();
    let mut sent = 0u64;
    for group in 0..parquet.row_groups() {
        let batches = parquet.row_group(group).await.map_err(plain)?;
        for batch in batches {
            let batch = batch.map_err(|error| plain(parquet.unreadable(&error)))?;
            rows::write(&batch, targets, &mut text)
                .map_err(|bad| failure(bad, &parquet.file, targets, sent))?;
            sent += batch.num_rows() as u64;
            if text.len() >= SEND_BYTES {
                let bytes = Bytes::from(std::mem::take(&mut text));
                sink.send(bytes)
                    .await
                    .map_err(|error| plain(error.into()))?;
            }
            tokio::task::yield_now().await;
        }
    }
    if !text.is_empty() {
        sink.send(Bytes::from(text))
            .await
            .map_err(|error| plain(error.into()))?;
    }
    Ok(sent)
}

fn failure(bad: Bad, file: &DataFile, targets: &[TargetColumn], before: u64) -> CopyFailure {
    let value = match bad {
        Bad::Other(error) => return (error, None),
        Bad::Value(value) => value,
    };
    let target = targets.get(value.column);
    let length = match target.map(|target| target.kind) {
        Some(schema::ColumnType::Text { bytes }) => bytes.to_string(),
        _ => String::new(),
    };
    let error = SqlError::spectrum(
        15001,
        format_args!("{}, File name: {}", value.message, file.address.https()),
    );
    let row = RowError {
        file: file.address.url(),
        line: i64::try_from(before + value.row as u64 + 1).unwrap_or(i64::MAX),
        column: target.map(|target| target.name.clone()).unwrap_or_default(),
        column_type: target
            .map(|target| target.type_name.to_lowercase())
            .unwrap_or_default(),
        column_length: length,
        code: value.code,
        message: value.message,
    };
    (error, Some(Box::new(row)))
}

/// A cluster of the kind that old reports tell of: see `settings` in catalog.sql.
async fn misread_if_told(client: &Client, targets: &mut [TargetColumn]) -> Result<(), SqlError> {
    let sql = "SELECT misread_timestamps FROM redshift_emulator.settings";
    let misread: bool = client.query_one(sql, &[]).await?.get(0);
    for target in targets {
        target.misread = misread;
    }
    Ok(())
}

/// The columns as they are read from this file: nobody misreads INT96.
fn as_read(targets: &[TargetColumn], parquet: &ParquetFile) -> Vec<TargetColumn> {
    let columns = parquet.metadata.parquet_schema().root_schema_ptr();
    let columns = columns.get_fields().iter().map(Some);
    let columns = columns.chain(std::iter::repeat(None));
    let as_read = |(target, column): (&TargetColumn, Option<&Arc<Type>>)| TargetColumn {
        misread: target.misread && !column.is_some_and(|column| is_int96(column)),
        ..target.clone()
    };
    targets.iter().zip(columns).map(as_read).collect()
}

/// The table's columns, in the order in which the file has them.
async fn targets(command: &CopyCommand, client: &Client) -> Result<Vec<TargetColumn>, SqlError> {
    let rows = client
        .query(
            "SELECT a.attname::text, t.typname::text, a.atttypmod, a.attnotnull
             FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
             WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            &[&command.table],
        )
        .await?;
    let all: Vec<TargetColumn> = rows
        .iter()
        .map(|row| TargetColumn::new(row.get(0), row.get(1), row.get(2), row.get(3)))
        .collect();
    let Some(columns) = &command.columns else {
        return Ok(all);
    };
    let table = &command.table;
    columns
        .iter()
        .map(|name| {
            all.iter()
                .find(|target| target.name == *name)
                .cloned()
                .ok_or_else(|| {
                    SqlError::new(format_args!(
                        "column \"{name}\" of relation \"{table}\" does not exist"
                    ))
                })
        })
        .collect()
}

fn check(
    command: &CopyCommand,
    targets: &[TargetColumn],
    parquet: &ParquetFile,
) -> Result<(), SqlError> {
    let address = &parquet.file.address;
    let schema = parquet.metadata.metadata().file_metadata().schema_descr();
    let columns = schema.root_schema().get_fields();
    let agrees =
        columns.len() == targets.len() || (command.fill_record && columns.len() < targets.len());
    if !agrees {
        return Err(SqlError::spectrum(
            15001,
            format_args!(
                "Unmatched number of columns between table and file. Table columns: {}, Data columns: {}, File name: {}",
                targets.len(),
                columns.len(),
                address.https()
            ),
        ));
    }
    for (target, column) in targets.iter().zip(columns) {
        schema::check(
            target,
            column,
            command.serialize_to_json,
            &address.url(),
            &address.https(),
        )?;
    }
    Ok(())
}
