//! Answers questions about windows from the tiers that hold them.

pub(crate) mod cold;
pub(crate) mod hot;
pub(crate) mod plan;
pub(crate) mod sql;
pub(crate) mod warm;

use std::sync::Arc;

use serde::Serialize;
use tidegate_base::clock::Clock;
use utoipa::ToSchema;

use self::cold::Cold;
use self::hot::Hot;
use self::plan::{Coverage, Span, Tier, plan};
use self::sql::Filter;
use self::warm::Warm;
use crate::aside::aside;
use crate::index::SharedIndex;
use crate::time::Time;
use crate::view::{Row, Shown, View};

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
pub(crate) struct WindowQuery<'a> {
    pub(crate) view: &'a View,
    /// Starts of the windows.
    pub(crate) span: Span,
    pub(crate) filters: Vec<Filter>,
    /// Rows, at most.
    pub(crate) limit: usize,
    /// Only from this tier.
    pub(crate) tier: Option<Tier>,
}

/// The answer to a [`WindowQuery`].
#[derive(Debug, Default)]
pub(crate) struct WindowQueryResult {
    /// Ordered by window, then by groups; with each whether it is final.
    pub(crate) rows: Vec<(Arc<Shown>, bool)>,
    pub(crate) served_by: Vec<Served>,
    pub(crate) fallbacks: Vec<Fallback>,
    pub(crate) truncated: bool,
}

/// What a tier has served.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Served {
    pub(crate) tier: Tier,
    /// The first start of a window.
    pub(crate) from: Time,
    /// The end of the starts of its windows.
    pub(crate) to: Time,
    /// When what it holds was true; null where the tier does not say so.
    #[schema(required)]
    pub(crate) as_of: Option<Time>,
    /// How many rows it gave.
    pub(crate) rows: usize,
}

/// Why a tier was passed over.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Fallback {
    pub(crate) tier: Tier,
    /// What it lacks, or what failed.
    pub(crate) reason: String,
}

/// Rows of one piece, and when they were true.
pub(crate) struct Piece {
    pub(crate) rows: Vec<Arc<Shown>>,
    pub(crate) as_of: Option<i64>,
}

impl Tiers {
    /// Windows that end at or before this are final.
    pub(crate) fn final_to(&self) -> Option<i64> {
        self.index.read().final_to()
    }

    /// Answers: plans, asks, and where a tier fails, plans its part again without it.
    pub(crate) async fn answer(&self, question: &WindowQuery<'_>) -> WindowQueryResult {
        let mut answer = WindowQueryResult::default();
        let mut coverages = Vec::new();
        if question.wants(Tier::Hot) {
            let now = self.clock.now_micros();
            // A writer may have the store's lock for a while.
            let span = aside(|| self.hot_span(question.view, now)).await;
            answer.cover(Tier::Hot, span, &mut coverages);
        }
        let (mut pieces, left) = plan(question.span, &coverages);
        // What hot has, nobody else is bothered with.
        let mut others_asked = !left.is_empty();
        if others_asked {
            self.cover_others(question, &mut answer, &mut coverages)
                .await;
            pieces = plan(question.span, &coverages).0;
        }
        let final_to = self.final_to();
        while let Some(piece) = pieces.pop() {
            match self.ask(piece, question).await {
                Ok(served) => answer.take(piece, served, question.view, final_to),
                Err(reason) => {
                    answer.fall_back(piece.tier, reason);
                    coverages.retain(|coverage| coverage.tier != piece.tier);
                    if !others_asked {
                        self.cover_others(question, &mut answer, &mut coverages)
                            .await;
                        others_asked = true;
                    }
                    pieces.extend(plan(piece.span, &coverages).0);
                }
            }
        }
        let rows = &mut answer.rows;
        aside(|| rows.sort_by(|(a, _), (b, _)| a.row.order(&b.row))).await;
        answer.served_by.sort_by_key(|served| served.from);
        if answer.rows.len() > question.limit {
            answer.rows.truncate(question.limit);
            answer.truncated = true;
        }
        answer
    }

    /// What the tiers after the hot one have.
    async fn cover_others(
        &self,
        question: &WindowQuery<'_>,
        answer: &mut WindowQueryResult,
        coverages: &mut Vec<Coverage>,
    ) {
        self.index.caught_up().await;
        if question.wants(Tier::Warm) {
            answer.cover(Tier::Warm, self.warm.span(question.view).await, coverages);
        }
        if question.wants(Tier::Cold) {
            answer.cover(Tier::Cold, self.cold.span(question.view), coverages);
        }
    }

    fn hot_span(&self, view: &View, now: i64) -> Result<Span, String> {
        if !view.is_computed {
            return Err(format!(
                "the view `{}` was taken out of the configuration, and has no live values: what was committed of it is \
                 in the tiers warm and cold",
                view.name
            ));
        }
        self.hot()?.span(view, now)
    }

    fn hot(&self) -> Result<&Hot, String> {
        let none = || "this process keeps no live values".to_owned();
        self.hot.as_ref().ok_or_else(none)
    }

    async fn ask(&self, piece: Coverage, question: &WindowQuery<'_>) -> Result<Piece, String> {
        match piece.tier {
            Tier::Hot => self.hot()?.windows(piece.span, question).await,
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
}

impl WindowQuery<'_> {
    fn wants(&self, tier: Tier) -> bool {
        self.tier.is_none_or(|only| only == tier)
    }
}

impl WindowQueryResult {
    /// Notes what a tier has, or why it has nothing.
    fn cover(&mut self, tier: Tier, span: Result<Span, String>, coverages: &mut Vec<Coverage>) {
        match span {
            Ok(span) => coverages.push(Coverage { tier, span }),
            Err(reason) => self.fall_back(tier, reason),
        }
    }

    fn take(&mut self, piece: Coverage, served: Piece, view: &View, final_to: Option<i64>) {
        self.served_by.push(Served {
            tier: piece.tier,
            from: Time(piece.span.from),
            to: Time(piece.span.to),
            as_of: served.as_of.map(Time),
            rows: served.rows.len(),
        });
        // The warehouse and the files only have what is final.
        let is_final = |row: &Row| {
            piece.tier != Tier::Hot
                || final_to.is_some_and(|to| row.start.saturating_add(view.size) <= to)
        };
        self.rows.extend(served.rows.into_iter().map(|shown| {
            let is_final = is_final(&shown.row);
            (shown, is_final)
        }));
    }

    fn fall_back(&mut self, tier: Tier, reason: String) {
        let fallback = Fallback { tier, reason };
        if !self.fallbacks.contains(&fallback) {
            self.fallbacks.push(fallback);
        }
    }
}
