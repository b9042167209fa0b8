//! The one way in which time comes into the program.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where "now" comes from: the machine, or a value that a test or a reproducible run sets.
///
/// There are two times. The wall clock says when something happened, to people and to other
/// processes, and can be set: by hand, by NTP, after a suspend. How long something takes is
/// measured by the steady time, which only goes on.
///
/// Clones of a manual clock share their time.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The machine's clocks.
    #[default]
    System,
    /// Clocks that stand still until they are set.
    Manual(Arc<ManualTime>),
}

/// The times of a manual clock.
#[derive(Debug)]
pub struct ManualTime {
    wall: AtomicI64,
    steady: AtomicI64,
}

/// Where the machine's steady time begins: when it is first asked for.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock {
    /// A clock that stands at `micros` (microseconds since the Unix epoch) until it is set.
    pub fn manual(micros: i64) -> Self {
        Clock::Manual(Arc::new(ManualTime {
            wall: AtomicI64::new(micros),
            steady: AtomicI64::new(0),
        }))
    }

    /// Microseconds since the Unix epoch.
    pub fn now_micros(&self) -> i64 {
        match self {
            Clock::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX)),
            Clock::Manual(time) => time.wall.load(Ordering::Relaxed),
        }
    }

    /// Microseconds since some instant of this process. Never goes back, and does not jump when the
    /// wall clock is set.
    pub fn steady_micros(&self) -> i64 {
        match self {
            Clock::System => i64::try_from(BEGAN.elapsed().as_micros()).unwrap_or(i64::MAX),
            Clock::Manual(time) => time.steady.load(Ordering::Relaxed),
        }
    }

    /// Lets time pass on a manual clock until its wall clock shows `micros`. Where that is in the
    /// past, only the wall clock goes back. The system clock cannot be set and ignores it.
    pub fn set(&self, micros: i64) {
        if let Clock::Manual(time) = self {
            let before = time.wall.swap(micros, Ordering::Relaxed);
            let passed = micros.saturating_sub(before).max(0);
            time.steady.fetch_add(passed, Ordering::Relaxed);
        }
    }

    /// Sets only the wall clock of a manual clock, as NTP does. The system clock ignores it.
    pub fn step(&self, micros: i64) {
        if let Clock::Manual(time) = self {
            time.wall.store(micros, Ordering::Relaxed);
        }
    }
}
