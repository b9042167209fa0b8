//! The reader: what a source does, with the connections played.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_source::{ChunkLimits, SourceError, SourceEvent};
use tidegate_testkit::Random;

use super::broker::{Broker, Log, Old};
use crate::consumer::assembly::{Assembly, BrokerRecord};
use crate::consumer::fetch::response::{advance, check, digest, unchecked};
use crate::consumer::fetch::*;
use crate::consumer::identity::PartitionIdentity;
use crate::consumer::positions::{Cut, PartitionFacts, Probes, ResumePosition, decide};
use crate::consumer::source::is_out_of_range;
use crate::consumer::{KafkaOptions, MissingOffsets};

const LIMITS: ChunkLimits = ChunkLimits {
    records: 4,
    bytes: 1000,
    linger: Duration::ZERO,
    record_bytes_max: 1000,
};

pub(super) struct ModelReader {
    options: KafkaOptions,
    fetch: Fetch,
    assembly: Assembly,
    /// What the connections have.
    wanted: VecDeque<FetchPosition>,
    topic: Option<u64>,
    cuts: BTreeMap<i32, Cut>,
    probes: Probes,
    /// The partition and offset of which the last response had records, but no whole batch.
    starving: Option<(i32, i64)>,
    /// The message of an old format at which the connection ended, until that is heard.
    ended_at: Option<Old>,
    /// Whether librdkafka reads, because there are old formats.
    is_client: bool,
    /// What was handed over, and what of it is committed.
    now: ModelState,
    committed: ModelState,
}

#[derive(Clone, Default)]
struct ModelState {
    partitions: BTreeMap<i32, Partition>,
}

#[derive(Clone)]
struct Partition {
    known: ResumePosition,
    records: Vec<(i64, u64)>,
    gone: u64,
}

/// How a topic's id looks.
fn id(topic: u64) -> Arc<str> {
    format!("topic-{topic}").into()
}

fn fetching(options: &KafkaOptions) -> Fetch {
    let settings = Settings::of(options).expect("nothing is set");
    Fetch::new(options, settings, &LIMITS)
}

impl ModelReader {
    pub(super) fn new(broker: &Broker) -> Self {
        let options = KafkaOptions {
            topic: "t".to_owned(),
            on_missing_offsets: MissingOffsets::Earliest,
            ..KafkaOptions::default()
        };
        let mut reader = ModelReader {
            fetch: fetching(&options),
            options,
            assembly: Assembly::new(LIMITS),
            wanted: VecDeque::new(),
            topic: None,
            cuts: BTreeMap::new(),
            probes: Probes::default(),
            starving: None,
            ended_at: None,
            is_client: false,
            now: ModelState::default(),
            committed: ModelState::default(),
        };
        reader.locate(broker);
        reader
    }

    /// Ends, and starts again from what is committed.
    pub(super) fn start_again(&mut self, broker: &Broker) {
        self.now = self.committed.clone();
        self.fetch = fetching(&self.options);
        self.assembly = Assembly::new(LIMITS);
        self.cuts.clear();
        self.probes = Probes::default();
        self.is_client = false;
        self.locate(broker);
    }

    /// Commits what was handed over.
    pub(super) fn commit(&mut self) {
        self.committed = self.now.clone();
    }

    fn known(&self, id: i32) -> Option<ResumePosition> {
        let committed = || Some(self.now.partitions.get(&id)?.known.clone());
        self.assembly.known(id).or_else(committed)
    }

