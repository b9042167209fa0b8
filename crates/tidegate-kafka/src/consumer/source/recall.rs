//! Whether brokers that have no ids of topics still have what was read.
//!
//! Leaders are asked first where the epoch of the last batch ended: that tells where a log was cut
//! off. It does not tell a topic that was deleted and made again, whose epochs begin anew. What the
//! producers said of the time does:
//! - Where the epoch says that all is there, or nothing, the last record that was read has to have
//!   the time that it had.
//! - Where it says that the log was cut off, what is left has to begin before that time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaResult;

use super::{KafkaSource, passes};
use crate::consumer::context::ConsumerCallbacks;
use crate::consumer::identity::{LastRecord, PartitionIdentity};
use crate::consumer::messages::{Messages, Polled};
use crate::consumer::positions::{Cut, Position, ResumePosition, Watermarks};
use tidegate_source::ChunkLimits;

/// How long the brokers have to answer for all partitions.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for one of them.
const POLL: Duration = Duration::from_millis(50);

/// A partition of which the broker has the offset of the last record that was read.
struct Read<'a> {
    known: &'a ResumePosition,
    last: LastRecord,
    /// The oldest offset that is left.
    low: i64,
}

/// What comes of a partition first.
enum First {
    /// A record of this time, in milliseconds since the Unix epoch.
    Record { offset: i64, millis: Option<i64> },
    /// The leader does not have what was read.
    Cut(Cut),
    /// Nothing that says anything.
    Nothing,
}

impl KafkaSource {
    /// Notes the partitions whose history is another one now. Once, at the start: while it is read,
    /// a topic that is deleted is missed.
    pub(super) fn recall(&mut self, marks: &BTreeMap<i32, Watermarks>) {
        if std::mem::replace(&mut self.has_recalled, true) {
            return;
        }
        let read = self.resume.iter().filter_map(|(id, known)| {
            let (last, marks) = (known.identity.last?, marks.get(id)?);
            let low = marks.low;
            let is_there = (low..marks.high).contains(&last.offset);
            is_there.then_some((*id, Read { known, last, low }))
        });
        let read: BTreeMap<i32, Read<'_>> = read.collect();
        if read.is_empty() {
            return;
        }
        match self.other_histories(&read) {
            Ok(cuts) => self.cuts.extend(cuts),
            Err(error) => tracing::warn!(
                topic = self.options.topic,
                %error,
                "the last records that were read cannot be looked at; should the topic have been made anew, only leader epochs and \
                 offsets can tell"
            ),
        }
    }

    fn other_histories(&self, read: &BTreeMap<i32, Read<'_>>) -> KafkaResult<BTreeMap<i32, Cut>> {
        let ends = read
            .iter()
            .map(|(id, read)| (*id, Position::of(read.known)));
        let ends = ends.filter(|(_, end)| end.identity.epoch >= 0 && end.fetch() > 0);
        let ends = self.first_of(&ends.collect())?;
        let cuts = ends.into_iter().filter_map(|(id, first)| match first {
            First::Cut(cut) => Some((id, cut)),
            First::Record { .. } | First::Nothing => None,
        });
        let mut cuts: BTreeMap<i32, Cut> = cuts.collect();
        let asked = read.iter().map(|(id, read)| {
            let to = match cuts.contains_key(id) {
                true => read.low,
                false => read.last.offset,
            };
            let identity = PartitionIdentity::default();
            (*id, Position::of(&ResumePosition { to, identity }))
        });
        let asked: BTreeMap<i32, Position> = asked.collect();
        for (id, first) in self.first_of(&asked)? {
            let (Some(read), Some(asked)) = (read.get(&id), asked.get(&id)) else {
                continue;
            };
            let First::Record {
                offset,
                millis: Some(millis),
            } = first
            else {
                continue;
            };
            let is_other = match cuts.contains_key(&id) {
                true => millis > read.last.millis,
                false => offset == asked.at && millis != read.last.millis,
            };
            if is_other {
                cuts.insert(id, Cut { epoch: -1, end: -1 });
            }
        }
        Ok(cuts)
    }

    /// What comes first of partitions that are read from these positions, by a client of its own.
    /// Partitions of which nothing comes soon are left out.
    fn first_of(&self, positions: &BTreeMap<i32, Position>) -> KafkaResult<BTreeMap<i32, First>> {
        let mut found = BTreeMap::new();
        if positions.is_empty() {
            return Ok(found);
        }
        let context = ConsumerCallbacks {
            topic: self.options.topic.clone(),
            reads_uncommitted: self.options.reads_uncommitted(),
            shared: Arc::new(self.shared.alike()),
        };
        let config = self.options.client_config(&ChunkLimits::default());
        let consumer: Arc<BaseConsumer<ConsumerCallbacks>> =
            Arc::new(config.create_with_context(context)?);
        let Some(mut messages) = Messages::new(&consumer, &self.options.topic, 0) else {
            return Ok(found);
        };
        messages.assign(positions)?;
        let mut left: BTreeSet<i32> = positions.keys().copied().collect();
        let begun = Instant::now();
        while !left.is_empty() && begun.elapsed() < REQUEST_TIMEOUT {
            messages.forward();
            // Nothing but the client's events comes here, once the partitions are forwarded.
            if let Some(Err(error)) = consumer.poll(Duration::ZERO) {
                // The client tries again.
                tracing::debug!(%error, "looking at what was read");
            }
            messages.receive(POLL);
            messages.hand_over(|taken| {
                let (id, first) = match taken {
                    // The client tries again.
                    Polled::Error { code, .. } if passes(code) => return,
                    Polled::Record {
                        partition,
                        offset,
                        timestamp: millis,
                        ..
                    } => (partition, First::Record { offset, millis }),
                    Polled::Truncated { partition, cut } => (partition, First::Cut(cut)),
                    Polled::Passed { partition, .. }
                    | Polled::End { partition, .. }
                    | Polled::Error { partition, .. } => (partition, First::Nothing),
                };
                if left.remove(&id) {
                    found.insert(id, first);
                }
            });
        }
        Ok(found)
    }
}
