//! The source: the client, polled from one thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::KafkaOptions;
use super::assembly::Assembly;
use super::context::{Context, Shared};
use super::fetch::{Fetch, Settings, Stop};
use super::group::{Closing, Untold};
use super::messages::{self, Messages, Taken};
use super::positions::{Position, Watermarks, decide, partition_name};
use crate::{ChunkLimits, Resume, Source, SourceError, SourceEvent};

/// How long one question to the cluster may take.
const ASK: Duration = Duration::from_secs(5);
/// How long the question for the topic may take, which is the one that is asked while no broker is
/// reachable: short, because nothing else is done meanwhile.
const ASK_TOPIC: Duration = Duration::from_secs(2);
/// How long to wait before the cluster is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long an offset behind the end is given to appear: a broker that has just started may not know
/// its end yet.
const END_WAIT: Duration = Duration::from_secs(15);

/// A source over one topic; see the module.
pub struct KafkaSource {
    options: KafkaOptions,
    consumer: Arc<BaseConsumer<Context>>,
    reader: Reader,
    shared: Arc<Shared>,
    assembly: Assembly,
    resume: BTreeMap<i32, i64>,
    /// Whether the job has read the topic before.
    founded: bool,
    /// When the cluster is asked for partitions and offsets the next time; `None` while messages
    /// are read from an assignment that stands.
    locate_at: Option<Instant>,
    /// When the cluster may be asked for leaders the next time.
    lead_at: Instant,
    discovered: Instant,
    topic_missing: Option<Instant>,
    end_missing: Option<Instant>,
    untold: Untold,
    /// Behind `consumer` and `reader`, so that it is the last that has the client.
    _closing: Closing,
}

/// Where records come from.
enum Reader {
    /// The brokers.
    Fetch(Box<Fetch>),
    /// librdkafka.
    Client(Messages),
}

/// Why partitions and offsets could not be found out.
enum Obstacle {
    /// May pass.
    Passing,
    Fatal(SourceError),
}

impl From<SourceError> for Obstacle {
    fn from(error: SourceError) -> Self {
        Obstacle::Fatal(error)
    }
}

impl KafkaSource {
    /// Sets the client up. The cluster is contacted by the first polls.
    ///
    /// # Errors
    /// If an option or property cannot be used, or `resume` is from another topic.
    pub fn open(
        options: &KafkaOptions,
        resume: &Resume,
        limits: ChunkLimits,
    ) -> Result<Self, SourceError> {
        options.check()?;
        for (id, partition) in &resume.partitions {
            if partition.name != partition_name(&options.topic, *id) {
                let message = format!(
                    "it has positions in `{}`, and `source.topic` is `{}`",
                    partition.name, options.topic
                );
                return Err(SourceError::OtherSource { message });
            }
        }
        let shared = Arc::new(Shared::default());
        let context = Context {
            topic: options.topic.clone(),
            reads_uncommitted: options.reads_uncommitted(),
            shared: Arc::clone(&shared),
        };
        let consumer = options
            .client_config(&limits)
            .create_with_context(context)
            .map_err(|error: KafkaError| match error {
                KafkaError::ClientConfig(_, reason, key, value) => SourceError::option(
                    format!("source.properties.{key}"),
                    format!("librdkafka refuses `{value}`: {reason}"),
                ),
                other => SourceError::Kafka {
                    topic: options.topic.clone(),
                    action: "set up the client",
                    reason: other.to_string(),
                },
            })?;
        let consumer = Arc::new(consumer);
        let reader = match Settings::of(options) {
            Some(settings) => Reader::Fetch(Box::new(Fetch::new(options, settings, &limits))),
            None => client_reader(&consumer, options)?,
        };
        Ok(KafkaSource {
            options: options.clone(),
            _closing: Closing::new(&consumer),
            consumer,
            reader,
            shared,
            assembly: Assembly::new(limits),
            resume: resume
                .partitions
                .iter()
                .map(|(id, p)| (*id, p.offset))
                .collect(),
            founded: !resume.partitions.is_empty(),
            locate_at: Some(Instant::now()),
            lead_at: Instant::now(),
            discovered: Instant::now(),
            topic_missing: None,
            end_missing: None,
            untold: Untold::default(),
        })
    }

