//! Events, many in one piece of memory, made ahead by a thread of their own.
//!
//! Within a group of events that are sent at about the same time, those of a partition stand
//! together: the client reads them one partition at a time, and memory that it reads in sequence is
//! there before it asks. The order of a key is the stream's.

use std::num::NonZeroU32;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::{Builder, Scope};

use super::ProduceOptions;
use super::client::LENT_MAX;
use super::salt::{RecordKey, SALTED_BYTES};
use tidegate_generator::{Generator, partition_hash};

/// Bytes of a batch, unless one event has more.
const BATCH_BYTES: usize = 256 << 10;
/// Bytes of an event that is not filled up; on average it has fewer.
const EVENT_BYTES: usize = 320;
/// At a set rate, events of so much of a second stand together.
const GROUPS_PER_SECOND: u64 = 1000;
/// Batches that are made ahead.
const AHEAD: usize = 2;

/// How large batches are, and how many there are.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    events: usize,
    bytes: usize,
    batches: usize,
}

impl Sizes {
    fn new(options: &ProduceOptions) -> Self {
        let event_bytes = options.generator.event_bytes.max(EVENT_BYTES) + SALTED_BYTES;
        let events = (BATCH_BYTES / event_bytes).max(1);
        let bytes = events * event_bytes;
        // Two at least, so that one is filled while the other is sent.
        let batches = (options.buffer_bytes / bytes).clamp(2, LENT_MAX - AHEAD) + AHEAD;
        Sizes {
            events,
            bytes,
            batches,
        }
    }
}

/// Events.
#[derive(Default)]
pub(super) struct EventBatch {
    /// Payload and key of one event after the other.
    bytes: Vec<u8>,
    places: Vec<EventBounds>,
}

/// Where an event is in the memory of its batch: it begins at the end of the one before.
struct EventBounds {
    payload_end: usize,
    end: usize,
    partition: i32,
}

/// An event of a batch.
pub(super) struct Event<'a> {
    pub(super) payload: &'a [u8],
    pub(super) key: &'a [u8],
    /// Its partition in the first topic, and in those that have as many.
    pub(super) partition: i32,
}

impl EventBatch {
    /// Bytes of memory.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Number of events.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The events of the batch from number `from` on.
    pub(super) fn events(&self, from: usize) -> impl Iterator<Item = Event<'_>> {
        let mut start = from.checked_sub(1).map_or(0, |i| self.places[i].end);
        self.places[from..].iter().map(move |place| {
            let event = Event {
                payload: &self.bytes[start..place.payload_end],
                key: &self.bytes[place.payload_end..place.end],
                partition: place.partition,
            };
            start = place.end;
            event
        })
    }
}

/// Makes the events, from the first on.
pub(super) struct Maker<'a> {
    generator: &'a Generator,
    salts: Option<NonZeroU32>,
    sizes: Sizes,
    /// Events among which those of a partition stand together.
    group: u64,
    count: u64,
    made: u64,
}

impl<'a> Maker<'a> {
    /// Makes the events of a producer.
    pub(super) fn new(options: &ProduceOptions, generator: &'a Generator) -> Self {
        let group = match (&options.transactions, options.generator.rate) {
            // A transaction has the events that follow each other; a hot key has events of all
            // partitions.
            (Some(_), _) => 1,
            _ if generator.has_hot_key() => 1,
            (None, 0) => u64::MAX,
            (None, rate) => rate / GROUPS_PER_SECOND,
        };
        Maker {
            generator,
            salts: options.salt_hot_keys,
            sizes: Sizes::new(options),
            group: group.max(1),
            count: options.generator.count.unwrap_or(u64::MAX),
            made: 0,
        }
    }

    /// Fills a batch with the next events. False if there are no more.
    fn fill(&mut self, batch: &mut EventBatch) -> bool {
        batch.places.clear();
        batch.bytes.clear();
        batch.bytes.reserve(self.sizes.bytes);
        let end = self.made + (self.sizes.events as u64).min(self.count - self.made);
        while self.made < end {
            let group_end = self.made + self.group.min(end - self.made);
            self.add_group(group_end, batch);
        }
        batch.len() > 0
    }

