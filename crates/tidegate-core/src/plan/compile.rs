//! Checks a spec, section by section, and plans it.

use std::fmt::Display;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use tidegate_expr::instant;
use tidegate_expr::{Expression, Planner, visible_schema};

use super::names::{Names, find};
use super::{
    EventTimePlan, Expressions, LookupPlan, NamedExpression, PROCESSING_TIMESTAMP, Plan,
    PlannedWindow, SOURCE_OFFSET, SOURCE_PARTITION, SOURCE_TIMESTAMP, SpecError, window,
};
use crate::decode::arrow_type;
use crate::lookup::can_look_up;
use crate::spec::{FieldType, JobSpec};
use crate::stored::stored_schema;

/// Collects errors with their paths.
#[derive(Default)]
pub(super) struct Errors(pub(super) Vec<SpecError>);

impl Errors {
    pub(super) fn add(&mut self, path: &[&dyn Display], message: impl Into<String>) {
        let path = path.iter().map(ToString::to_string).collect();
        self.0.push(SpecError {
            path,
            message: message.into(),
        });
    }
}

/// What is known of a spec so far. Each section adds its columns, which later sections see.
struct Compiler<'a> {
    spec: &'a JobSpec,
    expressions: Expressions,
    errors: Errors,
    names: Names,
    columns: Vec<Field>,
}

/// See [`Plan::compile`].
pub(super) fn compile(spec: &JobSpec, tries: bool) -> Result<Plan, Vec<SpecError>> {
    let mut compiler = Compiler {
        spec,
        expressions: Expressions {
            planner: Planner::default(),
            tries,
        },
        errors: Errors::default(),
        names: Names::default(),
        columns: Vec::new(),
    };
    compiler.fields();
    let event_time = compiler.event_time();
    let lookups = compiler.lookups();
    let rules_schema = visible_schema(&compiler.columns);
    let rules = compiler.rules(&rules_schema);
    let enrich = compiler.enrich();
    let visible_schema = visible_schema(&compiler.columns);
    let event_schema = compiler.event_schema();
    let dedup_key = compiler.dedup_key(&event_schema);
    let windows = compiler.windows(&event_schema, &visible_schema);
    match event_time {
        Some(event_time) if compiler.errors.0.is_empty() => Ok(Plan {
            stored_schema: stored_schema(&event_schema, spec.stored),
            stored: spec.stored,
            fields: spec.fields.clone(),
            event_time,
            lookups,
            rules,
            rules_schema,
            enrich,
            event_schema,
            visible_schema,
            dedup_key,
            windows,
        }),
        _ => Err(compiler.errors.0),
    }
}

