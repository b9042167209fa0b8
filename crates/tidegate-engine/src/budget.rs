//! One budget for all bytes in flight. When it is spent, the source is not polled.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;
use tidegate_base::lock::lock;

/// Bytes that may be in flight between source and commit.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: Mutex<usize>,
    freed: Condvar,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Budget {
            limit,
            used: Mutex::new(0),
            freed: Condvar::new(),
        }
    }

    /// Takes `bytes`, waiting until they are free; gives up, taking nothing, when `stop` says so.
    /// What exceeds the whole budget is let through alone.
    pub(crate) fn take(&self, bytes: usize, stop: impl Fn() -> bool) -> bool {
        /// How long a stop can go unnoticed.
        const LOOK_UP: Duration = Duration::from_millis(50);
        let mut used = lock(&self.used);
        while *used > 0 && *used + bytes > self.limit {
            if stop() {
                return false;
            }
            used = self
                .freed
                .wait_timeout(used, LOOK_UP)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *used += bytes;
        true
    }

    /// Gives bytes back.
    pub(crate) fn give(&self, bytes: usize) {
        let mut used = lock(&self.used);
        *used = used.saturating_sub(bytes);
        drop(used);
        self.freed.notify_all();
    }

    /// Bytes in flight.
    pub(crate) fn used(&self) -> usize {
        *lock(&self.used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_is_spent_is_waited_for() {
        let budget = Arc::new(Budget::new(100));
        assert!(budget.take(90, || false));
        assert!(!budget.take(20, || true), "a stop ends the waiting");
        let waiting = Arc::clone(&budget);
        let thread = std::thread::spawn(move || waiting.take(20, || false));
        budget.give(90);
        assert!(thread.join().unwrap());
        assert_eq!(budget.used(), 20);
        budget.give(20);
        assert!(
            budget.take(1000, || false),
            "more than the whole budget passes alone"
        );
    }
}
