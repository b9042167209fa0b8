//! What tables a warehouse has, and how rows get into them: the same for every warehouse.

use std::collections::HashSet;
use std::time::Duration;

use arrow::datatypes::DataType;

/// Tables of the loader's own start with this.
pub const RESERVED_PREFIX: &str = "tidegate_";

/// Column of a window's parts that says whose lane a part is from.
pub const LANE_COLUMN: &str = "lane";

/// Names that the loader uses for the place of a row. A column of that name would hide it.
const ROW_PLACE: [&str; 3] = ["file_index", "file_row_number", "tidegate_row"];

/// A table of the warehouse, and which datasets of the log go into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSpec {
    /// Name of the table. With [`TableKind::WindowParts`] this is the name of the table of parts:
    /// see [`TableSpec::window_parts`].
    pub name: String,
    /// Datasets (`FileEntry::dataset`) whose files go into it.
    pub datasets: Vec<String>,
    /// Columns in order, with their types. Files may lack some of them (then they are null). Those that
    /// files have beside them are left out by DuckDB; Redshift, which maps by position, refuses the file.
    pub columns: Vec<(String, DataType)>,
    /// Columns that are never null. A key of such columns is found faster.
    pub required: Vec<String>,
    /// How rows get in.
    pub kind: TableKind,
}

/// How rows get into a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableKind {
    /// One row for each key: the latest one.
    Upsert {
        /// Columns that make the key. Null is a value like any other.
        key: Vec<String>,
        /// Columns that say which row of a key is the latest, compared from left to right; the
        /// greatest wins, in whichever order they arrive. For example
        /// `[event_timestamp, source_partition, source_offset]`. Null is less than any value.
        order: Vec<String>,
        /// Bounds the search for rows of the same key by time, which makes it cheaper.
        reach: Option<Reach>,
    },
    /// Every row is kept.
    Append,
    /// Parts of windowed aggregates, one row for each (window, group, lane). A view merges the parts of
    /// all lanes, and shows a window once every lane has passed its end.
    ///
    /// A part replaces the one that an earlier load has left. Those of one load are all kept: a lane
    /// closes a window once and writes all its groups into one record, since its watermark never goes
    /// back, so parts that look the same are of groups that only the warehouse holds equal (0 and -0;
    /// in Redshift's views also text that differs in blanks at its end). The view adds them up.
    WindowParts {
        /// Name of the view.
        view: String,
        /// Columns that make a group, besides `window_start` and `window_end`.
        group_by: Vec<String>,
        /// Columns of the view, and how parts are merged into them.
        aggregates: Vec<(String, ViewMerge)>,
    },
}

/// How far apart in time the rows of one key can be.
///
/// Only rows of the table whose time is within `within` of those of a load are looked at. This is
/// correct exactly if no two rows of a key are ever further apart: a row further away would not be
/// found, and its key would then be there twice. Leave it out where that cannot be promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Column with the time; never null.
    pub column: String,
    /// Greatest distance.
    pub within: Duration,
}

/// How the parts of an aggregate are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewMerge {
    /// Sum of the counts in the column of the aggregate's name.
    Count,
    /// Sum of the sums in the column of the aggregate's name.
    Sum,
    /// Least of the values in the column of the aggregate's name.
    Min,
    /// Greatest of the values in the column of the aggregate's name.
    Max,
    /// Sum of `<name>__sum` divided by the sum of `<name>__count`.
    Avg,
}

/// A table that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("table `{table}`: {message}")]
pub struct TableError {
    /// Name of the table.
    pub table: String,
    /// What is wrong with it, and what to do.
    pub message: String,
}

impl TableSpec {
    /// The table that holds the parts of the windows of `view`: it is called `<view>__parts`.
    pub fn window_parts(
        view: &str,
        datasets: Vec<String>,
        columns: Vec<(String, DataType)>,
        group_by: Vec<String>,
        aggregates: Vec<(String, ViewMerge)>,
    ) -> Self {
        let kind = TableKind::WindowParts {
            view: view.to_owned(),
            group_by,
            aggregates,
        };
        TableSpec {
            name: format!("{view}__parts"),
            datasets,
            columns,
            required: ["window_start", "window_end", LANE_COLUMN]
                .map(str::to_owned)
                .into(),
            kind,
        }
    }

