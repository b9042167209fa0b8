//! How many records a second each sender may send.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tidegate_base::lock::lock;

use crate::guard::Caller;

/// A share of records for each sender, filled up evenly; it holds what comes in a second.
///
/// A request that finds something left is taken whole, and what it has beyond is owed: so requests
/// of any size pass, and the rate holds all the same. There are as many senders as tokens.
#[derive(Debug)]
pub(crate) struct RateBuckets {
    rate: f64,
    by_caller: Mutex<HashMap<Caller, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    /// Records that are left; negative if some are owed.
    left: f64,
    at: Instant,
}

impl RateBuckets {
    /// `rate` is records a second.
    pub(super) fn new(rate: u32) -> Self {
        RateBuckets {
            rate: f64::from(rate),
            by_caller: Mutex::default(),
        }
    }

    /// Takes `records` from a sender's share; or says how long it has nothing left.
    pub(crate) fn take(
        &self,
        caller: &Caller,
        records: usize,
        now: Instant,
    ) -> Result<(), Duration> {
        let mut buckets = lock(&self.by_caller);
        let bucket = buckets.entry(caller.clone()).or_insert(Bucket {
            left: self.rate,
            at: now,
        });
        let filled = now.saturating_duration_since(bucket.at).as_secs_f64() * self.rate;
        bucket.left = (bucket.left + filled).min(self.rate);
        bucket.at = now;
        if bucket.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.left) / self.rate));
        }
        bucket.left -= records as f64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_and_each_sender_has_a_share() {
        let buckets = RateBuckets::new(100);
        let (ada, bob) = (Caller("ada".into()), Caller("bob".into()));
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        assert_eq!(buckets.take(&ada, 60, at(0)), Ok(()));
        assert_eq!(buckets.take(&ada, 240, at(0)), Ok(()));
        // 200 are owed, and one has to be there.
        assert_eq!(
            buckets.take(&ada, 1, at(0)),
            Err(Duration::from_millis(2010))
        );
        assert_eq!(buckets.take(&bob, 1, at(0)), Ok(()));
        assert!(buckets.take(&ada, 1, at(2000)).is_err());
        assert_eq!(buckets.take(&ada, 1, at(2010)), Ok(()));
        // A pause fills it up, but no further than a second's worth.
        assert_eq!(buckets.take(&ada, 100, at(60_000)), Ok(()));
        assert!(buckets.take(&ada, 1, at(60_000)).is_err());
    }

    #[test]
    fn what_passes_in_a_while_is_the_rate() {
        let (buckets, caller) = (RateBuckets::new(1000), Caller("ada".into()));
        let begin = Instant::now();
        let passed: usize = (0..10_000)
            .filter(|ms| {
                buckets
                    .take(&caller, 7, begin + Duration::from_millis(*ms))
                    .is_ok()
            })
            .count();
        assert!((10_900..11_100).contains(&(passed * 7)), "{passed}");
    }
}
