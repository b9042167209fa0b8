//! The tables of a job out of its files alone: views over Parquet in a database in memory, for
//! questions about what no warehouse at hand has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use duckdb::Connection;

use super::database::{Database, DatabaseError, DuckDbOptions};
use super::files::{self, ParquetFiles};
use super::schema::{self, SchemaError};
use super::{merge, sql};
use crate::reader::{WarehouseReader, Watch};
use crate::table::{TableKind, TableSpec};

/// The files that an archive shows.
#[derive(Debug, Clone, Default)]
pub struct ArchiveFiles {
    /// Where the files of each dataset are, on this machine.
    pub datasets: BTreeMap<String, Vec<PathBuf>>,
    /// The watermark of each lane; none for a lane that has none yet, which holds all windows back.
    pub watermarks: BTreeMap<i32, Option<i64>>,
    /// Folders below which the files are: nothing else can be read.
    pub folders: Vec<PathBuf>,
}

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// There is no database in memory.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A table cannot be shown.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// There are too many files for the time.
    #[error("opening the files was interrupted after {} s; ask for less", .0.as_secs_f64())]
    Timeout(Duration),
    /// A path is not UTF-8.
    #[error("the path {} is not UTF-8; move the storage to one that is", .0.display())]
    Path(PathBuf),
}

/// Opens an archive: tables and views have the names that they have in a warehouse, and hold what a
/// warehouse would that these files alone were loaded into. Blocks, for no longer than `timeout`.
///
/// # Errors
/// If a file cannot be read as Parquet, or does not fit the table, or that takes too long.
pub fn open_archive(
    tables: &[TableSpec],
    files: &ArchiveFiles,
    options: &DuckDbOptions,
    timeout: Duration,
) -> Result<WarehouseReader, ArchiveError> {
    let database = Database::in_memory(options)?;
    let connection = database.connection()?;
    let watch = Watch::start(&connection, timeout, None, None);
    let shown = show_all(&connection, tables, files);
    if watch.stop().is_some() {
        return Err(ArchiveError::Timeout(timeout));
    }
    shown?;
    database.close_off(&files.folders)?;
    Ok(WarehouseReader::new(database))
}

fn show_all(
    connection: &Connection,
    tables: &[TableSpec],
    files: &ArchiveFiles,
) -> Result<(), ArchiveError> {
    let run = |what: String, sql: &str| connection.execute_batch(sql).map_err(schema::doing(what));
    for table in tables {
        let text = show(connection, table, files)?;
        run(format!("show the files of `{}`", table.name), &text)?;
    }
    let lanes = files.watermarks.iter().map(|(lane, watermark)| {
        let watermark = watermark.map_or("NULL".to_owned(), sql::instant);
        format!("INSERT INTO tidegate_watermarks VALUES ('', {lane}, {watermark});")
    });
    let watermarks = format!(
        "CREATE TABLE tidegate_watermarks (job VARCHAR NOT NULL, lane INTEGER NOT NULL, watermark TIMESTAMP);{}",
        lanes.collect::<String>()
    );
    run("note the watermarks".to_owned(), &watermarks)?;
    for table in tables {
        if let Some(parts) = table.view() {
            let text = merge::window_view("", table, &parts);
            run(format!("make the view `{}`", parts.view), &text)?;
        }
    }
    Ok(())
}

fn utf8(path: &Path) -> Result<&str, ArchiveError> {
    path.to_str()
        .ok_or_else(|| ArchiveError::Path(path.to_owned()))
}

/// The view over a table's files.
fn show(
    connection: &Connection,
    table: &TableSpec,
    files: &ArchiveFiles,
) -> Result<String, ArchiveError> {
    let columns = schema::columns(connection, table)?;
    let taken = table
        .datasets
        .iter()
        .flat_map(|dataset| files.datasets.get(dataset).into_iter().flatten());
    let paths = taken
        .map(|path| Ok(utf8(path)?.to_owned()))
        .collect::<Result<Vec<_>, ArchiveError>>()?;
    let name = sql::name(&table.name);
    if paths.is_empty() {
        let nothing: Vec<_> = columns
            .iter()
            .map(|(column, ty)| format!("CAST(NULL AS {ty}) AS {}", sql::name(column)))
            .collect();
        return Ok(format!(
            "CREATE VIEW {name} AS SELECT {} WHERE false",
            nothing.join(", ")
        ));
    }
    let files =
        ParquetFiles::open(connection, &files::list(paths.iter().map(String::as_str))).map_err(
            schema::doing(format!("look into the files of `{}`", table.name)),
        )?;
    let beside = files.beside(&columns);
    let columns: Vec<_> = columns.into_iter().chain(beside).collect();
    // Columns get their names last, so that none can hide another while rows are chosen.
    let read: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(place, (column, ty))| format!("{} AS n{place}", files.read(column, ty)))
        .collect();
    let named: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(place, (column, _))| format!("n{place} AS {}", sql::name(column)))
        .collect();
    let place = |wanted: &String| {
        let place = columns
            .iter()
            .position(|(column, _)| column.eq_ignore_ascii_case(wanted));
        place.map_or_else(|| sql::name(wanted), |place| format!("n{place}"))
    };
    let rows = format!("SELECT {} FROM {}", read.join(", "), files.from);
    let rows = match &table.kind {
        TableKind::Append | TableKind::WindowParts { .. } => rows,
        TableKind::Upsert { key, order, .. } => {
            let key: Vec<_> = key.iter().map(place).collect();
            let order: Vec<_> = order
                .iter()
                .map(|column| format!("{} DESC NULLS LAST", place(column)))
                .collect();
            format!(
                "SELECT * FROM ({rows}) QUALIFY row_number() OVER (PARTITION BY {} ORDER BY {}) = 1",
                key.join(", "),
                order.join(", "),
            )
        }
    };
    Ok(format!(
        "CREATE VIEW {name} AS SELECT {} FROM ({rows})",
        named.join(", ")
    ))
}
