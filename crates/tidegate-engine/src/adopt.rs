//! The meaning of the rows over a restart: compares what the log has with what the configuration
//! says now, and decides since when windows exist.

use tidegate_core::meaning::{Change, Meaning, Reached};
use tidegate_core::plan::Plan;
use tidegate_log::JobState;

use crate::error::EngineError;
use crate::options::{EngineOptions, WarehouseKind};
use crate::restore::Rebuilt;

/// What the rows of a job meant before this start, and what they mean now.
#[derive(Debug)]
pub(crate) struct Adopted {
    before: Option<Meaning>,
    now: Meaning,
}

/// Compares the configuration with the log, before anything is rebuilt or written. A log that says
/// nothing, as those of version 1, takes the meaning of the present.
///
/// # Errors
/// If the change would break a promise about rows that are there: see [`EngineError::Refused`].
pub(crate) fn adopt(
    options: &EngineOptions,
    plan: &Plan,
    log: &JobState,
) -> Result<Adopted, EngineError> {
    let mut now = present(options, plan);
    let before = in_log(options, &now, log)?;
    let Some(known) = &before else {
        return Ok(Adopted { before, now });
    };
    match known.change_to(&now) {
        Change::Refused(refusals) => return Err(EngineError::Refused(refusals)),
        Change::Same => {}
        Change::Added(what) | Change::Restarts(what) => {
            for what in what {
                tracing::warn!("the configuration has changed: {what}");
            }
        }
    }
    now.follow(known, reached(log));
    Ok(Adopted { before, now })
}

/// How far the job has come that the log is of.
fn reached(log: &JobState) -> Reached {
    let lanes = log.partitions.values().map(|partition| partition.lane);
    let lanes = lanes.chain(log.watermarks.keys().copied());
    let watermark = lanes.map(|lane| log.watermarks.get(&lane).copied()).min();
    Reached {
        watermark: watermark.flatten(),
        record: log.last_seq,
    }
}

/// What a configuration would change in a job that is not started: for `tidegate validate`.
///
/// # Errors
/// If the log's meaning cannot be read.
pub fn change(options: &EngineOptions, plan: &Plan, log: &JobState) -> Result<Change, EngineError> {
    let now = present(options, plan);
    let before = in_log(options, &now, log)?;
    Ok(before.map_or(Change::Same, |before| before.change_to(&now)))
}

/// Refuses to fill a table by another key than `tidegate run` has it in the log.
///
/// # Errors
/// If the keys differ, or the log's meaning cannot be read.
pub(crate) fn check_upsert_key(
    options: &EngineOptions,
    plan: &Plan,
    log: &JobState,
) -> Result<(), EngineError> {
    let now = present(options, plan);
    let before = in_log(options, &now, log)?;
    match before.and_then(|before| before.upsert_refusal(&now)) {
        Some(refusal) => Err(EngineError::Refused(vec![refusal])),
        None => Ok(()),
    }
}

/// What the rows mean that a loader finds: as the log says, or where it says nothing, as the
/// configuration does.
///
/// # Errors
/// If the log's meaning cannot be read.
pub(crate) fn in_log_or_present(
    options: &EngineOptions,
    plan: &Plan,
    log: &JobState,
) -> Result<Meaning, EngineError> {
    let read = |value| Meaning::read(value).map_err(EngineError::Meaning);
    let known = log.plan.as_ref().map(read).transpose()?;
    Ok(known.unwrap_or_else(|| present(options, plan)))
}

fn present(options: &EngineOptions, plan: &Plan) -> Meaning {
    let warehouse = options.warehouse.as_ref();
    let key = warehouse.map(|warehouse| warehouse.upsert_key.as_slice());
    Meaning::new(plan, &options.spec, key)
}

fn in_log(
    options: &EngineOptions,
    now: &Meaning,
    log: &JobState,
) -> Result<Option<Meaning>, EngineError> {
    let read = |value| Meaning::read(value).map_err(EngineError::Meaning);
    let mut before = log.plan.as_ref().map(read).transpose()?;
    // A file that is not there yet has no rows of another key: it gets all commits from the first
    // one on.
    if let (Some(before), Some(warehouse)) = (&mut before, &options.warehouse)
        && let WarehouseKind::DuckDb { path, .. } = &warehouse.kind
        && !path.exists()
    {
        before.upsert_key.clone_from(&now.upsert_key);
    }
    Ok(before)
}