impl Compiler<'_> {
    /// Adds a column, or says that its name is taken.
    fn add_column(&mut self, path: &[&dyn Display], name: &str, ty: DataType) {
        if self.names.taken(name) {
            self.errors.add(path, self.names.clash(name));
        }
        self.columns.push(Field::new(name, ty, true));
    }

    fn fields(&mut self) {
        if self.spec.fields.is_empty() {
            self.errors.add(
                &[&"schema"],
                "there is no field; name at least the key and the event time",
            );
        }
        for field in &self.spec.fields {
            self.add_column(
                &[&"schema", &field.name],
                &field.name,
                arrow_type(&field.ty),
            );
        }
    }

    /// Plans the event's time, and adds its column.
    fn event_time(&mut self) -> Option<EventTimePlan> {
        let (spec, errors) = (self.spec, &mut self.errors);
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
            let message = "the field is text, so the time needs a column of its own: give `column` another name";
            errors.add(&[&"event-time", &"column"], message);
            return None;
        }
        if !in_place {
            if self.names.taken(&time.column) {
                errors.add(&[&"event-time", &"column"], self.names.clash(&time.column));
            }
            self.columns.push(Field::new(&time.column, instant(), true));
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

    fn lookups(&mut self) -> Vec<LookupPlan> {
        let spec = self.spec;
        let mut lookups = Vec::new();
        for (index, lookup) in spec.lookups.iter().enumerate() {
            let path: [&dyn Display; 3] = [&"lookups", &index, &"on"];
            match spec.fields.iter().position(|f| f.name == lookup.on) {
                Some(on) if can_look_up(&arrow_type(&spec.fields[on].ty)) => {
                    lookups.push(LookupPlan { on })
                }
                Some(on) => self.errors.add(
                    &path,
                    format!(
                        "`{}` is {}; a lookup needs a string, int32 or int64",
                        lookup.on, spec.fields[on].ty
                    ),
                ),
                None => self.errors.add(
                    &path,
                    format!("there is no field `{}` in the schema", lookup.on),
                ),
            }
            for column in &lookup.columns {
                self.add_column(
                    &[&"lookups", &index, &"columns", &column.name],
                    &column.name,
                    arrow_type(&column.ty),
                );
            }
        }
        lookups
    }

    fn rules(&mut self, schema: &SchemaRef) -> Vec<NamedExpression> {
        let mut rules = Vec::new();
        for rule in &self.spec.rules {
            let message = match self.expressions.plan(&rule.sql, schema) {
                Ok(expression) if expression.data_type() == &DataType::Boolean => {
                    rules.push(NamedExpression {
                        name: rule.name.clone(),
                        expression,
                    });
                    continue;
                }
                Ok(expression) => format!(
                    "a rule is true or false, but this is {}",
                    tidegate_expr::type_name(expression.data_type())
                ),
                Err(message) => message,
            };
            self.errors.add(&[&"rules", &rule.name], message);
        }
        rules
    }

    /// Plans the columns under `[enrich]`, each with the schema that it sees.
    fn enrich(&mut self) -> Vec<(NamedExpression, SchemaRef)> {
        let mut enrich = Vec::new();
        for column in &self.spec.enrich {
            let path: [&dyn Display; 2] = [&"enrich", &column.name];
            let schema = visible_schema(&self.columns);
            match self.expressions.plan(&column.sql, &schema) {
                Ok(expression) => {
                    let ty = stored_type(expression.data_type());
                    self.add_column(&path, &column.name, ty);
                    let name = column.name.clone();
                    enrich.push((NamedExpression { name, expression }, schema));
                }
                Err(message) => {
                    // Later expressions can still be checked where they do not depend on the type.
                    self.add_column(&path, &column.name, DataType::Utf8);
                    self.errors.add(&path, message);
                }
            }
        }
        enrich
    }

    /// The schema of events: all columns, and those that every event gets.
    fn event_schema(&self) -> SchemaRef {
        let mut columns = self.columns.clone();
        columns.push(Field::new(PROCESSING_TIMESTAMP, instant(), false));
        columns.push(Field::new(SOURCE_PARTITION, DataType::Int32, false));
        columns.push(Field::new(SOURCE_OFFSET, DataType::Int64, false));
        columns.push(Field::new(SOURCE_TIMESTAMP, instant(), true));
        Arc::new(Schema::new(columns))
    }

    fn dedup_key(&mut self, schema: &Schema) -> Vec<usize> {
        let mut key = Vec::new();
        for (index, name) in self.spec.dedup_key.iter().enumerate() {
            let message = match find(schema, name) {
                Ok(column) if !is_comparable(schema.field(column).data_type()) => {
                    format!("`{name}` is or contains a map and cannot be a key")
                }
                Ok(column) if self.is_text_when_stored(schema, column) => format!(
                    "`{name}` is nested; this warehouse stores it as text, so that it cannot be a key"
                ),
                Ok(column) => {
                    key.push(column);
                    continue;
                }
                Err(message) => message,
            };
            self.errors
                .add(&[&"deduplication", &"key", &index], message);
        }
        key
    }

    fn windows(&mut self, schema: &Schema, visible: &SchemaRef) -> Vec<PlannedWindow> {
        let mut windows = Vec::new();
        for (index, spec) in self.spec.windows.iter().enumerate() {
            let planned = window::plan(
                spec,
                index,
                &self.expressions,
                schema,
                visible,
                &mut self.errors,
            );
            let Some(window) = planned else {
                continue;
            };
            let inputs = window.inputs.iter().flat_map(Expression::columns);
            let inputs = inputs.filter_map(|name| schema.index_of(name).ok());
            for column in window.groups.iter().copied().chain(inputs) {
                if self.is_text_when_stored(schema, column) {
                    let name = schema.field(column).name();
                    self.errors.add(
                        &[&"windows", &index],
                        format!(
                            "`{name}` is nested, and this warehouse stores it as text: windows are rebuilt from what is \
                             stored. Add a column under [enrich] with the part that is needed, and use that"
                        ),
                    );
                }
            }
            windows.push(window);
        }
        windows
    }

    /// Whether a column is nested and the files have it as text, so that state cannot be rebuilt
    /// from it.
    fn is_text_when_stored(&self, schema: &Schema, column: usize) -> bool {
        self.spec.stored.nested_as_json && schema.field(column).data_type().is_nested()
    }
}

/// Whether values of this type can be part of a key.
pub(super) fn is_comparable(ty: &DataType) -> bool {
    RowConverter::supports_fields(&[SortField::new(ty.clone())])
}

/// Strings have one representation in files, whatever kernel made them.
pub(super) fn stored_type(ty: &DataType) -> DataType {
    match ty {
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::Timestamp(..) => instant(),
        other => other.clone(),
    }
}
