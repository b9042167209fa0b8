//! What the rows of a job mean: keys, event time and windows, as the commit log keeps them.
//!
//! A restart compares what the log has with what the configuration says now. [`Meaning::change_to`]
//! is a pure function of both. What would break a promise about rows that are there already is
//! refused, with the way out; all else goes on, and says what is different from here on.

mod change;
mod types;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

pub use self::change::{Change, ChangeRefusal};
pub use self::types::type_name;
pub(crate) use self::types::widens;
pub use self::window::{Aggregate, Gap, Window};
use crate::plan::Plan;
use crate::spec::JobSpec;
use crate::window::micros;

/// Version of the form in which the log keeps it. Persisted: to change it, raise this, and go on
/// reading what the sample in `tests/samples/` shows.
pub const MEANING_VERSION: u32 = 1;

/// The meaning of the rows of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meaning {
    /// Version of the format.
    pub version: u32,
    /// Where the time of an event is from, and how late an event may be.
    pub event_time: EventTime,
    /// Columns whose exact repetition is dropped, by name; empty for no deduplication.
    pub deduplication: Vec<StateColumn>,
    /// Columns of which the table has each combination once, by name; empty where rows are
    /// appended. None as long as the job has had no warehouse.
    pub upsert_key: Option<Vec<String>>,
    /// How those columns of both keys are computed that are no fields of the event. None in logs of
    /// programs that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computed: Option<BTreeMap<String, String>>,
    /// Microseconds before the watermark that an event can still matter for state.
    pub horizon: i64,
    /// The windows, those that are no more included: their tables are still there.
    pub windows: Vec<Window>,
}

/// Where the time of an event is from, and how late an event may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTime {
    /// Field of the event.
    pub field: String,
    /// Column of the files.
    pub column: String,
    /// Microseconds that an event may be behind the latest one; also how long repeats are
    /// recognised.
    pub delay: i64,
}

/// A column that state depends on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StateColumn {
    /// Its name.
    pub name: String,
    /// Its type, as the configuration writes types.
    #[serde(rename = "type")]
    pub ty: String,
}

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reached {
    /// The least watermark of all lanes; none where one of them has none yet.
    pub watermark: Option<i64>,
    /// The last record of the log.
    pub record: u64,
}

impl Meaning {
    /// The meaning of the rows that a plan makes. `upsert_key` is that of the warehouse, if there
    /// is one.
    pub fn new(plan: &Plan, spec: &JobSpec, upsert_key: Option<&[String]>) -> Self {
        let schema = plan.event_schema();
        let mut deduplication: Vec<StateColumn> = plan
            .dedup_key
            .iter()
            .map(|column| {
                StateColumn::new(
                    schema.field(*column).name(),
                    schema.field(*column).data_type(),
                )
            })
            .collect();
        deduplication.sort();
        let keys = deduplication.iter().map(|column| &column.name);
        let computed = keys
            .chain(upsert_key.into_iter().flatten())
            .filter_map(|column| Some((column.clone(), computed(plan, spec, column)?)))
            .collect();
        let windows = plan.windows().map(|window| {
            let spec = spec.windows.iter().find(|spec| spec.name == window.name);
            Window::new(window, spec)
        });
        Meaning {
            version: MEANING_VERSION,
            event_time: EventTime {
                field: plan.event_time_field().to_owned(),
                column: plan.event_time_column().to_owned(),
                delay: micros(plan.delay()),
            },
            deduplication,
            upsert_key: upsert_key.map(sorted),
            computed: Some(computed),
            horizon: micros(plan.horizon()),
            windows: windows.collect(),
        }
    }

    /// Reads what the log has.
    ///
    /// # Errors
    /// If it is of a newer program, or not of this form: with what is wrong.
    pub fn read(value: &serde_json::Value) -> Result<Meaning, String> {
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        match version {
            Some(version) if version > u64::from(MEANING_VERSION) => Err(format!(
                "it is of version {version}, and this program knows versions up to {MEANING_VERSION}: use a newer Tidegate"
            )),
            _ => serde_json::from_value(value.clone()).map_err(|error| error.to_string()),
        }
    }

    /// As the log keeps it.
    pub fn to_value(&self) -> serde_json::Value {
        // Neither numbers nor names can fail to be written.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Takes over what `old`, which it follows, knows and the configuration does not: since when
    /// windows exist, those that are no more, and the key of the table where there is no warehouse
    /// for a while. `reached` is where the job is at this change.
    pub fn follow(&mut self, old: &Meaning, reached: Reached) {
        if self.upsert_key.is_none() {
            self.upsert_key.clone_from(&old.upsert_key);
            if let (Some(now), Some(known)) = (&mut self.computed, &old.computed) {
                for column in self.upsert_key.iter().flatten() {
                    if let Some(computed) = known.get(column) {
                        now.insert(column.clone(), computed.clone());
                    }
                }
            }
        }
        for known in &old.windows {
            match self.windows.iter_mut().find(|it| it.name == known.name) {
                Some(window) => window.follow(known),
                None => self.windows.push(known.end(reached)),
            }
        }
    }

    /// Whether it has a window of this name that runs.
    pub fn has_window(&self, name: &str) -> bool {
        self.window(name).is_some_and(|window| !window.ended)
    }

    /// The window of this name, whether it runs or is no more.
    pub fn window(&self, name: &str) -> Option<&Window> {
        self.windows.iter().find(|window| window.name == name)
    }
}

impl StateColumn {
    fn new(name: &str, ty: &DataType) -> Self {
        StateColumn {
            name: name.to_owned(),
            ty: type_name(ty),
        }
    }
}

fn blanks_made_one(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How a column is computed, with what it is computed from; none if it is a field.
fn computed(plan: &Plan, spec: &JobSpec, column: &str) -> Option<String> {
    let mut text = definition(spec, column)?;
    let mut seen = BTreeSet::from([column.to_owned()]);
    let mut left: Vec<String> = vec![column.to_owned()];
    let mut from = BTreeMap::new();
    while let Some(column) = left.pop() {
        let read = plan.enrichment(&column).map_or(&[][..], |e| e.columns());
        for name in read {
            if seen.insert(name.clone())
                && let Some(definition) = definition(spec, name)
            {
                from.insert(name.clone(), definition);
                left.push(name.clone());
            }
        }
    }
    for (name, definition) in from {
        let _ = write!(text, "; {name} = {definition}");
    }
    Some(text)
}

/// The expression of an enrichment, or where a lookup has a column from.
fn definition(spec: &JobSpec, column: &str) -> Option<String> {
    if let Some(enrich) = spec.enrich.iter().rfind(|named| named.name == column) {
        return Some(blanks_made_one(&enrich.sql));
    }
    spec.lookups.iter().find_map(|lookup| {
        let taken = lookup.columns.iter().find(|taken| taken.name == column)?;
        let (from, on, key) = (&taken.from, &lookup.on, &lookup.key);
        Some(format!("{from} where {key} = {on}"))
    })
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names
}