    /// Whether a column is never null.
    pub(crate) fn is_required(&self, column: &str) -> bool {
        self.required
            .iter()
            .any(|required| required.eq_ignore_ascii_case(column))
    }

    /// Whether a dataset of the log goes into it.
    pub(crate) fn takes(&self, dataset: &str) -> bool {
        self.datasets.iter().any(|taken| taken == dataset)
    }

    /// Names of the columns whose values identify a row; none if all rows are kept.
    pub(crate) fn key(&self) -> Option<Vec<&str>> {
        match &self.kind {
            TableKind::Append => None,
            TableKind::Upsert { key, .. } => Some(key.iter().map(String::as_str).collect()),
            TableKind::WindowParts { group_by, .. } => {
                let window = ["window_start", "window_end"].into_iter();
                Some(
                    window
                        .chain(group_by.iter().map(String::as_str))
                        .chain([LANE_COLUMN])
                        .collect(),
                )
            }
        }
    }

    /// Type of a column; columns are found as the warehouse finds them, whatever their case.
    pub(crate) fn column_type(&self, name: &str) -> Option<&DataType> {
        self.columns
            .iter()
            .find(|(column, _)| column.eq_ignore_ascii_case(name))
            .map(|(_, ty)| ty)
    }

    fn check(&self) -> Result<(), String> {
        if self.name.to_ascii_lowercase().starts_with(RESERVED_PREFIX) {
            return Err(format!(
                "names that start with `{RESERVED_PREFIX}` are the loader's own; choose another"
            ));
        }
        if self.columns.is_empty() {
            return Err("it has no columns".to_owned());
        }
        let mut seen = HashSet::new();
        for (column, _) in &self.columns {
            if !seen.insert(column.to_ascii_lowercase()) {
                return Err(format!(
                    "column `{column}` is there twice; the case of letters makes no difference"
                ));
            }
        }
        let Some(key) = self.key() else { return Ok(()) };
        if let Some((column, _)) = self
            .columns
            .iter()
            .find(|(c, _)| ROW_PLACE.contains(&&*c.to_ascii_lowercase()))
        {
            return Err(format!(
                "a column of a table with a key cannot be called `{column}`; choose another name"
            ));
        }
        let mut needed = key;
        let mut derived = Vec::new();
        match &self.kind {
            TableKind::Upsert { key, order, reach } => {
                if key.is_empty() || order.is_empty() {
                    return Err("an upsert needs a key and an order".to_owned());
                }
                needed.extend(order.iter().map(String::as_str));
                needed.extend(reach.iter().map(|reach| reach.column.as_str()));
            }
            TableKind::WindowParts { aggregates, .. } => {
                for (name, merge) in aggregates {
                    match merge {
                        ViewMerge::Avg => {
                            derived.extend([format!("{name}__sum"), format!("{name}__count")])
                        }
                        _ => needed.push(name),
                    }
                }
            }
            TableKind::Append => {}
        }
        needed.extend(derived.iter().map(String::as_str));
        match needed
            .into_iter()
            .find(|column| self.column_type(column).is_none())
        {
            Some(column) => Err(format!("there is no column `{column}`")),
            None => Ok(()),
        }
    }
}

/// Checks tables, each and together.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_tables(tables: &[TableSpec]) -> Result<(), TableError> {
    let mut names = HashSet::new();
    let mut datasets = HashSet::new();
    for table in tables {
        let fail = |message| TableError {
            table: table.name.clone(),
            message,
        };
        table.check().map_err(fail)?;
        let view = match &table.kind {
            TableKind::WindowParts { view, .. } => Some(view),
            _ => None,
        };
        for name in [Some(&table.name), view].into_iter().flatten() {
            if !names.insert(name.to_ascii_lowercase()) {
                return Err(fail(format!(
                    "`{name}` is the name of two tables; choose another for one of them"
                )));
            }
        }
        if let Some(dataset) = table
            .datasets
            .iter()
            .find(|dataset| !datasets.insert(*dataset))
        {
            return Err(fail(format!(
                "the dataset `{dataset}` goes into another table already"
            )));
        }
    }
    Ok(())
}
