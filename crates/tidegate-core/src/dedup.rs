//! The set of fingerprints seen within the horizon: bounded, compact, exact in what it forgets.
//!
//! One open-addressing table a lane, 17 bytes a slot: the 128-bit fingerprint, and one byte that
//! names the bucket of event time that its first occurrence was in. A fingerprint counts as seen
//! while its bucket is not wholly behind the watermark. What is forgotten depends only on event
//! times and the order of records, never on when the table is cleaned: entries that are behind are
//! passed over when found, and removed when the table is full or the byte would come round.

use std::time::Duration;

use hashbrown::HashMap;

/// Buckets that the horizon is divided into.
pub(crate) const BUCKETS: i64 = 64;
/// Buckets that one byte can tell apart.
const BUCKET_CYCLE: i64 = 256;
// Half of them are for buckets ahead of the watermark, of which `BUCKETS + 1` can be in the table.
const _: () = assert!(BUCKETS < BUCKET_CYCLE / 2);
/// Share of slots in use at which the table is cleaned or grown, in 1/64.
const FULL: usize = 51;
/// Share of live slots from which on it is grown rather than only cleaned, in 1/64. With more, it
/// would be cleaned too often.
const CROWDED: usize = 40;
/// What a large table grows by, as a share of its slots: one in so many. Keys stay in order when
/// they move, which makes growing cheap, and small steps leave few slots unused: 1.8 for a key at
/// most.
const GROWTH: usize = 8;
/// A small table grows by half, but by no more slots than this: where it is small, speed counts for
/// more.
const GROWTH_SMALL: usize = 1 << 18;
/// Slots of a block: tables that are larger consist of blocks, so that growing takes one block at a
/// time, and gives one back.
const BLOCK: usize = 1 << 16;
/// Slots of the smallest table.
const SLOTS_MIN: usize = 256;
/// Marks a free slot; a fingerprint of this value is stored as 1.
const FREE: u128 = 0;

/// The number of the bucket that an event time is in.
fn bucket(time: i64, width: i64) -> i64 {
    time.div_euclid(width)
}

/// Fingerprints seen within the horizon, of one lane.
#[derive(Debug)]
pub struct Dedup {
    /// Microseconds of event time in a bucket.
    width: i64,
    slots: Slots,
    used: usize,
    /// All entries are in buckets from `base` up to, not including, `base + BUCKET_CYCLE`.
    base: i64,
    /// No entry is in a bucket before this.
    oldest: i64,
    /// Entries in buckets below this are forgotten.
    live_from: i64,
    /// Event time at which the watermark enters the next bucket.
    next_boundary: i64,
    /// Fingerprints whose bucket is too far ahead for one byte, with that bucket. There are any
    /// only where the watermark stays further behind than the horizon, because it waits for files
    /// that are still to come, and after a restart with a shorter horizon.
    ahead: HashMap<u128, i64>,
    /// Where `live_from` was when `ahead` was cleaned.
    ahead_cleaned: i64,
}

impl Dedup {
    /// An empty set that remembers for `horizon` of event time, which is the watermark's delay.
    pub fn new(horizon: Duration) -> Self {
        let micros = i64::try_from(horizon.as_micros()).unwrap_or(i64::MAX);
        Dedup {
            // Rounded up, so that the horizon never spans more than `BUCKETS` whole buckets.
            width: (micros / BUCKETS + i64::from(micros % BUCKETS != 0)).max(1),
            slots: Slots::default(),
            used: 0,
            base: i64::MIN,
            oldest: i64::MAX,
            live_from: i64::MIN,
            next_boundary: i64::MIN,
            ahead: HashMap::new(),
            ahead_cleaned: i64::MIN,
        }
    }

    /// Moves the watermark, in microseconds. It never goes back.
    #[inline]
    pub fn advance(&mut self, watermark: i64) {
        if watermark >= self.next_boundary {
            self.enter_bucket(watermark);
        }
    }

