//! From an offset to a record.

use super::GeneratorOptions;
use super::customers::{Customers, HOT_CUSTOMER, KEY_BYTES, is_hot, write_key};
use super::shares::{RANDOM_END, Shares, Slot, checked_share};
use tidegate_source::SourceError;

mod padding;
mod text;

use text::{Fields, Malformation, write_json};

/// An update comes this many records after its original, so that each original has one at most.
const UPDATE_LAG: i64 = 97;
/// A repeat comes at most this many records after its original.
const DUPLICATE_LAG: i64 = 1000;
/// How far back to look for an original that can be repeated.
const DUPLICATE_TRIES: i64 = 64;

/// Size to which events can be filled up.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// What a generated record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A new, valid event.
    Original,
    /// An exact repeat of an earlier original of the partition.
    Duplicate,
    /// An earlier PENDING original as COMPLETED, with a later time.
    Update,
    /// A valid event that is behind the watermark, once the stream is older than the delay.
    Late,
    /// A record that cannot be decoded.
    Malformed,
    /// An event that breaks a rule.
    RuleBreaking,
}

/// What [`Generator::write_record`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenRecord {
    /// What the record is.
    pub kind: EventKind,
    /// Its key: the customer.
    pub key: [u8; KEY_BYTES],
    /// Whether the customer is one of the fifth that makes four fifths of the traffic.
    pub is_hot: bool,
    /// Number in the stream of the event that it is, repeats or updates.
    pub event: u64,
}

/// Writes events; see the module.
pub struct Generator {
    shares: Shares,
    customers: Customers,
    seed: u64,
    partitions: i64,
    start_time: i64,
    events_per_second: i64,
    delay_micros: i64,
    jitter_micros: u64,
    duplicate_lag: i64,
    /// The hot customer has an event whose 32 random bits are below this.
    hot_key_bound: u64,
    event_bytes: usize,
}

impl Generator {
    /// A generator whose first event happens at `start_time`, in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// If an option is out of its range.
    pub fn new(options: &GeneratorOptions, start_time: i64) -> Result<Self, SourceError> {
        if !(1..=10_000).contains(&options.partitions) {
            let message = format!("between 1 and 10,000, not {}", options.partitions);
            return Err(SourceError::option("source.partitions", message));
        }
        let events_per_second = if options.rate > 0 {
            options.rate
        } else {
            options.event_rate
        };
        if !(1..=1_000_000_000).contains(&events_per_second) {
            return Err(SourceError::option(
                "source.rate, source.event-rate",
                "event time needs between 1 and 1,000,000,000 events a second",
            ));
        }
        if options.event_bytes > EVENT_BYTES_MAX {
            let message = format!("at most {EVENT_BYTES_MAX}, not {}", options.event_bytes);
            return Err(SourceError::option("event-bytes", message));
        }
        let delay_micros = i64::try_from(options.delay.as_micros()).unwrap_or(i64::MAX / 16);
        let events_per_second = events_per_second as i64;
        let partitions = i64::from(options.partitions);
        // Repeats stay well within the horizon in which they are recognised.
        let horizon = delay_micros / 4 / 1_000_000 * events_per_second / partitions;
        Ok(Generator {
            shares: Shares::new(options)?,
            customers: Customers::new(options.partitions),
            seed: options.seed,
            partitions,
            start_time,
            events_per_second,
            delay_micros: delay_micros.min(i64::MAX / 16),
            jitter_micros: (delay_micros / 10).clamp(0, 2_000_000) as u64,
            duplicate_lag: horizon.clamp(1, DUPLICATE_LAG),
            hot_key_bound: (checked_share("hot-key-share", options.hot_key_share)? * RANDOM_END)
                as u64,
            event_bytes: options.event_bytes,
        })
    }

    /// Appends the record at `offset` of `partition` to `out`, without a line end, and says what it
    /// is. The record contains no line end.
    ///
    /// # Panics
    /// If there is no such partition, or `offset` is negative.
    pub fn write_event(&self, partition: i32, offset: i64, out: &mut Vec<u8>) -> EventKind {
        self.write_record(partition, offset, out).kind
    }

    /// As [`Generator::write_event`], and says also what belongs to the record's key.
    ///
    /// # Panics
    /// As [`Generator::write_event`].
    pub fn write_record(&self, partition: i32, offset: i64, out: &mut Vec<u8>) -> WrittenRecord {
        let (kind, target) = self.resolve(partition, offset);
        let mut fields = self.original(partition, target);
        let mut written = WrittenRecord {
            kind,
            key: [0; KEY_BYTES],
            is_hot: is_hot(fields.customer),
            event: (target * self.partitions + i64::from(partition)) as u64,
        };
        write_key(fields.customer, &mut written.key);
        let mut draw = Draw(self.random(partition, offset) ^ 0x6c62_272e_07bb_0142);
        match kind {
            EventKind::Original | EventKind::Duplicate => {}
            EventKind::Update => {
                fields.status = "COMPLETED";
                fields.time = self.event_time(partition, offset).max(fields.time + 1);
            }
            EventKind::Late => {
                let behind = draw.below(self.delay_micros.max(2_000_000) as u64) as i64;
                fields.time -= self.delay_micros + 1_000_000 + behind;
            }
            EventKind::Malformed => {
                let how = Malformation::ALL[draw.below(Malformation::ALL.len() as u64) as usize];
                write_json(&fields, Some(how), draw.next(), self.event_bytes, out);
                return written;
            }
            EventKind::RuleBreaking => break_rule(&mut fields, &mut draw),
        }
        write_json(&fields, None, 0, self.event_bytes, out);
        written
    }

