//! The loader thread: applies commits to the warehouse, every so often and once more at the end.

use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, Schema};
use tidegate_core::clock::Clock;
use tidegate_core::plan::{Plan, SYSTEM_COLUMNS};
use tidegate_core::rejected::rejected_schema;
use tidegate_core::spec::AggregateFunction;
use tidegate_log::{JobState, Storage};
use tidegate_warehouse::{
    DuckDbWarehouse, LoadReport, Loader, LoaderError, LoaderOptions, Reach, RedshiftOptions,
    RedshiftWarehouse, TableKind, TableSpec, ViewMerge, Warehouse, WarehouseReader,
};
use tokio::runtime::Handle;

use crate::error::EngineError;
use crate::options::{LoadOptions, WarehouseKind, WarehouseOptions};
use crate::shared::Shared;
use crate::status::LoadStatus;

/// How late a stop is noticed.
const TICK: Duration = Duration::from_millis(20);
/// Longest time between tries of a load that cannot succeed as things are.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The loader of a job.
#[derive(Debug)]
pub(crate) struct JobLoader {
    loader: Loader,
    interval: Duration,
}

/// What a loader is opened with.
pub(crate) struct Place<'a> {
    pub(crate) plan: &'a Plan,
    /// The log as it stands.
    pub(crate) log: &'a JobState,
    pub(crate) storage: &'a Storage,
    pub(crate) runtime: &'a Handle,
    pub(crate) clock: &'a Clock,
}

/// Opens the warehouse of a job. Must not be called from a thread of the runtime.
pub(crate) fn open(
    options: &WarehouseOptions,
    load: &LoadOptions,
    place: &Place<'_>,
) -> Result<JobLoader, EngineError> {
    let warehouse: Box<dyn Warehouse> = match &options.kind {
        WarehouseKind::DuckDb { path, bounds } => Box::new(DuckDbWarehouse::open(
            path,
            place.log.job.as_str(),
            tables(&TableNames::of(options), place.plan),
            bounds,
            place.clock.now_micros(),
        )?),
        WarehouseKind::Redshift(redshift) => Box::new(open_redshift(options, redshift, place)?),
    };
    let (loaded, last) = (warehouse.loaded_seq(), place.log.last_seq);
    if loaded > last {
        return Err(EngineError::WarehouseAhead { loaded, last });
    }
    let bounds = LoaderOptions {
        rows_max: load.max_rows,
        analyze_every: load.analyze_every,
        checkpoint_every: load.checkpoint_every,
        vacuum_every: load.vacuum_every,
        ..LoaderOptions::default()
    };
    let loader = Loader::new(
        warehouse,
        place.storage.clone(),
        place.runtime.clone(),
        place.clock.clone(),
        bounds,
    );
    Ok(JobLoader {
        loader,
        interval: load.interval,
    })
}

/// A Redshift, opened for a job.
pub(crate) fn open_redshift(
    options: &WarehouseOptions,
    redshift: &RedshiftOptions,
    place: &Place<'_>,
) -> Result<RedshiftWarehouse, EngineError> {
    Ok(RedshiftWarehouse::open(
        redshift,
        place.log.job.as_str(),
        tables(&TableNames::of(options), place.plan),
        place.storage,
        place.runtime,
        place.clock.now_micros(),
    )?)
}

impl JobLoader {
    /// Read-only queries while the job runs.
    pub(crate) fn reader(&self) -> Option<WarehouseReader> {
        self.loader.reader()
    }

    /// Loads every interval, and when nothing more will be committed, all that is left.
    ///
    /// A load that fails keeps neither the pipeline from committing nor the next load from trying;
    /// only at the end it is an error.
    pub(crate) fn run(mut self, shared: &Shared) {
        shared.update().loaded_seq = self.loader.loaded_seq();
        let mut schedule = Schedule::new(self.interval, Instant::now() + self.interval);
        while !shared.drained() {
            let started = Instant::now();
            if started < schedule.due {
                std::thread::sleep(TICK.min(self.interval));
                continue;
            }
            match self.tick(shared) {
                Ok(more) => schedule.succeeded(started, more),
                Err(error) => {
                    let mut status = shared.update();
                    status.load_failures += 1;
                    let is_first = status.load_error.replace(error.to_string()).is_none();
                    drop(status);
                    if is_first {
                        tracing::error!("{error}; the pipeline goes on, loading is tried again");
                    }
                    schedule.failed();
                }
            }
        }
        if shared.failed() {
            return;
        }
        loop {
            match self.tick(shared) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return shared.fail(error.into()),
            }
        }
    }

    /// Loads every interval until `stopped` says so, or with `once` until nothing is left; each load is
    /// shown to `each`.
    pub(crate) fn run_alone(
        &mut self,
        once: bool,
        stopped: &dyn Fn() -> bool,
        each: &mut dyn FnMut(&LoadReport),
    ) -> Result<(), LoaderError> {
        let mut schedule = Schedule::new(self.interval, Instant::now());
        while !stopped() {
            let started = Instant::now();
            match self.loader.tick() {
                Ok(tick) => {
                    if let Some(report) = &tick.load {
                        each(report);
                    }
                    if once && !tick.more {
                        return Ok(());
                    }
                    schedule.succeeded(started, tick.more);
                }
                Err(error) if once => return Err(error),
                Err(error) => {
                    tracing::error!("{error}; loading is tried again");
                    schedule.failed();
                }
            }
            while Instant::now() < schedule.due && !stopped() {
                std::thread::sleep(TICK);
            }
        }
        Ok(())
    }

    /// One load; says whether there is more to load at once.
    fn tick(&mut self, shared: &Shared) -> Result<bool, LoaderError> {
        let tick = self.loader.tick()?;
        if let Some(report) = &tick.load {
            self.show(shared, report);
        }
        Ok(tick.more)
    }

    fn show(&self, shared: &Shared, report: &LoadReport) {
        let now = shared.clock.now_micros();
        shared.measured().loaded(report.last_seq, now);
        let mut status = shared.update();
        if status.load_error.take().is_some() {
            tracing::info!("loading works again");
        }
        status.load_failures = 0;
        status.loaded_at = Some(shared.clock.now_micros());
        status.loads += 1;
        status.rows_loaded += report.rows;
        status.updates += report.updates;
        status.loaded_seq = report.last_seq;
        status.last_load = LoadStatus {
            rows: report.rows,
            seconds: report.elapsed.as_secs_f64(),
        };
    }
}