    /// Finds out which partitions there are and where they begin and end, decides where to read
    /// on, and assigns all of them.
    fn locate(&mut self) -> Result<(), Obstacle> {
        let mut marks = BTreeMap::new();
        for id in self.ask_partitions()? {
            let asked = self.consumer.fetch_watermarks(&self.options.topic, id, ASK);
            let (low, high) = asked.map_err(|error| self.obstacle("ask for offsets", &error))?;
            marks.insert(id, Watermarks { low, high });
        }
        let expected = self
            .resume
            .keys()
            .copied()
            .chain(self.assembly.partitions());
        if let Some(partition) = expected.filter(|id| !marks.contains_key(id)).min() {
            let at = self.known(partition).unwrap_or(0);
            return Err(self.beyond_end(SourceError::OffsetBeyondEnd {
                topic: self.options.topic.clone(),
                partition,
                asked: at,
                high: 0,
            }));
        }
        let mut positions = BTreeMap::new();
        for (id, marks) in &marks {
            match decide(&self.options, *id, self.known(*id), self.founded, *marks) {
                Ok(position) => positions.insert(*id, position),
                Err(error @ SourceError::OffsetBeyondEnd { .. }) => {
                    return Err(self.beyond_end(error));
                }
                Err(error) => return Err(error.into()),
            };
        }
        self.end_missing = None;
        self.shared.find();
        match &mut self.reader {
            Reader::Fetch(fetch) => fetch.assign(&positions),
            Reader::Client(messages) => {
                let assigned = messages.assign(&positions);
                assigned.map_err(|error| self.failure("assign partitions", &error))?;
            }
        }
        for (id, position) in positions {
            let Position { from, at } = position;
            if at > from {
                tracing::warn!(
                    topic = self.options.topic,
                    partition = id,
                    from,
                    to = at,
                    "records expired before they were read; going on behind them"
                );
            }
            let name = partition_name(&self.options.topic, id);
            self.assembly.place(id, name, position, marks[&id].high);
        }
        self.founded = true;
        self.discovered = Instant::now();
        self.locate_at = None;
        Ok(())
    }

