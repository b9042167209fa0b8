//! The consumer group: offsets for lag tools, and the end of the client, which waits for them.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::context::ConsumerCallbacks;

/// How long the end of the client may take. Without a broker it would not end at all as long as
/// offsets are on their way.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// How often is looked whether the client is closed.
const CLOSE_LOOK: Duration = Duration::from_millis(5);

/// Offsets that the group has not been told yet.
#[derive(Debug, Default)]
pub(super) struct PendingOffsetCommits(BTreeMap<i32, i64>);

impl PendingOffsetCommits {
    /// Takes offsets to tell.
    pub(super) fn add(&mut self, positions: &BTreeMap<i32, i64>) {
        self.0.extend(positions);
    }

    /// Tells them. What fails is logged: only lag tools miss it.
    pub(super) fn tell(&mut self, consumer: &BaseConsumer<ConsumerCallbacks>, topic: &str) {
        if self.0.is_empty() {
            return;
        }
        if let Err(error) = commit(consumer, topic, &std::mem::take(&mut self.0)) {
            tracing::warn!(%error, "cannot commit to the consumer group");
        }
    }
}

fn commit(
    consumer: &BaseConsumer<ConsumerCallbacks>,
    topic: &str,
    positions: &BTreeMap<i32, i64>,
) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for (id, offset) in positions {
        list.add_partition_offset(topic, *id, Offset::Offset(*offset))?;
    }
    consumer.commit(&list, CommitMode::Async)
}

/// Ends the client when it is dropped, as the last that has it: waits for the last offsets, but not
/// for ever.
pub(super) struct Closing(Option<Arc<BaseConsumer<ConsumerCallbacks>>>);

impl Closing {
    /// For this client.
    pub(super) fn new(consumer: &Arc<BaseConsumer<ConsumerCallbacks>>) -> Self {
        Closing(Some(Arc::clone(consumer)))
    }
}

/// Closes the client. Its own end does that too, but looks only every tenth of a second whether it
/// is done.
fn close(consumer: &BaseConsumer<ConsumerCallbacks>) {
    if consumer.close_queue().is_ok() {
        while !consumer.closed() {
            // Serves what is left for it; there are no messages any more.
            consumer.poll(CLOSE_LOOK);
        }
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let consumer = self.0.take();
        let (closed, is_closed) = mpsc::channel();
        let close = move || {
            if let Some(consumer) = &consumer {
                close(consumer);
            }
            drop(consumer);
            // Whoever waited may have given up.
            let _ = closed.send(());
        };
        // Where no thread can be had, the client has ended already when that is known.
        let started = thread::Builder::new()
            .name("kafka-close".to_owned())
            .spawn(close);
        if started.is_ok() && is_closed.recv_timeout(CLOSE_WAIT).is_err() {
            tracing::warn!(
                "no broker takes the last offsets of the consumer group; only lag tools miss them"
            );
        }
    }
}
