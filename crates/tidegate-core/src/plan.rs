//! A job's spec, checked against itself and planned: what workers and lanes run.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use tidegate_expr::time::instant;
use tidegate_expr::{Expression, Planner, visible_schema};

use crate::decode::arrow_type;
use crate::lookup::can_look_up;
use crate::spec::{AggregateFunction, FieldSpec, FieldType, JobSpec, StoredForm, WindowSpec};
use crate::stored::stored_schema;
use crate::window::{self, WindowPlan};

/// Columns that every event gets besides those of its schema and its enrichments.
pub const SYSTEM_COLUMNS: [&str; 4] = [
    "processing_timestamp",
    "source_partition",
    "source_offset",
    "source_timestamp",
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

/// Collects errors with their paths.
#[derive(Default)]
struct Errors(Vec<SpecError>);

impl Errors {
    fn add(&mut self, path: &[&dyn Display], message: impl Into<String>) {
        let path = path.iter().map(ToString::to_string).collect();
        self.0.push(SpecError {
            path,
            message: message.into(),
        });
    }
}

impl Plan {
    /// Plans a spec.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn compile(spec: &JobSpec) -> Result<Plan, Vec<SpecError>> {
        let planner = Planner::default();
        let mut errors = Errors::default();
        let mut names = Names::default();
        let mut columns: Vec<Field> = Vec::new();

        if spec.fields.is_empty() {
            errors.add(
                &[&"schema"],
                "there is no field; name at least the key and the event time",
            );
        }
        for field in &spec.fields {
            if names.taken(&field.name) {
                errors.add(&[&"schema", &field.name], names.clash(&field.name));
            }
            columns.push(Field::new(&field.name, arrow_type(&field.ty), true));
        }

        let event_time = plan_event_time(spec, &mut names, &mut columns, &mut errors);

        let mut lookups = Vec::new();
        for (index, lookup) in spec.lookups.iter().enumerate() {
            match spec.fields.iter().position(|f| f.name == lookup.on) {
                Some(on) if can_look_up(&arrow_type(&spec.fields[on].ty)) => {
                    lookups.push(LookupPlan { on })
                }
                Some(on) => errors.add(
                    &[&"lookups", &index, &"on"],
                    format!(
                        "`{}` is {}; a lookup needs a string, int32 or int64",
                        lookup.on, spec.fields[on].ty
                    ),
                ),
                None => errors.add(
                    &[&"lookups", &index, &"on"],
                    format!("there is no field `{}` in the schema", lookup.on),
                ),
            }
            for column in &lookup.columns {
                if names.taken(&column.name) {
                    errors.add(
                        &[&"lookups", &index, &"columns", &column.name],
                        names.clash(&column.name),
                    );
                }
                columns.push(Field::new(&column.name, arrow_type(&column.ty), true));
            }
        }

        let rules_schema = visible_schema(&columns);
        let mut rules = Vec::new();
        for rule in &spec.rules {
            match planner.plan(&rule.sql, &rules_schema) {
                Ok(expression) if expression.data_type() == &DataType::Boolean => {
                    rules.push(NamedExpression {
                        name: rule.name.clone(),
                        expression,
                    });
                }
                Ok(expression) => errors.add(
                    &[&"rules", &rule.name],
                    format!(
                        "a rule is true or false, but this is {}",
                        expression.data_type()
                    ),
                ),
                Err(message) => errors.add(&[&"rules", &rule.name], message),
            }
        }

        let mut enrich = Vec::new();
        for column in &spec.enrich {
            if names.taken(&column.name) {
                errors.add(&[&"enrich", &column.name], names.clash(&column.name));
            }
            let schema = visible_schema(&columns);
            match planner.plan(&column.sql, &schema) {
                Ok(expression) => {
                    let ty = stored_type(expression.data_type());
                    columns.push(Field::new(&column.name, ty, true));
                    enrich.push((
                        NamedExpression {
                            name: column.name.clone(),
                            expression,
                        },
                        schema,
                    ));
                }
                Err(message) => {
                    // Later expressions can still be checked where they do not depend on the type.
                    columns.push(Field::new(&column.name, DataType::Utf8, true));
                    errors.add(&[&"enrich", &column.name], message);
                }
            }
        }
        let visible = visible_schema(&columns);

        columns.push(Field::new(SYSTEM_COLUMNS[0], instant(), false));
        columns.push(Field::new(SYSTEM_COLUMNS[1], DataType::Int32, false));
        columns.push(Field::new(SYSTEM_COLUMNS[2], DataType::Int64, false));
        columns.push(Field::new(SYSTEM_COLUMNS[3], instant(), true));
        let event_schema = Arc::new(Schema::new(columns));

        let mut dedup_key = Vec::new();
        for (index, name) in spec.dedup_key.iter().enumerate() {
            match find(&event_schema, name) {
                Ok(column) if !is_comparable(event_schema.field(column).data_type()) => {
                    errors.add(
                        &[&"deduplication", &"key", &index],
                        format!("`{name}` is or contains a map and cannot be a key"),
                    );
                }
                Ok(column) if is_text_when_stored(spec, &event_schema, column) => errors.add(
                    &[&"deduplication", &"key", &index],
                    format!("`{name}` is nested; this warehouse stores it as text, so that it cannot be a key"),
                ),
                Ok(column) => dedup_key.push(column),
                Err(message) => errors.add(&[&"deduplication", &"key", &index], message),
            }
        }

        let mut windows: Vec<PlannedWindow> = Vec::new();
        for (index, window) in spec.windows.iter().enumerate() {
            if let Some(window) = plan_window(
                window,
                index,
                &planner,
                &event_schema,
                &visible,
                &mut errors,
            ) {
                windows.push(window);
            }
        }
        for (index, window) in windows.iter().enumerate() {
            let inputs = window.inputs.iter().flat_map(Expression::columns);
            let inputs = inputs.filter_map(|name| event_schema.index_of(name).ok());
            for column in window.groups.iter().copied().chain(inputs) {
                if is_text_when_stored(spec, &event_schema, column) {
                    let name = event_schema.field(column).name();
                    errors.add(
                        &[&"windows", &index],
                        format!(
                            "`{name}` is nested, and this warehouse stores it as text: windows are rebuilt from what is \
                             stored. Add a column under [enrich] with the part that is needed, and use that"
                        ),
                    );
                }
            }
        }

        let Some(event_time) = event_time else {
            return Err(errors.0);
        };
        if !errors.0.is_empty() {
            return Err(errors.0);
        }
        Ok(Plan {
            stored_schema: stored_schema(&event_schema, spec.stored),
            stored: spec.stored,
            fields: spec.fields.clone(),
            event_time,
            lookups,
            rules,
            rules_schema,
            enrich,
            event_schema,
            visible_schema: visible,
            dedup_key,
            windows,
        })
    }

    /// The schema of events and late events.
    pub fn event_schema(&self) -> &SchemaRef {
        &self.event_schema
    }

    /// The schema of events and late events in the files: [`crate::spec::StoredForm`] says how it differs.
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
        columns.extend(SYSTEM_COLUMNS[..3].iter().map(ToString::to_string));
        columns
    }

    /// Name of the column with the event's time.
    pub fn event_time_column(&self) -> &str {
        &self.event_time.column
    }

    /// Name of the field that the event's time is read from.
    pub fn event_time_field(&self) -> &str {
        &self.event_time.field_name
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
        let dedup = window::micros(self.event_time.delay) / 64 + 2;
        Duration::from_micros(u64::try_from(windows.max(dedup)).unwrap_or(u64::MAX))
    }

    /// Columns of the event schema that rebuilding the state needs, ascending.
    pub fn state_columns(&self) -> Vec<usize> {
        let mut columns: Vec<usize> = self.dedup_key.clone();
        for name in [self.event_time.column.as_str(), SYSTEM_COLUMNS[1]] {
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

/// Whether a column is nested and the files have it as text, so that state cannot be rebuilt from it.
fn is_text_when_stored(spec: &JobSpec, schema: &Schema, column: usize) -> bool {
    spec.stored.nested_as_json && schema.field(column).data_type().is_nested()
}

/// Windows that one event can be in.
const WINDOWS_MAX: i64 = 10_080;

/// Whether values of this type can be part of a key.
fn is_comparable(ty: &DataType) -> bool {
    RowConverter::supports_fields(&[SortField::new(ty.clone())])
}

/// Strings have one representation in files, whatever kernel made them.
fn stored_type(ty: &DataType) -> DataType {
    match ty {
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::Timestamp(..) => instant(),
        other => other.clone(),
    }
}

#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    /// Takes a name; says whether it was taken already. Warehouses fold case, so names do too.
    fn taken(&mut self, name: &str) -> bool {
        if self.0.is_empty() {
            self.0
                .extend(SYSTEM_COLUMNS.iter().map(ToString::to_string));
        }
        !self.0.insert(name.to_lowercase())
    }

    fn clash(&self, name: &str) -> String {
        if SYSTEM_COLUMNS.contains(&name.to_lowercase().as_str()) {
            format!("every event has a column `{name}` already; choose another name")
        } else {
            format!("there is another column `{name}`; choose another name")
        }
    }
}

fn find(schema: &Schema, name: &str) -> Result<usize, String> {
    schema.index_of(name).map_err(|_| {
        let known: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        format!(
            "there is no column `{name}`; there are {}",
            known.join(", ")
        )
    })
}

fn plan_event_time(
    spec: &JobSpec,
    names: &mut Names,
    columns: &mut Vec<Field>,
    errors: &mut Errors,
) -> Option<EventTimePlan> {
    let time = &spec.event_time;
    let Some(field) = spec.fields.iter().position(|f| f.name == time.field) else {
        errors.add(
            &[&"event-time", &"field"],
            format!("there is no field `{}` in the schema", time.field),
        );
        return None;
    };
    let ty = &spec.fields[field].ty;
    if !matches!(
        ty,
        FieldType::String | FieldType::Timestamp | FieldType::EpochTimestamp(_)
    ) {
        let message = format!(
            "`{}` is {ty}; the event time is a timestamp, or a string in ISO 8601",
            time.field
        );
        errors.add(&[&"event-time", &"field"], message);
        return None;
    }
    let in_place = time.column == time.field;
    if in_place && *ty == FieldType::String {
        let message =
            "the field is text, so the time needs a column of its own: give `column` another name";
        errors.add(&[&"event-time", &"column"], message);
        return None;
    }
    if !in_place {
        if names.taken(&time.column) {
            errors.add(&[&"event-time", &"column"], names.clash(&time.column));
        }
        columns.push(Field::new(&time.column, instant(), true));
    }
    if time.delay.is_zero() {
        errors.add(&[&"event-time", &"delay"], "the delay is greater than zero");
    }
    Some(EventTimePlan {
        field,
        field_name: time.field.clone(),
        in_place,
        delay: time.delay,
        idle_after: time.idle_after,
        max_ahead: time.max_ahead,
        column: time.column.clone(),
    })
}

fn plan_window(
    spec: &WindowSpec,
    index: usize,
    planner: &Planner,
    event_schema: &Schema,
    visible: &SchemaRef,
    errors: &mut Errors,
) -> Option<PlannedWindow> {
    let before = errors.0.len();
    let (size, slide) = (window::micros(spec.size), window::micros(spec.slide));
    if size == 0 || slide == 0 || size % slide != 0 {
        errors.add(
            &[&"windows", &index, &"slide"],
            "`slide` must divide `size` without a rest, as 1m does 5m",
        );
    }
    if slide > 0 && size / slide > WINDOWS_MAX {
        errors.add(
            &[&"windows", &index, &"slide"],
            format!(
                "an event would be in {} windows; at most {WINDOWS_MAX}",
                size / slide
            ),
        );
    }
    let mut names: HashSet<String> = ["window_start", "window_end", "lane"]
        .map(str::to_owned)
        .into();
    let mut groups = Vec::new();
    for (position, name) in spec.group_by.iter().enumerate() {
        match find(event_schema, name) {
            Ok(column) if !is_comparable(event_schema.field(column).data_type()) => errors.add(
                &[&"windows", &index, &"group-by", &position],
                format!("`{name}` is or contains a map and cannot be grouped by"),
            ),
            Ok(column) => groups.push(column),
            Err(message) => errors.add(&[&"windows", &index, &"group-by", &position], message),
        }
        if !names.insert(name.to_lowercase()) {
            errors.add(
                &[&"windows", &index, &"group-by", &position],
                format!("`{name}` stands twice"),
            );
        }
    }
    let mut inputs: Vec<(String, Expression)> = Vec::new();
    let mut outputs = Vec::new();
    for aggregate in &spec.aggregates {
        let path: [&dyn Display; 4] = [&"windows", &index, &"aggregates", &aggregate.name];
        if !names.insert(aggregate.name.to_lowercase()) {
            errors.add(
                &path,
                format!("`{}` stands twice; choose another name", aggregate.name),
            );
        }
        let Some(sql) = &aggregate.input else {
            outputs.push((aggregate.name.clone(), AggregateFunction::Count, None));
            continue;
        };
        let position = match inputs.iter().position(|(known, _)| known == sql) {
            Some(position) => position,
            None => match planner.plan(sql, visible) {
                // A window is computed again from the files after a restart, at another time.
                Ok(expression) if expression.reads_now() => {
                    errors.add(
                        &path,
                        "an aggregate cannot use now(); add a column under [enrich] and aggregate that",
                    );
                    continue;
                }
                Ok(expression) => {
                    inputs.push((sql.clone(), expression));
                    inputs.len() - 1
                }
                Err(message) => {
                    errors.add(&path, message);
                    continue;
                }
            },
        };
        let input = inputs[position].1.data_type();
        // Counting needs only to know what is null; it goes through a number all the same.
        let countable = window::output_type(AggregateFunction::Min, Some(input)).is_some();
        if !countable || window::output_type(aggregate.function, Some(input)).is_none() {
            errors.add(&path, format!("cannot aggregate {input} this way"));
        }
        outputs.push((aggregate.name.clone(), aggregate.function, Some(position)));
    }
    if outputs.is_empty() {
        errors.add(
            &[&"windows", &index, &"aggregates"],
            "there is no aggregate; `count(*)` is the simplest one",
        );
    }
    if errors.0.len() > before {
        return None;
    }
    let plan = WindowPlan {
        name: spec.name.clone(),
        size,
        slide,
        groups: groups
            .iter()
            .map(|c| {
                (
                    event_schema.field(*c).name().clone(),
                    event_schema.field(*c).data_type().clone(),
                )
            })
            .collect(),
        inputs: inputs.iter().map(|(_, e)| e.data_type().clone()).collect(),
        outputs,
    };
    Some(PlannedWindow {
        plan: Arc::new(plan),
        groups,
        inputs: inputs.into_iter().map(|(_, e)| e).collect(),
    })
}
