//! The hot tier: live values, merged over lanes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use tidegate_base::lock::lock;

use super::plan::Span;
use super::sql::Filter;
use super::{Piece, WindowQuery};
use crate::aside::aside;
use crate::hot::writer::SharedHealth;
use crate::hot::{HotError, HotStore, HotWindow, ReadWindows};
use crate::number::Number;
use crate::view::{Row, Shown, View};

/// Windows whose rows are kept as they were shown last, at most.
const CACHED_MAX: usize = 20_000;

/// The hot tier as readers see it.
#[derive(Debug)]
pub(crate) struct Hot {
    store: Arc<dyn HotStore>,
    health: SharedHealth,
    /// How long windows are kept, in microseconds.
    keep: i64,
    cached: Mutex<HashMap<(String, i64), Cached>>,
}

/// A window, and its rows. Most windows do not change between two questions.
#[derive(Debug, Clone)]
struct Cached {
    window: Arc<HotWindow>,
    rows: Arc<[Arc<Shown>]>,
}

impl Hot {
    pub(crate) fn new(store: Arc<dyn HotStore>, health: SharedHealth, keep: i64) -> Self {
        Hot {
            store,
            health,
            keep,
            cached: Mutex::default(),
        }
    }

    /// Windows that are whole: neither from before all values were known, nor forgotten, nor lost.
    pub(crate) fn span(&self, view: &View, now: i64) -> Result<Span, String> {
        let (whole, lost) = {
            let health = lock(&self.health);
            (health.whole, health.lost_before.get(&view.name).copied())
        };
        let whole = whole.ok_or("live values are not there yet")?;
        // Starts of windows that end after what was open at first.
        let whole = whole
            .after
            .map(|after| after.saturating_sub(view.size).saturating_add(1));
        let kept = Some(now.saturating_sub(self.keep).saturating_add(1));
        let from = [whole, kept, lost, self.store.floor(&view.name)];
        Ok(Span {
            from: from.into_iter().flatten().max().unwrap_or(i64::MIN),
            to: i64::MAX,
        })
    }

    /// Rows of the windows of a span.
    pub(crate) async fn windows(
        &self,
        span: Span,
        question: &WindowQuery<'_>,
    ) -> Result<Piece, String> {
        let view = question.view;
        let (as_of, newest) = {
            let health = lock(&self.health);
            (health.as_of, health.newest.get(&view.name).copied())
        };
        // Behind the newest window there is nothing to read.
        let to = newest.map_or(span.from, |newest| newest.saturating_add(1));
        let from = view.start_from(span.from);
        let (windows, left_out) = self
            .rows(view, (from, span.to.min(to)))
            .await
            .map_err(|error| error.to_string())?;
        if left_out > 0 {
            return Err(format!(
                "{left_out} groups are not up to date: there are more of them than are kept live"
            ));
        }
        let rows = windows.iter().flat_map(|rows| rows.iter());
        let rows = rows.filter(|shown| {
            question
                .filters
                .iter()
                .all(|filter| matches(filter, &shown.row))
        });
        Ok(Piece {
            rows: aside(|| rows.cloned().collect()).await,
            as_of,
        })
    }

    /// Rows of each window that starts in a range, and how many groups are not up to date.
    pub(crate) async fn rows(
        &self,
        view: &View,
        starts: (i64, i64),
    ) -> Result<(Vec<Arc<[Arc<Shown>]>>, u64), HotError> {
        let windows = self.store.read(view.hot(), starts, view.slide).await?;
        let left_out = windows.values().map(|window| window.left_out()).sum();
        let rows = aside(|| self.shown(view, windows)).await;
        Ok((rows, left_out))
    }

    fn shown(&self, view: &View, windows: ReadWindows) -> Vec<Arc<[Arc<Shown>]>> {
        let mut rows = Vec::with_capacity(windows.len());
        let mut cached = lock(&self.cached);
        if cached.len() > CACHED_MAX {
            cached.clear();
        }
        for (start, window) in windows {
            let key = (view.name.clone(), start);
            match cached.get(&key) {
                Some(known) if Arc::ptr_eq(&known.window, &window) => {
                    rows.push(Arc::clone(&known.rows));
                }
                _ => {
                    let made: Arc<[Arc<Shown>]> = window_rows(view, start, &window).into();
                    rows.push(Arc::clone(&made));
                    cached.insert(key, Cached { window, rows: made });
                }
            }
        }
        rows
    }
}

/// The rows of a window: values of all lanes merged, ordered by groups.
fn window_rows(view: &View, start: i64, window: &HotWindow) -> Vec<Arc<Shown>> {
    let mut groups: HashMap<&str, Vec<&[Number]>> = HashMap::new();
    for ((_, group), values) in &window.values {
        groups.entry(group).or_default().push(values);
    }
    let mut rows: Vec<Row> = groups
        .into_iter()
        .map(|(group, values)| view.row(start, group, &view.merge(values.into_iter())))
        .collect();
    rows.sort_by(Row::order);
    rows.into_iter().map(|row| view.show(row)).collect()
}

fn matches(filter: &Filter, row: &Row) -> bool {
    let Some(value) = row.group.get(filter.column) else {
        return false;
    };
    filter.values.iter().any(|wanted| match (wanted, value) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    })
}
