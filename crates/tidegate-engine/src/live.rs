//! Live values of a job's windows, for whoever serves them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use tidegate_core::lane::Lane;
use tidegate_core::plan::Plan;
use tidegate_core::window::live::{LeftOut, LiveWindows};

/// Values of one view that wait to be taken, at most.
const ROWS_MAX: usize = 100_000;

/// Values that have changed since they were last taken. Clones share them.
///
/// The state thread puts them after each batch and waits for nobody: what is not taken is merged by key, and
/// bounded.
#[derive(Debug, Clone)]
pub struct Live {
    plan: Arc<Plan>,
    waiting: Arc<Mutex<Vec<LiveWindows>>>,
    whole_after: Option<i64>,
}

/// What has changed in one view.
#[derive(Debug)]
pub struct ViewChanges {
    /// Which view: its place in [`Plan::windows`].
    pub view: usize,
    /// Rows of the window's part schema: the value of each window, group and lane as it is now.
    pub rows: RecordBatch,
    /// How many groups of each window are not up to date.
    pub left_out: Vec<LeftOut>,
}

impl Live {
    /// `lanes` are those that a restart has rebuilt.
    pub(crate) fn new<'a>(plan: &Arc<Plan>, lanes: impl Iterator<Item = &'a Lane>) -> Self {
        Live {
            plan: Arc::clone(plan),
            waiting: Arc::new(Mutex::new(
                plan.windows().map(|_| LiveWindows::new(ROWS_MAX)).collect(),
            )),
            whole_after: lanes.filter_map(Lane::watermark).max(),
        }
    }

    /// Windows that end after this were open in every lane when the job started, so that all of their values
    /// are handed out; of those that end before, only some. `None`: all are whole.
    pub fn whole_after(&self) -> Option<i64> {
        self.whole_after
    }

    /// Takes what has changed, in each view in which something has.
    ///
    /// # Errors
    /// If Arrow refuses, which would be a bug.
    pub fn take(&self) -> Result<Vec<ViewChanges>, ArrowError> {
        let taken: Vec<LiveWindows> = self.waiting().iter_mut().map(LiveWindows::take).collect();
        let mut changes = Vec::new();
        for (view, (windows, plan)) in taken.into_iter().zip(self.plan.windows()).enumerate() {
            if !windows.is_empty() {
                let (rows, left_out) = windows.into_parts(plan)?;
                changes.push(ViewChanges {
                    view,
                    rows,
                    left_out,
                });
            }
        }
        Ok(changes)
    }

    /// Puts what has changed in these lanes.
    pub(crate) fn put<'a>(&self, lanes: impl Iterator<Item = &'a mut Lane>) {
        let mut waiting = self.waiting();
        for lane in lanes {
            lane.changed_windows(&mut waiting);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<LiveWindows>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
