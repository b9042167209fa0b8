//! The loader thread: applies commits to the warehouse, every so often and once more at the end.

use std::time::{Duration, Instant};

use tidegate_base::backoff::Backoff;
use tidegate_core::meaning::Meaning;
use tidegate_log::ReadError;
use tidegate_warehouse::{LoadReport, Loader, LoaderError, Tick, WarehouseReader};

use crate::error::EngineError;
use crate::look::find_folder;
use crate::shared::Shared;
use crate::status::LoadStatus;
use crate::warehouse::{LoaderSetup, is_away};

/// How late a stop is noticed.
const TICK: Duration = Duration::from_millis(20);
/// Longest time between tries of a load that cannot succeed as things are.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The loader of a job.
#[derive(Debug)]
pub(crate) struct JobLoader {
    setup: LoaderSetup,
    /// None while the warehouse is away.
    loader: Option<Loader>,
}

impl JobLoader {
    /// Opens the warehouse of a job. One that is away is tried again by [`JobLoader::run`]: commits
    /// do not wait for it. Must not be called from a thread of the runtime.
    pub(crate) fn open(setup: LoaderSetup, shared: &Shared) -> Result<Self, EngineError> {
        let loader = match setup.open(shared.status().last_seq) {
            Ok(loader) => Some(loader),
            Err(error) if is_away(&error) => {
                tracing::error!(
                    "{error}; commits go on, and are loaded when the warehouse can be reached"
                );
                show_away(shared, &error);
                None
            }
            Err(error) => return Err(error),
        };
        Ok(JobLoader { setup, loader })
    }

    /// Read-only queries while the job runs.
    pub(crate) fn reader(&self) -> Option<WarehouseReader> {
        self.loader.as_ref()?.reader()
    }

    /// The loader, once the warehouse is open.
    fn opened(&mut self, shared: &Shared) -> Result<&mut Loader, EngineError> {
        if self.loader.is_none() {
            // A process that only loads follows a log that goes on.
            let last_seq = shared.status().last_seq.max(self.setup.meaning_at);
            let loader = self.setup.open(last_seq)?;
            tracing::info!("the warehouse can be reached");
            let mut status = shared.update();
            status.load_error = None;
            status.load_failures = 0;
            status.loaded_seq = loader.loaded_seq();
            drop(status);
            return Ok(self.loader.insert(loader));
        }
        self.loader.as_mut().ok_or(EngineError::NoWarehouse)
    }

    /// Loads every interval, and when nothing more will be committed, all that is left.
    ///
    /// A load that fails keeps neither the pipeline from committing nor the next load from trying;
    /// only at the end it is an error.
    pub(crate) fn run(mut self, shared: &Shared) {
        self.show_start(shared);
        let interval = self.setup.load.interval;
        let mut schedule = Schedule::new(interval, Instant::now() + interval);
        while !shared.drained() {
            let started = Instant::now();
            if started < schedule.due {
                std::thread::sleep(TICK.min(interval));
                continue;
            }
            match self.tick(shared) {
                Ok(tick) => schedule.succeeded(started, tick.more),
                Err(EngineError::Load(error)) => {
                    show_failure(
                        shared,
                        &error,
                        "the pipeline goes on, loading is tried again",
                    );
                    schedule.failed();
                }
                Err(error) if is_away(&error) => {
                    show_away(shared, &error);
                    schedule.failed();
                }
                // The job would not have started with such a warehouse.
                Err(error) => return shared.fail(error),
            }
        }
        if shared.failed() {
            return;
        }
        loop {
            match self.tick(shared) {
                Ok(tick) if tick.more => {}
                Ok(_) => return,
                Err(error) => return shared.fail(error),
            }
        }
    }

    fn show_start(&self, shared: &Shared) {
        let mut status = shared.update();
        status.loads_here = true;
        if let Some(loader) = &self.loader {
            status.loaded_seq = loader.loaded_seq();
        }
    }

    /// Checks that the log's folder is there, if the log has a record: without the folder, no next
    /// record is there either, which would be taken for the end of the log.
    fn find_log(&self, shared: &Shared) -> Result<(), EngineError> {
        let status = shared.update();
        let (last_seq, from_seq) = (status.last_seq, status.loaded_seq + 1);
        drop(status);
        if last_seq == 0 {
            return Ok(());
        }
        find_folder(&self.setup.storage).map_err(|error| {
            let error = LoaderError::Read {
                from_seq,
                source: Box::new(ReadError::Storage(error)),
            };
            EngineError::Load(error)
        })
    }

