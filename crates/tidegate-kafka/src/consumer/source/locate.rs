//! Where to read: partitions, offsets, the topic's id, and leaders, as the cluster says them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::codes::{is_refusal, passes};
use super::trouble::DiscoverError;
use super::{KafkaSource, RETRY_PAUSE, RecordSource, TOPIC};
use crate::consumer::positions::{
    PartitionFacts, Position, ResumePosition, Watermarks, anew, decide, partition_name,
};
use crate::consumer::topic_id;
use crate::consumer::trouble::Trouble;
use tidegate_source::SourceError;

/// How long one question to the cluster may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the question for the topic may take, which is the one that is asked while no broker is
/// reachable: short, because nothing else is done meanwhile.
pub(super) const TOPIC_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait for an offset beyond the end of its partition: a broker that has just started
/// may not know its end yet.
const END_WAIT: Duration = Duration::from_secs(15);
/// How often the topic's id is asked for in vain, before reading goes on without it.
const ID_TRIES: u32 = 3;
impl KafkaSource {
    /// Finds out which partitions there are and where they begin and end, decides where to read
    /// on, and assigns all of them.
    pub(super) fn locate(&mut self) -> Result<(), DiscoverError> {
        let ids = self.request_partitions()?;
        let topic_id = self.request_topic_id()?;
        let mut marks = BTreeMap::new();
        for id in ids {
            let response = self
                .consumer
                .fetch_watermarks(&self.options.topic, id, REQUEST_TIMEOUT);
            let (low, high) = response.map_err(|error| self.obstacle("ask for offsets", &error))?;
            marks.insert(id, Watermarks { low, high });
        }
        self.check_partitions(&marks, topic_id.as_ref())?;
        if topic_id.is_none() {
            self.recall(&marks);
        }
        let mut positions = BTreeMap::new();
        for (id, marks) in &marks {
            let position = self.decide(*id, *marks, topic_id.as_ref())?;
            positions.insert(*id, position);
        }
        self.end_missing = None;
        self.shared.find();
        match &mut self.reader {
            RecordSource::Fetch(fetch) => fetch.assign(&positions),
            RecordSource::Client(messages) => {
                if let Err(error) = messages.assign(&positions) {
                    return Err(self.obstacle("assign partitions", &error));
                }
            }
        }
        self.topic_id = topic_id;
        self.is_same_topic = true;
        self.cuts.clear();
        for (id, position) in positions {
            self.say_position(id, &position);
            let name = partition_name(&self.options.topic, id);
            self.assembly.place(id, name, position, marks[&id].high);
        }
        self.founded = true;
        self.discovered = Instant::now();
        self.locate_at = None;
        Ok(())
    }

    /// Sees that all partitions are there that were read.
    pub(super) fn check_partitions(
        &mut self,
        marks: &BTreeMap<i32, Watermarks>,
        topic: Option<&Arc<str>>,
    ) -> Result<(), DiscoverError> {
        let resumed = self.resume.keys().copied();
        let expected = resumed.chain(self.assembly.partitions());
        let Some(partition) = expected.filter(|id| !marks.contains_key(id)).min() else {
            return Ok(());
        };
        let nothing = Watermarks { low: 0, high: 0 };
        match self.decide(partition, nothing, topic) {
            Err(DiscoverError::Fatal(error @ SourceError::OtherTopic { .. })) => Err(error.into()),
            _ => {
                let known = self.known(partition);
                Err(self.beyond_end(SourceError::PartitionGone {
                    topic: self.options.topic.clone(),
                    partition,
                    read: known.map_or(0, |known| known.asked()),
                    partitions: marks.len(),
                }))
            }
        }
    }

    /// Decides where to go on in a partition.
    pub(super) fn decide(
        &mut self,
        id: i32,
        marks: Watermarks,
        topic: Option<&Arc<str>>,
    ) -> Result<Position, DiscoverError> {
        let found = PartitionFacts {
            marks,
            topic,
            cut: self.cuts.get(&id).copied(),
        };
        let known = self.known(id);
        let error = match decide(&self.options, id, known.clone(), self.founded, &found) {
            Err(error @ SourceError::OffsetBeyondEnd { .. }) => error,
            decided => {
                self.probes.forget(id);
                return decided.map_err(DiscoverError::Fatal);
            }
        };
        match (self.beyond_end(error), known) {
            // Its leader says since where it has something else, when it is asked for what follows.
            (DiscoverError::Fatal(error), Some(known)) => {
                let position = self.probes.beyond_end(&self.options, id, &known);
                position
                    .or_else(|| anew(&self.options, &known, &found))
                    .ok_or(DiscoverError::Fatal(error))
            }
            (obstacle, _) => Err(obstacle),
        }
    }