    /// Numbers of the topic's partitions.
    fn ask_partitions(&mut self) -> Result<Vec<i32>, Obstacle> {
        let topic = &self.options.topic;
        let metadata = self
            .consumer
            .fetch_metadata(Some(topic), ASK_TOPIC)
            .map_err(|error| self.obstacle("ask for the topic", &error))?;
        let found = metadata.topics().iter().find(|t| t.name() == topic);
        let error = found.and_then(|t| t.error()).map(RDKafkaErrorCode::from);
        let ids: Vec<i32> = found
            .iter()
            .flat_map(|t| t.partitions())
            .map(|partition| partition.id())
            .collect();
        match error {
            None if !ids.is_empty() => {
                self.topic_missing = None;
                Ok(ids)
            }
            None
            | Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                self.shared.find();
                let since = *self.topic_missing.get_or_insert_with(|| {
                    tracing::warn!(topic, "the topic does not exist; waiting for it");
                    Instant::now()
                });
                match self.options.topic_wait {
                    Some(after) if since.elapsed() >= after => {
                        Err(Obstacle::Fatal(SourceError::TopicMissing {
                            topic: topic.clone(),
                            brokers: self.options.brokers.clone(),
                            after,
                        }))
                    }
                    _ => Err(Obstacle::Passing),
                }
            }
            Some(code) => Err(self.obstacle("ask for the topic", &KafkaError::MetadataFetch(code))),
        }
    }

    /// Where to go on in a partition, if that is known.
    fn known(&self, partition: i32) -> Option<i64> {
        self.assembly
            .position(partition)
            .or_else(|| self.resume.get(&partition).copied())
    }

    fn beyond_end(&mut self, error: SourceError) -> Obstacle {
        let since = *self.end_missing.get_or_insert_with(Instant::now);
        if since.elapsed() < END_WAIT {
            Obstacle::Passing
        } else {
            Obstacle::Fatal(error)
        }
    }

    /// What to make of a question that failed.
    fn obstacle(&self, action: &'static str, error: &KafkaError) -> Obstacle {
        match error.rdkafka_error_code() {
            Some(code) if passes(code) => {
                if is_connection(code) {
                    self.shared.lose(&code.to_string());
                }
                Obstacle::Passing
            }
            _ => Obstacle::Fatal(self.failure(action, error)),
        }
    }

    fn failure(&self, action: &'static str, error: &KafkaError) -> SourceError {
        SourceError::Kafka {
            topic: self.options.topic.clone(),
            action,
            reason: error.to_string(),
        }
    }

    /// Takes what the client has, or waits for something until `until`.
    fn take(&mut self, until: Instant) -> Result<(), SourceError> {
        self.settle()?;
        if self.locate_at.is_some_and(|at| at <= Instant::now()) {
            return Ok(());
        }
        let now = Instant::now();
        let mut wait = until.saturating_duration_since(now);
        if let Some(due) = self.assembly.due_in(now) {
            wait = wait.min(due);
        }
        let mut errors = Vec::new();
        // The time of a record's arrival matters only to the linger: that of the first message of a batch will do.
        let mut arrived = None;
        let assembly = &mut self.assembly;
        let each = |taken: Taken<'_>| match taken {
            Taken::Record {
                partition,
                offset,
                timestamp,
                payload,
            } => {
                let now = *arrived.get_or_insert_with(Instant::now);
                let timestamp = timestamp.and_then(|millis| millis.checked_mul(1000));
                assembly.record(partition, offset, timestamp, payload, now);
            }
            Taken::End { partition, offset } => {
                assembly.end(partition);
                // The markers of transactions are behind the last records, and are not handed out.
                assembly.cover(partition, offset);
            }
            Taken::Error(code) => errors.push(KafkaError::MessageConsumption(code)),
        };
        match &mut self.reader {
            Reader::Client(messages) => messages.take(wait, each),
            Reader::Fetch(fetch) => match fetch.take(wait, each) {
                Ok(()) => {}
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::TooOld(reason)) => {
                    tracing::info!(topic = self.options.topic, reason, "librdkafka reads on");
                    self.reader = client_reader(&self.consumer, &self.options)?;
                    self.locate_at = Some(Instant::now());
                }
            },
        }
        errors.iter().try_for_each(|error| self.fault(error))
    }

    /// Serves the client's events, and sees that messages come out of [`Messages`].
    ///
    /// Should messages go past its queue for want of the forwarding, they are seen here before any that come later, and everything is
    /// read again from where it is known.
    fn settle(&mut self) -> Result<(), SourceError> {
        if let Reader::Client(messages) = &self.reader {
            messages.forward();
        }
        loop {
            match self.consumer.poll(Duration::ZERO) {
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => {
                    self.locate_at = Some(Instant::now());
                }
                Some(Err(error)) => self.fault(&error)?,
                // The client has served an event of its own.
                None if messages::has_events(&self.consumer) => {}
                None => return Ok(()),
            }
        }
    }

    /// Deals with what the client reports instead of a message.
    fn fault(&mut self, error: &KafkaError) -> Result<(), SourceError> {
        let code = match error {
            KafkaError::MessageConsumption(code) => Some(*code),
            _ => None,
        };
        match code {
            // Which partition it is, and whether records are lost, is found out anew for all.
            Some(
                RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::LogTruncation
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition,
            ) => {
                self.locate_at = Some(Instant::now());
                Ok(())
            }
            Some(code) if passes(code) => {
                tracing::debug!(%error, "Kafka; the client tries again");
                Ok(())
            }
            _ => Err(self.failure("go on reading", error)),
        }
    }

    /// When leaders are to be asked for, if they are.
    fn lead_due(&self) -> Option<Instant> {
        match &self.reader {
            Reader::Fetch(fetch) if fetch.wants_leaders() => Some(self.lead_at),
            _ => None,
        }
    }

    /// Asks which brokers have the partitions that nobody fetches, when it is time to.
    fn lead_if_due(&mut self) -> Result<(), SourceError> {
        if self.lead_due().is_none_or(|at| Instant::now() < at) {
            return Ok(());
        }
        let topic = &self.options.topic;
        let asked = self.consumer.fetch_metadata(Some(topic), ASK_TOPIC);
        self.lead_at = Instant::now() + ASK_AGAIN;
        let metadata = match asked {
            Ok(metadata) => metadata,
            Err(error) => {
                return match self.obstacle("ask for the leaders of partitions", &error) {
                    Obstacle::Passing => Ok(()),
                    Obstacle::Fatal(error) => Err(error),
                };
            }
        };
        let brokers = metadata.brokers().iter().filter_map(|broker| {
            let port = u16::try_from(broker.port()).ok()?;
            Some((broker.id(), (broker.host().to_owned(), port)))
        });
        let found = metadata.topics().iter().find(|t| t.name() == topic);
        let leaders = found
            .iter()
            .flat_map(|t| t.partitions())
            .map(|partition| (partition.id(), partition.leader()));
        if let Reader::Fetch(fetch) = &mut self.reader {
            fetch.lead(&leaders.collect(), &brokers.collect());
        }
        Ok(())
    }

    /// Asks for partitions and offsets when it is time to.
    fn locate_if_due(&mut self) -> Result<(), SourceError> {
        if self.locate_at.is_none_or(|at| Instant::now() < at) {
            return Ok(());
        }
        match self.locate() {
            Ok(()) => Ok(()),
            Err(Obstacle::Fatal(error)) => Err(error),
            Err(Obstacle::Passing) => {
                self.locate_at = Some(Instant::now() + ASK_AGAIN);
                Ok(())
            }
        }
    }

    /// Looks for partitions that were added, or are not there any more.
    fn discover(&mut self) -> Result<(), SourceError> {
        let lost = self.shared.lost_for().is_some();
        if lost
            || self.locate_at.is_some()
            || self.discovered.elapsed() < self.options.discover_every
        {
            return Ok(());
        }
        self.discovered = Instant::now();
        match self.ask_partitions() {
            Ok(ids) => {
                let ids: BTreeSet<i32> = ids.into_iter().collect();
                if !self.assembly.partitions().eq(ids) {
                    tracing::info!(topic = self.options.topic, "the topic has other partitions");
                    self.locate_at = Some(Instant::now());
                }
            }
            // What is missing is asked for again until it is there, or has been waited for long enough.
            Err(Obstacle::Passing) if self.topic_missing.is_some() => {
                self.locate_at = Some(Instant::now());
            }
            Err(Obstacle::Passing) => {}
            Err(Obstacle::Fatal(error)) => return Err(error),
        }
        Ok(())
    }

    /// Tells the group what is committed, once a broker is there to take it.
    fn tell_group(&mut self) {
        if self.shared.lost_for().is_none() {
            self.untold.tell(&self.consumer, &self.options.topic);
        }
    }

    /// Says that the cluster is unreachable, or gives up on it, if that is configured.
    fn check_reachable(&self) -> Result<(), SourceError> {
        self.shared.say_lost();
        match (self.options.fail_after, self.shared.lost_for()) {
            (Some(limit), Some((after, reason))) if after >= limit => {
                Err(SourceError::Unreachable {
                    brokers: self.options.brokers.clone(),
                    reason,
                    after,
                })
            }
            _ => Ok(()),
        }
    }
}

