//! Records from the brokers without a client in between.
//!
//! librdkafka makes an object of every record, which a fifth of all CPU time goes into. Here an answer of a broker stays one piece
//! of memory until its records are copied into chunks, and nothing is allocated for a record.
//!
//! It does one thing: fetch, from known offsets. All else (metadata, offsets, the consumer group) stays with librdkafka, and so does
//! fetching where a setting asks for what is not here: TLS, SASL, a rack (`Settings::of`).
//!
//! A partition has one owner at any time: a [`Link`], which knows where it goes on, or [`Fetch::homeless`], when its broker does
//! not give it any more. Both change hands in the order of the one queue that all links share, so that nothing comes twice or not.

mod batch;
mod decompress;
mod link;
mod read_ahead;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use rdkafka::error::RDKafkaErrorCode;

use self::batch::{BadBatch, Batch};
use self::decompress::Decompressor;
use self::link::{Ending, Fetched, Link, Part, Setup, Told};
use self::read_ahead::ReadAhead;
use self::wire::Wanted;
use super::context::SAY_AFTER;
use super::messages::Taken;
use super::options::{CLIENT_ID, FETCH_WAIT_MS};
use super::positions::Position;
use super::{KafkaClient, KafkaOptions};
use crate::{ChunkLimits, SourceError};

/// Of librdkafka's settings, those that are followed here.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// What a broker knows this client as.
    client: String,
    wait: Duration,
    /// Bytes of one partition in an answer, if there is more.
    partition_bytes: usize,
    read_committed: bool,
}

/// Fetches the partitions of a topic from their leaders.
pub(super) struct Fetch {
    read_ahead_bytes: usize,
    links: BTreeMap<i32, Link>,
    /// Brokers that have not answered since their connection failed.
    failing: BTreeMap<i32, Failing>,
    /// Partitions that no link has.
    homeless: BTreeMap<i32, Wanted>,
    setup: Setup,
    told: Receiver<Told>,
    /// The answer that is being decoded.
    current: Option<Fetched>,
    decoder: Decoder,
    ends: BTreeMap<i32, i64>,
}

struct Failing {
    since: Instant,
    /// Whether it has been logged.
    said: bool,
}

/// Decodes the parts of an answer, a batch at a time.
struct Decoder {
    decompressor: Decompressor,
    /// Producers whose transactions, of the part that is decoded, end in an abort.
    aborting: BTreeSet<i64>,
}

/// Why fetching cannot go on here.
pub(super) enum Stop {
    /// librdkafka has to do it.
    TooOld(String),
    /// Nobody can.
    Error(SourceError),
}