    /// Says where reading does not go on where it was.
    pub(super) fn say_position(&mut self, partition: i32, position: &Position) {
        let Position { from, at, .. } = *position;
        let topic = &self.options.topic;
        if position.is_replaced {
            self.replaced += 1;
            tracing::error!(
                topic,
                partition,
                offset = from,
                at_broker = position.fetch(),
                "the brokers do not have the history that was read: the topic was made anew, or cut off. What was read stays; going on \
                 with what they have now, with the offsets that follow. What was lost before it was read is not known"
            );
        }
        if at > from {
            tracing::warn!(
                topic,
                partition,
                from,
                to = at,
                "records expired before they were read; going on after them"
            );
        }
    }

    /// Asks for the topic's id; none if it has none, or that cannot be known.
    pub(super) fn request_topic_id(&mut self) -> Result<Option<Arc<str>>, DiscoverError> {
        let error =
            match topic_id::request(&self.consumer, &self.options.topic, TOPIC_REQUEST_TIMEOUT) {
                Ok(id) => {
                    self.id_failed = 0;
                    return Ok(id);
                }
                Err(error) => error,
            };
        self.id_failed += 1;
        let code = error.rdkafka_error_code();
        if self.id_failed < ID_TRIES && code.is_some_and(passes) {
            return Err(DiscoverError::Passing);
        }
        if self.id_failed == ID_TRIES || !code.is_some_and(passes) {
            tracing::warn!(
                topic = self.options.topic,
                %error,
                "the topic's id cannot be asked for; going on without it: should the topic be made anew, only leader epochs and \
                 offsets can tell"
            );
        }
        Ok(None)
    }

    /// Whether the topic is the one that is read, as far as that is known.
    pub(super) fn is_topic(&self, id: Option<&Arc<str>>) -> bool {
        self.topic_id
            .as_ref()
            .zip(id)
            .is_none_or(|(before, now)| before == now)
    }