impl Adopted {
    /// Lets new windows begin, once it is known what the lanes could be rebuilt from; returns what
    /// the rows mean from now on.
    pub(crate) fn begin(mut self, plan: &Plan, log: &JobState, rebuilt: &Rebuilt) -> Meaning {
        if rebuilt.rows_without_key > 0 {
            tracing::warn!(
                rows = rebuilt.rows_without_key,
                "a column of deduplication.key is not in these rows: their repeats are not recognised"
            );
        }
        for (window, without) in plan.windows().zip(&rebuilt.without_window) {
            let is_new = self
                .before
                .as_ref()
                .is_some_and(|b| !b.has_window(&window.name));
            // With lanes at different times, a window that the first of them has closed already
            // would lack its part.
            let passed = log.watermarks.values().max().filter(|_| is_new);
            let passed = passed.map(|watermark| window.first_open(*watermark));
            let without = without.map(|greatest| greatest.saturating_add(1));
            let mut known = self.now.windows.iter_mut();
            let known = known.find(|known| known.name == window.name);
            let before = known.as_ref().and_then(|known| known.since);
            let begins = passed.max(without).max(before);
            if let Some(begins) = begins {
                window.begin(begins);
            }
            let Some(known) = known else { continue };
            if !is_new && before != window.begins() {
                known.leave_gap(reached(log));
            }
            known.begin(window);
            if known.since != before {
                tracing::warn!(
                    window = window.name,
                    from = known.since.and_then(text),
                    "the window is new: its first one begins here, those before would not be whole"
                );
            }
        }
        self.now
    }
}

/// What the next record of a log is to say of the meaning, if the log does not say it already.
pub(crate) fn to_be_said(meaning: &Meaning, log: &JobState) -> Option<serde_json::Value> {
    let value = meaning.to_value();
    (log.plan.as_ref() != Some(&value)).then_some(value)
}

