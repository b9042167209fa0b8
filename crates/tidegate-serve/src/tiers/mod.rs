//! Answers questions about windows from the tiers that hold them.

pub(crate) mod cold;
pub(crate) mod plan;
pub(crate) mod sql;
pub(crate) mod warm;

use std::sync::{Arc, PoisonError};

use serde::Serialize;
use serde_json::Value;
use tidegate_core::clock::Clock;

use self::cold::Cold;
use self::plan::{Coverage, Span, Tier, plan};
use self::sql::Filter;
use self::warm::Warm;
use crate::hot::HotStore;
use crate::hot::writer::SharedHealth;
use crate::index::SharedIndex;
use crate::time;
use crate::view::{Row, View};

/// The hot tier as readers see it.
#[derive(Debug)]
pub(crate) struct Hot {
    pub(crate) store: Arc<dyn HotStore>,
    pub(crate) health: SharedHealth,
    /// How long windows are kept, in microseconds.
    pub(crate) keep: i64,
}

/// All tiers of a job.
#[derive(Debug)]
pub(crate) struct Tiers {
    pub(crate) hot: Option<Hot>,
    pub(crate) warm: Warm,
    pub(crate) cold: Cold,
    pub(crate) index: SharedIndex,
    pub(crate) clock: Clock,
}

/// A question about windows.
#[derive(Debug, Clone)]
pub(crate) struct Question<'a> {
    pub(crate) view: &'a View,
    /// Starts of the windows.
    pub(crate) span: Span,
    pub(crate) filters: Vec<Filter>,
    /// Rows, at most.
    pub(crate) limit: usize,
    /// Only from this tier.
    pub(crate) tier: Option<Tier>,
}

/// The answer to a [`Question`].
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Ordered by window, then by groups; with each whether it is final.
    pub(crate) rows: Vec<(Row, bool)>,
    pub(crate) served_by: Vec<Served>,
    pub(crate) fallbacks: Vec<Fallback>,
    pub(crate) truncated: bool,
}

/// What a tier has served.
#[derive(Debug, Serialize)]
pub(crate) struct Served {
    pub(crate) tier: Tier,
    pub(crate) from: String,
    pub(crate) to: String,
    /// When what it holds was true.
    pub(crate) as_of: Option<String>,
    pub(crate) rows: usize,
}

/// Why a tier was passed over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Fallback {
    pub(crate) tier: Tier,
    pub(crate) reason: String,
}

/// Rows of one piece, and when they were true.
pub(crate) struct Piece {
    pub(crate) rows: Vec<Row>,
    pub(crate) as_of: Option<i64>,
}

impl Tiers {
    /// Windows that end at or before this are final.
    pub(crate) fn final_to(&self) -> Option<i64> {
        self.index
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .final_to()
    }

    /// Answers: plans, asks, and where a tier fails, plans its part again without it.
    pub(crate) async fn answer(&self, question: &Question<'_>) -> Answer {
        let mut answer = Answer::default();
        let mut coverages = self.coverages(question, &mut answer.fallbacks).await;
        let (mut pieces, _) = plan(question.span, &coverages);
        let final_to = self.final_to();
        while let Some(piece) = pieces.pop() {
            match self.ask(piece, question).await {
                Ok(served) => answer.take(piece, served, question.view, final_to),
                Err(reason) => {
                    answer.fall_back(piece.tier, reason);
                    coverages.retain(|coverage| coverage.tier != piece.tier);
                    pieces.extend(plan(piece.span, &coverages).0);
                }
            }
        }
        answer.rows.sort_by(|(a, _), (b, _)| a.order(b));
        answer.served_by.sort_by(|a, b| a.from.cmp(&b.from));
        if answer.rows.len() > question.limit {
            answer.rows.truncate(question.limit);
            answer.truncated = true;
        }
        answer
    }

    /// What each tier has, those that are asked first before the others.
    async fn coverages(
        &self,
        question: &Question<'_>,
        fallbacks: &mut Vec<Fallback>,
    ) -> Vec<Coverage> {
        let wanted = |tier: Tier| question.tier.is_none_or(|only| only == tier);
        let mut coverages = Vec::new();
        let mut add = |tier: Tier, span: Result<Span, String>| match span {
            Ok(span) => coverages.push(Coverage { tier, span }),
            Err(reason) => fallbacks.push(Fallback { tier, reason }),
        };
        let mut rest = vec![question.span];
        if wanted(Tier::Hot) {
            let span = self.hot_span(question.view);
            if let Ok(span) = span {
                rest = plan(
                    question.span,
                    &[Coverage {
                        tier: Tier::Hot,
                        span,
                    }],
                )
                .1;
            }
            add(Tier::Hot, span);
        }
        // What hot has, nobody else is bothered with.
        if rest.is_empty() {
            return coverages;
        }
        if wanted(Tier::Warm) {
            add(Tier::Warm, self.warm.span(question.view).await);
        }
        if wanted(Tier::Cold) {
            add(Tier::Cold, self.cold.span(question.view));
        }
        coverages
    }

