//! The one way in which time comes into the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where "now" comes from: the machine, or a value that a test or a reproducible run sets.
///
/// Clones of a manual clock share their time.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The machine's wall clock.
    #[default]
    System,
    /// A clock that stands still until it is set.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `micros` (microseconds since the Unix epoch) until it is set.
    pub fn manual(micros: i64) -> Self {
        Clock::Manual(Arc::new(AtomicI64::new(micros)))
    }

    /// Microseconds since the Unix epoch.
    pub fn now_micros(&self) -> i64 {
        match self {
            Clock::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX)),
            Clock::Manual(micros) => micros.load(Ordering::Relaxed),
        }
    }

    /// Sets a manual clock; the system clock cannot be set and ignores it.
    pub fn set(&self, micros: i64) {
        if let Clock::Manual(cell) = self {
            cell.store(micros, Ordering::Relaxed);
        }
    }
}
