//! Records from the brokers without a client in between.
//!
//! librdkafka makes an object of every record, which a fifth of all CPU time goes into. Here a
//! response of a broker stays one piece of memory until its records are copied into chunks, and
//! nothing is allocated for a record.
//!
//! It does one thing: fetch, from known offsets. All else (metadata, offsets, the consumer group)
//! stays with librdkafka, and so does fetching where a setting asks for what is not here: TLS,
//! SASL, a rack (`Settings::of`).
//!
//! A partition has one owner at any time: a [`BrokerConnection`], which knows where it goes on, or
//! [`Fetch::unassigned`], when its broker does not give it any more. Both change hands in the order
//! of the one queue that all connections share, so that nothing comes twice or not.

mod batch;
mod connection;
mod decompress;
#[cfg(test)]
mod model;
mod read_ahead;
mod response;
#[cfg(test)]
mod tests;
mod unpack;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use rdkafka::error::RDKafkaErrorCode;

use self::batch::{BadBatch, KafkaBatch};
use self::connection::{BrokerConnection, ConnectionEnd, FetchEvent, Fetched, Setup};
use self::decompress::Decompressor;
use self::read_ahead::ReadAhead;
use self::response::PartitionBatches;
use self::unpack::ValueLimits;
use self::wire::{FetchPosition, Trust};
use super::context::SAY_AFTER;
use super::messages::Polled;
use super::options::{CLIENT_ID, FETCH_WAIT_MS};
use super::positions::Position;
use super::{KafkaClient, KafkaOptions};
use tidegate_source::{ChunkLimits, SourceError};

pub(super) use self::response::Ends;

/// Of librdkafka's settings, those that are followed here.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// What a broker knows this client as.
    client: String,
    wait: Duration,
    /// Bytes of one partition in a response, if there is more.
    partition_bytes: usize,
    read_committed: bool,
}

/// Fetches the partitions of a topic from their leaders.
pub(super) struct Fetch {
    read_ahead_bytes: usize,
    connections: BTreeMap<i32, BrokerConnection>,
    /// Brokers that have not answered since their connection failed.
    failing: BTreeMap<i32, Failing>,
    /// Partitions of which nothing whole comes.
    stuck: BTreeMap<i32, Stuck>,
    /// Partitions that no connection has.
    unassigned: BTreeMap<i32, FetchPosition>,
    setup: Setup,
    told: Receiver<FetchEvent>,
    /// The response that is being decoded.
    current: Option<Fetched>,
    decoder: Decoder,
    ends: BTreeMap<i32, Ends>,
}

/// A broker from which nothing can be fetched.
struct Failing {
    since: Instant,
    /// Whether it has been logged.
    said: bool,
    why: String,
}

/// A partition of which a broker sends nothing whole, although it has more.
struct Stuck {
    /// Where it goes on.
    offset: i64,
    since: Instant,
    tries: u32,
    /// What is said of it; empty before that is said.
    why: String,
}

/// Responses without anything whole, before they are said to be a fault.
const STUCK_TRIES: u32 = 3;

/// Decodes the parts of a response, a batch at a time. It keeps nothing of a part but memory: what
/// is known of one that is half decoded is in the part, and goes with it.
struct Decoder {
    decompressor: Decompressor,
    values: ValueLimits,
}

/// Bytes up to which a batch is decompressed in one piece. Larger ones are read as they decompress.
const WHOLE_BYTES: usize = 32 << 20;
/// Bytes that are taken of such a batch at a time.
const LARGE_BYTES: usize = 4 << 20;

/// Why fetching cannot go on here.
pub(super) enum Stop {
    /// librdkafka has to do it.
    TooOld(String),
    /// Nobody can.
    Error(SourceError),
}

impl Settings {
    /// The settings; none if librdkafka is to fetch, or has to, because one of them is not followed
    /// here.
    pub(super) fn of(options: &KafkaOptions) -> Option<Self> {
        if options.client == KafkaClient::Librdkafka {
            return None;
        }
        let mut settings = Settings {
            client: CLIENT_ID.to_owned(),
            wait: Duration::from_millis(FETCH_WAIT_MS),
            partition_bytes: 1 << 20,
            read_committed: !options.reads_uncommitted(),
        };
        for (key, value) in &options.properties {
            match key.as_str() {
                "isolation.level" => {}
                "client.id" => settings.client.clone_from(value),
                "security.protocol" if value.eq_ignore_ascii_case("plaintext") => {}
                "fetch.wait.max.ms" => settings.wait = Duration::from_millis(value.parse().ok()?),
                "fetch.message.max.bytes" | "max.partition.fetch.bytes" => {
                    settings.partition_bytes = value.parse().ok()?;
                }
                _ => return None,
            }
        }
        Some(settings)
    }
}