impl Settings {
    /// The settings; none if librdkafka is to fetch, or has to, because one of them is not followed here.
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
            answer_bytes_max: options.receive_bytes_max(limits),
            read_ahead: ReadAhead::new(options.read_ahead_bytes),
            out,
        };
        Fetch {
            read_ahead_bytes: options.read_ahead_bytes,
            links: BTreeMap::new(),
            failing: BTreeMap::new(),
            homeless: BTreeMap::new(),
            setup,
            told,
            current: None,
            decoder: Decoder {
                decompressor: Decompressor::new(options.receive_bytes_max(limits)),
                aborting: BTreeSet::new(),
            },
            ends: BTreeMap::new(),
        }
    }

    /// Forgets all that is under way, and goes on from these positions, once their leaders are told.
    pub(super) fn assign(&mut self, positions: &BTreeMap<i32, Position>) {
        let (out, told) = unbounded();
        self.links.clear();
        self.current = None;
        self.setup.read_ahead.close();
        self.setup.read_ahead = ReadAhead::new(self.read_ahead_bytes);
        self.setup.out = out;
        self.told = told;
        self.homeless = positions
            .iter()
            .map(|(partition, position)| {
                let wanted = Wanted {
                    partition: *partition,
                    offset: position.at,
                    epoch: -1,
                };
                (*partition, wanted)
            })
            .collect();
    }

    /// Whether partitions wait for their leaders to be told.
    pub(super) fn wants_leaders(&self) -> bool {
        !self.homeless.is_empty()
    }

    /// Fetches the partitions without a link from these brokers, by partition and by number.
    pub(super) fn lead(
        &mut self,
        leaders: &BTreeMap<i32, i32>,
        brokers: &BTreeMap<i32, (String, u16)>,
    ) {
        let homeless = std::mem::take(&mut self.homeless);
        for (partition, wanted) in homeless {
            let leader = leaders.get(&partition).copied();
            let address = leader.and_then(|id| Some((id, brokers.get(&id)?)));
            let Some((broker, address)) = address else {
                self.homeless.insert(partition, wanted);
                continue;
            };
            if !self.links.contains_key(&broker) {
                match Link::start(broker, address.clone(), &self.setup) {
                    Ok(link) => self.links.insert(broker, link),
                    Err(error) => {
                        tracing::warn!(%error, "no thread can be started to fetch from Kafka; trying again. Look at the limit of processes (`ulimit -u`)");
                        self.homeless.insert(partition, wanted);
                        continue;
                    }
                };
            }
            if let Some(link) = self.links.get(&broker) {
                link.add(wanted);
            }
        }
        self.setup.read_ahead.share_among(self.links.len());
    }

    /// Where each partition ends, as far as known.
    pub(super) fn ends(&self) -> &BTreeMap<i32, i64> {
        &self.ends
    }

    /// Waits for an answer, unless one is there, and hands over the records of its next batch.
    pub(super) fn take(
        &mut self,
        wait: Duration,
        mut each: impl FnMut(Taken<'_>),
    ) -> Result<(), Stop> {
        if self.current.is_none() {
            let Ok(told) = self.told.recv_timeout(wait) else {
                return Ok(());
            };
            match told {
                Told::Fetched(fetched) => {
                    let ends = fetched.parts.iter().map(|part| (part.partition, part.end));
                    self.ends.extend(ends);
                    self.failing.remove(&fetched.broker);
                    self.current = Some(fetched);
                }
                Told::Left { wanted, code } => {
                    self.leave(wanted, code, &mut each);
                    return Ok(());
                }
                Told::Truncated {
                    partition,
                    end,
                    read,
                } => {
                    tracing::error!(
                        topic = &*self.setup.topic,
                        partition,
                        from = end,
                        to = read,
                        "the brokers lost these offsets after they had been read, and wrote others in their place, which are not read: send those again, and \
                        see that `unclean.leader.election.enable` is false"
                    );
                    return Ok(());
                }
                Told::Ended { broker, why } => return self.end(broker, why),
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
        match self.decoder.next(&fetched.answer, part, each) {
            Ok(true) => drop(fetched.parts.pop_front()),
            Ok(false) => {}
            Err(error) => {
                let offset = fetched.answer[at..].first_chunk();
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
    fn leave(&mut self, wanted: Wanted, code: RDKafkaErrorCode, each: &mut impl FnMut(Taken<'_>)) {
        tracing::debug!(partition = wanted.partition, %code, "a broker does not give a partition");
        self.homeless.insert(wanted.partition, wanted);
        // Whatever passes is over when its leader is asked again.
        if !super::source::passes(code) {
            each(Taken::Error(code));
        }
    }

    /// A link has ended.
    fn end(&mut self, broker: i32, why: Ending) -> Result<(), Stop> {
        if let Some(link) = self.links.remove(&broker) {
            let left = link.wanted();
            self.homeless.extend(left.iter().map(|w| (w.partition, *w)));
        }
        self.setup.read_ahead.share_among(self.links.len());
        match why {
            Ending::Connection(error) => {
                let failing = self.failing.entry(broker).or_insert_with(|| Failing {
                    since: Instant::now(),
                    said: false,
                });
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
            Ending::TooLarge(bytes) => Err(Stop::Error(SourceError::Kafka {
                topic: self.setup.topic.to_string(),
                action: "receive a batch of records",
                reason: format!(
                    "it has {bytes} bytes, and memory is bounded to {}; raise `receive.message.max.bytes` in `source.properties`",
                    self.setup.answer_bytes_max
                ),
            })),
            Ending::TooOld(reason) => Err(Stop::TooOld(reason)),
            Ending::Corrupt {
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
    /// Hands over the next batch of a part, or its end; whether the part is done with.
    ///
    /// # Errors
    /// Why the batch at the beginning of the part's records cannot be read.
    fn next(
        &mut self,
        answer: &[u8],
        part: &mut Part,
        mut each: impl FnMut(Taken<'_>),
    ) -> Result<bool, BadBatch> {
        let partition = part.partition;
        let Some((batch, rest)) = Batch::split(&answer[part.records.clone()])? else {
            self.aborting.clear();
            if part.is_end {
                let offset = part.next;
                each(Taken::End { partition, offset });
            }
            return Ok(true);
        };
        let behind = part.records.end - rest.len();
        while let Some((producer, _)) = part.aborted.pop_front_if(|(_, first)| *first < batch.next)
        {
            self.aborting.insert(producer);
        }
        if batch.is_marker() {
            if batch.is_abort()? {
                self.aborting.remove(&batch.producer);
            }
        } else if !batch.is_transactional() || !self.aborting.contains(&batch.producer) {
            batch.records(&mut self.decompressor, |record| {
                each(Taken::Record {
                    partition,
                    offset: record.offset,
                    timestamp: record.timestamp,
                    payload: record.value,
                });
            })?;
        }
        // Not before: a batch that cannot be read is not passed over.
        part.records.start = behind;
        Ok(false)
    }
}
