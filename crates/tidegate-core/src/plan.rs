//! A job's spec, checked against itself and planned: what workers and lanes run.

mod compile;
mod names;
mod window;

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use tidegate_expr::{Expression, Planner};

use crate::dedup::BUCKETS;
use crate::reject::{self, Code};
use crate::spec::{FieldSpec, JobSpec, StoredForm};
use crate::trial;
use crate::window::{WindowPlan, micros};

/// The column that says when an event was processed.
pub const PROCESSING_TIMESTAMP: &str = "processing_timestamp";
/// The column that says which partition of the source an event is from.
pub const SOURCE_PARTITION: &str = "source_partition";
/// The column that says which offset in its partition an event has.
pub const SOURCE_OFFSET: &str = "source_offset";
/// The column with the time that the source itself has for an event; null where it has none.
pub const SOURCE_TIMESTAMP: &str = "source_timestamp";

/// Columns that every event gets besides those of its schema and its enrichments, in their order.
pub const SYSTEM_COLUMNS: [&str; 4] = [
    PROCESSING_TIMESTAMP,
    SOURCE_PARTITION,
    SOURCE_OFFSET,
    SOURCE_TIMESTAMP,
];

/// What is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// Keys that lead to the place in the configuration; elements of arrays by index.
    pub path: Vec<String>,
    /// What is wrong, and what to do.
    pub message: String,
}

/// A planned job.
///
/// # Examples
///
/// A payment has to be of more than nothing:
/// ```
/// use std::time::Duration;
///
/// use tidegate_core::plan::Plan;
/// use tidegate_core::spec::{EventTimeSpec, FieldSpec, JobSpec, NamedExpr, StoredForm};
///
/// let field = |name: &str, ty: &str| FieldSpec {
///     name: name.to_owned(),
///     ty: ty.parse().unwrap(),
///     required: true,
/// };
/// let mut spec = JobSpec {
///     fields: vec![field("at", "timestamp_us"), field("amount", "float64")],
///     event_time: EventTimeSpec {
///         field: "at".to_owned(),
///         column: "at".to_owned(),
///         delay: Duration::from_secs(600),
///         max_ahead: None,
///         idle_after: Duration::from_secs(60),
///     },
///     rules: vec![NamedExpr {
///         name: "positive".to_owned(),
///         sql: "amount > 0".to_owned(),
///     }],
///     enrich: Vec::new(),
///     lookups: Vec::new(),
///     dedup_key: Vec::new(),
///     windows: Vec::new(),
///     stored: StoredForm::default(),
/// };
/// let plan = Plan::compile(&spec).unwrap();
/// assert!(plan.reject_reasons().contains(&"rule.positive".to_owned()));
///
/// // What is wrong is said with its place in the configuration.
/// spec.rules[0].sql = "price > 0".to_owned();
/// let errors = Plan::compile(&spec).unwrap_err();
/// assert_eq!(errors[0].path, ["rules", "positive"]);
/// ```
#[derive(Debug)]
pub struct Plan {
    pub(crate) fields: Vec<FieldSpec>,
    pub(crate) event_time: EventTimePlan,
    pub(crate) lookups: Vec<LookupPlan>,
    pub(crate) rules: Vec<NamedExpression>,
    pub(crate) rules_schema: SchemaRef,
    pub(crate) enrich: Vec<(NamedExpression, SchemaRef)>,
    pub(crate) stored_schema: SchemaRef,
    pub(crate) stored: StoredForm,
    pub(crate) event_schema: SchemaRef,
    pub(crate) visible_schema: SchemaRef,
    pub(crate) dedup_key: Vec<usize>,
    pub(crate) windows: Vec<PlannedWindow>,
}

#[derive(Debug)]
pub(crate) struct NamedExpression {
    pub(crate) name: String,
    pub(crate) expression: Expression,
}

#[derive(Debug)]
pub(crate) struct EventTimePlan {
    pub(crate) field: usize,
    pub(crate) field_name: String,
    /// The event's column already is the time; nothing is to be derived.
    pub(crate) in_place: bool,
    pub(crate) delay: Duration,
    pub(crate) idle_after: Duration,
    pub(crate) max_ahead: Option<Duration>,
    pub(crate) column: String,
}

#[derive(Debug)]
pub(crate) struct LookupPlan {
    pub(crate) on: usize,
}

#[derive(Debug)]
pub(crate) struct PlannedWindow {
    pub(crate) plan: Arc<WindowPlan>,
    /// Columns of the event schema.
    pub(crate) groups: Vec<usize>,
    pub(crate) inputs: Vec<Expression>,
}

