//! What tables a warehouse has, and how rows get into them: the same for every warehouse.

use std::collections::HashSet;
use std::time::Duration;

use arrow::datatypes::DataType;
use tidegate_core::meaning::Gap;

/// Tables of the loader's own start with this.
pub const RESERVED_PREFIX: &str = "tidegate_";

/// Column of a window's parts that says whose lane a part is from.
pub const LANE_COLUMN: &str = "lane";

/// Names that Redshift gives columns of its own in every table.
const REDSHIFT_COLUMNS: [&str; 9] = [
    "cmax",
    "cmin",
    "ctid",
    "deletexid",
    "insertxid",
    "oid",
    "tableoid",
    "xmax",
    "xmin",
];
/// Bytes that a name can have in Redshift; it cuts longer ones, so that two could become one.
pub(crate) const REDSHIFT_BYTES_MAX: usize = 127;
/// Columns that a table can have in Redshift (its developer guide, "CREATE TABLE").
pub(crate) const REDSHIFT_COLUMNS_MAX: usize = 1_600;

/// Whose rules names have to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// DuckDB, as a warehouse and over files.
    DuckDb,
    /// Amazon Redshift.
    Redshift,
}

/// A table of the warehouse, and which datasets of the log go into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSpec {
    /// Name of the table. With [`TableKind::WindowParts`] this is the name of the table of parts:
    /// see [`TableSpec::window_parts`].
    pub name: String,
    /// Datasets (`FileEntry::dataset`) whose files go into it.
    pub datasets: Vec<String>,
    /// Columns in order, with their types. Files may lack some of them (then they are null). Those
    /// that files have beside them, which the configuration had when they were written, are filled,
    /// too, and added where they are missing; in Redshift not if a newer configuration may have
    /// them.
    pub columns: Vec<(String, DataType)>,
    /// Columns that are never null. A key of such columns is found faster.
    pub required: Vec<String>,
    /// Column with the time that `FileEntry::event_time` gives the range of, if there is one. A
    /// warehouse that reads files by itself is held to this range.
    pub time: Option<String>,
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
    /// Parts of windowed aggregates, one row for each (window, group, lane). A view merges the
    /// parts of all lanes, and shows a window once every lane has passed its end.
    ///
    /// A part replaces the one that an earlier load has left. Those of one load are all kept: a
    /// lane closes a window once and writes all its groups into one record, since its watermark
    /// never goes back, so parts that look the same are of groups that only the warehouse holds
    /// equal (0 and -0; in Redshift's views also text that differs in blanks at its end). The view
    /// adds them up.
    WindowParts {
        /// Name of the view.
        view: String,
        /// Columns that make a group, besides `window_start` and `window_end`.
        group_by: Vec<String>,
        /// Columns of the view, and how parts are merged into them.
        aggregates: Vec<(String, ViewMerge)>,
        /// Windows that the view does not show, because they never are whole.
        gaps: Vec<Gap>,
        /// The last record that can have parts, where the window is no more. What is loaded stays;
        /// the table is made only for what is still to be loaded.
        last_record: Option<u64>,
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

/// The view over the parts of windows: see [`TableKind::WindowParts`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct WindowView<'a> {
    pub(crate) view: &'a str,
    pub(crate) group_by: &'a [String],
    pub(crate) aggregates: &'a [(String, ViewMerge)],
    pub(crate) gaps: &'a [Gap],
}

/// What has the name of a window's view in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InItsPlace {
    /// Nothing that is known of.
    Nothing,
    /// A view over the window's parts: it is the window's, perhaps of another version.
    Window,
    /// Something else, which is somebody's.
    Other,
}

impl InItsPlace {
    /// What a view with this definition is to the window with these parts.
    pub(crate) fn view(definition: &str, parts: &str) -> Self {
        let (definition, parts) = (definition.to_lowercase(), parts.to_lowercase());
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let is_over = definition.match_indices(&parts).any(|(at, _)| {
            let (before, after) = (&definition[..at], &definition[at + parts.len()..]);
            !before.ends_with(is_name) && !after.starts_with(is_name)
        });
        if is_over {
            InItsPlace::Window
        } else {
            InItsPlace::Other
        }
    }
}

/// Says that a window's view cannot be made, which is an error of that view alone.
pub(crate) fn cannot_make_view(view: &str, error: &str) {
    tracing::error!(
        view,
        error,
        "cannot make a window's view; its parts are loaded all the same. Drop what stands in its \
         way, and start again"
    );
}