impl Fetch {
    pub(super) fn new(options: &KafkaOptions, settings: Settings, limits: &ChunkLimits) -> Self {
        let (out, told) = unbounded();
        let setup = Setup {
            topic: options.topic.as_str().into(),
            settings,
            response_bytes_max: options.receive_bytes_max(limits),
            read_ahead: ReadAhead::new(options.read_ahead_bytes),
            out,
        };
        Fetch {
            read_ahead_bytes: options.read_ahead_bytes,
            connections: BTreeMap::new(),
            failing: BTreeMap::new(),
            stuck: BTreeMap::new(),
            unassigned: BTreeMap::new(),
            setup,
            told,
            current: None,
            decoder: Decoder::new(WHOLE_BYTES, limits),
            ends: BTreeMap::new(),
        }
    }

    /// Forgets all that is under way, and goes on from these positions, once their leaders are
    /// told.
    pub(super) fn assign(&mut self, positions: &BTreeMap<i32, Position>) {
        let (out, told) = unbounded();
        self.connections.clear();
        self.stuck.clear();
        self.current = None;
        self.setup.read_ahead.close();
        self.setup.read_ahead = ReadAhead::new(self.read_ahead_bytes);
        self.setup.out = out;
        self.told = told;
        self.unassigned = positions
            .iter()
            .map(|(partition, position)| {
                let wanted = FetchPosition {
                    partition: *partition,
                    offset: position.fetch(),
                    epoch: position.identity.epoch,
                    trust: Trust::Unchecked,
                };
                (*partition, wanted)
            })
            .collect();
    }

    /// Whether partitions wait for their leaders to be told.
    pub(super) fn wants_leaders(&self) -> bool {
        !self.unassigned.is_empty()
    }

    /// Fetches the partitions without a connection from these brokers, by partition and by number.
    pub(super) fn set_leaders(
        &mut self,
        leaders: &BTreeMap<i32, i32>,
        brokers: &BTreeMap<i32, (String, u16)>,
    ) {
        let unassigned = std::mem::take(&mut self.unassigned);
        for (partition, mut wanted) in unassigned {
            // Another leader, or one that was away, may not have what was read.
            wanted.trust = Trust::Unchecked;
            let leader = leaders.get(&partition).copied();
            let address = leader.and_then(|id| Some((id, brokers.get(&id)?)));
            let Some((broker, address)) = address else {
                self.unassigned.insert(partition, wanted);
                continue;
            };
            if !self.connections.contains_key(&broker) {
                match BrokerConnection::start(broker, address.clone(), &self.setup) {
                    Ok(connection) => self.connections.insert(broker, connection),
                    Err(error) => {
                        tracing::warn!(%error, "no thread can be started to fetch from Kafka; trying again. Look at the limit of processes (`ulimit -u`)");
                        self.unassigned.insert(partition, wanted);
                        continue;
                    }
                };
            }
            if let Some(connection) = self.connections.get(&broker) {
                connection.add(wanted);
            }
        }
        self.setup.read_ahead.share_among(self.connections.len());
    }

    /// Where each partition ends, as far as known.
    pub(super) fn ends(&self) -> &BTreeMap<i32, Ends> {
        &self.ends
    }

    /// For how long nothing can be fetched from a broker, or of a partition, and why.
    pub(super) fn failing(&self) -> Option<(Duration, String)> {
        let said = self.failing.iter().filter(|(_, failing)| failing.said);
        let failing = said.map(|(broker, failing)| {
            let error = format!(
                "no records can be fetched from broker {broker} ({}); trying again. Check that its \
                 advertised address can be reached from here",
                failing.why
            );
            (failing.since.elapsed(), error)
        });
        let said = self.stuck.values().filter(|stuck| !stuck.why.is_empty());
        let stuck = said.map(|stuck| (stuck.since.elapsed(), stuck.why.clone()));
        failing.chain(stuck).max_by_key(|(elapsed, ..)| *elapsed)
    }

