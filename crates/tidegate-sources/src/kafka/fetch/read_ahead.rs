//! The memory in which records are read ahead.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

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

/// Of the budget, what one answer of one of `n` connections may take: `1 / (ANSWERS * n)`. One is decoded and one waits, while the
/// next is on its way.
const ANSWERS: usize = 4;
/// With hundreds of brokers an answer must still be worth its request.
const ANSWER_MIN: usize = 64 << 10;

impl ReadAhead {
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(ReadAhead {
            bytes,
            used: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how many connections share the budget.
    pub(super) fn share_among(&self, connections: usize) {
        self.used().connections = connections;
    }

    /// Waits until there is room for an answer, and takes it; none once the budget is closed.
    pub(super) fn take(self: &Arc<Self>) -> Option<Share> {
        let mut used = self.used();
        loop {
            if used.closed {
                return None;
            }
            let bytes = self.bytes / (ANSWERS * used.connections.max(1));
            let bytes = bytes.max(ANSWER_MIN);
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
