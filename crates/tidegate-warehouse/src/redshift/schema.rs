//! Tables and views: the loader's own, and those that the configuration asks for.

use std::collections::{BTreeMap, BTreeSet};

use super::client::{DataApiClient, SqlValue};
use super::columns::{found_columns, prepare_table};
use super::error::RedshiftError;
use super::merge::window_view;
use super::options::{Distribution, Layout, RedshiftOptions, VARCHAR_MAX};
use super::plan::RedshiftTable;
use super::sql::{self, Type};
use crate::ledger::Ledger;
use crate::table::{
    InItsPlace, REDSHIFT_COLUMNS_MAX, TableKind, TableSpec, WindowView, cannot_make_view, gone,
    is_new,
};

/// Version of the loader's own tables. Persisted: to change them, raise it and upgrade older ones.
const FORMAT: u32 = 1;

/// Why the tables could not be made ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The loader's own tables are from a newer program.
    #[error(
        "the loader's tables were written by a newer Tidegate (format {found}; this one knows up to {FORMAT}): use that one"
    )]
    Newer {
        /// Version of the format that was found.
        found: u32,
    },
    /// A type that no column can have.
    #[error(
        "table `{table}`: column `{column}` has the type {ty}, which Redshift has no column for"
    )]
    Type {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its Arrow type.
        ty: String,
    },
    /// A table that loads have filled is not there any more.
    #[error("{}", gone(.table, *.seq))]
    Gone {
        /// The table.
        table: String,
        /// The last record that was loaded.
        seq: u64,
    },
    /// A column has another type in the database.
    #[error(
        "table `{table}`: column `{column}` is {found} in Redshift and {wanted} in the configuration. Types are not \
         changed: give the column another name, or convert it yourself while nothing is loaded, with: {sql}"
    )]
    Changed {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Type in the database.
        found: String,
        /// Type in the configuration.
        wanted: String,
        /// What an operator would run.
        sql: String,
    },
    /// A table would get more columns than one can have.
    #[error(
        "the table `{table}` would have {columns} columns, with those that it has kept, and Redshift takes \
         {REDSHIFT_COLUMNS_MAX}: drop those that nothing fills any more, or leave fields out of the configuration"
    )]
    TooManyColumns {
        /// The table.
        table: String,
        /// The columns that it would have.
        columns: usize,
    },
    /// The ledger cannot be read.
    #[error("tidegate_job holds `{0}` where a number was expected; it was changed by hand")]
    Ledger(String),
    /// Redshift refused.
    #[error("cannot {doing}: {source}")]
    Sql {
        /// What was being done.
        doing: String,
        /// What Redshift says.
        source: RedshiftError,
    },
}

impl SchemaError {
    /// Whether it can pass by itself.
    pub fn is_transient(&self) -> bool {
        matches!(self, SchemaError::Sql { source, .. } if source.is_transient())
    }
}

pub(super) fn doing<E: Into<String>>(what: E) -> impl FnOnce(RedshiftError) -> SchemaError {
    move |source| SchemaError::Sql {
        doing: what.into(),
        source,
    }
}

pub(super) fn qualified(options: &RedshiftOptions, table: &str) -> String {
    format!("{}.{}", sql::name(&options.schema), sql::name(table))
}

/// The loader's own tables.
///
/// - `tidegate_job`: one row for each job, whose `loaded_seq` a load moves first of all, so that
///   two loads collide there and nowhere else; `claimed_by` names the attempt that moved it.
/// - `tidegate_ledger`: one row for each load.
/// - `tidegate_watermarks`: the watermark of each lane, null for a lane that has none yet.
/// - `tidegate_maintenance`: when what was last done, and how often.
fn own_tables(options: &RedshiftOptions) -> [String; 4] {
    let table = |name: &str| qualified(options, name);
    [
        format!(
            "CREATE TABLE IF NOT EXISTS {} (job VARCHAR(64) NOT NULL, format INTEGER NOT NULL, created_at TIMESTAMP \
             NOT NULL, loaded_seq BIGINT NOT NULL, loaded_crc32c BIGINT NOT NULL, claimed_by VARCHAR(64)) \
             DISTSTYLE ALL",
            table("tidegate_job")
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {} (job VARCHAR(64) NOT NULL, first_seq BIGINT NOT NULL, last_seq BIGINT \
             NOT NULL, files BIGINT NOT NULL, bytes BIGINT NOT NULL, rows BIGINT NOT NULL, \
             manifests VARCHAR({VARCHAR_MAX}) NOT NULL, loaded_at TIMESTAMP NOT NULL)",
            table("tidegate_ledger")
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {} (job VARCHAR(64) NOT NULL, lane INTEGER NOT NULL, watermark TIMESTAMP) \
             DISTSTYLE ALL",
            table("tidegate_watermarks")
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {} (job VARCHAR(64) NOT NULL, action VARCHAR(32) NOT NULL, done_at \
             TIMESTAMP NOT NULL, times BIGINT NOT NULL) DISTSTYLE ALL",
            table("tidegate_maintenance")
        ),
    ]
}