impl Source for KafkaSource {
    fn poll(&mut self, wait: Duration) -> Result<SourceEvent, SourceError> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(event) = self.assembly.next() {
                return Ok(event);
            }
            self.locate_if_due()?;
            self.lead_if_due()?;
            self.check_reachable()?;
            self.discover()?;
            self.tell_group();
            let due = self.locate_at.into_iter().chain(self.lead_due());
            let until = due.fold(deadline, Instant::min);
            self.take(until)?;
            let now = Instant::now();
            self.assembly.flush_due(now);
            if self.locate_at.is_none() {
                self.assembly.say_caught_up();
            } else {
                // Without an assignment the client may return at once.
                thread::sleep(until.saturating_duration_since(now));
            }
            if !self.assembly.has_events() && Instant::now() >= deadline {
                return Ok(SourceEvent::Nothing);
            }
        }
    }

    fn committed(&mut self, positions: &BTreeMap<i32, i64>) {
        self.untold.add(positions);
        self.tell_group();
    }

    fn lag(&self) -> BTreeMap<i32, u64> {
        match &self.reader {
            Reader::Fetch(fetch) => self.assembly.lag(fetch.ends()),
            Reader::Client(_) => self.assembly.lag(&self.shared.ends()),
        }
    }
}

fn client_reader(
    consumer: &Arc<BaseConsumer<Context>>,
    options: &KafkaOptions,
) -> Result<Reader, SourceError> {
    let messages = Messages::new(consumer, &options.topic).ok_or_else(|| {
        SourceError::option("source.topic", "no topic has a NUL in its name".to_owned())
    })?;
    Ok(Reader::Client(messages))
}

/// Whether it is the connection that is missing.
fn is_connection(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::SSL
    )
}

/// Whether the client, or the cluster, gets over this by itself. What is not listed stops the source,
/// because it could mean that records were passed over: a batch with a wrong checksum, say.
pub(super) fn passes(code: RDKafkaErrorCode) -> bool {
    is_connection(code)
        || matches!(
            code,
            RDKafkaErrorCode::BrokerNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::FencedLeaderEpoch
                | RDKafkaErrorCode::FetchSessionIdNotFound
                | RDKafkaErrorCode::InvalidFetchSessionEpoch
                | RDKafkaErrorCode::KafkaStorageError
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NetworkException
                | RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::OffsetNotAvailable
                | RDKafkaErrorCode::ReplicaNotAvailable
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::UnknownLeaderEpoch
                | RDKafkaErrorCode::WaitingForCoordinator
        )
}