    /// Key of the record at `offset` of `partition`: its customer.
    ///
    /// # Panics
    /// As [`Generator::write_event`].
    pub fn key(&self, partition: i32, offset: i64) -> [u8; KEY_BYTES] {
        let (_, target) = self.resolve(partition, offset);
        let mut key = [0; KEY_BYTES];
        write_key(self.original(partition, target).customer, &mut key);
        key
    }

    /// Event time of the event at `offset` of `partition`, before what makes it late or wrong, in
    /// microseconds since the Unix epoch.
    pub fn event_time(&self, partition: i32, offset: i64) -> i64 {
        let number = offset * self.partitions + i64::from(partition);
        let (seconds, rest) = (
            number / self.events_per_second,
            number % self.events_per_second,
        );
        self.start_time + seconds * 1_000_000 + rest * 1_000_000 / self.events_per_second
    }

    /// Records that partition `partition` has of the first `count` of the stream.
    pub fn share_of(&self, count: u64, partition: i32) -> i64 {
        let count = i64::try_from(count).unwrap_or(i64::MAX - self.partitions);
        ((count - i64::from(partition) + self.partitions - 1) / self.partitions).max(0)
    }

    /// Events that have happened by `now`, over all partitions.
    pub fn due(&self, now: i64) -> u64 {
        let micros = i128::from(now) - i128::from(self.start_time);
        if micros < 0 {
            return 0;
        }
        u64::try_from(micros * i128::from(self.events_per_second) / 1_000_000 + 1)
            .unwrap_or(u64::MAX)
    }

    /// Whether one customer has more events than their partition's equal part could hold.
    pub fn has_hot_key(&self) -> bool {
        self.hot_key_bound > 0
    }

    /// Number of partitions.
    pub fn partitions(&self) -> i32 {
        self.partitions as i32
    }

    /// Event time of the first event.
    pub fn start_time(&self) -> i64 {
        self.start_time
    }

    /// What the record is, and which offset has its original.
    fn resolve(&self, partition: i32, offset: i64) -> (EventKind, i64) {
        let slot = |offset| self.shares.slot(self.random(partition, offset));
        match slot(offset) {
            Slot::Original => (EventKind::Original, offset),
            Slot::Late => (EventKind::Late, offset),
            Slot::Malformed => (EventKind::Malformed, offset),
            Slot::RuleBreaking => (EventKind::RuleBreaking, offset),
            Slot::Update => {
                let original = offset - UPDATE_LAG;
                if original >= 0 && slot(original) == Slot::Original {
                    (EventKind::Update, original)
                } else {
                    (EventKind::Original, offset)
                }
            }
            Slot::Duplicate => {
                let mut draw = Draw(self.random(partition, offset) ^ 0x27d4_eb2f_1656_67c5);
                let back = 1 + draw.below(self.duplicate_lag as u64) as i64;
                let newest = (offset - back).max(0).min(offset - 1);
                let oldest = (newest - DUPLICATE_TRIES).max(0);
                (oldest..=newest)
                    .rev()
                    .find(|n| slot(*n) == Slot::Original)
                    .map_or((EventKind::Original, offset), |n| (EventKind::Duplicate, n))
            }
        }
    }

    /// The valid event that belongs to an offset.
    fn original(&self, partition: i32, offset: i64) -> Fields {
        let mut draw = Draw(self.random(partition, offset));
        let mut customer = self.customers.draw(partition, draw.next());
        if self.hot_key_bound > 0 && draw.next() >> 32 < self.hot_key_bound {
            customer = HOT_CUSTOMER;
        }
        let time = self.event_time(partition, offset);
        let jitter = if self.jitter_micros == 0 {
            0
        } else {
            draw.below(self.jitter_micros)
        };
        let number = offset * self.partitions + i64::from(partition);
        let updated = self
            .shares
            .slot(self.random(partition, offset + UPDATE_LAG))
            == Slot::Update;
        Fields {
            id_micros: time,
            // 7919 has no factor in common with 10,000: within a microsecond no two are the same.
            id_digits: (number % 10_000 * 7919 % 10_000) as u32,
            customer,
            cents: amount(&mut draw),
            currency: ["USD", "USD", "USD", "USD", "USD", "EUR", "EUR", "GBP"]
                [draw.below(8) as usize],
            merchant: draw.below(text::MERCHANTS.len() as u64) as usize,
            status: match draw.below(20) {
                _ if updated => "PENDING",
                0 => "FAILED",
                1 | 2 => "PENDING",
                _ => "COMPLETED",
            },
            time: time - jitter as i64,
            metadata: draw.next(),
        }
    }

    /// The number that decides what is at an offset.
    fn random(&self, partition: i32, offset: i64) -> u64 {
        let place = (partition as u64).wrapping_mul(0xd6e8_feb8_6659_fd93) ^ offset as u64;
        mix(mix(self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ mix(place))
    }
}

/// Cents: most amounts are small, some medium, few large.
fn amount(draw: &mut Draw) -> i64 {
    let (from, to) = match draw.below(100) {
        0..60 => (100, 10_000),
        60..92 => (10_000, 100_000),
        92..99 => (100_000, 1_000_000),
        _ => (1_000_000, 50_000_000),
    };
    (from + draw.below(to - from)) as i64
}

/// Makes a valid event one that breaks a rule, by chance which.
fn break_rule(fields: &mut Fields, draw: &mut Draw) {
    const DAY: i64 = 86_400_000_000;
    match draw.below(7) {
        0 => fields.cents = -fields.cents,
        1 => fields.cents = 0,
        2 => fields.cents += 100_000_000,
        3 => fields.currency = "XBT",
        4 => fields.status = "UNKNOWN",
        5 => fields.time += 400 * DAY,
        _ => fields.time -= 400 * DAY,
    }
}

/// A sequence of random numbers.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// The finalizer of SplitMix64: every bit of the input changes every bit of the output.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