    /// Decides anew where to read on, as a source does.
    pub(super) fn locate(&mut self, broker: &Broker) {
        let topic = id(broker.id);
        let mut positions = BTreeMap::new();
        for (id, log) in &broker.partitions {
            let found = PartitionFacts {
                marks: log.marks(),
                topic: Some(&topic),
                cut: self.cuts.get(id).copied(),
            };
            let known = self.known(*id);
            let position = match decide(&self.options, *id, known.clone(), true, &found) {
                Ok(position) => {
                    self.probes.forget(*id);
                    position
                }
                Err(SourceError::OffsetBeyondEnd { .. }) => {
                    let known = known.expect("beyond what was read");
                    let position = self.probes.beyond_end(&self.options, *id, &known);
                    position.expect("its leader says where it has something else")
                }
                Err(error) => panic!("{error}"),
            };
            positions.insert(*id, position);
        }
        self.fetch.assign(&positions);
        self.wanted.clear();
        self.starving = None;
        self.ended_at = None;
        self.cuts.clear();
        self.topic = Some(broker.id);
        for (id, position) in positions {
            let target = broker.partitions[&id].marks().high;
            self.assembly.place(id, format!("t/{id}"), position, target);
        }
        self.hand_over();
    }

    /// The connection ends; another one has the partitions then.
    pub(super) fn lose_connection(&mut self) {
        self.starving = None;
        let unassigned = self.wanted.drain(..).map(|w| (w.partition, w));
        self.fetch.unassigned.extend(unassigned);
    }

    /// Fetches once, as a connection does, or librdkafka in its place.
    pub(super) fn fetch(&mut self, random: &mut Random, broker: &mut Broker) {
        if self.ended_at.is_some() {
            return;
        }
        if self.fetch.wants_leaders() {
            if self.topic != Some(broker.id) {
                return self.locate(broker);
            }
            let unassigned = std::mem::take(&mut self.fetch.unassigned);
            self.wanted
                .extend(unassigned.into_values().map(|wanted| FetchPosition {
                    trust: Trust::Unchecked,
                    ..wanted
                }));
        }
        let ask = |wanted: &FetchPosition| {
            let log = broker.partitions.get_mut(&wanted.partition);
            log.expect("it was found").epoch_end(wanted)
        };
        let ends = unchecked(&mut self.wanted).iter().map(ask).collect();
        let told = check(&mut self.wanted, ends);
        self.tell(told);
        let checked = self.wanted.iter().filter(|w| w.trust != Trust::Unchecked);
        let requested: Vec<FetchPosition> = checked.copied().collect();
        if requested.is_empty() {
            return;
        }
        if self.is_client {
            return self.consume(random, broker, &requested);
        }
        let (response, old) = broker.response(random, &requested);
        let digest = match (digest(&response, &requested, true), old) {
            (Ok(digest), None) => digest,
            (Err(ConnectionEnd::TooOld(why)), Some(old)) => {
                let Old {
                    partition,
                    offset,
                    format,
                } = old;
                let expected = format!(
                    "partition {partition} at offset {offset}: it is in a format from before \
                     Kafka 0.11 (version {format})"
                );
                assert_eq!(why, expected);
                self.ended_at = Some(old);
                return self.tell(vec![FetchEvent::Ended {
                    broker: 1,
                    why: ConnectionEnd::TooOld(why),
                }]);
            }
            (Ok(_), Some(old)) => panic!("not a word about {old:?}"),
            (Err(_), _) => panic!("the response is good"),
        };
        if digest.starved.is_some() && digest.starved == self.starving {
            return self.lose_connection();
        }
        self.starving = digest.starved;
        let (told, parts) = advance(&mut self.wanted, digest);
        self.tell(told);
        self.tell(vec![FetchEvent::Fetched(Fetched {
            broker: 1,
            response: Arc::new(response),
            parts,
            _share: None,
        })]);
    }

    /// Takes what librdkafka reads.
    fn consume(&mut self, random: &mut Random, broker: &mut Broker, requested: &[FetchPosition]) {
        let mut anew = false;
        for read in requested {
            let partition = read.partition;
            let log = broker.partitions.get_mut(&partition);
            let consumed = log.expect("it was found").consume(random, read.offset);
            let consumed = match consumed {
                Ok(consumed) => consumed,
                Err(code) => {
                    anew |= self.note(&Polled::Error { partition, code }, Instant::now());
                    continue;
                }
            };
            for (offset, epoch, serial) in consumed.records {
                let record = Polled::Record {
                    partition,
                    offset,
                    epoch,
                    timestamp: None,
                    payload: Some(&serial.to_be_bytes()),
                    bytes: 8,
                };
                self.note(&record, Instant::now());
            }
            let offset = consumed.next;
            if consumed.is_end {
                self.note(&Polled::End { partition, offset }, Instant::now());
            }
            for wanted in self.wanted.iter_mut().filter(|w| w.partition == partition) {
                // Its leader is asked again: it may be another one by then.
                *wanted = FetchPosition {
                    offset,
                    epoch: consumed.epoch,
                    trust: Trust::Unchecked,
                    ..*wanted
                };
            }
        }
        if random.one_in(2) {
            self.assembly.flush_due(Instant::now());
        }
        self.hand_over();
        if anew {
            self.locate(broker);
        }
    }

