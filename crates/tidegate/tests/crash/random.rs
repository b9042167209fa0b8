//! Random numbers that are the same each time.

use std::time::Duration;

use tidegate_testkit::Random as Numbers;

/// A sequence of random numbers.
pub(crate) struct Random(Numbers);

impl Random {
    /// The sequence of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Random(Numbers::new(seed.wrapping_mul(0xd134_2543_de82_ef95)))
    }

    /// A number below `end`, which is more than 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.below(end)
    }

    /// A part of a duration, to the microsecond.
    pub(crate) fn share(&mut self, of: Duration) -> Duration {
        Duration::from_micros(self.below(of.as_micros() as u64 + 1))
    }

    /// One of these.
    pub(crate) fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// Puts them into another order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end as u64 + 1) as usize);
        }
    }
}