    fn enter_bucket(&mut self, watermark: i64) {
        self.next_boundary = bucket(watermark, self.width)
            .saturating_add(1)
            .saturating_mul(self.width);
        self.live_from = self.live_from.max(bucket(watermark, self.width));
        // Half the cycle stays free for buckets ahead of the watermark, of which there are
        // `BUCKETS + 1` at most, so that no entry's byte can be taken for that of another bucket.
        if self.used > 0 && self.live_from - self.base > BUCKET_CYCLE / 2 {
            self.clean();
        }
        // Not at each bucket: there may be millions.
        if !self.ahead.is_empty() && self.live_from.saturating_sub(self.ahead_cleaned) > BUCKETS {
            self.clean_ahead();
        }
    }

    /// Forgets what the watermark has passed, and gives memory back when most of it is free.
    #[cold]
    fn clean_ahead(&mut self) {
        let live_from = self.live_from;
        self.ahead_cleaned = live_from;
        self.ahead.retain(|_, bucket| *bucket >= live_from);
        if self.ahead.len() < self.ahead.capacity() / 4 {
            self.ahead.shrink_to_fit();
        }
    }

    /// Whether it is remembered as one that is far ahead.
    #[cold]
    fn is_ahead(&self, key: u128) -> bool {
        let bucket = self.ahead.get(&key);
        bucket.is_some_and(|bucket| *bucket >= self.live_from)
    }

    /// Brings the slots of fingerprints that are about to be inserted into the cache. The loads do
    /// not depend on each other, so that they wait for memory together and not one after the other.
    pub fn prefetch(&self, fingerprints: impl IntoIterator<Item = u128>) {
        let mut loaded = 0;
        for key in fingerprints {
            if self.slots.len > 0 {
                let (block, at) = self.slots.place(self.slots.home(key));
                loaded ^= block.keys[at] as u64 ^ u64::from(block.ages[at]);
            }
        }
        std::hint::black_box(loaded);
    }

    /// Remembers a fingerprint with its event time; says whether it is new.
    ///
    /// The watermark has been advanced for this event before: its time is not before it.
    pub fn insert(&mut self, fingerprint: u128, time: i64) -> bool {
        let key = if fingerprint == FREE { 1 } else { fingerprint };
        if !self.ahead.is_empty() && self.is_ahead(key) {
            return false;
        }
        let bucket = bucket(time, self.width).max(self.live_from);
        self.make_room();
        if bucket.saturating_sub(self.base) >= BUCKET_CYCLE {
            return self.insert_ahead(key, bucket);
        }
        let mut slot = self.slots.home(key);
        loop {
            let (live_from, base) = (self.live_from, self.base);
            let (block, at) = self.slots.place_mut(slot);
            let found = block.keys[at];
            if found == FREE {
                block.keys[at] = key;
                block.ages[at] = age(bucket);
                self.used += 1;
                self.oldest = self.oldest.min(bucket);
                return true;
            }
            if found == key {
                if bucket_of(base, block.ages[at]) >= live_from {
                    return false;
                }
                block.ages[at] = age(bucket);
                return true;
            }
            slot = self.slots.next(slot);
        }
    }

    /// Remembers a fingerprint that is far ahead, and not remembered as such; says whether it is
    /// new.
    #[cold]
    fn insert_ahead(&mut self, key: u128, bucket: i64) -> bool {
        let mut slot = self.slots.home(key);
        loop {
            match self.slots.key(slot) {
                FREE => break,
                found if found == key => {
                    if self.bucket_of(self.slots.age(slot)) >= self.live_from {
                        return false;
                    }
                    break;
                }
                _ => slot = self.slots.next(slot),
            }
        }
        self.ahead.insert(key, bucket);
        true
    }

    /// Remembers a fingerprint again after a restart. Occurrences may come in any order; the last
    /// one by event time counts, as it did when they were first inserted. They may have been
    /// written with any other horizon.
    pub fn restore(&mut self, fingerprint: u128, time: i64) {
        let bucket = bucket(time, self.width);
        if bucket < self.live_from {
            return;
        }
        let key = if fingerprint == FREE { 1 } else { fingerprint };
        let base = if self.used == 0 {
            self.live_from
        } else {
            self.base
        };
        if bucket.saturating_sub(base) >= BUCKET_CYCLE {
            let newest = self.ahead.entry(key).or_insert(bucket);
            *newest = bucket.max(*newest);
            return;
        }
        // What is further ahead counts instead, and stays where it is.
        if !self.insert(fingerprint, time) && !self.ahead.contains_key(&key) {
            let mut slot = self.slots.home(key);
            while self.slots.key(slot) != key {
                slot = self.slots.next(slot);
            }
            let newest = self.bucket_of(self.slots.age(slot)).max(bucket);
            self.slots.set(slot, key, age(newest));
        }
    }

