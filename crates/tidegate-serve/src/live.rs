//! What is pushed to browsers: each message is made once, for all of them.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use axum::extract::ws::Utf8Bytes;
use serde_json::json;
use tidegate_base::failpoint;
use tokio::sync::{Mutex, broadcast};

use crate::app::App;
use crate::aside::aside;
use crate::handlers::status;
use crate::history;
use crate::hot::writer::Changed;
use crate::tiers::WindowQuery;
use crate::tiers::plan::Span;
use crate::view::{Shown, View, array};

/// Messages that wait for a client, at most: who is slower is dropped.
const WAITING_MAX: usize = 64;
/// Time between two messages about a view, and between two about the status.
const EVERY: Duration = Duration::from_secs(1);
/// How far back the first message about a view goes, in microseconds.
const FIRST_RANGE: i64 = 7_200_000_000;
/// Rows of one message, at most.
const ROWS_MAX: usize = 10_000;

/// A message, and what it is about.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) topic: Topic,
    pub(crate) text: Utf8Bytes,
}

/// What a client can subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Topic {
    /// The job's status.
    Status,
    /// A view, by its place.
    View(usize),
}

/// Hands messages to all clients.
#[derive(Debug)]
pub(crate) struct Hub {
    messages: broadcast::Sender<Message>,
    /// First messages about views, so that many clients that come at the same time cost no more
    /// than one.
    firsts: Mutex<HashMap<usize, (Instant, Utf8Bytes)>>,
}

impl Default for Hub {
    fn default() -> Self {
        Hub {
            messages: broadcast::Sender::new(WAITING_MAX),
            firsts: Mutex::default(),
        }
    }
}

impl Hub {
    /// All messages from now on. A receiver that lags is told so, and others do not wait for it.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Message> {
        self.messages.subscribe()
    }

    /// The first message about a topic.
    pub(crate) async fn first(&self, app: &App, topic: Topic) -> Utf8Bytes {
        let Topic::View(view) = topic else {
            return status_message(app);
        };
        let mut firsts = self.firsts.lock().await;
        if let Some((made, text)) = firsts.get(&view)
            && made.elapsed() < EVERY
        {
            return text.clone();
        }
        let text = first_view(app, view).await;
        firsts.insert(view, (Instant::now(), text.clone()));
        text
    }

    /// Looks at the job once a second, remembers, and tells clients, for ever.
    pub(crate) async fn run(&self, app: &App, mut changed: broadcast::Receiver<Changed>) {
        let mut waiting: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
        let mut ticks = tokio::time::interval(history::EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                change = changed.recv() => match change {
                    Ok(change) => for (view, starts) in change.iter() {
                        waiting.entry(*view).or_default().extend(starts);
                    },
                    // Windows that change go on changing, or are in the next client's first
                    // message.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                },
                _ = ticks.tick() => {
                    failpoint("serve.hub");
                    app.history.add(app.job.clock().now_micros(), app.status(), app.job.latency());
                    if self.messages.receiver_count() > 0 {
                        self.send(Topic::Status, status_message(app));
                        for (view, starts) in std::mem::take(&mut waiting) {
                            if let Some(text) = changes(app, view, starts).await {
                                self.send(Topic::View(view), text);
                            }
                        }
                    }
                    waiting.clear();
                }
            }
        }
    }

    fn send(&self, topic: Topic, text: Utf8Bytes) {
        // Everybody may just have gone.
        let _ = self.messages.send(Message { topic, text });
    }
}

/// What a client is told about itself at first.
pub(crate) fn hello(app: &App) -> Utf8Bytes {
    json!({ "type": "hello", "job": app.about })
        .to_string()
        .into()
}

fn status_message(app: &App) -> Utf8Bytes {
    json!({ "type": "status", "status": status::show(app) })
        .to_string()
        .into()
}

fn view_message<'a>(view: &View, rows: impl Iterator<Item = (&'a Shown, bool)>) -> Utf8Bytes {
    let name = json!(view.name);
    format!(r#"{{"type":"view","view":{name},"rows":{}}}"#, array(rows)).into()
}

async fn first_view(app: &App, place: usize) -> Utf8Bytes {
    let view = &app.views[place];
    let now = app.job.clock().now_micros();
    // The job's own time may lag behind the clock, when it catches up or its source is of the past.
    let watermarks = app.status().watermarks;
    let newest = watermarks.values().copied().max().unwrap_or(now).min(now);
    let question = WindowQuery {
        view,
        span: Span {
            from: newest.saturating_sub(FIRST_RANGE),
            to: i64::MAX,
        },
        filters: Vec::new(),
        limit: ROWS_MAX,
        tier: None,
    };
    let answer = app.tiers.answer(&question).await;
    let rows = answer
        .rows
        .iter()
        .map(|(shown, is_final)| (shown.as_ref(), *is_final));
    aside(|| view_message(view, rows)).await
}

async fn changes(app: &App, place: usize, mut starts: Vec<i64>) -> Option<Utf8Bytes> {
    let view = app.views.get(place)?;
    let hot = app.tiers.hot.as_ref()?;
    starts.sort_unstable();
    starts.dedup();
    let final_to = app.tiers.index.read().final_to();
    let mut windows = Vec::new();
    let mut count = 0;
    // The newest first, so that what is cut off is the oldest.
    for start in starts.into_iter().rev() {
        match hot.rows(view, (start, start + 1)).await {
            Ok((rows, _)) => {
                count += rows.iter().map(|rows| rows.len()).sum::<usize>();
                windows.extend(rows);
            }
            Err(error) => {
                tracing::debug!(%error, "no live values are pushed");
                return None;
            }
        }
        if count >= ROWS_MAX {
            break;
        }
    }
    let rows = windows.iter().rev().flat_map(|rows| rows.iter());
    let rows = rows.map(|shown| {
        let end = shown.row.start.saturating_add(view.size);
        (shown.as_ref(), final_to.is_some_and(|to| end <= to))
    });
    Some(aside(|| view_message(view, rows)).await)
}
