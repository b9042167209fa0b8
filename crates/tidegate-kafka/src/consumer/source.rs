//! The source: the client, polled from one thread.

mod codes;
mod locate;
mod recall;
mod same_topic;
mod take;
mod trouble;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use tidegate_base::clock::Clock;

#[cfg(test)]
pub(crate) use self::codes::is_out_of_range;
pub(crate) use self::codes::{is_connection, passes};
use super::KafkaOptions;
use super::assembly::Assembly;
use super::context::{ClusterView, ConsumerCallbacks};
use super::fetch::{Fetch, Settings};
use super::group::{Closing, PendingOffsetCommits};
use super::identity::PartitionIdentity;
use super::messages::Messages;
use super::options::refused;
use super::positions::{Cut, Probes, ResumePosition, partition_name};
use super::trouble::Trouble;
use tidegate_source::{ChunkLimits, Resume, Source, SourceError, SourceEvent, Unreachable};

/// How long to wait before the cluster is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Stands for the topic as a whole among its partitions.
const TOPIC: i32 = -1;

/// A source over one topic; see the module.
pub struct KafkaSource {
    options: KafkaOptions,
    consumer: Arc<BaseConsumer<ConsumerCallbacks>>,
    reader: RecordSource,
    shared: Arc<ClusterView>,
    assembly: Assembly,
    resume: BTreeMap<i32, ResumePosition>,
    /// Whether the job has read the topic before.
    founded: bool,
    /// When the cluster is asked for partitions and offsets the next time; `None` while messages
    /// are read from an assignment that stands.
    locate_at: Option<Instant>,
    /// When the cluster may be asked for leaders the next time.
    lead_at: Instant,
    discovered: Instant,
    topic_missing: Option<Trouble>,
    end_missing: Option<Instant>,
    /// The id of the topic that is read, if the brokers have one.
    topic_id: Option<Arc<str>>,
    /// How often it was asked for in vain.
    id_failed: u32,
    /// When it may be asked for the next time, for what librdkafka has handed over.
    id_at: Instant,
    /// Whether nobody has answered that.
    is_id_open: bool,
    /// Whether it was asked for since the partitions were assigned last; leaders may be told then.
    is_same_topic: bool,
    /// Whether brokers that have no ids of topics were asked for the last records that were read.
    has_recalled: bool,
    /// Partitions whose leader does not have what was read, until they are located anew.
    cuts: BTreeMap<i32, Cut>,
    /// Partitions that were assigned beyond their end.
    probes: Probes,
    /// What brokers refuse, by partition, or for the `TOPIC`.
    refused: BTreeMap<i32, Trouble>,
    /// How long to wait before the cluster is asked again.
    retry_pause: Duration,
    /// How often a partition's history turned out to be another one.
    replaced: u64,
    group_refused: bool,
    pending_commits: PendingOffsetCommits,
    /// After `consumer` and `reader`, so that it is the last that has the client.
    _closing: Closing,
}

/// Where records come from.
enum RecordSource {
    /// The brokers.
    Fetch(Box<Fetch>),
    /// librdkafka.
    Client(Messages),
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
        clock: &Clock,
    ) -> Result<Self, SourceError> {
        limits.check()?;
        options.check()?;
        let mut known = BTreeMap::new();
        for (id, partition) in &resume.partitions {
            if partition.name != partition_name(&options.topic, *id) {
                let message = format!(
                    "it has positions in `{}`, and `source.topic` is `{}`",
                    partition.name, options.topic
                );
                return Err(SourceError::OtherSource { message });
            }
            let identity = PartitionIdentity::parse(partition.identity.as_deref().unwrap_or(""));
            let identity = identity.map_err(|error| SourceError::OtherSource {
                message: format!("what it recognises `{}` by: {error}", partition.name),
            })?;
            let to = partition.offset;
            known.insert(*id, ResumePosition { to, identity });
        }
        let shared = Arc::new(ClusterView::new(clock.clone()));
        let context = ConsumerCallbacks {
            topic: options.topic.clone(),
            reads_uncommitted: options.reads_uncommitted(),
            shared: Arc::clone(&shared),
        };
        let consumer = options
            .client_config(&limits)
            .create_with_context(context)
            .map_err(refused)?;
        let consumer = Arc::new(consumer);
        let reader = match Settings::of(options) {
            Some(settings) => RecordSource::Fetch(Box::new(Fetch::new(options, settings, &limits))),
            None => client_reader(&consumer, options)?,
        };
        Ok(KafkaSource {
            options: options.clone(),
            _closing: Closing::new(&consumer),
            consumer,
            reader,
            shared,
            assembly: Assembly::new(limits),
            resume: known,
            founded: !resume.partitions.is_empty(),
            locate_at: Some(Instant::now()),
            lead_at: Instant::now(),
            discovered: Instant::now(),
            topic_missing: None,
            end_missing: None,
            topic_id: None,
            id_failed: 0,
            id_at: Instant::now(),
            is_id_open: false,
            is_same_topic: false,
            has_recalled: false,
            cuts: BTreeMap::new(),
            probes: Probes::default(),
            refused: BTreeMap::new(),
            retry_pause: RETRY_PAUSE,
            replaced: 0,
            group_refused: false,
            pending_commits: PendingOffsetCommits::default(),
        })
    }

    /// Tells the group what is committed, once a broker is there to take it.
    fn tell_group(&mut self) {
        if self.shared.lost_for().is_none() {
            self.pending_commits
                .tell(&self.consumer, &self.options.topic);
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
        let at_broker = positions.iter().filter_map(|(id, to)| {
            let known = self.assembly.known(*id)?;
            let offset = to.saturating_sub(known.identity.shift);
            (offset >= 0).then_some((*id, offset))
        });
        self.pending_commits.add(&at_broker.collect());
        self.tell_group();
    }

    fn lag(&self) -> BTreeMap<i32, u64> {
        match &self.reader {
            RecordSource::Fetch(fetch) => self.assembly.lag(fetch.ends()),
            RecordSource::Client(_) => self.assembly.lag(&self.shared.ends()),
        }
    }

    fn held(&self) -> u64 {
        match &self.reader {
            RecordSource::Fetch(fetch) => self.assembly.held(fetch.ends()),
            RecordSource::Client(_) => self.assembly.held(&self.shared.ends()),
        }
    }

    fn replaced(&self) -> u64 {
        self.replaced
    }

    fn unreachable(&self) -> Option<Unreachable> {
        self.reach()
    }
}

fn client_reader(
    consumer: &Arc<BaseConsumer<ConsumerCallbacks>>,
    options: &KafkaOptions,
) -> Result<RecordSource, SourceError> {
    let messages =
        Messages::new(consumer, &options.topic, options.read_ahead_bytes).ok_or_else(|| {
            SourceError::option("source.topic", "no topic has a NUL in its name".to_owned())
        })?;
    Ok(RecordSource::Client(messages))
}