    /// Numbers of the topic's partitions.
    pub(super) fn request_partitions(&mut self) -> Result<Vec<i32>, DiscoverError> {
        let topic = &self.options.topic.clone();
        let metadata = self
            .consumer
            .fetch_metadata(Some(topic), TOPIC_REQUEST_TIMEOUT)
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
                self.let_in(TOPIC);
                Ok(ids)
            }
            None
            | Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                self.shared.find();
                let now = self.shared.now();
                let missing = self.topic_missing.get_or_insert_with(|| {
                    tracing::warn!(topic, "the topic does not exist; waiting for it");
                    Trouble::new("the topic does not exist", now)
                });
                match self.options.topic_wait {
                    Some(after) if missing.elapsed() >= after => {
                        Err(DiscoverError::Fatal(SourceError::TopicMissing {
                            topic: topic.clone(),
                            brokers: self.options.brokers.clone(),
                            after,
                        }))
                    }
                    _ => Err(DiscoverError::Passing),
                }
            }
            Some(code) => Err(self.obstacle("ask for the topic", &KafkaError::MetadataFetch(code))),
        }
    }

    /// Where to go on in a partition, if that is known.
    pub(super) fn known(&self, partition: i32) -> Option<ResumePosition> {
        self.assembly
            .known(partition)
            .or_else(|| self.resume.get(&partition).cloned())
    }

    pub(super) fn beyond_end(&mut self, error: SourceError) -> DiscoverError {
        let since = *self.end_missing.get_or_insert_with(Instant::now);
        if since.elapsed() < END_WAIT {
            DiscoverError::Passing
        } else {
            DiscoverError::Fatal(error)
        }
    }

    /// When leaders are to be asked for, if they are.
    pub(super) fn lead_due(&self) -> Option<Instant> {
        match &self.reader {
            RecordSource::Fetch(fetch) if fetch.wants_leaders() => Some(self.lead_at),
            _ => None,
        }
    }

    /// Asks which brokers have the partitions that nobody fetches, when it is time to.
    pub(super) fn lead_if_due(&mut self) -> Result<(), SourceError> {
        if self.lead_due().is_none_or(|at| Instant::now() < at) {
            return Ok(());
        }
        self.lead_at = Instant::now() + RETRY_PAUSE;
        let topic = &self.options.topic.clone();
        let response = self
            .consumer
            .fetch_metadata(Some(topic), TOPIC_REQUEST_TIMEOUT);
        let metadata = match response {
            Ok(metadata) => metadata,
            Err(error) => {
                return match self.obstacle("ask for the leaders of partitions", &error) {
                    DiscoverError::Passing => Ok(()),
                    DiscoverError::Fatal(error) => Err(error),
                };
            }
        };
        if !std::mem::replace(&mut self.is_same_topic, false) {
            // While nobody fetched, the topic may have been made anew, and grown beyond what was
            // read.
            match self.request_topic_id() {
                Ok(id) if self.is_topic(id.as_ref()) => {}
                Ok(_) => {
                    self.locate_at = Some(Instant::now());
                    return Ok(());
                }
                Err(DiscoverError::Passing) => return Ok(()),
                Err(DiscoverError::Fatal(error)) => return Err(error),
            }
        }
        let brokers = metadata.brokers().iter().filter_map(|broker| {
            let port = u16::try_from(broker.port()).ok()?;
            Some((broker.id(), (broker.host().to_owned(), port)))
        });
        let found = metadata.topics().iter().find(|t| t.name() == topic);
        let error = found.and_then(|t| t.error()).map(RDKafkaErrorCode::from);
        if let Some(code) = error.filter(|code| is_refusal(*code)) {
            let pause = self.refuse(TOPIC, &code.to_string());
            self.lead_at = Instant::now() + pause;
            return Ok(());
        }
        self.let_in(TOPIC);
        let leaders = found
            .iter()
            .flat_map(|t| t.partitions())
            .map(|partition| (partition.id(), partition.leader()));
        if let RecordSource::Fetch(fetch) = &mut self.reader {
            fetch.set_leaders(&leaders.collect(), &brokers.collect());
        }
        Ok(())
    }

    /// Asks for partitions and offsets when it is time to.
    pub(super) fn locate_if_due(&mut self) -> Result<(), SourceError> {
        if self.locate_at.is_none_or(|at| Instant::now() < at) {
            return Ok(());
        }
        match self.locate() {
            Ok(()) => Ok(()),
            Err(DiscoverError::Fatal(error)) => Err(error),
            Err(DiscoverError::Passing) => {
                let pause = std::mem::replace(&mut self.retry_pause, RETRY_PAUSE);
                self.locate_at = Some(Instant::now() + pause);
                Ok(())
            }
        }
    }

    /// Looks for partitions that were added, or are not there any more.
    pub(super) fn discover(&mut self) -> Result<(), SourceError> {
        let lost = self.shared.lost_for().is_some();
        if lost
            || self.locate_at.is_some()
            || self.discovered.elapsed() < self.options.discover_every
        {
            return Ok(());
        }
        self.discovered = Instant::now();
        let response = self.request_partitions();
        let response = response.and_then(|ids| Ok((ids, self.request_topic_id()?)));
        match response {
            Ok((ids, topic_id)) => {
                let ids: BTreeSet<i32> = ids.into_iter().collect();
                let topic = &self.options.topic;
                if !self.is_topic(topic_id.as_ref()) {
                    tracing::info!(topic, "the topic has another id");
                    self.locate_at = Some(Instant::now());
                } else if !self.assembly.partitions().eq(ids) {
                    tracing::info!(topic, "the topic has other partitions");
                    self.locate_at = Some(Instant::now());
                }
            }
            // What is missing is asked for again until it is there, or has been waited for long
            // enough.
            Err(DiscoverError::Passing) if self.topic_missing.is_some() => {
                self.locate_at = Some(Instant::now());
            }
            Err(DiscoverError::Passing) => {}
            Err(DiscoverError::Fatal(error)) => return Err(error),
        }
        Ok(())
    }
}