fn text(micros: i64) -> Option<String> {
    chrono::DateTime::from_timestamp_micros(micros).map(|time| time.to_rfc3339())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use serde_json::json;
    use tidegate_core::spec::{
        AggregateFunction, AggregateSpec, EventTimeSpec, FieldSpec, FieldType, JobSpec, StoredForm,
        WindowSpec,
    };

    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn window(name: &str, size: i64, slide: i64) -> WindowSpec {
        WindowSpec {
            name: name.to_owned(),
            size: Duration::from_micros(size.unsigned_abs()),
            slide: Duration::from_micros(slide.unsigned_abs()),
            group_by: Vec::new(),
            aggregates: vec![AggregateSpec {
                name: "n".to_owned(),
                function: AggregateFunction::Count,
                input: None,
            }],
        }
    }

    fn spec(windows: Vec<WindowSpec>) -> JobSpec {
        JobSpec {
            fields: vec![FieldSpec {
                name: "at".to_owned(),
                ty: FieldType::Timestamp,
                required: true,
            }],
            event_time: EventTimeSpec {
                field: "at".to_owned(),
                column: "at".to_owned(),
                delay: Duration::from_secs(60),
                max_ahead: None,
                idle_after: Duration::from_secs(60),
            },
            rules: Vec::new(),
            enrich: Vec::new(),
            lookups: Vec::new(),
            dedup_key: Vec::new(),
            windows,
            stored: StoredForm::default(),
        }
    }

    /// A log with lanes at these watermarks.
    fn log(watermarks: &[(i32, i64)], meaning: Option<&Meaning>) -> JobState {
        let watermarks: BTreeMap<i32, i64> = watermarks.iter().copied().collect();
        serde_json::from_value(json!({
            "job": "a", "name": "a", "fingerprint_seed": 1, "created_at": 0, "last_seq": 2, "last_crc32c": "00000000",
            "last_writer": "w", "last_written_at": 0, "schema_version": 1, "partitions": {}, "watermarks": watermarks,
            "totals": { "read": 0, "events": 0, "late": 0, "rejected": 0, "duplicates": 0, "gone": 0 },
            "rejected_by": {}, "commits": 1, "complete": false, "recent_files": [],
            "plan": meaning.map(Meaning::to_value),
        }))
        .expect("a state")
    }

    /// Goes on from `before` with one window more, and returns where that begins.
    fn begins(
        before: Option<&Meaning>,
        added: WindowSpec,
        watermarks: &[(i32, i64)],
        without: Option<i64>,
    ) -> Option<i64> {
        let old = window("old", MINUTE, MINUTE);
        let spec = spec(vec![old, added]);
        let plan = Plan::compile(&spec).expect("a plan");
        let log = log(watermarks, before);
        let mut now = Meaning::new(&plan, &spec, None);
        if let Some(before) = before {
            now.follow(before, reached(&log));
        }
        let rebuilt = Rebuilt {
            without_window: vec![None, without],
            ..Rebuilt::default()
        };
        let adopted = Adopted {
            before: before.cloned(),
            now,
        };
        let meaning = adopted.begin(&plan, &log, &rebuilt);
        let value = to_be_said(&meaning, &log).expect("it is new");
        let said = Meaning::read(&value).expect("it is read");
        assert_eq!(said.windows[0].since, None);
        assert_eq!(plan.windows().next().and_then(|w| w.begins()), None);
        let begins = plan.windows().nth(1).and_then(|w| w.begins());
        assert_eq!(said.windows[1].since, begins);
        begins
    }

    #[test]
    fn a_new_window_begins_where_no_lane_has_closed_it() {
        let spec = spec(vec![window("old", MINUTE, MINUTE)]);
        let plan = Plan::compile(&spec).expect("a plan");
        let before = Meaning::new(&plan, &spec, None);
        let lanes = [(0, 100 * MINUTE), (1, 7 * MINUTE), (2, 90 * MINUTE)];
        let of = |size, slide, without| {
            begins(Some(&before), window("new", size, slide), &lanes, without)
        };
        // The lane that is furthest has passed the window that ends at 100.
        assert_eq!(of(MINUTE, MINUTE, None), Some(100 * MINUTE));
        assert_eq!(of(5 * MINUTE, MINUTE, None), Some(96 * MINUTE));
        assert_eq!(of(7 * MINUTE, 7 * MINUTE, None), Some(98 * MINUTE));
        // Rows that lack a column of it are in none of its windows.
        assert_eq!(
            of(MINUTE, MINUTE, Some(103 * MINUTE - 1)),
            Some(103 * MINUTE)
        );
        assert_eq!(
            of(5 * MINUTE, MINUTE, Some(103 * MINUTE)),
            Some(104 * MINUTE)
        );
        assert_eq!(of(MINUTE, MINUTE, Some(20 * MINUTE)), Some(100 * MINUTE));
        // Nothing has come yet: it is as old as the job.
        assert_eq!(
            begins(Some(&before), window("new", MINUTE, MINUTE), &[], None),
            None
        );
        // A log of version 1 does not know what is new; what rows lack is.
        assert_eq!(
            begins(None, window("new", MINUTE, MINUTE), &lanes, None),
            None
        );
        let without = begins(
            None,
            window("new", MINUTE, MINUTE),
            &lanes,
            Some(99 * MINUTE + 1),
        );
        assert_eq!(without, Some(100 * MINUTE));
    }

    #[test]
    fn where_a_window_begins_is_said_once() {
        let spec = spec(vec![window("old", MINUTE, MINUTE)]);
        let plan = Plan::compile(&spec).expect("a plan");
        let mut before = Meaning::new(&plan, &spec, None);
        before.windows[0].since = Some(3 * MINUTE);
        let log = log(&[(0, 50 * MINUTE)], Some(&before));
        let mut now = Meaning::new(&plan, &spec, None);
        now.follow(&before, Reached::default());
        let adopted = Adopted {
            before: Some(before),
            now,
        };
        let rebuilt = Rebuilt {
            without_window: vec![Some(2 * MINUTE)],
            ..Rebuilt::default()
        };
        let meaning = adopted.begin(&plan, &log, &rebuilt);
        assert_eq!(to_be_said(&meaning, &log), None);
        assert_eq!(
            plan.windows().next().and_then(|w| w.begins()),
            Some(3 * MINUTE)
        );
    }

    #[test]
    fn windows_that_some_lanes_have_left_open_are_in_a_gap() {
        let kept = || window("old", MINUTE, MINUTE);
        let taken = || window("taken", 5 * MINUTE, MINUTE);
        let both = spec(vec![kept(), taken()]);
        let before = Meaning::new(&Plan::compile(&both).expect("a plan"), &both, None);
        let change = |before: &Meaning, spec: &JobSpec, at: &JobState, rebuilt: Rebuilt| {
            let plan = Plan::compile(spec).expect("a plan");
            let mut now = Meaning::new(&plan, spec, None);
            now.follow(before, reached(at));
            let adopted = Adopted {
                before: Some(before.clone()),
                now,
            };
            adopted.begin(&plan, at, &rebuilt)
        };
        let rebuilt = |without: &[Option<i64>]| Rebuilt {
            without_window: without.to_vec(),
            ..Rebuilt::default()
        };
        let gap = |after: Option<i64>, before: Option<i64>| tidegate_core::meaning::Gap {
            after: after.map(|minute| minute * MINUTE),
            before: before.map(|minute| minute * MINUTE),
        };
        let gaps = |meaning: &Meaning| meaning.window("taken").expect("it is known").gaps.clone();

        let at = log(&[(0, 100 * MINUTE), (1, 40 * MINUTE)], Some(&before));
        let without = change(&before, &spec(vec![kept()]), &at, rebuilt(&[None]));
        assert_eq!(gaps(&without), [gap(Some(40), None)]);
        assert_eq!(without.window("taken").and_then(|w| w.last_record), Some(2));
        assert_eq!(without.window("old").map(|w| w.gaps.len()), Some(0));
        // Once more changes nothing, and nor does time.
        let at = log(&[(0, 200 * MINUTE), (1, 190 * MINUTE)], Some(&without));
        let again = change(&without, &spec(vec![kept()]), &at, rebuilt(&[None]));
        assert_eq!(again, without);
        // It is there again: windows are whole from the first on that no lane has passed.
        let again = change(&again, &both, &at, rebuilt(&[None, None]));
        assert_eq!(gaps(&again), [gap(Some(40), Some(196))]);
        assert_eq!(again.window("taken").and_then(|w| w.last_record), None);

        // With one lane nothing is between.
        let at = log(&[(0, 100 * MINUTE)], Some(&before));
        let without = change(&before, &spec(vec![kept()]), &at, rebuilt(&[None]));
        let again = change(&without, &both, &at, rebuilt(&[None, None]));
        assert!(gaps(&again).is_empty());

        // A lane that has no watermark yet holds all windows back; so does one of a partition.
        let mut at = log(&[(0, 100 * MINUTE)], Some(&before));
        let partition = json!({ "name": "p", "lane": 1, "offset": 0 });
        at.partitions
            .insert(7, serde_json::from_value(partition).expect("a partition"));
        let without = change(&before, &spec(vec![kept()]), &at, rebuilt(&[None]));
        assert_eq!(gaps(&without), [gap(None, None)]);
        // Before anything has come there are no parts.
        let at = log(&[], Some(&before));
        let without = change(&before, &spec(vec![kept()]), &at, rebuilt(&[None]));
        let again = change(&without, &both, &at, rebuilt(&[None, None]));
        assert!(gaps(&again).is_empty());

        // A window that goes on over a new column is not whole where rows lack that.
        let at = log(&[(0, 100 * MINUTE), (1, 40 * MINUTE)], Some(&before));
        let lacks = Some(101 * MINUTE);
        let over = change(&before, &both, &at, rebuilt(&[None, lacks]));
        assert_eq!(gaps(&over), [gap(Some(40), Some(102))]);
        let at = log(&[(0, 120 * MINUTE), (1, 90 * MINUTE)], Some(&over));
        assert_eq!(change(&over, &both, &at, rebuilt(&[None, lacks])), over);
    }
}
