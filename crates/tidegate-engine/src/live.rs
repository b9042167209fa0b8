//! Live values of a job's windows, for whoever serves them.

use std::sync::{Arc, Mutex, MutexGuard};

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use tidegate_base::lock::lock;
use tidegate_core::lane::Lane;
use tidegate_core::plan::Plan;
use tidegate_core::window::live::{LeftOut, LiveWindows};

/// Values of one view that wait to be taken, at most.
const ROWS_MAX: usize = 100_000;

/// Values that have changed since they were last taken. Clones share them.
///
/// The state thread puts them after each batch and waits for nobody: what is not taken is merged by
/// key, and bounded.
#[derive(Debug, Clone)]
pub struct Live {
    plan: Arc<Plan>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    views: Vec<LiveWindows>,
    whole: Option<Whole>,
}

/// Which windows are whole in what was taken up to now: those that end after this, which were open
/// in every lane when values of all open windows were put. Of those that end before, only some
/// values may have been handed out. `None`: all are whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// Microseconds since the Unix epoch.
    pub after: Option<i64>,
}

/// What has changed since it was last taken.
#[derive(Debug)]
pub struct Changes {
    /// Views in which something has.
    pub views: Vec<ViewChanges>,
    /// Which windows are whole; none while not all open windows have been put.
    pub whole: Option<Whole>,
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
    pub(crate) fn new(plan: &Arc<Plan>) -> Self {
        let views = plan.windows().map(|_| LiveWindows::new(ROWS_MAX)).collect();
        Live {
            plan: Arc::clone(plan),
            waiting: Arc::new(Mutex::new(Waiting { views, whole: None })),
        }
    }

    /// Has all values of open windows put again, because those from before are lost.
    pub fn again(&self) {
        self.waiting().whole = None;
    }

    /// Takes what has changed.
    ///
    /// # Errors
    /// If Arrow refuses, which would be a bug.
    pub fn take(&self) -> Result<Changes, ArrowError> {
        let (taken, whole) = {
            let mut waiting = self.waiting();
            let taken: Vec<LiveWindows> = waiting.views.iter_mut().map(LiveWindows::take).collect();
            (taken, waiting.whole)
        };
        let mut views = Vec::new();
        for (view, (windows, plan)) in taken.into_iter().zip(self.plan.windows()).enumerate() {
            if !windows.is_empty() {
                let (rows, left_out) = windows.into_parts(plan)?;
                views.push(ViewChanges {
                    view,
                    rows,
                    left_out,
                });
            }
        }
        Ok(Changes { views, whole })
    }

    /// Puts what has changed in these lanes, which are all that there are.
    pub(crate) fn put<'a>(&self, lanes: impl Iterator<Item = &'a mut Lane>) {
        let mut waiting = self.waiting();
        let all = waiting.whole.is_none();
        let mut after = None;
        for lane in lanes {
            if all {
                lane.show_windows_again();
            }
            after = after.max(lane.closed_at());
            lane.changed_windows(&mut waiting.views);
        }
        waiting.whole.get_or_insert(Whole { after });
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }
}
