//! What the jobs of these tests do to an event. The unit tests of the state thread have it, too.

use std::time::Duration;

use tidegate_core::spec::{
    AggregateFunction, AggregateSpec, EventTimeSpec, FieldSpec, JobSpec, NamedExpr, StoredForm,
    WindowSpec,
};

/// Length of the windows `w`, which count events.
pub(crate) const WINDOW: Duration = Duration::from_secs(30);

/// Events have a time `at` in microseconds, a key `id` that is unique, and are rejected where `ok`
/// is false.
pub(crate) fn spec(delay: Duration, idle_after: Duration) -> JobSpec {
    let field = |name: &str, ty: &str, required| FieldSpec {
        name: name.to_owned(),
        ty: ty.parse().expect("a type"),
        required,
    };
    JobSpec {
        fields: vec![
            field("at", "timestamp_us", true),
            field("id", "string", true),
            field("ok", "bool", false),
        ],
        event_time: EventTimeSpec {
            field: "at".to_owned(),
            column: "at".to_owned(),
            delay,
            max_ahead: None,
            idle_after,
        },
        rules: vec![NamedExpr {
            name: "fine".to_owned(),
            sql: "ok".to_owned(),
        }],
        enrich: Vec::new(),
        lookups: Vec::new(),
        dedup_key: vec!["id".to_owned()],
        windows: vec![WindowSpec {
            name: "w".to_owned(),
            size: WINDOW,
            slide: WINDOW,
            group_by: Vec::new(),
            aggregates: vec![AggregateSpec {
                name: "n".to_owned(),
                function: AggregateFunction::Count,
                input: None,
            }],
        }],
        stored: StoredForm::default(),
    }
}