/// The types of a table's columns.
pub(super) fn typed(spec: TableSpec) -> Result<RedshiftTable, SchemaError> {
    let mut columns = Vec::with_capacity(spec.columns.len());
    for (column, ty) in &spec.columns {
        match Type::of(ty) {
            Some(ty) => columns.push((column.clone(), ty)),
            None => {
                return Err(SchemaError::Type {
                    table: spec.name.clone(),
                    column: column.clone(),
                    ty: ty.to_string(),
                });
            }
        }
    }
    Ok(RedshiftTable {
        spec,
        columns,
        beside: Vec::new(),
        widths: BTreeMap::new(),
        stuck: BTreeSet::new(),
    })
}

/// Makes everything ready, and tells where the ledger stands. Each step can be repeated: a start
/// that was cut off is made good by the next one.
pub(super) fn prepare(
    client: &DataApiClient,
    options: &RedshiftOptions,
    job: &str,
    now: i64,
    tables: &mut Vec<RedshiftTable>,
) -> Result<Ledger, SchemaError> {
    for sql in own_tables(options) {
        let made = client.run(&sql);
        made.map_err(doing("make the loader's tables"))?;
    }
    found_job(client, options, job, now)?;
    let (ledger, _) = read_ledger(client, options, job)?;
    let mut left_out = Vec::new();
    for table in tables.iter_mut() {
        let spec = &table.spec;
        let in_its_place = match spec.view() {
            Some(WindowView { view, .. }) => in_its_place(client, options, &spec.name, view)?,
            None => InItsPlace::Nothing,
        };
        if ledger.seq > 0 && found_columns(client, options, &spec.name)?.is_empty() {
            if spec.is_done(ledger.seq) {
                left_out.push(spec.name.clone());
                continue;
            }
            let has_view = in_its_place == InItsPlace::Window;
            is_new(spec, has_view, ledger.seq).map_err(|table| SchemaError::Gone {
                table,
                seq: ledger.seq,
            })?;
        }
        prepare_table(client, options, table)?;
        if let Some(parts) = table.spec.view() {
            let sql = window_view(options, job, &table.spec, &parts);
            let qualified = qualified(options, parts.view);
            match in_its_place {
                InItsPlace::Other => cannot_make_view(&qualified, "another view has its name"),
                InItsPlace::Nothing | InItsPlace::Window => make_view(client, &qualified, &sql)?,
            }
        }
    }
    tables.retain(|table| !left_out.contains(&table.spec.name));
    Ok(ledger)
}

/// Makes a late-binding view, or replaces the window's that is there. That a view cannot be made is
/// an error of that view alone: its parts are loaded all the same, and it is tried again at the
/// next start.
fn make_view(client: &DataApiClient, view: &str, query: &str) -> Result<(), SchemaError> {
    // Nothing depends on the columns below a late-binding view, so they can be widened, and it can
    // be replaced by one with other columns.
    let create = format!("VIEW {view} AS {query} WITH NO SCHEMA BINDING");
    let replaced = match client.run(&format!("CREATE OR REPLACE {create}")) {
        Ok(_) => return Ok(()),
        // A view of an older Tidegate, which binds its columns, is not replaced: it has to go
        // first.
        Err(error) if matches!(error, RedshiftError::Failed { .. }) && !error.is_transient() => {
            let statements = vec![
                format!("DROP VIEW IF EXISTS {view}"),
                format!("CREATE {create}"),
            ];
            tracing::info!(view, %error, "dropping and making a view that cannot be replaced; grants on it are lost");
            client.transaction(statements, &uuid::Uuid::new_v4().to_string())
        }
        Err(error) => Err(error),
    };
    match replaced {
        Ok(_) => Ok(()),
        Err(error) if error.is_transient() => Err(doing(format!("make the view {view}"))(error)),
        Err(error) => {
            cannot_make_view(view, &error.to_string());
            Ok(())
        }
    }
}