    /// Notes which partitions get on, and which get nothing whole again and again.
    fn note_stuck(&mut self, fetched: &Fetched) {
        for part in &fetched.parts {
            if !part.is_stuck {
                if !part.records.is_empty() || part.is_end {
                    self.stuck.remove(&part.partition);
                }
                continue;
            }
            let stuck = self.stuck.entry(part.partition).or_insert_with(|| Stuck {
                offset: part.next,
                since: Instant::now(),
                tries: 0,
                why: String::new(),
            });
            stuck.tries += 1;
            if !stuck.why.is_empty()
                || stuck.tries < STUCK_TRIES
                || stuck.since.elapsed() < SAY_AFTER
            {
                continue;
            }
            let (partition, offset) = (part.partition, stuck.offset);
            stuck.why = format!(
                "partition {partition}: broker {} has records at offset {offset}, and sends no whole \
                 batch of them; asking again. Look at its disk, and at the other replicas",
                fetched.broker
            );
            tracing::warn!("{}", stuck.why);
        }
    }

    /// Waits for a response, unless one is there, and hands over the records of its next batch.
    pub(super) fn take(
        &mut self,
        wait: Duration,
        mut each: impl FnMut(Polled<'_>),
    ) -> Result<(), Stop> {
        if self.current.is_none() {
            let Ok(told) = self.told.recv_timeout(wait) else {
                return Ok(());
            };
            match told {
                FetchEvent::Fetched(fetched) => {
                    let ends = fetched.parts.iter().map(|part| (part.partition, part.ends));
                    self.ends.extend(ends);
                    self.failing.remove(&fetched.broker);
                    self.note_stuck(&fetched);
                    self.current = Some(fetched);
                }
                FetchEvent::Left { wanted, code } => {
                    self.leave(wanted, code, &mut each);
                    return Ok(());
                }
                FetchEvent::Truncated { wanted, cut } => {
                    each(Polled::Truncated {
                        partition: wanted.partition,
                        cut,
                    });
                    return Ok(());
                }
                FetchEvent::Ended { broker, why } => return self.end(broker, why),
            }
        }
        let Some(fetched) = &mut self.current else {
            return Ok(());
        };
        let Some(part) = fetched.parts.front_mut() else {
            self.current = None;
            return Ok(());
        };
        let (partition, at) = (part.partition, part.records.start);
        match self.decoder.next(&fetched.response, part, each) {
            Ok(true) => drop(fetched.parts.pop_front()),
            Ok(false) => {}
            Err(error) => {
                let offset = fetched.response[at..].first_chunk();
                let offset = offset.map_or(0, |bytes| i64::from_be_bytes(*bytes));
                return Err(Stop::Error(self.corrupt(
                    partition,
                    offset,
                    &error.to_string(),
                )));
            }
        }
        Ok(())
    }

    /// A broker does not give a partition.
    fn leave(
        &mut self,
        wanted: FetchPosition,
        code: RDKafkaErrorCode,
        each: &mut impl FnMut(Polled<'_>),
    ) {
        tracing::debug!(partition = wanted.partition, %code, "a broker does not give a partition");
        self.unassigned.insert(wanted.partition, wanted);
        // Whatever passes is over when its leader is asked again.
        if !super::source::passes(code) {
            each(Polled::Error {
                partition: wanted.partition,
                code,
            });
        }
    }

    /// A connection has ended.
    fn end(&mut self, broker: i32, why: ConnectionEnd) -> Result<(), Stop> {
        if let Some(connection) = self.connections.remove(&broker) {
            let left = connection.wanted();
            self.unassigned
                .extend(left.iter().map(|w| (w.partition, *w)));
        }
        self.setup.read_ahead.share_among(self.connections.len());
        match why {
            ConnectionEnd::Connection(error) => {
                let failing = self.failing.entry(broker).or_insert_with(|| Failing {
                    since: Instant::now(),
                    said: false,
                    why: String::new(),
                });
                failing.why = error.to_string();
                if failing.said || failing.since.elapsed() < SAY_AFTER {
                    tracing::debug!(broker, %error, "a connection to Kafka failed; connecting again");
                } else {
                    failing.said = true;
                    tracing::warn!(
                        broker,
                        %error,
                        "no records can be fetched from a broker; trying again, and asking whether another one has its partitions"
                    );
                }
                Ok(())
            }
            ConnectionEnd::TooLarge(bytes) => Err(Stop::Error(SourceError::Kafka {
                topic: self.setup.topic.to_string(),
                action: "receive a batch of records",
                reason: format!(
                    "it has {bytes} bytes, and memory is bounded to {}; raise `receive.message.max.bytes` in `source.properties`",
                    self.setup.response_bytes_max
                ),
            })),
            ConnectionEnd::TooOld(reason) => Err(Stop::TooOld(reason)),
            ConnectionEnd::Corrupt {
                partition,
                offset,
                reason,
            } => Err(Stop::Error(self.corrupt(partition, offset, &reason))),
        }
    }

    fn corrupt(&self, partition: i32, offset: i64, reason: &str) -> SourceError {
        SourceError::Kafka {
            topic: self.setup.topic.to_string(),
            action: "read a batch of records",
            reason: format!(
                "partition {partition}, the batch at offset {offset}: {reason}. Look at the disk of its leader, and at its other replicas"
            ),
        }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.setup.read_ahead.close();
    }
}

impl Decoder {
    /// Batches of more than `whole_bytes` bytes are read as they decompress.
    fn new(whole_bytes: usize, limits: &ChunkLimits) -> Self {
        Decoder {
            decompressor: Decompressor::new(whole_bytes),
            values: ValueLimits {
                bytes_max: limits.record_bytes_max,
                bytes_kept: limits.truncated_bytes(),
            },
        }
    }

    /// Hands over the next batch of a part, or a piece of it, or the part's end; whether the part
    /// is done with.
    ///
    /// # Errors
    /// Why the batch at the beginning of the part's records cannot be read.
    fn next(
        &mut self,
        response: &Arc<Vec<u8>>,
        part: &mut PartitionBatches,
        mut each: impl FnMut(Polled<'_>),
    ) -> Result<bool, BadBatch> {
        let partition = part.partition;
        let Some((batch, rest)) = KafkaBatch::split(&response[part.records.clone()])? else {
            let (offset, epoch) = (part.next, part.epoch);
            each(Polled::Passed {
                partition,
                offset,
                epoch,
            });
            if part.is_end {
                each(Polled::End { partition, offset });
            }
            return Ok(true);
        };
        let after = part.records.end - rest.len();
        while let Some((producer, _)) = part.aborted.pop_front_if(|(_, first)| *first < batch.next)
        {
            part.aborting.insert(producer);
        }
        let mut is_done = true;
        if batch.is_marker() {
            if batch.is_abort()? {
                part.aborting.remove(&batch.producer);
            }
        } else if !batch.is_transactional() || !part.aborting.contains(&batch.producer) {
            let each = |record: batch::KafkaRecord<'_>| {
                each(Polled::Record {
                    partition,
                    offset: record.offset,
                    epoch: batch.epoch,
                    timestamp: record.timestamp,
                    payload: record.value,
                    bytes: record.bytes,
                });
            };
            is_done = self.records(response, &batch, part, each)?;
        }
        // Not before: a batch that cannot be read is not passed over.
        if is_done {
            part.large = None;
            part.records.start = after;
        }
        Ok(false)
    }

    /// Hands over the records of a batch, or some of them; whether those were the last.
    fn records(
        &mut self,
        response: &Arc<Vec<u8>>,
        batch: &KafkaBatch<'_>,
        part: &mut PartitionBatches,
        mut each: impl FnMut(batch::KafkaRecord<'_>),
    ) -> Result<bool, BadBatch> {
        if part.large.is_none() {
            if batch.records(&mut self.decompressor, &mut each)? {
                return Ok(true);
            }
            part.large = Some(Box::new(batch.unpack(response, part.records.start)?));
        }
        let Some(large) = &mut part.large else {
            return Ok(true);
        };
        let done = large.records(self.values, LARGE_BYTES, each);
        if done.is_err() {
            // Whoever tries again begins with the batch: what has come of it is known by its
            // offsets.
            part.large = None;
        }
        done
    }
}
