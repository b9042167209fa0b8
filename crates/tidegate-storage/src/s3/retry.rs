//! When a request is made again, and after which pause.

use std::error::Error as StdError;
use std::time::{Duration, Instant};

use object_store::client::HttpError;
use object_store::{Error, Result};
use uuid::Uuid;

/// The shortest pause before another try.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Tries again what may work the next time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retry {
    /// No try begins after this time.
    total: Duration,
}

impl Retry {
    pub(super) fn new(total: Duration) -> Self {
        Retry { total }
    }

    /// Runs `attempt` until it works, its error is none that `again` accepts, or the time is over.
    pub(super) async fn run<T, F: Future<Output = Result<T>>>(
        &self,
        again: impl Fn(&Error) -> bool,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T> {
        let started = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            match attempt().await {
                Err(error) if again(&error) && started.elapsed() + pause < self.total => {
                    tracing::info!(%error, pause_ms = pause.as_millis(), "trying again");
                    tokio::time::sleep(pause).await;
                    pause = next_pause(pause, Uuid::new_v4().as_u64_pair().0);
                }
                result => return result,
            }
        }
    }
}

/// A pause from the shortest to twice the one before, so that writers that collided do not do so
/// again.
fn next_pause(before: Duration, random: u64) -> Duration {
    let widest = (before * 2).min(PAUSE_MAX).saturating_sub(PAUSE_MIN);
    let micros = u64::try_from(widest.as_micros()).unwrap_or(u64::MAX);
    PAUSE_MIN + Duration::from_micros(random % micros.saturating_add(1))
}

/// Whether S3 said `409`: another conditional request for the key was under way, and what became of
/// it is open.
///
/// `object_store` makes `AlreadyExists` of `409` and of `412`; behind the second there is its own
/// error.
pub(super) fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::AlreadyExists { source, .. } if source.downcast_ref::<Error>().is_none())
}

/// Whether there was no answer, or not all of it. `object_store` tries such requests again if they
/// are idempotent and until the body of the answer begins.
pub(super) fn is_transient(error: &Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<HttpError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_are_random() {
        let mut pause = PAUSE_MIN;
        for _ in 0..100 {
            pause = next_pause(pause, u64::MAX);
            assert!((PAUSE_MIN..=PAUSE_MAX).contains(&pause), "{pause:?}");
        }
        assert_eq!(next_pause(PAUSE_MAX, 0), PAUSE_MIN);
        assert_ne!(next_pause(PAUSE_MAX, 1000), next_pause(PAUSE_MAX, 2000));
    }

    #[test]
    fn a_conflict_is_not_taken_for_an_object_that_is_there() {
        let exists = |source: Box<dyn StdError + Send + Sync>| Error::AlreadyExists {
            path: "a".to_owned(),
            source,
        };
        assert!(is_conflict(&exists("409".into())));
        let precondition = Error::Precondition {
            path: "a".to_owned(),
            source: "412".into(),
        };
        assert!(!is_conflict(&exists(Box::new(precondition))));
    }
}
