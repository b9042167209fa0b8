//! Whether what a job needs outside of itself can be reached: its source, its storage, its
//! warehouse.

use std::time::Instant;

use serde::Serialize;

/// Whether something outside can be reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reach {
    /// Whether it answers, or nothing else is known.
    pub reachable: bool,
    /// Since when it does not, in microseconds since the Unix epoch.
    pub since: Option<i64>,
    /// For how long it has not, in seconds.
    pub away_seconds: Option<f64>,
    /// Why, and what to do about it.
    pub error: Option<String>,
}

impl Default for Reach {
    /// Reachable.
    fn default() -> Self {
        Reach {
            reachable: true,
            since: None,
            away_seconds: None,
            error: None,
        }
    }
}

/// What is known about one of them.
#[derive(Debug, Default)]
pub(crate) struct Watched(Option<Away>);

#[derive(Debug)]
struct Away {
    /// By the wall clock, for people.
    since: i64,
    /// By a clock that nobody sets, for how long it has been.
    noticed: Instant,
    error: String,
}

impl Watched {
    /// Notes that it cannot be reached; `since` counts where it is the first to say so.
    pub(crate) fn lose(&mut self, since: i64, error: String) {
        match &mut self.0 {
            Some(away) => away.error = error,
            None => {
                self.0 = Some(Away {
                    since,
                    noticed: Instant::now(),
                    error,
                });
            }
        }
    }

    /// Notes that it can be reached.
    pub(crate) fn find(&mut self) {
        self.0 = None;
    }

    pub(crate) fn show(&self, now: Instant) -> Reach {
        let Some(away) = &self.0 else {
            return Reach::default();
        };
        Reach {
            reachable: false,
            since: Some(away.since),
            away_seconds: Some(now.saturating_duration_since(away.noticed).as_secs_f64()),
            error: Some(away.error.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_lost_stays_lost_since_the_first_time_until_it_is_found() {
        let mut watched = Watched::default();
        assert_eq!(watched.show(Instant::now()), Reach::default());
        watched.lose(7, "refused".to_owned());
        watched.lose(9, "timed out".to_owned());
        let shown = watched.show(Instant::now() + Duration::from_secs(60));
        assert_eq!((shown.reachable, shown.since), (false, Some(7)));
        assert_eq!(shown.error.as_deref(), Some("timed out"));
        assert!(shown.away_seconds.is_some_and(|seconds| seconds >= 60.0));
        watched.find();
        assert_eq!(watched.show(Instant::now()), Reach::default());
    }
}
