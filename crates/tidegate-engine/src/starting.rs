//! A job that is about to start: what it is waiting for can be seen before anything of it is open.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tidegate_log::{ReadError, read_records};
use tidegate_storage::{Storage, StorageError};
use tokio::runtime::Handle;

use crate::handle::Monitor;
use crate::options::EngineOptions;
use crate::shared::{Intervals, Shared};

/// Pause between two tries to reach storage.
const PAUSE: Duration = Duration::from_millis(500);

/// A job that is about to start.
#[derive(Debug)]
pub struct Starting {
    pub(crate) shared: Arc<Shared>,
}

impl Starting {
    /// Opens nothing.
    pub fn new(options: &EngineOptions) -> Self {
        let intervals = Intervals {
            batch: options.batch.interval,
            load: options.load.interval,
        };
        let shared = Shared::new(options.clock.clone(), options.memory, &intervals);
        Starting {
            shared: Arc::new(shared),
        }
    }

    /// Shows the job, now and as long as it runs.
    pub fn monitor(&self) -> Monitor {
        Monitor {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Waits until a bucket answers, whatever it answers, for as long as an operation is tried
    /// again; says at the first try that it does not.
    pub(crate) fn reach_storage(
        &self,
        options: &EngineOptions,
        runtime: &Handle,
    ) -> Result<(), StorageError> {
        if !options.storage.url.starts_with("s3:") {
            return Ok(());
        }
        let began = Instant::now();
        let retry_for = options.storage.s3.retry_for;
        let mut quick = options.storage.clone();
        quick.s3.retry_for = Duration::ZERO;
        let storage = Storage::open(&quick)?;
        let mut is_told = false;
        loop {
            let error = match runtime.block_on(read_records(&storage, 1, 1)) {
                Err(ReadError::Storage(error)) if error.is_unreachable() => error,
                // What else may be wrong is said where the log is opened.
                _ => break,
            };
            if began.elapsed() >= retry_for || self.shared.stopped() {
                return Err(error);
            }
            let now = self.shared.clock.now_micros();
            self.shared.outside().storage.lose(now, error.to_string());
            if !is_told {
                tracing::warn!(
                    "storage cannot be reached: {error}; trying again for {} s",
                    retry_for.as_secs_f64()
                );
            }
            is_told = true;
            thread::sleep(PAUSE);
        }
        self.shared.outside().storage.find();
        if is_told {
            tracing::info!("storage can be reached");
        }
        Ok(())
    }
}