    fn hot_span(&self, view: &View) -> Result<Span, String> {
        let hot = self
            .hot
            .as_ref()
            .ok_or("this process keeps no live values")?;
        let (whole, lost) = {
            let health = hot.health.lock().unwrap_or_else(PoisonError::into_inner);
            let lost = health.lost_before.get(&view.name).copied();
            (health.whole, lost)
        };
        let whole = whole.ok_or("live values are not there yet")?;
        // Starts of windows that end after what was open at first.
        let whole = whole
            .after
            .map(|after| after.saturating_sub(view.size).saturating_add(1));
        let kept = Some(
            self.clock
                .now_micros()
                .saturating_sub(hot.keep)
                .saturating_add(1),
        );
        let from = [whole, kept, lost, hot.store.floor(&view.name)]
            .into_iter()
            .flatten()
            .max();
        Ok(Span {
            from: from.unwrap_or(i64::MIN),
            to: i64::MAX,
        })
    }

    async fn ask(&self, piece: Coverage, question: &Question<'_>) -> Result<Piece, String> {
        match piece.tier {
            Tier::Hot => self.ask_hot(piece.span, question).await,
            Tier::Warm => self
                .warm
                .windows(piece.span, question)
                .await
                .map_err(|error| error.to_string()),
            Tier::Cold => self
                .cold
                .windows(piece.span, question)
                .await
                .map_err(|error| error.to_string()),
        }
    }

    async fn ask_hot(&self, span: Span, question: &Question<'_>) -> Result<Piece, String> {
        let hot = self
            .hot
            .as_ref()
            .ok_or("this process keeps no live values")?;
        let view = question.view;
        let as_of = hot
            .health
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_of;
        let from = view.start_from(span.from);
        // Nothing starts later than what an event may be ahead, so that what is read stays bounded.
        let last = self.clock.now_micros().saturating_add(AHEAD_MAX);
        let windows = hot
            .store
            .read(&view.name, (from, span.to.min(last)), view.slide)
            .await
            .map_err(|error| error.to_string())?;
        let left_out: u64 = windows.values().map(crate::hot::HotWindow::left_out).sum();
        if left_out > 0 {
            return Err(format!(
                "{left_out} groups are not up to date: there are more of them than are kept live"
            ));
        }
        let rows = windows
            .iter()
            .flat_map(|(start, window)| hot_rows(view, *start, window));
        let rows = rows.filter(|row| question.filters.iter().all(|filter| matches(filter, row)));
        Ok(Piece {
            rows: rows.collect(),
            as_of,
        })
    }
}

/// Microseconds that live values are looked for beyond now: two days.
const AHEAD_MAX: i64 = 172_800_000_000;

/// The rows of a window: values of all lanes merged.
pub(crate) fn hot_rows(view: &View, start: i64, window: &crate::hot::HotWindow) -> Vec<Row> {
    let mut groups: std::collections::HashMap<&str, Vec<&[crate::number::Number]>> =
        std::collections::HashMap::new();
    for ((_, group), values) in &window.values {
        groups.entry(group).or_default().push(values);
    }
    groups
        .into_iter()
        .map(|(group, values)| view.row(start, group, &view.merge(values.into_iter())))
        .collect()
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

impl Answer {
    fn take(&mut self, piece: Coverage, served: Piece, view: &View, final_to: Option<i64>) {
        self.served_by.push(Served {
            tier: piece.tier,
            from: time::show(piece.span.from),
            to: time::show(piece.span.to),
            as_of: served.as_of.map(time::show),
            rows: served.rows.len(),
        });
        // The warehouse and the files only have what is final.
        let is_final = |row: &Row| {
            piece.tier != Tier::Hot
                || final_to.is_some_and(|to| row.start.saturating_add(view.size) <= to)
        };
        self.rows.extend(served.rows.into_iter().map(|row| {
            let is_final = is_final(&row);
            (row, is_final)
        }));
    }

    fn fall_back(&mut self, tier: Tier, reason: String) {
        let fallback = Fallback { tier, reason };
        if !self.fallbacks.contains(&fallback) {
            self.fallbacks.push(fallback);
        }
    }
}
