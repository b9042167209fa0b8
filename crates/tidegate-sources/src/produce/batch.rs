//! Events in the order of the stream, many in one piece of memory, made ahead by a thread of their own.

use std::num::NonZeroU32;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::{Builder, Scope};

use super::client::LENT_MAX;
use super::salt::Key;
use crate::generator::{Generator, partition_hash};

/// Bytes of a batch, behind which no event begins.
const BATCH_BYTES: usize = 128 << 10;
/// Events of a batch, at most.
const BATCH_EVENTS: usize = 512;
/// Batches that are made ahead.
const AHEAD: usize = 2;

/// How many batches a buffer of so many bytes holds, with those that are made ahead.
pub(super) fn number_for(buffer_bytes: usize) -> usize {
    (buffer_bytes / BATCH_BYTES).clamp(2, LENT_MAX - AHEAD) + AHEAD
}

/// Events in the order of the stream.
#[derive(Default)]
pub(super) struct Batch {
    /// Payload and key of one event after the other.
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Where an event is in the memory of its batch: it begins at the end of the one before.
struct Place {
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

impl Batch {
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
    count: u64,
    made: u64,
}

impl<'a> Maker<'a> {
    /// Makes `count` events. With `salts`, each hot customer is spread over so many keys.
    pub(super) fn new(generator: &'a Generator, salts: Option<NonZeroU32>, count: u64) -> Self {
        Maker {
            generator,
            salts,
            count,
            made: 0,
        }
    }

    /// Fills a batch with the next events. False if there are no more.
    fn fill(&mut self, batch: &mut Batch) -> bool {
        batch.places.clear();
        batch.bytes.clear();
        // The memory of a large event is given back.
        batch.bytes.shrink_to(2 * BATCH_BYTES);
        while self.made < self.count
            && batch.bytes.len() < BATCH_BYTES
            && batch.places.len() < BATCH_EVENTS
        {
            self.add_event(batch);
        }
        batch.len() > 0
    }

    fn add_event(&mut self, batch: &mut Batch) {
        let partitions = u64::from(self.generator.partitions().unsigned_abs());
        let home = (self.made % partitions) as i32;
        let offset = (self.made / partitions) as i64;
        let written = self.generator.write_record(home, offset, &mut batch.bytes);
        let payload_end = batch.bytes.len();
        let salts = self.salts.filter(|_| written.is_hot);
        let key = match salts {
            Some(salts) => Key::salted(&written.key, written.event, salts),
            None => Key::plain(&written.key),
        };
        batch.bytes.extend_from_slice(key.as_bytes());
        // Where the generator has it, unless the key belongs elsewhere.
        let partition = if salts.is_none() && !self.generator.has_hot_key() {
            home
        } else {
            (u64::from(partition_hash(key.as_bytes())) % partitions) as i32
        };
        batch.places.push(Place {
            payload_end,
            end: batch.bytes.len(),
            partition,
        });
        self.made += 1;
    }
}

/// The batches that a maker makes on a thread of its own, some ahead. Their number is fixed: a batch that was given back is filled
/// again.
pub(super) struct Batches {
    ready: Receiver<Batch>,
    empty: Sender<Batch>,
    /// Batches that are with the maker, or on their way from it.
    with_maker: usize,
}

/// What there is to take.
pub(super) enum Taken {
    Batch(Batch),
    /// All batches are taken: one has to be given back first.
    AllTaken,
    /// There are no more events.
    End,
}

impl Batches {
    /// Starts the maker with so many batches. It ends when there are no more events, or nobody takes them.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        maker: Maker<'scope>,
        batches: usize,
    ) -> std::io::Result<Self> {
        let (ready_sender, ready) = mpsc::sync_channel(AHEAD);
        let (empty, empty_receiver) = mpsc::channel();
        for _ in 0..batches {
            // Cannot fail: the other end is still here.
            let _ = empty.send(Batch::default());
        }
        Builder::new()
            .name("generator".to_owned())
            .spawn_scoped(scope, move || make(maker, &empty_receiver, &ready_sender))?;
        Ok(Batches {
            ready,
            empty,
            with_maker: batches,
        })
    }

    /// Takes the next batch, which may still have to be made.
    pub(super) fn take(&mut self) -> Taken {
        if self.with_maker == 0 {
            return Taken::AllTaken;
        }
        match self.ready.recv() {
            Ok(batch) => {
                self.with_maker -= 1;
                Taken::Batch(batch)
            }
            Err(_) => Taken::End,
        }
    }

    /// Has a batch filled again.
    pub(super) fn give_back(&mut self, batch: Batch) {
        self.with_maker += 1;
        // Nobody is there to fill it after the last event.
        let _ = self.empty.send(batch);
    }
}

fn make(mut maker: Maker<'_>, empty: &Receiver<Batch>, ready: &SyncSender<Batch>) {
    for mut batch in empty {
        if !maker.fill(&mut batch) || ready.send(batch).is_err() {
            return;
        }
    }
}