    /// One load, and what it shows.
    fn tick(&mut self, shared: &Shared) -> Result<Tick, EngineError> {
        shared.outside().loads.begin(Instant::now());
        let ticked = self
            .find_log(shared)
            .and_then(|()| self.opened(shared))
            .and_then(|loader| loader.tick().map_err(EngineError::from));
        let mut outside = shared.outside();
        let tick = match ticked {
            Ok(tick) => tick,
            Err(error) => {
                outside.loads.drop_it();
                return Err(error);
            }
        };
        if let Some(meaning) = &tick.meaning {
            // The next load finds the tables that it is for.
            self.setup.meaning = Meaning::read(meaning).map_err(EngineError::Meaning)?;
            self.setup.meaning_at = tick.load.as_ref().map_or(0, |report| report.last_seq);
            self.loader = None;
        }
        match &tick.load {
            Some(report) => outside.loads.took(report.elapsed, Instant::now()),
            None => outside.loads.drop_it(),
        }
        outside.log.find();
        outside.warehouse.find();
        drop(outside);
        // Where nothing was left to load, what has failed was reading the log.
        let mut status = shared.update();
        status.load_failures = 0;
        if status.load_error.take().is_some() {
            tracing::info!("loading works again");
        }
        drop(status);
        if let Some(report) = &tick.load {
            show(shared, report);
        }
        Ok(tick)
    }
}

/// Loads every interval until `stopped` says so, or with `once` until nothing is left; each load is
/// shown to `each`. `shared` has been shown the log.
pub(crate) fn run_alone(
    setup: &LoaderSetup,
    once: bool,
    shared: &Shared,
    stopped: &dyn Fn() -> bool,
    each: &mut dyn FnMut(&LoadReport),
) -> Result<(), EngineError> {
    let mut job = JobLoader {
        setup: setup.clone(),
        loader: None,
    };
    job.show_start(shared);
    let mut schedule = Schedule::new(setup.load.interval, Instant::now());
    while !stopped() {
        let started = Instant::now();
        match job.tick(shared) {
            Ok(tick) => {
                if let Some(report) = &tick.load {
                    let now = shared.clock.now_micros();
                    let mut measured = shared.measured();
                    measured.loaded_since_commit(report.committed_at, report.rows, now);
                    drop(measured);
                    each(report);
                }
                if once && !tick.more {
                    return Ok(());
                }
                schedule.succeeded(started, tick.more);
            }
            Err(error) if once => return Err(error),
            Err(EngineError::Load(error)) => {
                show_failure(shared, &error, "loading is tried again");
                schedule.failed();
            }
            Err(error) if is_away(&error) => {
                tracing::error!("{error}; it is tried again");
                show_away(shared, &error);
                schedule.failed();
            }
            Err(error) => return Err(error),
        }
        while Instant::now() < schedule.due && !stopped() {
            std::thread::sleep(TICK);
        }
    }
    Ok(())
}

/// Shows that the warehouse cannot be opened.
fn show_away(shared: &Shared, error: &EngineError) {
    let now = shared.clock.now_micros();
    shared.outside().warehouse.lose(now, error.to_string());
    let mut status = shared.update();
    status.load_failures += 1;
    status.load_error = Some(error.to_string());
}

fn show(shared: &Shared, report: &LoadReport) {
    let now = shared.clock.now_micros();
    shared.measured().loaded(report.last_seq, now);
    let mut status = shared.update();
    status.loaded_at = Some(now);
    status.loads += 1;
    status.rows_loaded += report.rows;
    status.updates += report.updates;
    status.load_rejected += report.rejected;
    status.load_cut += report.cut;
    status.loaded_seq = report.last_seq;
    status.last_load = LoadStatus {
        rows: report.rows,
        seconds: report.elapsed.as_secs_f64(),
    };
}

/// Shows a load that failed; it is said once, until one succeeds.
fn show_failure(shared: &Shared, error: &LoaderError, goes_on: &str) {
    let mut status = shared.update();
    status.load_failures += 1;
    let is_first = status.load_error.replace(error.to_string()).is_none();
    drop(status);
    let (now, mut outside) = (shared.clock.now_micros(), shared.outside());
    match error {
        LoaderError::Read { .. } => outside.log.lose(now, error.to_string()),
        _ => outside.warehouse.lose(now, error.to_string()),
    }
    drop(outside);
    if is_first {
        tracing::error!("{error}; {goes_on}");
    }
}

/// When the next load is due.
#[derive(Debug)]
struct Schedule {
    interval: Duration,
    /// Pauses after loads that failed.
    backoff: Backoff,
    due: Instant,
}

impl Schedule {
    fn new(interval: Duration, due: Instant) -> Self {
        Schedule {
            interval,
            backoff: Backoff::new(interval * 2, PAUSE_MAX),
            due,
        }
    }

    /// The next load is due an interval after the start of this one, so that how long it took does
    /// not add to how old rows are; at once if there is `more` to load.
    fn succeeded(&mut self, started: Instant, more: bool) {
        self.backoff.reset();
        self.due = if more {
            started
        } else {
            started + self.interval
        };
    }

    /// The next try comes later each time, counted from now.
    fn failed(&mut self) {
        self.due = Instant::now() + self.backoff.pause();
    }
}