/// Where the ledger stands, and which attempt has moved it there.
pub(super) fn read_ledger(
    client: &DataApiClient,
    options: &RedshiftOptions,
    job: &str,
) -> Result<(Ledger, Option<String>), SchemaError> {
    let rows = client
        .query(&format!(
            "SELECT loaded_seq, loaded_crc32c, claimed_by, format FROM {} WHERE job = {} ORDER BY loaded_seq DESC",
            qualified(options, "tidegate_job"),
            sql::text(job)
        ))
        .map_err(doing("read the ledger"))?;
    let Some([seq, crc32c, claimed_by, format]) = rows.first().map(Vec::as_slice) else {
        return Err(SchemaError::Ledger(String::new()));
    };
    let format: u32 = number(format)?;
    if format > FORMAT {
        return Err(SchemaError::Newer { found: format });
    }
    let ledger = Ledger {
        seq: number(seq)?,
        crc32c: number(crc32c)?,
    };
    Ok((ledger, claimed_by.clone()))
}

fn number<T: std::str::FromStr>(value: &SqlValue) -> Result<T, SchemaError> {
    let text = value.as_deref().unwrap_or("NULL");
    text.parse()
        .map_err(|_| SchemaError::Ledger(text.to_owned()))
}

/// The lock makes founders wait for each other: keys are not enforced, and a second row of a job
/// would let everything be loaded twice.
fn found_job(
    client: &DataApiClient,
    options: &RedshiftOptions,
    job: &str,
    now: i64,
) -> Result<(), SchemaError> {
    let table = qualified(options, "tidegate_job");
    let there = client
        .query(&format!(
            "SELECT COUNT(*) FROM {table} WHERE job = {}",
            sql::text(job)
        ))
        .map_err(doing("look for the job"))?;
    if there.first().and_then(|row| row.first()) != Some(&Some("0".to_owned())) {
        return Ok(());
    }
    let statements = vec![
        format!("LOCK {table}"),
        format!(
            "INSERT INTO {table} (job, format, created_at, loaded_seq, loaded_crc32c) SELECT {job}, {FORMAT}, {at}, 0, 0 \
             WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE job = {job})",
            job = sql::text(job),
            at = sql::instant(now),
        ),
    ];
    client
        .transaction(statements, &uuid::Uuid::new_v4().to_string())
        .map_err(doing("found the job"))?;
    Ok(())
}

/// What has the name of a window's view; `svv_columns` has no late-binding ones. Tables are not
/// looked for: they give way to no view.
fn in_its_place(
    client: &DataApiClient,
    options: &RedshiftOptions,
    parts: &str,
    view: &str,
) -> Result<InItsPlace, SchemaError> {
    let rows = client
        .query(&format!(
            "SELECT definition FROM pg_views WHERE schemaname = {} AND viewname = {}",
            sql::in_catalog(&options.schema),
            sql::in_catalog(view)
        ))
        .map_err(doing(format!("look for the view `{view}`")))?;
    let Some(row) = rows.into_iter().next() else {
        return Ok(InItsPlace::Nothing);
    };
    let definition = row.into_iter().flatten().next().unwrap_or_default();
    Ok(InItsPlace::view(&definition, parts))
}

/// Distribution and sort key. Only tables of events are laid out by the configuration.
pub(super) fn layout(spec: &TableSpec, layout: &Layout) -> String {
    if !matches!(spec.kind, TableKind::Upsert { .. }) && !spec.takes("events") {
        return " DISTSTYLE AUTO SORTKEY AUTO".to_owned();
    }
    let dist = match &layout.dist {
        Distribution::Auto => " DISTSTYLE AUTO".to_owned(),
        Distribution::Even => " DISTSTYLE EVEN".to_owned(),
        Distribution::All => " DISTSTYLE ALL".to_owned(),
        Distribution::Key(column) => format!(" DISTSTYLE KEY DISTKEY ({})", sql::name(column)),
    };
    let sort = if layout.sort_key.is_empty() {
        " SORTKEY AUTO".to_owned()
    } else {
        format!(
            " COMPOUND SORTKEY ({})",
            sql::names(layout.sort_key.iter().map(String::as_str))
        )
    };
    dist + &sort
}
