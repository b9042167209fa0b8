//! Something that may pass: since when, and whether it has been said.

use std::time::{Duration, Instant};

use tidegate_base::backoff::Backoff;

/// A trouble that goes on.
#[derive(Debug)]
pub(super) struct Trouble {
    began: Instant,
    /// When it began, in microseconds since the Unix epoch.
    pub(super) since: i64,
    /// How it was noticed.
    pub(super) why: String,
    /// Whether it has been logged.
    pub(super) said: bool,
    /// Pauses between tries that were in vain.
    backoff: Option<Backoff>,
}

/// The longest pause before something is tried again that is refused.
const PAUSE_MAX: Duration = Duration::from_secs(5);

impl Trouble {
    /// Begins at `since`, in microseconds since the Unix epoch.
    pub(super) fn new(why: &str, since: i64) -> Self {
        Trouble {
            began: Instant::now(),
            since,
            why: why.to_owned(),
            said: false,
            backoff: None,
        }
    }

    /// For how long it has gone on.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// It was tried again, in vain. Gives how long to wait: twice as long each time, up to a limit.
    pub(super) fn again(&mut self, why: &str, pause: Duration) -> Duration {
        why.clone_into(&mut self.why);
        let backoff = self
            .backoff
            .get_or_insert_with(|| Backoff::new(pause, PAUSE_MAX));
        backoff.pause()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let mut trouble = Trouble::new("no", 5);
        let pause = Duration::from_millis(500);
        let pauses = (0..6).map(|_| trouble.again("no", pause).as_millis());
        assert_eq!(
            pauses.collect::<Vec<_>>(),
            [500, 1000, 2000, 4000, 5000, 5000]
        );
    }
}
