//! Checks a window of a spec, and plans it.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{Schema, SchemaRef};
use tidegate_expr::Expression;

use super::compile::{Errors, is_comparable};
use super::names::find;
use super::{Expressions, PlannedWindow};
use crate::spec::{AggregateFunction, WindowSpec};
use crate::window::{self, WindowPlan};

/// Windows that one event can be in.
const WINDOWS_MAX: i64 = 10_080;

/// Columns of every window.
const OWN: [&str; 3] = ["window_start", "window_end", "lane"];

/// The window at `index` of the spec, if nothing is wrong with it.
pub(super) fn plan(
    spec: &WindowSpec,
    index: usize,
    expressions: &Expressions,
    event_schema: &Schema,
    visible: &SchemaRef,
    errors: &mut Errors,
) -> Option<PlannedWindow> {
    let before = errors.0.len();
    let (size, slide) = sizes(spec, index, errors);
    // Warehouses fold case, so names do too.
    let mut names: HashSet<String> = OWN.map(str::to_owned).into();
    let groups = groups(spec, index, event_schema, &mut names, errors);
    let aggregates = Aggregates::plan(spec, index, expressions, visible, &mut names, errors);
    if errors.0.len() > before {
        return None;
    }
    let plan = WindowPlan {
        name: spec.name.clone(),
        size,
        slide,
        groups: groups
            .iter()
            .map(|column| {
                let field = event_schema.field(*column);
                (field.name().clone(), field.data_type().clone())
            })
            .collect(),
        inputs: aggregates
            .inputs
            .iter()
            .map(|(_, input)| input.data_type().clone())
            .collect(),
        outputs: aggregates.outputs,
        begins: OnceLock::new(),
    };
    let mut columns = HashSet::new();
    for field in plan.part_schema().fields() {
        if !columns.insert(field.name().to_lowercase()) {
            let message = format!(
                "a window's parts need a column `{}` of their own; choose another name",
                field.name()
            );
            errors.add(&[&"windows", &index, &"aggregates"], message);
            return None;
        }
    }
    Some(PlannedWindow {
        plan: Arc::new(plan),
        groups,
        inputs: aggregates.inputs.into_iter().map(|(_, e)| e).collect(),
    })
}

/// Size and slide, in microseconds.
fn sizes(spec: &WindowSpec, index: usize, errors: &mut Errors) -> (i64, i64) {
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
    (size, slide)
}

/// The columns that make a group.
fn groups(
    spec: &WindowSpec,
    index: usize,
    event_schema: &Schema,
    names: &mut HashSet<String>,
    errors: &mut Errors,
) -> Vec<usize> {
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
            let is_own = OWN.iter().any(|own| name.eq_ignore_ascii_case(own));
            let message = if is_own {
                format!("a window has a column `{name}` of its own; group by one of another name")
            } else {
                format!("`{name}` stands twice")
            };
            errors.add(&[&"windows", &index, &"group-by", &position], message);
        }
    }
    groups
}

/// What a window computes: each distinct input once.
#[derive(Default)]
struct Aggregates {
    inputs: Vec<(String, Expression)>,
    outputs: Vec<(String, AggregateFunction, Option<usize>)>,
}

impl Aggregates {
    fn plan(
        spec: &WindowSpec,
        index: usize,
        expressions: &Expressions,
        visible: &SchemaRef,
        names: &mut HashSet<String>,
        errors: &mut Errors,
    ) -> Self {
        let mut aggregates = Aggregates::default();
        for aggregate in &spec.aggregates {
            let path: [&dyn Display; 4] = [&"windows", &index, &"aggregates", &aggregate.name];
            if !names.insert(aggregate.name.to_lowercase()) {
                errors.add(
                    &path,
                    format!("`{}` stands twice; choose another name", aggregate.name),
                );
            }
            let name = aggregate.name.clone();
            let Some(sql) = &aggregate.input else {
                let count = (name, AggregateFunction::Count, None);
                aggregates.outputs.push(count);
                continue;
            };
            match aggregates.input(sql, expressions, visible) {
                Ok(place) => {
                    let input = aggregates.inputs[place].1.data_type();
                    // Counting needs only to know what is null; it goes through a number all the
                    // same.
                    let countable = window::output_type(AggregateFunction::Min, Some(input));
                    let output = window::output_type(aggregate.function, Some(input));
                    if countable.is_none() || output.is_none() {
                        errors.add(&path, format!("cannot aggregate {input} this way"));
                    }
                    let output = (name, aggregate.function, Some(place));
                    aggregates.outputs.push(output);
                }
                Err(message) => errors.add(&path, message),
            }
        }
        if spec.aggregates.is_empty() {
            errors.add(
                &[&"windows", &index, &"aggregates"],
                "there is no aggregate; `count(*)` is the simplest one",
            );
        }
        aggregates
    }

    /// The place of an input.
    fn input(
        &mut self,
        sql: &str,
        expressions: &Expressions,
        visible: &SchemaRef,
    ) -> Result<usize, String> {
        if let Some(place) = self.inputs.iter().position(|(known, _)| known == sql) {
            return Ok(place);
        }
        let expression = expressions.plan(sql, visible)?;
        if expression.reads_now() {
            // A window is computed again from the files after a restart, at another time.
            return Err(
                "an aggregate cannot use now(); add a column under [enrich] and aggregate that"
                    .to_owned(),
            );
        }
        self.inputs.push((sql.to_owned(), expression));
        Ok(self.inputs.len() - 1)
    }
}
