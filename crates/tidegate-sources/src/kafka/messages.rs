//! Messages out of the client, many at a time.
//!
//! `rdkafka` hands over one message after the other, each with an allocation, several locks and several looks at the clock: at
//! hundreds of thousands of messages a second that is a tenth of all CPU time. librdkafka's own batches take none of that, but the
//! consumer's queue, on which statistics and errors of the client are events too, cannot be read both ways. So the partitions are
//! forwarded to a queue of their own.
//!
//! With `produce::client` this is the only module of the crate with `unsafe` in it. `cargo test --test kafka` runs it against real
//! brokers, and valgrind's memcheck finds no fault in it (docs/performance.md).
#![expect(
    unsafe_code,
    reason = "librdkafka's batches have no safe interface in rdkafka"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_message_destroy, rd_kafka_message_t,
    rd_kafka_message_timestamp, rd_kafka_queue_destroy, rd_kafka_queue_forward,
    rd_kafka_queue_get_consumer, rd_kafka_queue_get_partition, rd_kafka_queue_length,
    rd_kafka_queue_new, rd_kafka_queue_t, rd_kafka_timestamp_type_t,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use super::context::Context;
use super::positions::Position;

/// Messages that are taken out at a time, at most.
const BATCH: usize = 512;

/// The queue of all partitions of a topic.
pub(super) struct Messages {
    queue: NonNull<rd_kafka_queue_t>,
    name: String,
    topic: CString,
    /// Partitions of which nothing has come since they were assigned.
    unsettled: BTreeSet<i32>,
    batch: Vec<*mut rd_kafka_message_t>,
    /// The queue belongs to its client, which must not end before it.
    consumer: Arc<BaseConsumer<Context>>,
}

/// What comes out of the queue.
pub(super) enum Taken<'a> {
    Record {
        partition: i32,
        offset: i64,
        /// Milliseconds since 1970.
        timestamp: Option<i64>,
        /// None of a tombstone.
        payload: Option<&'a [u8]>,
    },
    /// The partition has nothing more now; the next record that is read has this offset, or a later one.
    End { partition: i32, offset: i64 },
    /// The client reports an error of a partition.
    Error(RDKafkaErrorCode),
}

// SAFETY: librdkafka's queues may be used from any thread. The pointers in `batch` are used only during `take`.
unsafe impl Send for Messages {}

impl Messages {
    /// An empty queue. None if the name of the topic has a NUL in it, which no topic has.
    pub(super) fn new(consumer: &Arc<BaseConsumer<Context>>, topic: &str) -> Option<Self> {
        let name = topic.to_owned();
        let topic = CString::new(topic).ok()?;
        // SAFETY: the client lives as long as `consumer` does.
        let queue = unsafe { rd_kafka_queue_new(consumer.client().native_ptr()) };
        Some(Messages {
            queue: NonNull::new(queue)?,
            name,
            topic,
            unsettled: BTreeSet::new(),
            batch: Vec::with_capacity(BATCH),
            consumer: Arc::clone(consumer),
        })
    }

    /// Reads every partition from where it is wanted.
    pub(super) fn assign(&mut self, positions: &BTreeMap<i32, Position>) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (id, position) in positions {
            list.add_partition_offset(&self.name, *id, Offset::Offset(position.at))?;
        }
        self.unsettled = positions.keys().copied().collect();
        self.forward();
        self.consumer.assign(&list)
    }

    /// Has what is fetched of the partitions come out here.
    ///
    /// Done before a partition is assigned, nothing of it goes elsewhere. But an assignment takes the place of the one before in the
    /// client's own time, and the end of that one takes the forwarding back; so it is done again until something has come.
    pub(super) fn forward(&self) {
        for partition in &self.unsettled {
            // SAFETY: client, topic and queue live; the queue of the partition is ours to destroy, which ends our reference to it and
            // not the forwarding.
            unsafe {
                let client = self.consumer.client().native_ptr();
                let from = rd_kafka_queue_get_partition(client, self.topic.as_ptr(), *partition);
                if !from.is_null() {
                    rd_kafka_queue_forward(from, self.queue.as_ptr());
                    rd_kafka_queue_destroy(from);
                }
            }
        }
    }

    /// Waits for a message, and hands over those that are there by then, up to a batch of them.
    pub(super) fn take(&mut self, wait: Duration, mut each: impl FnMut(Taken<'_>)) {
        // librdkafka waits until a batch is full, so that only the first message may be waited for.
        let mut found = self.fill(1, wait);
        if found == 1 {
            found += self.fill(BATCH - 1, Duration::ZERO);
        }
        debug_assert_eq!(found, self.batch.len());
        for message in self.batch.drain(..) {
            // SAFETY: librdkafka gave this message away, and it is destroyed once, after its last use.
            unsafe {
                let taken = read(&*message);
                if let Taken::Record { partition, .. } | Taken::End { partition, .. } = taken {
                    self.unsettled.remove(&partition);
                }
                each(taken);
                rd_kafka_message_destroy(message);
            }
        }
    }

    /// Puts up to `count` messages behind those of the batch; gives how many.
    fn fill(&mut self, count: usize, wait: Duration) -> usize {
        let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        let room = &mut self.batch.spare_capacity_mut()[..count];
        // SAFETY: there is room for `count` pointers; as many as librdkafka says are then valid messages.
        unsafe {
            let found = rd_kafka_consume_batch_queue(
                self.queue.as_ptr(),
                wait,
                room.as_mut_ptr().cast(),
                count,
            );
            // A negative number stands for an error of the call, of which this one has none.
            let found = usize::try_from(found).unwrap_or(0);
            self.batch.set_len(self.batch.len() + found);
            found
        }
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        // SAFETY: it is ours, and not used any more; the client lives.
        unsafe { rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// Whether something waits on the consumer's own queue.
pub(super) fn has_events(consumer: &BaseConsumer<Context>) -> bool {
    // SAFETY: the client lives; the reference to its queue is ours to destroy.
    unsafe {
        let queue = rd_kafka_queue_get_consumer(consumer.client().native_ptr());
        if queue.is_null() {
            return false;
        }
        let events = rd_kafka_queue_length(queue);
        rd_kafka_queue_destroy(queue);
        events > 0
    }
}

/// # Safety
/// The message is one of librdkafka's that was not destroyed, and is not before the result is out of use.
unsafe fn read(message: &rd_kafka_message_t) -> Taken<'_> {
    let (partition, offset) = (message.partition, message.offset);
    match message.err {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {}
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
            return Taken::End { partition, offset };
        }
        error => return Taken::Error(error.into()),
    }
    let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the message is valid, and so is the place for the kind.
    let millis = unsafe { rd_kafka_message_timestamp(message, &raw mut kind) };
    let timestamp = (kind != rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE
        && millis != -1)
        .then_some(millis);
    let payload = NonNull::new(message.payload.cast::<u8>());
    // SAFETY: a payload that is there has as many bytes as its message says, which live as long as it does.
    let payload =
        payload.map(|bytes| unsafe { slice::from_raw_parts(bytes.as_ptr(), message.len) });
    Taken::Record {
        partition,
        offset,
        timestamp,
        payload,
    }
}
