//! Follows the commit log and brings the warehouse up to it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tidegate_base::backoff::Backoff;
use tidegate_base::clock::Clock;
use tidegate_base::lock::lock;
use tidegate_log::{ReadError, Record, read_records};
use tidegate_storage::Storage;
use tokio::runtime::Handle;

use crate::load::{LoadError, LoadReport, LoadRequest};
use crate::reader::WarehouseReader;
use crate::warehouse::{Maintenance, Warehouse};

/// Bounds and schedule of a loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderOptions {
    /// A load takes no more records once it has this many rows. One record is always taken.
    pub rows_max: u64,
    /// A load takes no more records once its files have this many bytes.
    pub bytes_max: u64,
    /// A load has at most this many records.
    pub records_max: usize,
    /// Statistics are renewed this often, if anything was loaded.
    pub analyze_every: Duration,
    /// A DuckDB is checkpointed this often, if anything was loaded.
    pub checkpoint_every: Duration,
    /// Redshift's tables are vacuumed this often, if anything was loaded.
    pub vacuum_every: Duration,
    /// What is done about errors that can go away.
    pub retry: RetryOptions,
}

/// How often and how soon something that failed is tried again, within one tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOptions {
    /// Attempts in all; 1 is no retry.
    pub attempts: u32,
    /// Wait before the second attempt; it doubles each time.
    pub first: Duration,
    /// Longest wait.
    pub longest: Duration,
}

impl Default for LoaderOptions {
    /// 5,000,000 rows, 1 GiB or 1,024 records a load; statistics every 10 minutes, a checkpoint
    /// every 5, a vacuum every day.
    fn default() -> Self {
        LoaderOptions {
            rows_max: 5_000_000,
            bytes_max: 1 << 30,
            records_max: 1024,
            analyze_every: Duration::from_secs(600),
            checkpoint_every: Duration::from_secs(300),
            vacuum_every: Duration::from_secs(86_400),
            retry: RetryOptions::default(),
        }
    }
}

impl Default for RetryOptions {
    /// 5 attempts, with 200 ms before the second, and no more than 5 s before any.
    fn default() -> Self {
        RetryOptions {
            attempts: 5,
            first: Duration::from_millis(200),
            longest: Duration::from_secs(5),
        }
    }
}

/// Why the loader did not get on. The warehouse holds whole loads, and the next tick goes on after
/// the last one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoaderError {
    /// The log could not be read.
    #[error("cannot read the commit log from record {from_seq} on: {source}")]
    Read {
        /// First record that was to be read.
        from_seq: u64,
        /// What is wrong.
        source: Box<ReadError>,
    },
    /// A load failed.
    #[error(transparent)]
    Load(#[from] Box<LoadError>),
    /// The log ends before the record that was asked for.
    #[error("the commit log ends at record {last_seq}, before record {to_seq}")]
    LogEnds {
        /// Last record that there is.
        last_seq: u64,
        /// Record up to which was to be loaded.
        to_seq: u64,
    },
    /// Somebody has stopped the loader while it waited to try again.
    #[error("the loader was stopped while it waited to try again: {0}")]
    Stopped(Box<LoaderError>),
}

impl LoaderError {
    /// Whether a later tick can succeed without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            LoaderError::Read { source, .. } => matches!(**source, ReadError::Storage(_)),
            LoaderError::Load(error) => error.is_transient(),
            LoaderError::LogEnds { .. } => false,
            LoaderError::Stopped(error) => error.is_transient(),
        }
    }
}

/// What a tick did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tick {
    /// The load, if there was anything to load.
    pub load: Option<LoadReport>,
    /// Whether a bound has cut the load, so that the next tick has something to do at once.
    pub more: bool,
    /// What the last record of the load says that rows mean from then on, where that is not what
    /// the loader was told: see [`Loader::knows`].
    pub meaning: Option<serde_json::Value>,
    /// What was due and has been done.
    pub maintained: Vec<Maintenance>,
}

/// What catching up did, in all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CaughtUp {
    /// Loads.
    pub loads: u64,
    /// Rows in their files.
    pub rows: u64,
    /// Rows that tables have more than before.
    pub inserted: u64,
    /// Rows whose upsert key was there already.
    pub updates: u64,
    /// Time that the loads took.
    pub elapsed: Duration,
    /// The last record that is loaded.
    pub last_seq: u64,
}

/// Ends a loader's waits, from any thread.
#[derive(Debug, Clone, Default)]
pub struct LoaderStop {
    stopped: Arc<(Mutex<bool>, Condvar)>,
}

