//! The tables of a job in its warehouse: how they are called, which columns they have, and whether
//! a warehouse takes them.

use std::path::Path;
use std::time::Duration;

use arrow::datatypes::{DataType, Schema};
use tidegate_core::meaning::{Meaning, Window};
use tidegate_core::plan::{Plan, SOURCE_OFFSET, SOURCE_PARTITION};
use tidegate_core::rejected::rejected_schema;
use tidegate_core::spec::AggregateFunction;
use tidegate_core::window::WindowPlan;
use tidegate_warehouse::DuckDbOpenError;
use tidegate_warehouse::{
    Dialect, Reach, STORED_COLUMNS, StoredColumn, TableError, TableKind, TableSpec, ViewMerge,
    check_types,
};

use crate::error::EngineError;
use crate::options::{WarehouseKind, WarehouseOptions};

/// How the tables of a job are called, and how rows get into that of events.
#[derive(Debug)]
struct TableNames<'a> {
    table: &'a str,
    rejected: &'a str,
    upsert_key: &'a [String],
    reach: Option<Duration>,
}

impl Default for TableNames<'_> {
    fn default() -> Self {
        TableNames {
            table: "events",
            rejected: "rejected",
            upsert_key: &[],
            reach: None,
        }
    }
}

impl<'a> TableNames<'a> {
    fn of(options: &'a WarehouseOptions) -> Self {
        TableNames {
            table: &options.table,
            rejected: &options.rejected_table,
            upsert_key: &options.upsert_key,
            reach: options.reach,
        }
    }
}

/// Whether the names and types of a job can be tables: what this lets through, the warehouse takes.
/// Without a warehouse the tables are those that questions over files see.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_tables(warehouse: Option<&WarehouseOptions>, plan: &Plan) -> Result<(), TableError> {
    let names = warehouse.map(TableNames::of).unwrap_or_default();
    let tables = tables(&names, plan, None);
    let dialect = dialect(warehouse);
    tidegate_warehouse::check_tables(&tables, dialect)?;
    check_types(&tables, dialect)
}

fn dialect(warehouse: Option<&WarehouseOptions>) -> Dialect {
    match warehouse.map(|warehouse| &warehouse.kind) {
        Some(WarehouseKind::Redshift(_)) => Dialect::Redshift,
        _ => Dialect::DuckDb,
    }
}

/// Whether the tables that a database file has could be those of a job: what a start would refuse
/// of them. Looks into the file where nobody has it open, and changes nothing. Where somebody has,
/// `ask` is to ask them [`STORED_COLUMNS`]; where they do not answer, nothing is compared, and the
/// result says why.
///
/// # Errors
/// The first column that has another type.
pub fn compare_tables(
    warehouse: &WarehouseOptions,
    plan: &Plan,
    ask: impl FnOnce(&Path, &str) -> Result<Vec<StoredColumn>, String>,
) -> Result<Option<String>, EngineError> {
    let WarehouseKind::DuckDb { path, .. } = &warehouse.kind else {
        return Ok(None);
    };
    let wrong = |error| {
        EngineError::Warehouse(DuckDbOpenError::Schema {
            path: path.display().to_string(),
            error: Box::new(error),
        })
    };
    let tables = tables(&TableNames::of(warehouse), plan, None);
    if tidegate_warehouse::compare_types(path, &tables)
        .map_err(wrong)?
        .is_none()
    {
        return Ok(None);
    }
    match ask(path, STORED_COLUMNS) {
        Ok(stored) => tidegate_warehouse::compare_stored(&stored, &tables)
            .map(|()| None)
            .map_err(wrong),
        Err(why) => Ok(Some(why)),
    }
}

