//! What the log keeps of a window: what its parts are like, and which of its windows are whole.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::types::{named_type, type_name};
use super::{Reached, StateColumn, blanks_made_one};
use crate::spec::{AggregateFunction, AggregateSpec, WindowSpec};
use crate::window::WindowPlan;

/// A windowed aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Name: dataset and table.
    pub name: String,
    /// Microseconds from a window's start to its end.
    pub size: i64,
    /// Microseconds from a window's start to the next one's.
    pub slide: i64,
    /// Columns that make a group.
    pub group_by: Vec<StateColumn>,
    /// What is computed.
    pub aggregates: Vec<Aggregate>,
    /// The first window's start, in microseconds since the Unix epoch: it was added to a job that
    /// had rows of earlier times already. None where it is as old as the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    /// It was taken out of the configuration.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
    /// The last record that can have parts of it, where it was taken out. None in logs of programs
    /// that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_record: Option<u64>,
    /// Windows of which only some lanes have written their parts, because it was not in the
    /// configuration for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
}

/// Windows that are never whole: those that end after one time and start before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// They end after this time, in microseconds since the Unix epoch: the watermark that all lanes
    /// had reached. None where a lane had none yet, so that no window was whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
    /// They start before this time, in microseconds since the Unix epoch: from then on the window
    /// is there again. None where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
}

/// One aggregate of a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Column of the view.
    pub name: String,
    /// `count`, `sum`, `avg`, `min` or `max`.
    pub function: String,
    /// The expression, with each run of blanks made one; none for `count(*)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// The expression's type; none for a count, and in logs of programs that did not keep it.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub ty: Option<String>,
}

impl Window {
    pub(super) fn new(plan: &WindowPlan, spec: Option<&WindowSpec>) -> Self {
        let groups = plan.groups.iter();
        let aggregates = spec.into_iter().flat_map(|spec| &spec.aggregates);
        Window {
            name: plan.name.clone(),
            size: plan.size,
            slide: plan.slide,
            group_by: groups
                .map(|(name, ty)| StateColumn::new(name, ty))
                .collect(),
            aggregates: aggregates.map(|spec| Aggregate::new(spec, plan)).collect(),
            since: None,
            ended: false,
            last_record: None,
            gaps: Vec::new(),
        }
    }

    /// Takes over what is known of the window that it goes on from, or that is there again.
    pub(super) fn follow(&mut self, known: &Window) {
        self.gaps.clone_from(&known.gaps);
        if !known.ended {
            self.since = known.since;
        }
    }

    /// The window as it is kept once it is no more.
    pub(super) fn end(&self, reached: Reached) -> Self {
        let mut window = self.clone();
        if !window.ended {
            window.ended = true;
            window.last_record = Some(reached.record);
            window.leave_gap(reached);
        }
        window
    }

    /// Notes that from here on lanes write no parts of it, until it begins again.
    pub fn leave_gap(&mut self, reached: Reached) {
        self.gaps.push(Gap {
            after: reached.watermark,
            before: None,
        });
    }

    /// Notes where a window that runs begins, which ends the gap before it.
    pub fn begin(&mut self, plan: &WindowPlan) {
        self.since = plan.begins();
        let Some(gap) = self.gaps.pop_if(|gap| gap.before.is_none()) else {
            return;
        };
        // A window that begins with the job has no parts of an earlier time.
        let Some(begins) = self.since else { return };
        let first = gap.after.map(|after| plan.first_open(after));
        if first.is_none_or(|first| first < begins) {
            self.gaps.push(Gap {
                before: Some(begins),
                ..gap
            });
        }
    }

    /// What its parts are like; none where the log does not say of which types they are.
    pub fn plan(&self) -> Option<WindowPlan> {
        let groups = self.group_by.iter();
        let groups = groups.map(|column| Some((column.name.clone(), named_type(&column.ty)?)));
        let mut inputs = Vec::new();
        let mut outputs = Vec::new();
        for aggregate in &self.aggregates {
            let function = function(&aggregate.function)?;
            let input = match &aggregate.ty {
                _ if function == AggregateFunction::Count => None,
                ty => {
                    inputs.push(named_type(ty.as_deref()?)?);
                    Some(inputs.len() - 1)
                }
            };
            outputs.push((aggregate.name.clone(), function, input));
        }
        Some(WindowPlan {
            name: self.name.clone(),
            size: self.size,
            slide: self.slide,
            groups: groups.collect::<Option<_>>()?,
            inputs,
            outputs,
            begins: OnceLock::new(),
        })
    }
}

impl Aggregate {
    fn new(spec: &AggregateSpec, plan: &WindowPlan) -> Self {
        let is_it = |output: &&(String, AggregateFunction, Option<usize>)| output.0 == spec.name;
        let place = plan.outputs.iter().find(is_it).and_then(|output| output.2);
        let ty = place.and_then(|place| plan.inputs.get(place));
        Aggregate {
            name: spec.name.clone(),
            function: function_name(spec.function).to_owned(),
            input: spec.input.as_ref().map(|sql| blanks_made_one(sql)),
            ty: ty
                .filter(|_| spec.function != AggregateFunction::Count)
                .map(type_name),
        }
    }
}

const FUNCTIONS: [AggregateFunction; 5] = [
    AggregateFunction::Count,
    AggregateFunction::Sum,
    AggregateFunction::Avg,
    AggregateFunction::Min,
    AggregateFunction::Max,
];

fn function_name(function: AggregateFunction) -> &'static str {
    match function {
        AggregateFunction::Count => "count",
        AggregateFunction::Sum => "sum",
        AggregateFunction::Avg => "avg",
        AggregateFunction::Min => "min",
        AggregateFunction::Max => "max",
    }
}

fn function(name: &str) -> Option<AggregateFunction> {
    let mut functions = FUNCTIONS.into_iter();
    functions.find(|function| function_name(*function) == name)
}