impl LoaderStop {
    /// Ends the wait before another attempt, now and in future. A load that runs is finished.
    pub fn stop(&self) {
        *lock(&self.stopped.0) = true;
        self.stopped.1.notify_all();
    }

    /// Waits; false if stopped meanwhile.
    fn wait(&self, time: Duration) -> bool {
        let stopped = lock(&self.stopped.0);
        let waited = self
            .stopped
            .1
            .wait_timeout_while(stopped, time, |stopped| !*stopped);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Brings a warehouse up to a commit log. Its methods block: call them from a thread of their own,
/// not from one of the runtime's.
#[derive(Debug)]
pub struct Loader {
    warehouse: Box<dyn Warehouse>,
    storage: Storage,
    runtime: Handle,
    clock: Clock,
    options: LoaderOptions,
    stop: LoaderStop,
    schedules: Vec<Schedule>,
    /// What rows mean after this record.
    known: Option<(u64, serde_json::Value)>,
}

impl Loader {
    /// A loader for `warehouse`, from the log in `storage`. `runtime` does the storage's IO.
    pub fn new(
        warehouse: Box<dyn Warehouse>,
        storage: Storage,
        runtime: Handle,
        clock: Clock,
        options: LoaderOptions,
    ) -> Self {
        let now = clock.now_micros();
        let schedule = |action: &Maintenance| {
            let every = match action {
                Maintenance::Analyze => options.analyze_every,
                Maintenance::Checkpoint => options.checkpoint_every,
                Maintenance::Vacuum => options.vacuum_every,
            };
            Schedule::new(warehouse.as_ref(), *action, every, now)
        };
        let schedules = warehouse.maintenance().iter().map(schedule).collect();
        Loader {
            warehouse,
            storage,
            runtime,
            clock,
            options,
            stop: LoaderStop::default(),
            schedules,
            known: None,
        }
    }

    /// Tells what the rows after the record `seq` mean, as the log keeps it. A load ends with a
    /// record that says something else, and the tick says so, so that the warehouse can be opened
    /// with other tables before the next one.
    #[must_use]
    pub fn knows(mut self, seq: u64, meaning: serde_json::Value) -> Self {
        self.known = Some((seq, meaning));
        self
    }

    /// Sequence number of the last record that is loaded; 0 if none is.
    pub fn loaded_seq(&self) -> u64 {
        self.warehouse.loaded_seq()
    }

    /// Read-only queries, while the loader goes on, where the warehouse is embedded.
    pub fn reader(&self) -> Option<WarehouseReader> {
        self.warehouse.reader()
    }

    /// Ends the loader's waits from another thread.
    pub fn stopper(&self) -> LoaderStop {
        self.stop.clone()
    }

    /// One load, if there is anything to load, and the maintenance that is due. Call it every
    /// interval, and again at once if [`Tick::more`].
    ///
    /// # Errors
    /// If the load failed and trying again did not help. Call it again after a while if
    /// [`LoaderError::is_transient`].
    pub fn tick(&mut self) -> Result<Tick, LoaderError> {
        let retry = &self.options.retry;
        let mut backoff = Backoff::new(retry.first, retry.longest);
        let mut attempt = 1;
        let LoadAttempt {
            load,
            more,
            meaning,
        } = loop {
            match self.load_once() {
                Ok(done) => break done,
                Err(error) if attempt < self.options.retry.attempts && error.is_transient() => {
                    let wait = backoff.pause();
                    tracing::warn!(%error, attempt, wait_ms = wait.as_millis() as u64, "trying again");
                    if !self.stop.wait(wait) {
                        return Err(LoaderError::Stopped(Box::new(error)));
                    }
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        };
        let now = self.clock.now_micros();
        let mut maintained = Vec::new();
        for schedule in &mut self.schedules {
            schedule.changed |= load.is_some();
            if schedule.run(self.warehouse.as_mut(), now) {
                maintained.push(schedule.action);
            }
        }
        Ok(Tick {
            load,
            more,
            meaning,
            maintained,
        })
    }

    /// Loads up to the record `to_seq`.
    ///
    /// # Errors
    /// As [`Loader::tick`]; and if the log ends before that record.
    pub fn catch_up(&mut self, to_seq: u64) -> Result<CaughtUp, LoaderError> {
        let mut caught_up = CaughtUp {
            last_seq: self.loaded_seq(),
            ..CaughtUp::default()
        };
        while caught_up.last_seq < to_seq {
            let tick = self.tick()?;
            caught_up.last_seq = self.loaded_seq();
            let Some(load) = tick.load else {
                return Err(LoaderError::LogEnds {
                    last_seq: caught_up.last_seq,
                    to_seq,
                });
            };
            caught_up.loads += 1;
            caught_up.rows += load.rows;
            caught_up.inserted += load.inserted;
            caught_up.updates += load.updates;
            caught_up.elapsed += load.elapsed;
        }
        Ok(caught_up)
    }

    fn load_once(&mut self) -> Result<LoadAttempt, LoaderError> {
        let from_seq = self.warehouse.loaded_seq() + 1;
        let mut records = self
            .runtime
            .block_on(read_records(
                &self.storage,
                from_seq,
                self.options.records_max.max(1),
            ))
            .map_err(|source| LoaderError::Read {
                from_seq,
                source: Box::new(source),
            })?;
        let taken = self.take(&records);
        let more = taken < records.len() || taken == self.options.records_max.max(1);
        records.truncate(taken);
        if records.is_empty() {
            return Ok(LoadAttempt::default());
        }
        let now = self.clock.now_micros();
        let warehouse = &mut self.warehouse;
        let (report, cut) = load_what_fits(&records, |records| {
            warehouse.load(&LoadRequest {
                records,
                storage: &self.storage,
                runtime: &self.runtime,
                now,
            })
        })?;
        let last = records.last().filter(|_| !cut);
        Ok(LoadAttempt {
            meaning: last.and_then(|record| self.news(record)).cloned(),
            load: Some(report),
            more: more || cut,
        })
    }

    /// What a record says of the meaning of rows, where the loader does not know it.
    fn news<'a>(&self, record: &'a Record) -> Option<&'a serde_json::Value> {
        let (seq, known) = self.known.as_ref()?;
        let said = record.plan.as_ref()?;
        (record.seq > *seq && said != known).then_some(said)
    }

    /// How many of the records make a load.
    fn take(&self, records: &[Record]) -> usize {
        let (mut rows, mut bytes) = (0u64, 0u64);
        let full = |record: &Record| {
            let full = rows >= self.options.rows_max || bytes >= self.options.bytes_max;
            for file in &record.files {
                rows = rows.saturating_add(file.rows);
                bytes = bytes.saturating_add(file.bytes);
            }
            full
        };
        let mut taken = records.iter().position(full).unwrap_or(records.len());
        if let Some(news) = records
            .iter()
            .position(|record| self.news(record).is_some())
        {
            taken = taken.min(news + 1);
        }
        taken.max(1).min(records.len())
    }
}

/// What became of a try to load.
#[derive(Debug, Default)]
struct LoadAttempt {
    load: Option<LoadReport>,
    more: bool,
    meaning: Option<serde_json::Value>,
}

/// Loads records, or the first half of them for as long as that is more than one transaction takes.
/// Tells whether any are left.
fn load_what_fits(
    records: &[Record],
    mut load: impl FnMut(&[Record]) -> Result<LoadReport, Box<LoadError>>,
) -> Result<(LoadReport, bool), Box<LoadError>> {
    let mut taken = records.len();
    loop {
        match load(&records[..taken]) {
            Ok(report) => return Ok((report, taken < records.len())),
            Err(error) if error.is_too_large() && taken > 1 => {
                taken /= 2;
                tracing::debug!(%error, records = taken, "taking fewer commits");
            }
            Err(error) => return Err(error),
        }
    }
}

/// When something is due again. What was done is remembered in the warehouse, so that a program
/// that never runs long maintains its database nevertheless.
#[derive(Debug)]
struct Schedule {
    action: Maintenance,
    every: Duration,
    /// When it was last done or tried, in microseconds since the Unix epoch.
    last: i64,
    /// Whether anything was loaded since.
    changed: bool,
}

impl Schedule {
    fn new(warehouse: &dyn Warehouse, action: Maintenance, every: Duration, now: i64) -> Self {
        let last = warehouse.maintained_at(action).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read when this was last done");
            None
        });
        // What was never done is due with the first load. A time in the future is a clock that was
        // wrong.
        Schedule {
            action,
            every,
            last: last.unwrap_or(i64::MIN).min(now),
            changed: false,
        }
    }

    /// Does it if it is due; tells whether it was done. A failure is not the load's: it is logged,
    /// and tried again when it is due the next time.
    fn run(&mut self, warehouse: &mut dyn Warehouse, now: i64) -> bool {
        let elapsed = u128::try_from(now.saturating_sub(self.last)).unwrap_or(0);
        if !self.changed || elapsed < self.every.as_micros() {
            return false;
        }
        self.last = now;
        match warehouse.maintain(self.action, now) {
            Ok(()) => {
                self.changed = false;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "maintenance failed; it is tried again when it is due the next time");
                false
            }
        }
    }
}
