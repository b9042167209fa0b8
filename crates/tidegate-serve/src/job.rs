//! What a job says of itself: the answer of `/v1/job`.

use serde_json::{Value, json};
use tidegate_core::spec::AggregateFunction;
use tidegate_core::window::{WindowPlan, output_type};

use crate::app::Job;
use crate::json;
use crate::options::ServeOptions;
use crate::time;

/// From an event's own time to queryable, in seconds: what is promised.
const CONTRACT_SECONDS: u64 = 300;

/// Greatest share of records that may be null, repeated, of the wrong form, or against a rule.
const NULL_RATE: f64 = 0.01;
const DUPLICATE_RATE: f64 = 0.0001;
const SCHEMA_VIOLATION_RATE: f64 = 0.0;
const BUSINESS_RULE_RATE: f64 = 0.001;

/// The answer of `/v1/job`.
pub(crate) fn about(options: &ServeOptions, job: &Job) -> Value {
    json!({
        "name": options.name,
        "version": options.version,
        "started_at": time::show(job.clock.now_micros()),
        "event_time_column": job.plan.event_time_column(),
        "delay_seconds": job.plan.delay().as_secs_f64(),
        "batch_interval_seconds": options.batch_interval.as_secs_f64(),
        "load_interval_seconds": options.load_interval.as_secs_f64(),
        "contract_seconds": CONTRACT_SECONDS,
        "thresholds": {
            "null_rate": NULL_RATE,
            "duplicate_rate": DUPLICATE_RATE,
            "schema_violation_rate": SCHEMA_VIOLATION_RATE,
            "business_rule_rate": BUSINESS_RULE_RATE,
        },
        "warehouse": options.warehouse.as_ref().map(|warehouse| warehouse.kind),
        "hot": if options.hot.url.is_some() { "redis" } else { "memory" },
        "ingest": options.ingest.is_some(),
        "views": job.plan.windows().map(|window| view(window)).collect::<Vec<_>>(),
        "charts": options.charts,
    })
}

fn view(window: &WindowPlan) -> Value {
    let groups = window
        .groups
        .iter()
        .map(|(name, ty)| json!({ "name": name, "type": json::type_name(ty) }));
    let aggregates = window.outputs.iter().map(|(name, function, input)| {
        let ty = output_type(*function, input.map(|i| &window.inputs[i]));
        json!({
            "name": name,
            "function": function_name(*function),
            "type": ty.as_ref().map(json::type_name),
        })
    });
    json!({
        "name": window.name,
        "size_seconds": seconds(window.size),
        "slide_seconds": seconds(window.slide),
        "groups": groups.collect::<Vec<_>>(),
        "aggregates": aggregates.collect::<Vec<_>>(),
    })
}

#[allow(clippy::cast_precision_loss)]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

fn function_name(function: AggregateFunction) -> &'static str {
    match function {
        AggregateFunction::Count => "count",
        AggregateFunction::Sum => "sum",
        AggregateFunction::Avg => "avg",
        AggregateFunction::Min => "min",
        AggregateFunction::Max => "max",
    }
}
