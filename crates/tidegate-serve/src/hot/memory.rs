//! The hot tier in this process.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use async_trait::async_trait;

use tidegate_base::lock::{read, write};

use super::{HotError, HotStore, HotView, HotWindow, HotWindows, ReadWindows, expires_at};
use crate::aside::aside;

/// Values of one view, at most; beyond, the oldest windows go.
const VALUES_MAX: usize = 500_000;

/// Values in memory. A process has one definition of each view.
#[derive(Debug)]
pub(crate) struct MemoryStore {
    keep: i64,
    views: RwLock<HashMap<String, ViewWindows>>,
    values_max: usize,
}

#[derive(Debug, Default)]
struct ViewWindows {
    windows: HashMap<i64, (Arc<HotWindow>, i64)>,
    starts: std::collections::BTreeSet<i64>,
    values: usize,
    /// The end of what was given up for want of room.
    floor: Option<i64>,
}

impl MemoryStore {
    /// Keeps windows for `keep` microseconds.
    pub(crate) fn new(keep: i64) -> Self {
        MemoryStore {
            keep,
            views: RwLock::default(),
            values_max: VALUES_MAX,
        }
    }

    #[cfg(test)]
    pub(crate) fn with_values_max(keep: i64, values_max: usize) -> Self {
        MemoryStore {
            values_max,
            ..MemoryStore::new(keep)
        }
    }
}

impl ViewWindows {
    fn remove(&mut self, start: i64) {
        if let Some((window, _)) = self.windows.remove(&start) {
            self.values -= window.values.len();
        }
        self.starts.remove(&start);
    }

    fn forget(&mut self, now: i64, values_max: usize) {
        let expired: Vec<i64> = self
            .windows
            .iter()
            .filter_map(|(start, (_, expires))| (*expires <= now).then_some(*start))
            .collect();
        for start in expired {
            self.remove(start);
        }
        while self.values > values_max
            && let Some(oldest) = self.starts.first().copied()
        {
            self.remove(oldest);
            self.floor = self.floor.max(Some(oldest + 1));
        }
    }
}

#[async_trait]
impl HotStore for MemoryStore {
    async fn check(&self) -> Result<bool, HotError> {
        Ok(true)
    }

    async fn write(
        &self,
        view: HotView<'_>,
        windows: &HotWindows,
        now: i64,
    ) -> Result<(), HotError> {
        aside(|| {
            let mut views = write(&self.views);
            let kept = views.entry(view.name.to_owned()).or_default();
            for (start, window) in windows {
                let (known, expires) = kept.windows.entry(*start).or_default();
                // Who is reading it keeps what was there.
                kept.values += Arc::make_mut(known).put(window.clone());
                *expires = expires_at(*start, now, self.keep);
                kept.starts.insert(*start);
            }
            kept.forget(now, self.values_max);
        })
        .await;
        Ok(())
    }

    async fn read(
        &self,
        view: HotView<'_>,
        starts: (i64, i64),
        _: i64,
    ) -> Result<ReadWindows, HotError> {
        let read = aside(|| {
            let views = read(&self.views);
            let Some(kept) = views.get(view.name).filter(|_| starts.0 < starts.1) else {
                return ReadWindows::new();
            };
            let starts = kept.starts.range(starts.0..starts.1);
            starts
                .filter_map(|start| Some((*start, Arc::clone(&kept.windows.get(start)?.0))))
                .collect()
        });
        Ok(read.await)
    }

    fn floor(&self, view: &str) -> Option<i64> {
        read(&self.views).get(view)?.floor
    }
}

/// The store as what the trait asks for.
pub(crate) fn store(keep: i64) -> Arc<dyn HotStore> {
    Arc::new(MemoryStore::new(keep))
}
