//! The memory in which records are read ahead.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tidegate_base::lock::lock;

/// A budget in bytes, which all connections share.
pub(super) struct ReadAhead {
    bytes: usize,
    used: Mutex<Used>,
    changed: Condvar,
}

#[derive(Default)]
struct Used {
    bytes: usize,
    /// Connections that have partitions.
    connections: usize,
    closed: bool,
}

/// Bytes of the budget, given back when it is dropped.
pub(super) struct Share {
    of: Arc<ReadAhead>,
    pub(super) bytes: usize,
}

/// Of the budget, what one response of one of `n` connections may take: `1 / (RESPONSES * n)`. One
/// is decoded and one waits, while the next is on its way.
const RESPONSES: usize = 4;
/// With hundreds of brokers a response must still be worth its request.
const RESPONSE_MIN: usize = 64 << 10;

impl ReadAhead {
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(ReadAhead {
            bytes,
            used: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        lock(&self.used)
    }

    /// Says how many connections share the budget.
    pub(super) fn share_among(&self, connections: usize) {
        self.used().connections = connections;
    }

    /// Waits until there is room for a response, and takes it; none once the budget is closed.
    pub(super) fn take(self: &Arc<Self>) -> Option<Share> {
        let mut used = self.used();
        loop {
            if used.closed {
                return None;
            }
            let bytes = self.bytes / (RESPONSES * used.connections.max(1));
            let bytes = bytes.max(RESPONSE_MIN);
            if used.bytes == 0 || used.bytes + bytes <= self.bytes {
                used.bytes += bytes;
                return Some(Share {
                    of: Arc::clone(self),
                    bytes,
                });
            }
            used = self
                .changed
                .wait(used)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nobody gets anything any more.
    pub(super) fn close(&self) {
        self.used().closed = true;
        self.changed.notify_all();
    }
}

impl Share {
    /// Makes it as large as what has come.
    pub(super) fn resize(&mut self, bytes: usize) {
        let mut used = self.of.used();
        used.bytes = used.bytes - self.bytes + bytes;
        self.bytes = bytes;
        drop(used);
        self.of.changed.notify_all();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_spent_is_waited_for() {
        let budget = ReadAhead::new(1 << 20);
        let mut shares: Vec<Share> = (0..RESPONSES).map(|_| budget.take().unwrap()).collect();
        assert_eq!(
            shares.iter().map(|share| share.bytes).sum::<usize>(),
            1 << 20
        );
        let waits = {
            let budget = Arc::clone(&budget);
            thread::spawn(move || budget.take().map(|share| share.bytes))
        };
        // What has come is less than what was allowed for.
        shares[0].resize(1000);
        thread::sleep(Duration::from_millis(20));
        assert!(!waits.is_finished());
        drop(shares.pop());
        assert_eq!(waits.join().unwrap(), Some((1 << 20) / RESPONSES));
    }

    #[test]
    fn a_response_that_is_larger_than_the_budget_stops_others_and_not_itself() {
        let budget = ReadAhead::new(1 << 20);
        let mut share = budget.take().unwrap();
        share.resize(50 << 20);
        let waits = {
            let budget = Arc::clone(&budget);
            thread::spawn(move || budget.take().is_some())
        };
        thread::sleep(Duration::from_millis(20));
        assert!(!waits.is_finished());
        drop(share);
        assert!(waits.join().unwrap());
    }

    #[test]
    fn many_connections_have_small_shares_and_a_closed_budget_none() {
        let budget = ReadAhead::new(8 << 20);
        budget.share_among(8);
        assert_eq!(budget.take().unwrap().bytes, (8 << 20) / (8 * RESPONSES));
        budget.share_among(10_000);
        assert_eq!(budget.take().unwrap().bytes, RESPONSE_MIN);
        budget.close();
        assert!(budget.take().is_none());
    }
}
