//! Which tier serves which part of a range: a pure function of what each tier has.

use serde::Serialize;
use utoipa::ToSchema;

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tier {
    /// Live values of the last hours.
    Hot,
    /// The warehouse.
    Warm,
    /// The Parquet files that the commit log names.
    Cold,
}

impl Tier {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Tier::Hot => "hot",
            Tier::Warm => "warm",
            Tier::Cold => "cold",
        }
    }

    /// The tier of that name.
    pub(crate) fn named(name: &str) -> Option<Tier> {
        [Tier::Hot, Tier::Warm, Tier::Cold]
            .into_iter()
            .find(|tier| tier.name() == name)
    }
}

/// Windows by their start: from the first, inclusive, to the last, exclusive, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Span {
    fn is_empty(self) -> bool {
        self.from >= self.to
    }

    fn and(self, other: Span) -> Span {
        Span {
            from: self.from.max(other.from),
            to: self.to.min(other.to),
        }
    }

    /// What is left without another span.
    fn without(self, other: Span) -> impl Iterator<Item = Span> {
        let before = Span {
            from: self.from,
            to: self.to.min(other.from),
        };
        let after = Span {
            from: self.from.max(other.to),
            to: self.to,
        };
        [before, after].into_iter().filter(|span| !span.is_empty())
    }
}

/// What a tier holds completely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Coverage {
    pub(crate) tier: Tier,
    pub(crate) span: Span,
}

/// Splits a range among tiers. Those named first are asked first; what none of them has is the
/// second result.
pub(crate) fn plan(range: Span, tiers: &[Coverage]) -> (Vec<Coverage>, Vec<Span>) {
    let mut pieces = Vec::new();
    let mut left: Vec<Span> = [range]
        .into_iter()
        .filter(|span| !span.is_empty())
        .collect();
    for coverage in tiers {
        let mut rest = Vec::new();
        for span in left {
            let served = span.and(coverage.span);
            if served.is_empty() {
                rest.push(span);
            } else {
                pieces.push(Coverage {
                    tier: coverage.tier,
                    span: served,
                });
                rest.extend(span.without(served));
            }
        }
        left = rest;
    }
    pieces.sort_by_key(|piece| piece.span);
    (pieces, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coverage(tier: Tier, from: i64, to: i64) -> Coverage {
        Coverage {
            tier,
            span: Span { from, to },
        }
    }

    fn check(range: (i64, i64), tiers: &[Coverage], pieces: &[Coverage], left: &[(i64, i64)]) {
        let left: Vec<Span> = left
            .iter()
            .map(|(from, to)| Span {
                from: *from,
                to: *to,
            })
            .collect();
        let range = Span {
            from: range.0,
            to: range.1,
        };
        assert_eq!(plan(range, tiers), (pieces.to_vec(), left));
    }

    #[test]
    fn a_range_is_split_where_tiers_end() {
        let hot = coverage(Tier::Hot, 100, i64::MAX);
        let warm = coverage(Tier::Warm, 50, 120);
        let cold = coverage(Tier::Cold, i64::MIN, 130);
        let tiers = [hot, warm, cold];
        check((110, 200), &tiers, &[coverage(Tier::Hot, 110, 200)], &[]);
        let all = [
            coverage(Tier::Cold, 0, 50),
            coverage(Tier::Warm, 50, 100),
            coverage(Tier::Hot, 100, 200),
        ];
        check((0, 200), &tiers, &all, &[]);
        check(
            (0, 200),
            &[warm, cold],
            &[
                coverage(Tier::Cold, 0, 50),
                coverage(Tier::Warm, 50, 120),
                coverage(Tier::Cold, 120, 130),
            ],
            &[(130, 200)],
        );
        check(
            (0, 200),
            &[hot],
            &[coverage(Tier::Hot, 100, 200)],
            &[(0, 100)],
        );
        check((0, 200), &[], &[], &[(0, 200)]);
        check((200, 200), &tiers, &[], &[]);
        check((0, 40), &[hot, warm], &[], &[(0, 40)]);
    }

    #[test]
    fn every_part_is_served_once_or_left() {
        // All ranges and coverages on a small line, by counting points.
        for (from, to) in (0..6).flat_map(|from| (from..7).map(move |to| (from, to))) {
            for split in 0..6 {
                let tiers = [
                    coverage(Tier::Hot, split, 5),
                    coverage(Tier::Warm, 1, split + 1),
                    coverage(Tier::Cold, 3, 4),
                ];
                let (pieces, left) = plan(Span { from, to }, &tiers);
                for point in -1..8 {
                    let is_in = |span: &Span| (span.from..span.to).contains(&point);
                    let served = pieces.iter().filter(|piece| is_in(&piece.span)).count();
                    let unserved = left.iter().filter(|span| is_in(span)).count();
                    assert_eq!(served + unserved, usize::from((from..to).contains(&point)));
                    let first = tiers
                        .iter()
                        .find(|tier| is_in(&tier.span))
                        .map(|tier| tier.tier);
                    let by = pieces
                        .iter()
                        .find(|piece| is_in(&piece.span))
                        .map(|piece| piece.tier);
                    assert_eq!(by, first.filter(|_| (from..to).contains(&point)));
                }
            }
        }
    }
}