impl Plan {
    /// Plans a spec.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn compile(spec: &JobSpec) -> Result<Plan, Vec<SpecError>> {
        compile::compile(spec, true)
    }

    /// Plans a spec for those who need its names and types, and compute no event: its expressions
    /// are not tried on made-up events, which takes memory.
    ///
    /// # Errors
    /// As [`Plan::compile`], but for expressions that fail for every event.
    pub fn compile_untried(spec: &JobSpec) -> Result<Plan, Vec<SpecError>> {
        compile::compile(spec, false)
    }

    /// The schema of events and late events.
    pub fn event_schema(&self) -> &SchemaRef {
        &self.event_schema
    }

    /// The schema of events and late events in the files: [`crate::spec::StoredForm`] says how it
    /// differs.
    pub fn stored_schema(&self) -> &SchemaRef {
        &self.stored_schema
    }

    /// The form in which events are stored.
    pub fn stored_form(&self) -> StoredForm {
        self.stored
    }

    /// Columns of the event schema that are never null in an accepted event.
    pub fn required_columns(&self) -> Vec<String> {
        let required = self.fields.iter().filter(|field| field.required);
        let mut columns: Vec<String> = required.map(|field| field.name.clone()).collect();
        columns.push(self.event_time.column.clone());
        columns.extend([PROCESSING_TIMESTAMP, SOURCE_PARTITION, SOURCE_OFFSET].map(str::to_owned));
        columns
    }

    /// Every reason for which a record of this job can be rejected, as it is stored.
    pub fn reject_reasons(&self) -> Vec<String> {
        let codes = Code::ALL.iter().map(|code| code.as_str().to_owned());
        let rules = self.rules.iter().map(|rule| reject::rule(&rule.name));
        let columns = self.enrich.iter();
        let columns = columns.map(|(column, _)| reject::enrichment(&column.name));
        let windows = self.windows.iter();
        let windows = windows.map(|window| reject::window(&window.plan.name));
        codes.chain(rules).chain(columns).chain(windows).collect()
    }

    /// Name of the column with the event's time.
    pub fn event_time_column(&self) -> &str {
        &self.event_time.column
    }

    /// Name of the field that the event's time is read from.
    pub fn event_time_field(&self) -> &str {
        &self.event_time.field_name
    }

    /// The expression of a column under `[enrich]`.
    pub fn enrichment(&self, column: &str) -> Option<&Expression> {
        let mut enrich = self.enrich.iter().map(|(named, _)| named);
        let named = enrich.rfind(|named| named.name == column)?;
        Some(&named.expression)
    }

    /// Names of the rules that are true for no event, whatever it has.
    pub(crate) fn rules_never_true(&self) -> impl Iterator<Item = &str> {
        let never =
            |rule: &&NamedExpression| trial::is_never_true(&rule.expression, &self.rules_schema);
        self.rules
            .iter()
            .filter(never)
            .map(|rule| rule.name.as_str())
    }

    /// Whether a column is part of the deduplication key.
    pub fn is_key(&self, column: &str) -> bool {
        self.dedup_key
            .iter()
            .any(|key| self.event_schema.field(*key).name() == column)
    }

    /// How far an event may be behind the greatest event time, and how long repeats are recognised.
    pub fn delay(&self) -> Duration {
        self.event_time.delay
    }

    /// How long a lane may be without records before it follows the others.
    pub fn idle_after(&self) -> Duration {
        self.event_time.idle_after
    }

    /// The windows.
    pub fn windows(&self) -> impl ExactSizeIterator<Item = &Arc<WindowPlan>> {
        self.windows.iter().map(|window| &window.plan)
    }

    /// How far behind the watermark, in event time, an event can still matter for state: for
    /// repeats, or for a window that is open.
    pub fn horizon(&self) -> Duration {
        let windows = self.windows.iter().map(|w| w.plan.size).max().unwrap_or(0);
        // One bucket of the deduplication more than the delay.
        let dedup = micros(self.event_time.delay) / BUCKETS + 2;
        Duration::from_micros(u64::try_from(windows.max(dedup)).unwrap_or(u64::MAX))
    }

    /// Columns of the event schema that rebuilding the state needs, ascending.
    pub fn state_columns(&self) -> Vec<usize> {
        let mut columns: Vec<usize> = self.dedup_key.clone();
        for name in [self.event_time.column.as_str(), SOURCE_PARTITION] {
            columns.extend(self.event_schema.index_of(name).ok());
        }
        for window in &self.windows {
            columns.extend(&window.groups);
            for input in &window.inputs {
                columns.extend(
                    input
                        .columns()
                        .iter()
                        .filter_map(|name| self.event_schema.index_of(name).ok()),
                );
            }
        }
        columns.sort_unstable();
        columns.dedup();
        columns
    }
}

/// Plans expressions.
struct Expressions {
    planner: Planner,
    /// Refuses one that fails for every event, or has a part that does.
    tries: bool,
}

impl Expressions {
    fn plan(&self, sql: &str, schema: &SchemaRef) -> Result<Expression, String> {
        let expression = self.planner.plan(sql, schema)?;
        if !self.tries {
            return Ok(expression);
        }
        let stored = compile::stored_type(expression.data_type());
        match trial::failure(&expression, schema, &stored) {
            Some(message) => Err(message),
            None => Ok(expression),
        }
    }
}