/// Whether a table that is not there, although records were loaded up to `seq`, may be made: it is
/// one that the configuration has added. Gives its name if loads have filled it.
///
/// Each job has events. A window has a view over its parts, which is there for as long as the
/// window is.
pub(crate) fn is_new(table: &TableSpec, has_view: bool, seq: u64) -> Result<(), String> {
    if table.takes("events") || has_view {
        return Err(table.name.clone());
    }
    tracing::info!(
        table = table.name,
        "making a table; it gets what is loaded after record {seq}"
    );
    Ok(())
}

/// What to do about a table that is gone.
pub(crate) fn gone(table: &str, seq: u64) -> String {
    format!(
        "the table `{table}` is not there, although records up to {seq} were loaded into it: it was renamed or dropped, \
         or has another name in the configuration now. What was loaded would be missing in a new one. Give it its \
         name back (ALTER TABLE ... RENAME TO, or the configuration's old name); or load all records anew, into a \
         warehouse.url (DuckDB) or a schema (Redshift) that has nothing of this job yet"
    )
}

/// How the parts of an aggregate are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewMerge {
    /// Sum of the counts in the column of the aggregate's name.
    Count,
    /// Sum of the sums in the column of the aggregate's name, and of what parts have beside them:
    /// `<name>__low` of floats, what rounding took; `<name>__over` of decimals, how many times
    /// 10^38 of the last digit there are more.
    Sum,
    /// Least of the values in the column of the aggregate's name.
    Min,
    /// Greatest of the values in the column of the aggregate's name.
    Max,
    /// Sum of `<name>__sum` (and what is beside it) divided by the sum of `<name>__count`.
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
            gaps: Vec::new(),
            last_record: None,
        };
        TableSpec {
            name: format!("{view}__parts"),
            datasets,
            columns,
            required: ["window_start", "window_end", LANE_COLUMN]
                .map(str::to_owned)
                .into(),
            time: Some("window_start".to_owned()),
            kind,
        }
    }

    /// The table with what is known of windows that are not whole, if it has parts of windows; and,
    /// where the window is no more, with the last record that can have parts.
    #[must_use]
    pub fn with_gaps(mut self, known: &[Gap], last: Option<u64>) -> Self {
        if let TableKind::WindowParts {
            gaps, last_record, ..
        } = &mut self.kind
        {
            *gaps = known.to_vec();
            *last_record = last;
        }
        self
    }

    /// Whether nothing more comes into it, as far as records up to `seq` are loaded.
    pub(crate) fn is_done(&self, seq: u64) -> bool {
        match &self.kind {
            TableKind::WindowParts { last_record, .. } => {
                last_record.is_some_and(|last| last <= seq)
            }
            TableKind::Upsert { .. } | TableKind::Append => false,
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

    /// The view over it, if it has parts of windows.
    pub(crate) fn view(&self) -> Option<WindowView<'_>> {
        match &self.kind {
            TableKind::WindowParts {
                view,
                group_by,
                aggregates,
                gaps,
                ..
            } => Some(WindowView {
                view,
                group_by,
                aggregates,
                gaps,
            }),
            TableKind::Upsert { .. } | TableKind::Append => None,
        }
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

    fn check(&self, dialect: Dialect) -> Result<(), String> {
        dialect.check_name("a table", &self.name)?;
        if let TableKind::WindowParts { view, .. } = &self.kind {
            dialect.check_name("a view", view)?;
        }
        if self.columns.is_empty() {
            return Err("it has no columns".to_owned());
        }
        let count = self.columns.len();
        if dialect == Dialect::Redshift && count > REDSHIFT_COLUMNS_MAX {
            return Err(format!(
                "it would have {count} columns, and Redshift takes {REDSHIFT_COLUMNS_MAX}; leave some out, or divide \
                 them among several jobs"
            ));
        }
        let mut seen = HashSet::new();
        for (column, ty) in &self.columns {
            dialect.check_column(column, ty)?;
            if !seen.insert(column.to_lowercase()) {
                return Err(format!(
                    "column `{column}` is there twice; the case of letters makes no difference"
                ));
            }
        }
        if let Some(time) = &self.time
            && self.column_type(time).is_none()
        {
            return Err(format!("there is no column `{time}`"));
        }
        let Some(key) = self.key() else { return Ok(()) };
        let mut needed = key;
        let mut derived = Vec::new();
        match &self.kind {
            TableKind::Upsert { key, order, reach } => {
                if key.is_empty() || order.is_empty() {
                    return Err("an upsert needs a key and an order".to_owned());
                }
                let has_map = |column: &&String| self.column_type(column).is_some_and(contains_map);
                if let Some(column) = key.iter().find(has_map) {
                    return Err(format!(
                        "`{column}` is or contains a map and cannot be a key: the order of its entries would count"
                    ));
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

impl Dialect {
    /// Whether something in the database can be called that.
    fn check_name(self, what: &str, name: &str) -> Result<(), String> {
        if name.is_empty() {
            return Err(format!("{what} needs a name, and it is empty; choose one"));
        }
        if what != "a column" && name.to_lowercase().starts_with(RESERVED_PREFIX) {
            return Err(format!(
                "names that start with `{RESERVED_PREFIX}` are the loader's own; choose another"
            ));
        }
        match self {
            Dialect::DuckDb if name.contains('\0') => Err(unprintable(what, name)),
            Dialect::DuckDb => Ok(()),
            Dialect::Redshift => check_redshift_name(what, name),
        }
    }

    fn check_column(self, column: &str, ty: &DataType) -> Result<(), String> {
        self.check_name("a column", column)?;
        match self {
            Dialect::DuckDb => check_members(column, ty),
            Dialect::Redshift => {
                if REDSHIFT_COLUMNS.contains(&column.to_lowercase().as_str()) {
                    return Err(format!(
                        "Redshift has a column `{column}` of its own in every table; choose another name"
                    ));
                }
                Ok(())
            }
        }
    }
}

/// Whether something in Redshift can be called that: a table, a column, a schema, a user.
///
/// # Errors
/// What is wrong with the name, and what to do.
pub fn check_redshift_name(what: &str, name: &str) -> Result<(), String> {
    // Redshift folds names to lower case.
    let bytes = name.to_lowercase().len();
    if name.contains(char::is_control) {
        return Err(unprintable(what, name));
    }
    if bytes > REDSHIFT_BYTES_MAX {
        return Err(format!(
            "the name `{name}` has {bytes} bytes, and Redshift keeps {REDSHIFT_BYTES_MAX}; choose a shorter one"
        ));
    }
    Ok(())
}

fn unprintable(what: &str, name: &str) -> String {
    format!(
        "{what} cannot be called {name:?}: it has a character that names cannot have; choose another name"
    )
}

/// Members of a struct are columns too: DuckDB tells them apart without regard to case. In Redshift
/// they are text.
fn check_members(column: &str, ty: &DataType) -> Result<(), String> {
    let fields = match ty {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            return check_members(column, item.data_type());
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => {
                return fields
                    .iter()
                    .try_for_each(|field| check_members(column, field.data_type()));
            }
            _ => return Ok(()),
        },
        DataType::Struct(fields) => fields,
        _ => return Ok(()),
    };
    let mut seen = HashSet::new();
    for field in fields {
        let member = field.name();
        if member.is_empty() || member.contains('\0') {
            return Err(format!(
                "column `{column}` has a member {member:?}, which cannot be a name; leave it out of the schema"
            ));
        }
        if !seen.insert(member.to_lowercase()) {
            return Err(format!(
                "column `{column}` has the member `{member}` twice; the case of letters makes no difference. Leave one \
                 of them out of the schema"
            ));
        }
        check_members(column, field.data_type())?;
    }
    Ok(())
}

/// Checks that a warehouse has columns for all values of tables.
///
/// # Errors
/// The first column that it has none for.
pub fn check_types(tables: &[TableSpec], dialect: Dialect) -> Result<(), TableError> {
    for table in tables {
        for (column, ty) in &table.columns {
            let has_type = match dialect {
                Dialect::DuckDb => crate::duckdb::has_type(ty),
                Dialect::Redshift => crate::redshift::has_type(ty),
            };
            if !has_type {
                return Err(TableError {
                    table: table.name.clone(),
                    message: format!(
                        "column `{column}` has the type {ty}, which the warehouse has no column for; cast it to \
                         another, as in CAST(... AS BIGINT)"
                    ),
                });
            }
        }
    }
    Ok(())
}

/// Whether values of this type are maps, or have some within them. Two maps with the same entries
/// are equal to people, and to a warehouse only if the entries stand in one order.
fn contains_map(ty: &DataType) -> bool {
    match ty {
        DataType::Map(..) => true,
        DataType::List(item) | DataType::LargeList(item) => contains_map(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| contains_map(field.data_type())),
        _ => false,
    }
}

/// Checks tables, each and together: what this lets through, the warehouse takes.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_tables(tables: &[TableSpec], dialect: Dialect) -> Result<(), TableError> {
    let mut names = HashSet::new();
    let mut datasets = HashSet::new();
    for table in tables {
        let fail = |message| TableError {
            table: table.name.clone(),
            message,
        };
        table.check(dialect).map_err(fail)?;
        let view = match &table.kind {
            TableKind::WindowParts { view, .. } => Some(view),
            _ => None,
        };
        for name in [Some(&table.name), view].into_iter().flatten() {
            if !names.insert(name.to_lowercase()) {
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