/// The tables of a job. `meaning` is what the log says of its rows.
fn tables(names: &TableNames<'_>, plan: &Plan, meaning: Option<&Meaning>) -> Vec<TableSpec> {
    let events = TableSpec {
        name: names.table.to_owned(),
        datasets: vec!["events".to_owned(), "late".to_owned()],
        columns: columns(plan.event_schema()),
        required: plan.required_columns(),
        time: Some(plan.event_time_column().to_owned()),
        kind: if names.upsert_key.is_empty() {
            TableKind::Append
        } else {
            TableKind::Upsert {
                key: names.upsert_key.to_vec(),
                order: vec![
                    plan.event_time_column().to_owned(),
                    SOURCE_PARTITION.to_owned(),
                    SOURCE_OFFSET.to_owned(),
                ],
                reach: names.reach.map(|within| Reach {
                    column: plan.event_time_column().to_owned(),
                    within,
                }),
            }
        },
    };
    let rejected = TableSpec {
        name: names.rejected.to_owned(),
        datasets: vec!["rejected".to_owned()],
        columns: columns(&rejected_schema()),
        required: required(&rejected_schema()),
        time: Some("rejected_at".to_owned()),
        kind: TableKind::Append,
    };
    let windows = plan.windows().map(|window| {
        let known = meaning.and_then(|meaning| meaning.window(&window.name));
        window_table(window, known)
    });
    [events, rejected].into_iter().chain(windows).collect()
}

/// The tables of a job and of the windows that are in its log and not in its configuration: what
/// the log has of them is loaded, and can be asked.
#[derive(Debug)]
pub(crate) struct KnownTables {
    pub(crate) all: Vec<TableSpec>,
    /// Those windows.
    pub(crate) removed: Vec<WindowPlan>,
    /// Those that can have no table, and why.
    pub(crate) without: Vec<(String, String)>,
}

/// The tables of a job, as far as its log knows any.
pub(crate) fn known_tables(
    warehouse: Option<&WarehouseOptions>,
    plan: &Plan,
    meaning: &Meaning,
) -> KnownTables {
    let names = warehouse.map(TableNames::of).unwrap_or_default();
    let dialect = dialect(warehouse);
    let mut known = KnownTables {
        all: tables(&names, plan, Some(meaning)),
        removed: Vec::new(),
        without: Vec::new(),
    };
    let is_planned = |name: &str| plan.windows().any(|window| window.name == name);
    let windows = meaning.windows.iter();
    for window in windows.filter(|window| !is_planned(&window.name)) {
        // Its parts were left out by a program that did not know this.
        if window.ended && window.last_record.is_none() {
            continue;
        }
        let Some(removed) = window.plan() else {
            let why = "the log does not say which types its columns have".to_owned();
            known.without.push((window.name.clone(), why));
            continue;
        };
        known.all.push(window_table(&removed, Some(window)));
        let checked = tidegate_warehouse::check_tables(&known.all, dialect);
        if let Err(error) = checked.and_then(|()| check_types(&known.all, dialect)) {
            known.all.pop();
            known.without.push((window.name.clone(), error.to_string()));
            continue;
        }
        known.removed.push(removed);
    }
    known
}

/// The table of a window's parts. `known` is what the log says of the window.
fn window_table(window: &WindowPlan, known: Option<&Window>) -> TableSpec {
    let table = TableSpec::window_parts(
        &window.name,
        vec![format!("window:{}", window.name)],
        columns(&window.part_schema()),
        window.groups.iter().map(|(name, _)| name.clone()).collect(),
        window
            .outputs
            .iter()
            .map(|(name, function, _)| (name.clone(), merge(*function)))
            .collect(),
    );
    match known {
        Some(known) => table.with_gaps(&known.gaps, known.last_record),
        None => table,
    }
}

fn columns(schema: &Schema) -> Vec<(String, DataType)> {
    schema
        .fields()
        .iter()
        .map(|f| (f.name().clone(), f.data_type().clone()))
        .collect()
}

fn required(schema: &Schema) -> Vec<String> {
    let fields = schema.fields().iter().filter(|field| !field.is_nullable());
    fields.map(|field| field.name().clone()).collect()
}

fn merge(function: AggregateFunction) -> ViewMerge {
    match function {
        AggregateFunction::Count => ViewMerge::Count,
        AggregateFunction::Sum => ViewMerge::Sum,
        AggregateFunction::Avg => ViewMerge::Avg,
        AggregateFunction::Min => ViewMerge::Min,
        AggregateFunction::Max => ViewMerge::Max,
    }
}
