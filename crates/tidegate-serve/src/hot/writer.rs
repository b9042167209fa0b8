//! Brings live values to the hot tier, beside the pipeline.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_base::clock::Clock;
use tidegate_base::failpoint;
use tidegate_base::lock::lock;
use tidegate_engine::{Live, Whole};
use tokio::sync::broadcast;

use super::{HotStore, HotWindows};
use crate::aside::aside;
use crate::view::View;

/// Time between two looks at what has changed.
const EVERY: Duration = Duration::from_millis(250);
/// Values of one view that wait for a store that does not answer, at most; beyond, the oldest
/// windows go.
const WAITING_MAX: usize = 500_000;

/// How the hot tier is doing.
#[derive(Debug, Clone, Default)]
pub(crate) struct HotHealth {
    /// A writer has taken values before.
    pub(crate) has_run: bool,
    /// Everything that was known at this time has been written: microseconds since the Unix epoch.
    pub(crate) as_of: Option<i64>,
    /// Why the last write failed, if it did.
    pub(crate) error: Option<String>,
    /// Which windows are whole in the store.
    pub(crate) whole: Option<Whole>,
    /// For each view, the start of the newest window that was written.
    pub(crate) newest: BTreeMap<String, i64>,
    /// For each view, before which window start something was lost because the store was away for
    /// too long.
    pub(crate) lost_before: BTreeMap<String, i64>,
}

/// The hot tier's health, shared with who reads.
pub(crate) type SharedHealth = Arc<Mutex<HotHealth>>;

/// What has changed, for whoever shows it live: the starts of windows, by view.
pub(crate) type Changed = Arc<BTreeMap<usize, Vec<i64>>>;

/// Takes what has changed and writes it, for ever.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) live: Live,
    pub(crate) views: Arc<Vec<View>>,
    pub(crate) store: Arc<dyn HotStore>,
    pub(crate) clock: Clock,
    pub(crate) health: SharedHealth,
    /// Told which windows have changed, once they are in the store.
    pub(crate) changed: broadcast::Sender<Changed>,
}

impl Writer {
    /// Runs until it is dropped.
    pub(crate) async fn run(self) {
        let mut waiting: Vec<HotWindows> = self.views.iter().map(|_| HotWindows::new()).collect();
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // What an earlier run took and did not write, because it panicked, is taken again.
        if std::mem::replace(&mut lock(&self.health).has_run, true) {
            self.live.again();
            lock(&self.health).whole = None;
        }
        loop {
            ticks.tick().await;
            failpoint("serve.hot");
            let now = self.clock.now_micros();
            let whole = self.take(&mut waiting).await;
            self.bound(&mut waiting);
            self.write(&mut waiting, whole, now).await;
        }
    }

    /// Takes what has changed into what waits. Merged by key, since values are absolute. Says which
    /// windows are whole once all that waits is written.
    async fn take(&self, waiting: &mut [HotWindows]) -> Option<Whole> {
        let (live, views) = (self.live.clone(), Arc::clone(&self.views));
        // Making columns of many groups takes its time.
        let taken = tokio::task::spawn_blocking(move || {
            let changes = live.take()?;
            let parts = changes.views.into_iter().filter_map(|changes| {
                let view = views.get(changes.view)?;
                Some((
                    changes.view,
                    view.size,
                    view.parts(&changes.rows),
                    changes.left_out,
                ))
            });
            Ok::<_, arrow::error::ArrowError>((parts.collect::<Vec<_>>(), changes.whole))
        });
        let (changes, whole) = match taken.await {
            Ok(Ok(taken)) => taken,
            Ok(Err(error)) => return self.lost(&error),
            Err(error) => return self.lost(&error),
        };
        aside(|| {
            for (view, size, parts, left_out) in changes {
                let Some(windows) = waiting.get_mut(view) else {
                    continue;
                };
                for part in parts {
                    windows.entry(part.start).or_default().put_part(part);
                }
                for left in left_out {
                    let window = windows.entry(left.window_end - size).or_default();
                    window.left_out.insert(left.lane, left.groups);
                }
            }
        })
        .await;
        whole
    }

    /// What was taken is lost by a bug: open windows are taken again.
    fn lost(&self, error: &dyn std::error::Error) -> Option<Whole> {
        tracing::error!(%error, "live values are lost; those of open windows are taken again");
        self.live.again();
        None
    }

    fn bound(&self, waiting: &mut [HotWindows]) {
        for (view, windows) in self.views.iter().zip(waiting) {
            let mut values: usize = windows.values().map(|window| window.values.len()).sum();
            while values > WAITING_MAX
                && let Some((start, window)) = windows.pop_first()
            {
                values -= window.values.len();
                let mut health = lock(&self.health);
                let lost = health
                    .lost_before
                    .entry(view.name.clone())
                    .or_insert(i64::MIN);
                *lost = (*lost).max(start + 1);
            }
        }
    }

    async fn write(&self, waiting: &mut [HotWindows], mut whole: Option<Whole>, now: i64) {
        let mut changed = BTreeMap::new();
        let mut failed = None;
        match self.store.check().await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(
                    "the hot tier has lost its values; those of open windows are written again"
                );
                self.live.again();
                whole = None;
            }
            Err(error) => return self.tell(Some(error.to_string()), None, now),
        }
        for (index, (view, windows)) in self.views.iter().zip(waiting).enumerate() {
            if windows.is_empty() {
                continue;
            }
            if let Err(error) = self.store.write(view.hot(), windows, now).await {
                failed = Some(error.to_string());
                break;
            }
            if let Some(newest) = windows.keys().next_back() {
                let mut health = lock(&self.health);
                let known = health.newest.entry(view.name.clone()).or_insert(*newest);
                *known = (*known).max(*newest);
            }
            changed.insert(index, windows.keys().copied().collect());
            windows.clear();
        }
        self.tell(failed, whole, now);
        if !changed.is_empty() {
            // Nobody may be listening.
            let _ = self.changed.send(Arc::new(changed));
        }
    }

    fn tell(&self, failed: Option<String>, whole: Option<Whole>, now: i64) {
        let mut health = lock(&self.health);
        if failed.is_none() {
            health.as_of = Some(now);
            health.whole = whole;
        }
        match (&health.error, &failed) {
            (None, Some(error)) => {
                tracing::warn!(
                    "the hot tier is away: {error}; the pipeline goes on, values are written when it is back"
                );
            }
            (Some(_), None) => tracing::info!("the hot tier is back"),
            _ => {}
        }
        health.error = failed;
    }
}