    /// Fingerprints in the table, forgotten ones that are not yet cleaned included.
    pub fn len(&self) -> usize {
        self.used + self.ahead.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory of the table.
    pub fn bytes(&self) -> usize {
        self.slots.len * (size_of::<u128>() + size_of::<u8>()) + self.ahead.allocation_size()
    }

    fn bucket_of(&self, age: u8) -> i64 {
        bucket_of(self.base, age)
    }

    /// Sees that there is a free slot.
    #[inline]
    fn make_room(&mut self) {
        if self.used == 0 {
            self.base = self.live_from;
        }
        if (self.used + 1) * 64 > self.slots.len * FULL {
            if self.oldest < self.live_from {
                self.clean();
            }
            if self.used * 64 >= self.slots.len * CROWDED {
                self.grow();
            }
        }
    }

    /// Removes what is forgotten, in place.
    ///
    /// Visits the slots from a free one on, in probing order. Each live entry moves to the first
    /// free slot from its home on: never beyond where it was, because all that came before it has
    /// been placed and its own slot is free.
    #[cold]
    fn clean(&mut self) {
        let len = self.slots.len;
        let Some(start) = (0..len).find(|slot| self.slots.key(*slot) == FREE) else {
            return;
        };
        let mut live = 0;
        let mut oldest = i64::MAX;
        for from in (start + 1..len).chain(0..=start) {
            let (key, age) = (self.slots.key(from), self.slots.age(from));
            if key == FREE {
                continue;
            }
            self.slots.set(from, FREE, 0);
            let bucket = self.bucket_of(age);
            if bucket < self.live_from {
                continue;
            }
            oldest = oldest.min(bucket);
            self.slots.put(key, age);
            live += 1;
        }
        self.used = live;
        self.oldest = oldest;
        self.base = self.base.max(self.live_from);
    }

    /// Moves everything to a larger table.
    #[cold]
    fn grow(&mut self) {
        let len = self.slots.len;
        let more = (len / GROWTH).max(GROWTH_SMALL.min(len / 2));
        let mut larger = Slots::new((len + more).max(SLOTS_MIN));
        for block in std::mem::take(&mut self.slots).blocks {
            for (key, age) in block.keys.into_iter().zip(block.ages) {
                if key != FREE {
                    larger.put(key, age);
                }
            }
        }
        larger.blocks.iter_mut().for_each(Block::fill);
        self.slots = larger;
    }
}

/// The slots of a table: after the last one comes the first one.
#[derive(Debug, Default)]
struct Slots {
    blocks: Vec<Block>,
    len: usize,
}

/// Slots that are one after the other; without memory until the first is used.
#[derive(Debug)]
struct Block {
    keys: Vec<u128>,
    ages: Vec<u8>,
    len: usize,
}

impl Block {
    fn fill(&mut self) {
        if self.keys.is_empty() {
            self.keys = vec![FREE; self.len];
            self.ages = vec![0; self.len];
        }
    }
}

impl Slots {
    /// At least `len` of them, whose blocks have no memory yet.
    fn new(len: usize) -> Self {
        let len = if len > BLOCK {
            len.next_multiple_of(BLOCK)
        } else {
            len
        };
        let block = |_| Block {
            keys: Vec::new(),
            ages: Vec::new(),
            len: len.min(BLOCK),
        };
        Slots {
            blocks: (0..len.div_ceil(BLOCK)).map(block).collect(),
            len,
        }
    }

    /// Where a key is looked for first. Keys that are in order are in order in a larger table, too.
    fn home(&self, key: u128) -> usize {
        let high = u128::from((key >> 64) as u64);
        ((high * self.len as u128) >> 64) as usize
    }