    fn tell(&self, told: Vec<FetchEvent>) {
        for told in told {
            assert!(self.fetch.setup.out.send(told).is_ok(), "it listens");
        }
    }

    /// Takes a batch or so of what was fetched.
    pub(super) fn take(&mut self, random: &mut Random, broker: &Broker) {
        for _ in 0..1 + random.below(6) {
            let (mut anew, now) = (false, Instant::now());
            let mut sink = Sink {
                whole: broker.is_whole(),
                assembly: &mut self.assembly,
                cuts: &mut self.cuts,
                probes: &mut self.probes,
            };
            let taken = self.fetch.take(Duration::ZERO, |taken| {
                anew |= sink.note(&taken, now);
            });
            match taken {
                Ok(()) => {}
                Err(Stop::TooOld(_)) => {
                    let old = self.ended_at.expect("it was told");
                    let known = self.assembly.known(old.partition);
                    let read = known.map(|known| known.asked());
                    assert_eq!(read, Some(old.offset), "all before it was read");
                    self.is_client = true;
                    anew = true;
                }
                Err(Stop::Error(error)) => panic!("what was fetched can be read: {error}"),
            }
            if random.one_in(2) {
                self.assembly.flush_due(now);
            }
            self.hand_over();
            if anew {
                return self.locate(broker);
            }
        }
    }

    /// Takes something in as a source does; whether all is to be located anew.
    fn note(&mut self, taken: &Polled<'_>, now: Instant) -> bool {
        let mut sink = Sink {
            whole: false,
            assembly: &mut self.assembly,
            cuts: &mut self.cuts,
            probes: &mut self.probes,
        };
        sink.note(taken, now)
    }

    /// Takes what the source says, and checks that it keeps the contract.
    fn hand_over(&mut self) {
        while let Some(event) = self.assembly.next() {
            let SourceEvent::Chunk(chunk) = event else {
                continue;
            };
            let entry = self.now.partitions.entry(chunk.partition);
            let partition = entry.or_insert_with(|| Partition {
                known: ResumePosition {
                    to: chunk.from,
                    identity: PartitionIdentity::default(),
                },
                records: Vec::new(),
                gone: 0,
            });
            assert_eq!(chunk.from, partition.known.to, "spans follow on each other");
            partition.known.to = chunk.to;
            let text = chunk.identity.as_deref().expect("topics have ids");
            partition.known.identity = PartitionIdentity::parse(text).expect("it is one of ours");
            partition.gone += chunk.gone;
            let covered = chunk.from.abs_diff(chunk.to);
            assert!(chunk.len() as u64 + chunk.gone <= covered);
            for (i, offset) in chunk.offsets().iter().enumerate() {
                assert!((chunk.from..chunk.to).contains(offset));
                let serial = chunk.payload(i).try_into().map(u64::from_be_bytes);
                partition
                    .records
                    .push((*offset, serial.expect("eight bytes")));
            }
        }
    }

