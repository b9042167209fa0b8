//! What a job says of itself: the answer of `/v1/job`.

use std::collections::BTreeMap;

use serde::Serialize;
use tidegate_core::spec::AggregateFunction;
use tidegate_core::window::{WindowPlan, output_type};
use tidegate_engine::Handle;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

use crate::options::{Chart, ServeOptions};
use crate::time::Time;
use tidegate_warehouse::json;

/// What a job is.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Job)]
pub(crate) struct JobBody {
    /// The job's name.
    name: String,
    /// Version of the program.
    version: String,
    started_at: Time,
    /// The column with the events' time.
    event_time_column: String,
    /// How far a watermark is behind the greatest event time.
    delay_seconds: f64,
    /// Time between commits.
    batch_interval_seconds: f64,
    /// Time between loads.
    load_interval_seconds: f64,
    /// Whether this process loads the warehouse.
    loads: bool,
    /// Within which time 99 of 100 events are to be queryable.
    contract_seconds: f64,
    /// Greatest shares of records that may be so, by the names of the rates in `quality` of the
    /// status.
    thresholds: BTreeMap<&'static str, f64>,
    /// Null where the job has none.
    #[schema(required, schema_with = warehouse_kinds)]
    warehouse: Option<&'static str>,
    hot: HotKind,
    /// Whether events can be sent to it.
    ingest: bool,
    /// The windows of the job, and those that were taken out of its configuration and can be asked.
    views: Vec<ViewBody>,
    /// The charts that the configuration asks for.
    charts: Vec<Chart>,
}

/// Where live values are kept.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum HotKind {
    Redis,
    Memory,
}

/// A window.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = View)]
struct ViewBody {
    name: String,
    /// Whether it is still computed. Otherwise it was taken out of the configuration: it answers
    /// with what was committed, and has no live values.
    computed: bool,
    /// From a window's start to its end.
    size_seconds: f64,
    /// From a window's start to the next one's.
    slide_seconds: f64,
    /// The columns of its groups.
    groups: Vec<GroupColumn>,
    aggregates: Vec<Aggregate>,
}

/// A column of a window's groups.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct GroupColumn {
    name: String,
    r#type: String,
}

/// An aggregate of a window.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Aggregate {
    name: String,
    function: Function,
    /// Null where nothing is known of it.
    #[schema(required)]
    r#type: Option<String>,
}

/// What an aggregate computes.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Function {
    Count,
    Sum,
    Avg,
    Min,
    Max,
}

impl From<AggregateFunction> for Function {
    fn from(function: AggregateFunction) -> Self {
        match function {
            AggregateFunction::Count => Function::Count,
            AggregateFunction::Sum => Function::Sum,
            AggregateFunction::Avg => Function::Avg,
            AggregateFunction::Min => Function::Min,
            AggregateFunction::Max => Function::Max,
        }
    }
}

/// The answer of `/v1/job`.
pub(crate) fn about(options: &ServeOptions, job: &Handle) -> JobBody {
    JobBody {
        name: options.name.clone(),
        version: options.version.clone(),
        started_at: Time(job.clock().now_micros()),
        event_time_column: job.plan().event_time_column().to_owned(),
        delay_seconds: job.plan().delay().as_secs_f64(),
        batch_interval_seconds: options.batch_interval.as_secs_f64(),
        load_interval_seconds: options.load_interval.as_secs_f64(),
        loads: options.warehouse.is_some() && !options.is_load_separate,
        contract_seconds: options.contract.as_secs_f64(),
        thresholds: BTreeMap::from(options.quality.named()),
        warehouse: options.warehouse.as_ref().map(|warehouse| warehouse.kind),
        hot: match options.hot.url {
            Some(_) => HotKind::Redis,
            None => HotKind::Memory,
        },
        ingest: options.ingest.is_some(),
        views: views(job),
        charts: options.charts.clone(),
    }
}

fn views(job: &Handle) -> Vec<ViewBody> {
    let computed = job.plan().windows().map(|window| view(window, true));
    let removed = job.removed_windows().iter();
    computed
        .chain(removed.map(|window| view(window, false)))
        .collect()
}

fn view(window: &WindowPlan, computed: bool) -> ViewBody {
    let groups = window.groups.iter().map(|(name, ty)| GroupColumn {
        name: name.clone(),
        r#type: json::type_name(ty),
    });
    let aggregates = window.outputs.iter().map(|(name, function, input)| {
        let ty = output_type(*function, input.map(|i| &window.inputs[i]));
        Aggregate {
            name: name.clone(),
            function: (*function).into(),
            r#type: ty.as_ref().map(json::type_name),
        }
    });
    ViewBody {
        name: window.name.clone(),
        computed,
        size_seconds: seconds(window.size),
        slide_seconds: seconds(window.slide),
        groups: groups.collect(),
        aggregates: aggregates.collect(),
    }
}

#[allow(clippy::cast_precision_loss)]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// The kinds are texts: what opens a warehouse knows them, and this crate hands them on.
fn warehouse_kinds() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some([Some("duckdb"), Some("redshift"), None]))
        .description(Some("Null where the job has none."))
        .build()
}