    /// Adds the events up to number `end`.
    fn add_group(&mut self, end: u64, batch: &mut EventBatch) {
        let partitions = u64::from(self.generator.partitions().unsigned_abs());
        for first in self.made..end.min(self.made + partitions) {
            for number in (first..end).step_by(partitions as usize) {
                self.add_event(number, partitions, batch);
            }
        }
        self.made = end;
    }

    fn add_event(&self, number: u64, partitions: u64, batch: &mut EventBatch) {
        let home = (number % partitions) as i32;
        let offset = (number / partitions) as i64;
        let written = self.generator.write_record(home, offset, &mut batch.bytes);
        let payload_end = batch.bytes.len();
        let salts = self.salts.filter(|_| written.is_hot);
        let key = match salts {
            Some(salts) => RecordKey::salted(&written.key, written.event, salts),
            None => RecordKey::plain(&written.key),
        };
        batch.bytes.extend_from_slice(key.as_bytes());
        // Where the generator has it, unless the key belongs elsewhere.
        let partition = if salts.is_none() && !self.generator.has_hot_key() {
            home
        } else {
            (u64::from(partition_hash(key.as_bytes())) % partitions) as i32
        };
        batch.places.push(EventBounds {
            payload_end,
            end: batch.bytes.len(),
            partition,
        });
    }
}

/// The batches that a maker makes on a thread of its own, some ahead. Their number is fixed: a
/// batch that was given back is filled again.
pub(super) struct Batches {
    ready: Receiver<EventBatch>,
    empty: Sender<EventBatch>,
    /// Batches that are with the maker, or on their way from it.
    with_maker: usize,
}

/// What there is to take.
pub(super) enum NextBatch {
    Batch(EventBatch),
    /// All batches are taken: one has to be given back first.
    NoneLeft,
    /// There are no more events.
    End,
}

impl Batches {
    /// Starts the maker. It ends when there are no more events, or nobody takes them.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        maker: Maker<'scope>,
    ) -> std::io::Result<Self> {
        let (ready_sender, ready) = mpsc::sync_channel(AHEAD);
        let (empty, empty_receiver) = mpsc::channel();
        let with_maker = maker.sizes.batches;
        for _ in 0..with_maker {
            // Cannot fail: the other end is still here.
            let _ = empty.send(EventBatch::default());
        }
        Builder::new()
            .name("generator".to_owned())
            .spawn_scoped(scope, move || make(maker, &empty_receiver, &ready_sender))?;
        Ok(Batches {
            ready,
            empty,
            with_maker,
        })
    }

    /// Takes the next batch, which may still have to be made.
    pub(super) fn take(&mut self) -> NextBatch {
        if self.with_maker == 0 {
            return NextBatch::NoneLeft;
        }
        match self.ready.recv() {
            Ok(batch) => {
                self.with_maker -= 1;
                NextBatch::Batch(batch)
            }
            Err(_) => NextBatch::End,
        }
    }

    /// Has a batch filled again.
    pub(super) fn give_back(&mut self, batch: EventBatch) {
        self.with_maker += 1;
        // Nobody is there to fill it after the last event.
        let _ = self.empty.send(batch);
    }
}