    /// The slot that is probed after this one; a comparison is cheaper than a division.
    fn next(&self, slot: usize) -> usize {
        if slot + 1 == self.len { 0 } else { slot + 1 }
    }

    /// The block of a slot, and where in it.
    fn place(&self, slot: usize) -> (&Block, usize) {
        (&self.blocks[slot / BLOCK], slot % BLOCK)
    }

    fn place_mut(&mut self, slot: usize) -> (&mut Block, usize) {
        (&mut self.blocks[slot / BLOCK], slot % BLOCK)
    }

    fn key(&self, slot: usize) -> u128 {
        let (block, at) = self.place(slot);
        block.keys[at]
    }

    fn age(&self, slot: usize) -> u8 {
        let (block, at) = self.place(slot);
        block.ages[at]
    }

    fn set(&mut self, slot: usize, key: u128, age: u8) {
        let (block, at) = self.place_mut(slot);
        block.keys[at] = key;
        block.ages[at] = age;
    }

    /// Puts a key that is not there into the first free slot from its home on.
    fn put(&mut self, key: u128, age: u8) {
        let mut slot = self.home(key);
        loop {
            self.blocks[slot / BLOCK].fill();
            if self.key(slot) == FREE {
                return self.set(slot, key, age);
            }
            slot = self.next(slot);
        }
    }
}

/// The bucket that an age stands for: the only one of its class in `base..base + BUCKET_CYCLE`.
fn bucket_of(base: i64, age: u8) -> i64 {
    base + (i64::from(age) - base).rem_euclid(BUCKET_CYCLE)
}

fn age(bucket: i64) -> u8 {
    bucket.rem_euclid(BUCKET_CYCLE) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// The same, said simply: the bucket in which each fingerprint was last new.
    #[derive(Default)]
    struct Model {
        seen: HashMap<u128, i64>,
        live_from: Option<i64>,
    }

    impl Model {
        fn insert(&mut self, fingerprint: u128, time: i64, width: i64) -> bool {
            let known = self
                .seen
                .get(&fingerprint)
                .is_some_and(|b| self.live_from.is_none_or(|from| *b >= from));
            if !known {
                self.seen.insert(fingerprint, time.div_euclid(width));
            }
            !known
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Events wander forward with jumps; those behind the watermark are late and not inserted.
        #[test]
        fn it_remembers_exactly_what_the_model_remembers(
            steps in prop::collection::vec((1_u128..400, -700_i64..900, prop::bool::weighted(0.01)), 1..3000),
            start in -5000_i64..5000,
            spread in prop::bool::ANY,
        ) {
            let delay = 640;
            let mut dedup = Dedup::new(Duration::from_micros(delay as u64));
            let mut model = Model::default();
            let mut newest: Option<i64> = None;
            let mut time = start;
            for (key, step, jump) in steps {
                time = newest.unwrap_or(time) + step + if jump { 100_000 } else { 0 };
                let fingerprint = if spread { key.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835) } else { key };
                if newest.is_some_and(|n| time < n - delay) {
                    continue;
                }
                if newest.is_none_or(|n| time > n) {
                    newest = Some(time);
                    dedup.advance(time - delay);
                    model.live_from = Some((time - delay).div_euclid(10));
                }
                prop_assert_eq!(dedup.insert(fingerprint, time), model.insert(fingerprint, time, 10));
            }
        }

        /// However far the watermark stays behind the events, which it does while something is
        /// still to come.
        #[test]
        fn it_remembers_what_is_far_ahead_of_the_watermark(
            steps in prop::collection::vec((1_u128..300, 0_i64..20_000, prop::bool::weighted(0.1), 0_i64..40_000), 1..2000),
        ) {
            let delay = 640;
            let mut dedup = Dedup::new(Duration::from_micros(delay as u64));
            let mut model = Model::default();
            let mut watermark = 0;
            dedup.advance(watermark);
            for (key, ahead, moves, by) in steps {
                if moves {
                    watermark += by / 40;
                    dedup.advance(watermark);
                }
                model.live_from = Some(watermark.div_euclid(10));
                let time = watermark + ahead;
                prop_assert_eq!(dedup.insert(key, time), model.insert(key, time, 10));
            }
        }

        /// A set that is rebuilt for another horizon, shorter or longer by any factor, goes on as
        /// the rule says: an event is a repeat while the bucket of its first occurrence is not
        /// behind the watermark.
        #[test]
        fn a_restart_with_any_other_horizon_forgets_nothing_too_early(
            seed: u64,
            runs in prop::collection::vec((1_i64..1_000_000, 1_usize..600), 1..6),
        ) {
            let mut random = seed;
            let mut below = |end: i64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) as i64 % end.max(1)
            };
            // Of each fingerprint, the time of the row that was written for it last.
            let mut rows: Vec<(u128, i64)> = Vec::new();
            let (mut watermark, mut newest) = (None::<i64>, below(10_000_000));
            for (delay, events) in runs {
                let horizon = Duration::from_micros(delay as u64);
                let width = (delay / 64 + i64::from(delay % 64 != 0)).max(1);
                let mut dedup = Dedup::new(horizon);
                let mut model: HashMap<u128, i64> = HashMap::new();
                if let Some(watermark) = watermark {
                    dedup.advance(watermark);
                }
                // In any order.
                let at = below(rows.len() as i64) as usize;
                rows.rotate_left(at);
                for &(key, time) in &rows {
                    dedup.restore(key, time);
                    let last = model.entry(key).or_insert(time);
                    *last = time.max(*last);
                }
                for _ in 0..events {
                    let time = newest - below(2 * delay) + below(delay) / 8 + below(50) / 49 * delay * below(4);
                    let key = 1 + below(300) as u128;
                    if watermark.is_some_and(|watermark| time < watermark) {
                        continue;
                    }
                    newest = newest.max(time);
                    let moved = watermark.unwrap_or(i64::MIN).max(time - delay);
                    watermark = Some(moved);
                    dedup.advance(moved);
                    let first = model.get(&key);
                    let is_new = first.is_none_or(|first| first.div_euclid(width) < moved.div_euclid(width));
                    prop_assert_eq!(dedup.insert(key, time), is_new, "key {} at {}, delay {}", key, time, delay);
                    if is_new {
                        model.insert(key, time);
                        rows.push((key, time));
                    }
                }
            }
        }
    }

    #[test]
    fn memory_stays_below_thirty_two_bytes_a_key_and_flat_once_the_horizon_is_full() {
        // Between one size of the table and the next, and the one after that.
        for per_second in (40_000_u64..52_000).step_by(2000) {
            let mut dedup = Dedup::new(Duration::from_secs(60));
            let mut key = 1_u128;
            let mut bytes_at = Vec::new();
            for second in 0..240_i64 {
                dedup.advance((second - 60) * 1_000_000);
                for _ in 0..per_second {
                    key = key
                        .wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645)
                        .wrapping_add(0x5851_F42D_4C95_7F2D);
                    assert!(dedup.insert(key, second * 1_000_000));
                }
                if second % 60 == 59 {
                    bytes_at.push(dedup.bytes());
                }
            }
            let bytes_per_key = bytes_at[3] as f64 / (60 * per_second) as f64;
            assert!(
                bytes_per_key < 32.0,
                "{per_second}/s: {bytes_per_key} bytes a key"
            );
            assert_eq!(bytes_at[2], bytes_at[3], "{bytes_at:?}");
        }
    }

    #[test]
    fn a_restored_set_decides_as_the_one_before() {
        let delay = Duration::from_micros(640);
        let mut before = Dedup::new(delay);
        let mut kept = Vec::new();
        for i in 0..1000_i64 {
            let (key, time) = ((i % 300) as u128 + 7, i * 3);
            before.advance(time - 640);
            if before.insert(key, time) {
                kept.push((key, time));
            }
        }
        let watermark = 999 * 3 - 640;
        let mut after = Dedup::new(delay);
        after.advance(watermark);
        // What can be remembered begins with the watermark's bucket.
        let from = bucket(watermark, after.width) * after.width;
        for (key, time) in kept.into_iter().rev().filter(|(_, time)| *time >= from) {
            after.restore(key, time);
        }
        for key in 0..400_u128 {
            assert_eq!(before.insert(key, 2990), after.insert(key, 2990), "{key}");
        }
    }
}
