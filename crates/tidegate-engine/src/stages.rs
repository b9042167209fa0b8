//! Starts the threads of a job, with the queues between them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tidegate_core::prepare::Preparer;
use tidegate_log::CommitLog;
use tidegate_source::Source;
use tokio::runtime;

use crate::error::EngineError;
use crate::handle::RunningJob;
use crate::load::JobLoader;
use crate::shared::Shared;
use crate::state::State;
use crate::{commit, encode, read, work};

// ARCHITECTURE.md draws these sizes at the arrows of its picture.

/// Chunks that wait for a worker, for each worker. With two, a worker that is done finds its next
/// chunk there, and the source thread has time to read one more. The bytes of all of them are
/// bounded by the memory budget, and not by this.
const CHUNKS_PER_WORKER: usize = 2;
/// Prepared chunks that wait for the state thread, for each worker, so that workers go on while it
/// hands a batch over to the encoder.
const PREPARED_PER_WORKER: usize = 4;
/// A queue that hands over and holds nothing: one batch is gathered while one is encoded and one is
/// committed, and no batch waits, which would only make rows older.
const HANDS_OVER: usize = 0;

/// What the threads of a job run.
pub(crate) struct Stages {
    pub(crate) source: Box<dyn Source>,
    /// One for each worker.
    pub(crate) preparers: Vec<Preparer>,
    pub(crate) state: State,
    pub(crate) log: CommitLog,
    pub(crate) loader: Option<JobLoader>,
    pub(crate) runtime: runtime::Handle,
}

impl RunningJob {
    /// Starts the threads.
    pub(crate) fn spawn_stages(&mut self, stages: Stages) -> Result<(), EngineError> {
        let threads = stages.preparers.len();
        let (task_in, task_out) = crossbeam_channel::bounded(CHUNKS_PER_WORKER * threads);
        let (item_in, item_out) = crossbeam_channel::bounded(PREPARED_PER_WORKER * threads);
        let (batch_in, batch_out) = crossbeam_channel::bounded(HANDS_OVER);
        let (encoded_in, encoded_out) = crossbeam_channel::bounded(HANDS_OVER);
        let source = stages.source;
        let items = item_in.clone();
        self.spawn("source", move |shared| {
            read::read(source, shared, task_in, items)
        })?;
        for preparer in stages.preparers {
            let lookups = Arc::clone(&self.handle.lookups);
            let (tasks, items) = (task_out.clone(), item_in.clone());
            self.spawn("worker", move |shared| {
                work::work(preparer, shared, &lookups, &tasks, &items)
            })?;
        }
        drop((task_out, item_in));
        let state = stages.state;
        self.spawn("state", move |_| state.run(&item_out, &batch_in))?;
        let plan = Arc::clone(&self.handle.plan);
        self.spawn("encoder", move |shared| {
            encode::encode(&plan, threads, shared, &batch_out, &encoded_in)
        })?;
        let (log, runtime) = (stages.log, stages.runtime);
        self.spawn("committer", move |shared| {
            commit::commit(log, shared, &runtime, &encoded_out)
        })?;
        if let Some(loader) = stages.loader {
            self.spawn("loader", move |shared| loader.run(shared))?;
        }
        Ok(())
    }

    /// Starts a thread of the job. One that panics ends the job with an error.
    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        body: impl FnOnce(&Arc<Shared>) + Send + 'static,
    ) -> Result<(), EngineError> {
        let shared = Arc::clone(self.handle.shared());
        let guarded = move || {
            if catch_unwind(AssertUnwindSafe(|| body(&shared))).is_err() {
                shared.fail(EngineError::Panicked(name));
                shared.note_drained();
            }
        };
        let spawned = std::thread::Builder::new()
            .name(format!("tg-{name}"))
            .spawn(guarded);
        match spawned {
            Ok(thread) => {
                self.threads.push(thread);
                Ok(())
            }
            Err(error) => {
                let shared = self.handle.shared();
                shared.fail(EngineError::Thread(std::io::Error::from(error.kind())));
                shared.note_drained();
                Err(EngineError::Thread(error))
            }
        }
    }
}