fn make(mut maker: Maker<'_>, empty: &Receiver<EventBatch>, ready: &SyncSender<EventBatch>) {
    for mut batch in empty {
        if !maker.fill(&mut batch) || ready.send(batch).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_generator::GeneratorOptions;

    const PARTITIONS: i32 = 3;

    /// The payloads in the order in which they are sent, and how many batches they are in.
    #[expect(
        clippy::disallowed_methods,
        reason = "both channels of the maker end with `batches`, inside of the scope"
    )]
    fn made(rate: u64, count: u64, event_bytes: usize) -> (Vec<(i32, Vec<u8>)>, usize) {
        let options = ProduceOptions {
            generator: GeneratorOptions {
                rate,
                count: Some(count),
                partitions: PARTITIONS,
                event_bytes,
                ..GeneratorOptions::default()
            },
            buffer_bytes: 1 << 20,
            ..ProduceOptions::default()
        };
        let generator = Generator::new(&options.generator, 0).unwrap();
        std::thread::scope(|scope| {
            let maker = Maker::new(&options, &generator);
            let mut batches = Batches::start(scope, maker).unwrap();
            let (mut events, mut taken) = (Vec::new(), 0);
            while let NextBatch::Batch(batch) = batches.take() {
                taken += 1;
                let payloads = batch.events(0);
                events.extend(payloads.map(|event| (event.partition, event.payload.to_vec())));
                batches.give_back(batch);
            }
            (events, taken)
        })
    }

    /// What the generator has in a partition, of the first `count` events.
    fn expected(rate: u64, count: u64, event_bytes: usize, partition: i32) -> Vec<Vec<u8>> {
        let options = GeneratorOptions {
            rate,
            partitions: PARTITIONS,
            event_bytes,
            ..GeneratorOptions::default()
        };
        let generator = Generator::new(&options, 0).unwrap();
        let offsets = 0..generator.share_of(count, partition);
        let payload = |offset| {
            let mut payload = Vec::new();
            generator.write_event(partition, offset, &mut payload);
            payload
        };
        offsets.map(payload).collect()
    }

    #[test]
    fn each_partition_has_its_events_in_order_however_batches_are_cut() {
        for (rate, count, event_bytes) in [
            (0, 0, 0),
            (0, 1, 0),
            (0, 5000, 0),
            (0, 500, 2048),
            (7, 2000, 0),
            (50_000, 5000, 0),
            (0, 5, BATCH_BYTES + 1),
        ] {
            let (events, batches) = made(rate, count, event_bytes);
            assert_eq!(events.len() as u64, count);
            for partition in 0..PARTITIONS {
                let found = events.iter().filter(|(home, _)| *home == partition);
                let found: Vec<_> = found.map(|(_, payload)| payload.clone()).collect();
                assert_eq!(found, expected(rate, count, event_bytes, partition));
            }
            assert!(batches >= events.len() * event_bytes / BATCH_BYTES);
        }
    }

    #[test]
    fn events_are_sent_at_most_a_thousandth_of_a_second_out_of_turn() {
        let turns = |rate| {
            let (events, _) = made(rate, 3000, 0);
            let mut seen = [0; PARTITIONS as usize];
            let distances = events.iter().enumerate().map(|(place, (partition, _))| {
                let offset = &mut seen[*partition as usize];
                let number = *offset * PARTITIONS as usize + *partition as usize;
                *offset += 1;
                number.abs_diff(place)
            });
            distances.max().unwrap()
        };
        assert_eq!(turns(500), 0);
        assert!(turns(30_000) < 30);
        assert!(turns(0) > 100);
    }

    #[test]
    fn with_a_hot_key_events_are_sent_in_the_order_of_the_stream() {
        let (count, partitions) = (5000, PARTITIONS.unsigned_abs() as usize);
        let options = ProduceOptions {
            generator: GeneratorOptions {
                count: Some(count as u64),
                partitions: PARTITIONS,
                hot_key_share: 0.6,
                ..GeneratorOptions::default()
            },
            ..ProduceOptions::default()
        };
        let generator = Generator::new(&options.generator, 0).unwrap();
        let stream = (0..count).map(|number| {
            let mut payload = Vec::new();
            let (home, offset) = (number % partitions, number / partitions);
            generator.write_event(home as i32, offset as i64, &mut payload);
            payload
        });
        let mut maker = Maker::new(&options, &generator);
        let (mut batch, mut sent) = (EventBatch::default(), Vec::new());
        while maker.fill(&mut batch) {
            sent.extend(batch.events(0).map(|event| event.payload.to_vec()));
        }
        assert_eq!(sent, stream.collect::<Vec<_>>());
    }
}