/// When the next load is due.
#[derive(Debug)]
struct Schedule {
    interval: Duration,
    /// The interval, or longer after loads that failed.
    pause: Duration,
    due: Instant,
}

impl Schedule {
    fn new(interval: Duration, due: Instant) -> Self {
        Schedule {
            interval,
            pause: interval,
            due,
        }
    }

    /// The next load is due an interval after the start of this one, so that how long it took does not add to
    /// how old rows are; at once if there is `more` to load.
    fn succeeded(&mut self, started: Instant, more: bool) {
        self.pause = self.interval;
        self.due = if more {
            started
        } else {
            started + self.interval
        };
    }

    /// The next try comes later each time, counted from now.
    fn failed(&mut self) {
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.due = Instant::now() + self.pause;
    }
}

/// How the tables of a job are called, and how rows get into that of events.
#[derive(Debug)]
pub(crate) struct TableNames<'a> {
    table: &'a str,
    rejected: &'a str,
    upsert_key: &'a [String],
    reach: Option<Duration>,
}

impl Default for TableNames<'_> {
    fn default() -> Self {
        TableNames {
            table: "events",
            rejected: "rejected",
            upsert_key: &[],
            reach: None,
        }
    }
}

impl<'a> TableNames<'a> {
    pub(crate) fn of(options: &'a WarehouseOptions) -> Self {
        TableNames {
            table: &options.table,
            rejected: &options.rejected_table,
            upsert_key: &options.upsert_key,
            reach: options.reach,
        }
    }
}

/// The tables of a job.
pub(crate) fn tables(names: &TableNames<'_>, plan: &Plan) -> Vec<TableSpec> {
    let events = TableSpec {
        name: names.table.to_owned(),
        datasets: vec!["events".to_owned(), "late".to_owned()],
        columns: columns(plan.event_schema()),
        required: plan.required_columns(),
        kind: if names.upsert_key.is_empty() {
            TableKind::Append
        } else {
            TableKind::Upsert {
                key: names.upsert_key.to_vec(),
                order: vec![
                    plan.event_time_column().to_owned(),
                    SYSTEM_COLUMNS[1].to_owned(),
                    SYSTEM_COLUMNS[2].to_owned(),
                ],
                reach: names.reach.map(|within| Reach {
                    column: plan.event_time_column().to_owned(),
                    within,
                }),
            }
        },
    };
    let rejected = TableSpec {
        name: names.rejected.to_owned(),
        datasets: vec!["rejected".to_owned()],
        columns: columns(&rejected_schema()),
        required: required(&rejected_schema()),
        kind: TableKind::Append,
    };
    let windows = plan.windows().map(|window| {
        TableSpec::window_parts(
            &window.name,
            vec![format!("window:{}", window.name)],
            columns(&window.part_schema()),
            window.groups.iter().map(|(name, _)| name.clone()).collect(),
            window
                .outputs
                .iter()
                .map(|(name, function, _)| (name.clone(), merge(*function)))
                .collect(),
        )
    });
    [events, rejected].into_iter().chain(windows).collect()
}

fn columns(schema: &Schema) -> Vec<(String, DataType)> {
    schema
        .fields()
        .iter()
        .map(|f| (f.name().clone(), f.data_type().clone()))
        .collect()
}

fn required(schema: &Schema) -> Vec<String> {
    let fields = schema.fields().iter().filter(|field| !field.is_nullable());
    fields.map(|field| field.name().clone()).collect()
}

fn merge(function: AggregateFunction) -> ViewMerge {
    match function {
        AggregateFunction::Count => ViewMerge::Count,
        AggregateFunction::Sum => ViewMerge::Sum,
        AggregateFunction::Avg => ViewMerge::Avg,
        AggregateFunction::Min => ViewMerge::Min,
        AggregateFunction::Max => ViewMerge::Max,
    }
}
