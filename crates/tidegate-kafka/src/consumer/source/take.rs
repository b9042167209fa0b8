//! What the reader hands over: records, ends, faults.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::codes::{is_out_of_range, is_refusal, passes};
use super::{KafkaSource, RecordSource, TOPIC, client_reader};
use crate::consumer::assembly::{Assembly, BrokerRecord};
use crate::consumer::fetch::Stop;
use crate::consumer::messages::{self, Polled};
use crate::consumer::positions::Cut;
use tidegate_source::SourceError;

impl KafkaSource {
    /// Takes what the client has, or waits for something until `until`.
    pub(super) fn take(&mut self, until: Instant) -> Result<(), SourceError> {
        self.settle()?;
        if self.locate_at.is_some_and(|at| at <= Instant::now()) {
            return Ok(());
        }
        let now = Instant::now();
        let mut wait = until.saturating_duration_since(now);
        if let Some(due) = self.assembly.due_in(now) {
            wait = wait.min(due);
        }
        let mut got = Got {
            // Where some partitions are refused, or end before what was read.
            is_watched: !self.refused.is_empty() || !self.probes.is_empty(),
            ..Got::default()
        };
        if self.receive_of_same_topic(wait)? {
            return Ok(());
        }
        let assembly = &mut self.assembly;
        let each = |taken: Polled<'_>| got.take(assembly, taken);
        match &mut self.reader {
            RecordSource::Client(messages) => {
                messages.hand_over(each);
                for (partition, end) in self.shared.take_asked() {
                    assembly.asked(partition, end);
                }
            }
            RecordSource::Fetch(fetch) => match fetch.take(wait, each) {
                Ok(()) => {}
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::TooOld(reason)) => {
                    tracing::info!(topic = self.options.topic, reason, "librdkafka reads on");
                    self.reader = client_reader(&self.consumer, &self.options)?;
                    self.locate_at = Some(Instant::now());
                }
            },
        }
        let Got {
            errors,
            cuts,
            given,
            ..
        } = got;
        if !cuts.is_empty() {
            // What is left there, and whether to go on, is found out and decided for all.
            for partition in cuts.keys() {
                self.probes.forget(*partition);
            }
            self.cuts.extend(cuts);
            self.locate_at = Some(Instant::now());
        }
        for partition in given {
            self.probes.forget(partition);
            self.let_in(partition);
        }
        errors
            .into_iter()
            .try_for_each(|(partition, code)| self.fault(partition, code))
    }

    /// Serves the client's events, and sees that messages come out of `Messages`.
    ///
    /// Should messages go past its queue for want of the forwarding, they are seen here before any
    /// that come later, and everything is read again from where it is known.
    pub(super) fn settle(&mut self) -> Result<(), SourceError> {
        if let RecordSource::Client(messages) = &self.reader {
            messages.forward();
        }
        loop {
            match self.consumer.poll(Duration::ZERO) {
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => {
                    self.locate_at = Some(Instant::now());
                }
                Some(Err(KafkaError::MessageConsumption(code))) => self.fault(TOPIC, code)?,
                Some(Err(error)) => return Err(self.failure("go on reading", &error)),
                // The client has served an event of its own.
                None if messages::has_events(&self.consumer) => {}
                None => return Ok(()),
            }
        }
    }

    /// Deals with what is reported instead of a message.
    pub(super) fn fault(
        &mut self,
        partition: i32,
        code: RDKafkaErrorCode,
    ) -> Result<(), SourceError> {
        match code {
            // Which partition it is, and whether records are lost, is found out anew for all.
            RDKafkaErrorCode::AutoOffsetReset
            | RDKafkaErrorCode::OffsetOutOfRange
            | RDKafkaErrorCode::LogTruncation
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition => {
                if is_out_of_range(code) {
                    self.probes
                        .in_vain((partition != TOPIC).then_some(partition));
                }
                self.locate_at = Some(Instant::now());
            }
            // Nothing is read from the group.
            RDKafkaErrorCode::GroupAuthorizationFailed => {
                if !std::mem::replace(&mut self.group_refused, true) {
                    let group = &self.options.group;
                    tracing::warn!(group, %code, "the consumer group cannot be used; only lag tools miss it");
                }
            }
            code if passes(code) => tracing::debug!(%code, "Kafka; trying again"),
            code if is_refusal(code) => {
                let pause = self.refuse(partition, &code.to_string());
                self.lead_at = self.lead_at.max(Instant::now() + pause);
            }
            RDKafkaErrorCode::BadCompression => {
                let topic = self.options.topic.clone();
                return Err(SourceError::Kafka {
                    topic,
                    action: "read a batch of records",
                    reason: format!(
                        "partition {partition}: librdkafka cannot decompress it. It is damaged, or it becomes larger than librdkafka may \
                         make it: raise `receive.message.max.bytes` in `source.properties` (at most 2147483647), or let Tidegate fetch, \
                         which reads such a batch in pieces (`source.client = \"auto\"`, and no property that only librdkafka has)"
                    ),
                });
            }
            code => {
                let error = KafkaError::MessageConsumption(code);
                return Err(self.failure("go on reading", &error));
            }
        }
        Ok(())
    }
}

/// What was taken, beside records.
#[derive(Default)]
struct Got {
    errors: Vec<(i32, RDKafkaErrorCode)>,
    /// Partitions whose leader does not have what was read.
    cuts: BTreeMap<i32, Cut>,
    is_watched: bool,
    /// Partitions that have given something, where that is watched.
    given: BTreeSet<i32>,
    /// The time of a record's arrival matters only to the linger: that of the first message of a
    /// batch will do.
    arrived: Option<Instant>,
}

impl Got {
    #[inline]
    fn take(&mut self, assembly: &mut Assembly, taken: Polled<'_>) {
        match taken {
            Polled::Record {
                partition,
                offset,
                epoch,
                timestamp,
                payload,
                bytes,
            } => {
                let now = *self.arrived.get_or_insert_with(Instant::now);
                let record = BrokerRecord {
                    offset,
                    epoch,
                    timestamp: timestamp.and_then(|millis| millis.checked_mul(1000)),
                    payload,
                    bytes,
                };
                assembly.record(partition, &record, now);
                if self.is_watched {
                    self.given.insert(partition);
                }
            }
            Polled::Passed {
                partition,
                offset,
                epoch,
            } => {
                assembly.pass(partition, offset, epoch);
                if self.is_watched {
                    self.given.insert(partition);
                }
            }
            Polled::End { partition, offset } => {
                assembly.end(partition);
                // The markers of transactions come after the last records, and are not handed out.
                assembly.cover(partition, offset, -1);
                if self.is_watched {
                    self.given.insert(partition);
                }
            }
            Polled::Truncated { partition, cut } => {
                self.cuts.insert(partition, cut);
            }
            Polled::Error { partition, code } => self.errors.push((partition, code)),
        }
    }
}