    /// Reads until nothing is left.
    pub(super) fn drain(&mut self, random: &mut Random, broker: &mut Broker) {
        // A log that was cut off and has grown to just where it was looks the same until its leader
        // is asked.
        let mut asked_again = false;
        for _ in 0..1_000 {
            let partitions = self.assembly.partitions().count();
            if self.topic != Some(broker.id) || partitions != broker.partitions.len() {
                self.locate(broker);
            }
            let is_fetched = !self.fetch.wants_leaders() && !self.wanted.is_empty();
            if asked_again && is_fetched && self.is_at_end(broker) {
                self.assembly.flush_due(Instant::now());
                self.hand_over();
                return;
            }
            if self.is_at_end(broker) {
                self.lose_connection();
                asked_again = true;
            }
            self.fetch(random, broker);
            while !self.fetch.told.is_empty() || self.fetch.current.is_some() {
                self.take(random, broker);
            }
        }
        let ends = broker.partitions.iter();
        let ends: Vec<_> = ends
            .map(|(id, log)| (id, self.assembly.known(*id), log.marks(), log.ends()))
            .collect();
        panic!(
            "it does not come to an end: wanted {:?}, unassigned {:?}; {ends:?}",
            self.wanted, self.fetch.unassigned
        );
    }

    fn is_at_end(&self, broker: &Broker) -> bool {
        let is_at_end = |(id, log): (&i32, &Log)| {
            let known = self.assembly.known(*id);
            known.is_some_and(|known| known.asked() == log.ends().high)
        };
        broker.partitions.iter().all(is_at_end)
    }

    /// Compares what was handed over with what the broker has.
    pub(super) fn check(&self, broker: &Broker) {
        let mut seen = BTreeSet::new();
        for (id, log) in &broker.partitions {
            let partition = &self.now.partitions[id];
            let offsets = partition.records.iter().map(|(offset, _)| *offset);
            assert!(offsets.is_sorted_by(|a, b| a < b), "offsets ascend");
            for (_, serial) in &partition.records {
                assert!(seen.insert(*serial), "record {serial} came twice");
                assert!(
                    !broker.aborted.contains(serial),
                    "record {serial} was aborted"
                );
            }
            let shift = partition.known.identity.shift;
            let by_offset: BTreeMap<i64, u64> = partition.records.iter().copied().collect();
            for (offset, serial) in log.committed() {
                if seen.contains(&serial) {
                    continue;
                }
                panic!(
                    "record {serial} at offset {offset} of partition {id} (shift {shift}) did not come; {:?}",
                    by_offset.range(offset + shift - 3..offset + shift + 3)
                );
            }
        }
        let ends = broker.partitions.iter();
        let ends = ends.map(|(id, log)| (*id, log.ends())).collect();
        assert!(self.assembly.lag(&ends).values().all(|lag| *lag == 0));
        assert_eq!(self.assembly.held(&ends), 0);
    }
}

/// Where what was read goes.
struct Sink<'a> {
    /// Whether no log was cut off, and the topic is the first one.
    whole: bool,
    assembly: &'a mut Assembly,
    cuts: &'a mut BTreeMap<i32, Cut>,
    probes: &'a mut Probes,
}

impl Sink<'_> {
    /// Takes something in as a source does; whether all is to be located anew.
    fn note(&mut self, taken: &Polled<'_>, now: Instant) -> bool {
        let Sink {
            assembly,
            cuts,
            probes,
            ..
        } = self;
        match *taken {
            Polled::Record {
                partition,
                offset,
                epoch,
                payload,
                bytes,
                ..
            } => {
                let record = BrokerRecord {
                    offset,
                    epoch,
                    timestamp: None,
                    payload,
                    bytes,
                };
                assembly.record(partition, &record, now);
                probes.forget(partition);
            }
            Polled::Passed {
                partition,
                offset,
                epoch,
            } => {
                assembly.pass(partition, offset, epoch);
                probes.forget(partition);
            }
            Polled::End { partition, offset } => {
                assembly.end(partition);
                assembly.cover(partition, offset, -1);
                probes.forget(partition);
            }
            Polled::Truncated { partition, cut } => {
                assert!(!self.whole, "partition {partition} has all that was read");
                cuts.insert(partition, cut);
                probes.forget(partition);
                return true;
            }
            Polled::Error { partition, code } => {
                if is_out_of_range(code) {
                    probes.in_vain(Some(partition));
                }
                return true;
            }
        }
        false
    }
}
