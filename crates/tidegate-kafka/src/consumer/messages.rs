//! Messages out of the client, many at a time.
//!
//! `rdkafka` hands over one message after the other, each with an allocation, several locks and
//! several looks at the clock: at hundreds of thousands of messages a second that is a tenth of all
//! CPU time. librdkafka's own batches take none of that, but the consumer's queue, on which
//! statistics and errors of the client are events too, cannot be read both ways. So the partitions
//! are forwarded to a queue of their own.
//!
//! With `topic_id` and `producer::client` this is the only module of the crate with `unsafe` in it.
//! `cargo test -p tidegate-kafka` runs it against real brokers, and valgrind's memcheck finds no
//! fault in it (docs/performance.md).
#![expect(
    unsafe_code,
    reason = "librdkafka's batches have no safe interface in rdkafka"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_message_destroy, rd_kafka_message_errstr,
    rd_kafka_message_leader_epoch, rd_kafka_message_t, rd_kafka_message_timestamp,
    rd_kafka_queue_destroy, rd_kafka_queue_forward, rd_kafka_queue_get_consumer,
    rd_kafka_queue_get_partition, rd_kafka_queue_length, rd_kafka_queue_new, rd_kafka_queue_t,
    rd_kafka_timestamp_type_t, rd_kafka_topic_partition_set_leader_epoch,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use super::context::ConsumerCallbacks;
use super::positions::{Cut, Position};

/// Messages that are taken out at a time, at most.
const BATCH: usize = 512;
/// Messages that are held, at most; each has some hundred bytes beside its payload.
const HELD_MAX: usize = 32 * BATCH;

/// The queue of all partitions of a topic.
pub(super) struct Messages {
    queue: NonNull<rd_kafka_queue_t>,
    name: String,
    topic: CString,
    /// Partitions of which nothing has come since they were assigned.
    unsettled: BTreeSet<i32>,
    /// Messages that were taken out, and not handed over.
    held: Vec<*mut rd_kafka_message_t>,
    /// Bytes of their payloads, and how many there may be; a batch may exceed it.
    held_bytes: usize,
    held_bytes_max: usize,
    /// The queue belongs to its client, which must not end before it.
    consumer: Arc<BaseConsumer<ConsumerCallbacks>>,
}

/// What comes out of the queue.
#[derive(Clone, Copy)]
pub(super) enum Polled<'a> {
    Record {
        partition: i32,
        offset: i64,
        /// Of the leader that took it; -1 if that is not known.
        epoch: i32,
        /// Milliseconds since 1970.
        timestamp: Option<i64>,
        /// None of a tombstone.
        payload: Option<&'a [u8]>,
        /// Bytes of the payload, of which `payload` may be only the beginning.
        bytes: usize,
    },
    /// All that there is to read before this offset has been handed over; `epoch` is that of the
    /// batch before it, -1 if not known.
    Passed {
        partition: i32,
        offset: i64,
        epoch: i32,
    },
    /// The partition has nothing more now; the next record that is read has this offset, or a later
    /// one.
    End { partition: i32, offset: i64 },
    /// The leader of the partition does not have all that was read of it. Nothing more comes of it.
    Truncated { partition: i32, cut: Cut },
    /// The client reports an error of a partition.
    Error {
        partition: i32,
        code: RDKafkaErrorCode,
    },
}

/// How long the check of what was read may take to begin, after partitions were assigned.
const CHECK_WAIT: Duration = Duration::from_secs(5);
/// How long to wait before it is asked for again.
const CHECK_AGAIN: Duration = Duration::from_millis(10);

// SAFETY: librdkafka's queues may be used from any thread, and so may the messages in `held`, which
// are this value's alone.
unsafe impl Send for Messages {}

impl Messages {
    /// An empty queue, out of which about so many bytes may be held. None if the name of the topic
    /// has a NUL in it, which no topic has.
    pub(super) fn new(
        consumer: &Arc<BaseConsumer<ConsumerCallbacks>>,
        topic: &str,
        held_bytes_max: usize,
    ) -> Option<Self> {
        let name = topic.to_owned();
        let topic = CString::new(topic).ok()?;
        // SAFETY: the client lives as long as `consumer` does.
        let queue = unsafe { rd_kafka_queue_new(consumer.client().native_ptr()) };
        Some(Messages {
            queue: NonNull::new(queue)?,
            name,
            topic,
            unsettled: BTreeSet::new(),
            held: Vec::with_capacity(BATCH),
            held_bytes: 0,
            held_bytes_max,
            consumer: Arc::clone(consumer),
        })
    }

    /// Reads every partition from where it is wanted. What is held is dropped.
    pub(super) fn assign(&mut self, positions: &BTreeMap<i32, Position>) -> KafkaResult<()> {
        self.drop_held();
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (id, position) in positions {
            list.add_partition_offset(&self.name, *id, Offset::Offset(position.fetch()))?;
        }
        self.unsettled = positions.keys().copied().collect();
        self.forward();
        self.consumer.assign(&list)?;
        self.check(positions)
    }

    /// Has the leaders asked whether they have what was read. What was fetched before they have
    /// answered is dropped.
    ///
    /// librdkafka asks when it seeks, and not when it is assigned partitions. It cannot seek before
    /// an assignment has begun, which takes its own time.
    fn check(&self, positions: &BTreeMap<i32, Position>) -> KafkaResult<()> {
        let begun = Instant::now();
        let mut left: Vec<(i32, &Position)> = positions
            .iter()
            .map(|(id, position)| (*id, position))
            .filter(|(_, position)| position.identity.epoch >= 0 && position.fetch() > 0)
            .collect();
        while !left.is_empty() {
            let mut list = TopicPartitionList::with_capacity(left.len());
            for (id, position) in &left {
                list.add_partition_offset(&self.name, *id, Offset::Offset(position.fetch()))?;
            }
            set_epochs(
                &list,
                left.iter().map(|(_, position)| position.identity.epoch),
            );
            let sought = self.consumer.seek_partitions(list, CHECK_WAIT)?;
            let failed: BTreeMap<i32, KafkaError> = sought
                .elements()
                .iter()
                .filter_map(|element| Some((element.partition(), element.error().err()?)))
                .collect();
            left.retain(|(id, _)| failed.contains_key(id));
            if let Some(error) = failed.into_values().next() {
                if begun.elapsed() >= CHECK_WAIT {
                    return Err(error);
                }
                // What has happened meanwhile is served on this thread.
                thread::sleep(CHECK_AGAIN);
            }
        }
        Ok(())
    }

    /// Has what is fetched of the partitions come out here.
    ///
    /// Done before a partition is assigned, nothing of it goes elsewhere. But an assignment takes
    /// the place of the one before in the client's own time, and the end of that one takes the
    /// forwarding back; so it is done again until something has come.
    pub(super) fn forward(&self) {
        for partition in &self.unsettled {
            // SAFETY: client, topic and queue live; the queue of the partition is ours to destroy,
            // which ends our reference to it and not the forwarding.
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

    /// Waits for a message, and takes out those that are there by then, up to a batch of them. They
    /// are held until they are handed over.
    pub(super) fn receive(&mut self, wait: Duration) {
        let before = self.held.len();
        // librdkafka waits until a batch is full, so that only the first message may be waited for.
        if self.fill(1, wait) == 1 {
            self.fill(BATCH - 1, Duration::ZERO);
        }
        for message in &self.held[before..] {
            // SAFETY: librdkafka gave this message away, and it is not destroyed.
            self.held_bytes += unsafe { (**message).len };
        }
    }

    /// Whether something is held.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether so much is held that nothing more should be taken out.
    pub(super) fn is_full(&self) -> bool {
        self.held.len() >= HELD_MAX || self.held_bytes >= self.held_bytes_max
    }

    /// Hands over what is held.
    pub(super) fn hand_over(&mut self, mut each: impl FnMut(Polled<'_>)) {
        self.held_bytes = 0;
        for message in self.held.drain(..) {
            // SAFETY: librdkafka gave this message away, and it is destroyed once, after its last
            // use.
            unsafe {
                let taken = read(&*message);
                if let Polled::Record { partition, .. } | Polled::End { partition, .. } = taken {
                    self.unsettled.remove(&partition);
                }
                each(taken);
                rd_kafka_message_destroy(message);
            }
        }
    }

    fn drop_held(&mut self) {
        self.hand_over(|_| ());
    }

    /// Puts up to `count` messages after those that are held; gives how many.
    fn fill(&mut self, count: usize, wait: Duration) -> usize {
        let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        self.held.reserve(count);
        let room = &mut self.held.spare_capacity_mut()[..count];
        // SAFETY: there is room for `count` pointers; as many as librdkafka says are then valid
        // messages.
        unsafe {
            let found = rd_kafka_consume_batch_queue(
                self.queue.as_ptr(),
                wait,
                room.as_mut_ptr().cast(),
                count,
            );
            // A negative number stands for an error of the call, of which this one has none.
            let found = usize::try_from(found).unwrap_or(0);
            self.held.set_len(self.held.len() + found);
            found
        }
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.drop_held();
        // SAFETY: it is ours, and not used any more; the client lives.
        unsafe { rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// Whether something waits on the consumer's own queue.
pub(super) fn has_events(consumer: &BaseConsumer<ConsumerCallbacks>) -> bool {
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
/// The message is one of librdkafka's that was not destroyed, and is not before the result is out
/// of use.
unsafe fn read(message: &rd_kafka_message_t) -> Polled<'_> {
    let (partition, offset) = (message.partition, message.offset);
    match message.err {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {}
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
            return Polled::End { partition, offset };
        }
        error => {
            let code = RDKafkaErrorCode::from(error);
            // SAFETY: the text belongs to the message.
            let text = unsafe { rd_kafka_message_errstr(message) };
            let text = NonNull::new(text.cast_mut()).map(|text| {
                // SAFETY: librdkafka ends its texts with a NUL.
                unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy()
            });
            return match text.and_then(|text| truncation(code, &text)) {
                Some(cut) => Polled::Truncated { partition, cut },
                None => Polled::Error { partition, code },
            };
        }
    }
    let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the message is valid, and so is the place for the kind.
    let millis = unsafe { rd_kafka_message_timestamp(message, &raw mut kind) };
    let timestamp = (kind != rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE
        && millis != -1)
        .then_some(millis);
    let payload = NonNull::new(message.payload.cast::<u8>());
    // SAFETY: a payload that is there has as many bytes as its message says, which live as long as
    // it does.
    let payload =
        payload.map(|bytes| unsafe { slice::from_raw_parts(bytes.as_ptr(), message.len) });
    // SAFETY: the message is valid.
    let epoch = unsafe { rd_kafka_message_leader_epoch(message) };
    Polled::Record {
        partition,
        offset,
        epoch,
        timestamp,
        payload,
        bytes: message.len,
    }
}

/// Says of which leader's epoch the last record before each offset is.
fn set_epochs(list: &TopicPartitionList, epochs: impl Iterator<Item = i32>) {
    // SAFETY: the list lives, and has as many elements as it says, which nobody else uses.
    let elements = unsafe {
        let list = &*list.ptr();
        let count = usize::try_from(list.cnt).unwrap_or(0);
        slice::from_raw_parts_mut(list.elems, if list.elems.is_null() { 0 } else { count })
    };
    for (element, epoch) in elements.iter_mut().zip(epochs) {
        // SAFETY: the element is one of the list.
        unsafe { rd_kafka_topic_partition_set_leader_epoch(element, epoch) };
    }
}

/// What librdkafka says when a leader does not have what was read. It has no other form for it than
/// a text.
///
/// Source: `rd_kafka_toppar_handle_OffsetForLeaderEpoch` in librdkafka 2.12.
fn truncation(code: RDKafkaErrorCode, text: &str) -> Option<Cut> {
    let is_code = matches!(
        code,
        RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::LogTruncation
    );
    let is_text = text.contains("Partition log truncation detected")
        || text.contains("No epoch found less or equal");
    if !is_code || !is_text {
        return None;
    }
    let number = |after: &str| {
        let (_, rest) = text.split_once(after)?;
        let end = rest.find(|c: char| c != '-' && !c.is_ascii_digit());
        rest[..end.unwrap_or(rest.len())].parse::<i64>().ok()
    };
    let epoch = number("(offset leader epoch ").and_then(|epoch| i32::try_from(epoch).ok());
    Some(Cut {
        epoch: epoch.unwrap_or(-1),
        end: number("broker end offset is ").unwrap_or(-1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_librdkafka_says_of_a_log_that_was_cut_off_is_understood() {
        let cut = |text| truncation(RDKafkaErrorCode::AutoOffsetReset, text);
        let text = "Partition log truncation detected at offset 100 (leader epoch 0): broker end offset is 60 (offset leader epoch 0). \
             Reset to INVALID.: Local: Partition log truncation detected (broker 1)";
        assert_eq!(cut(text), Some(Cut { epoch: 0, end: 60 }));
        let text = "No epoch found less or equal to offset 100 (leader epoch 5): broker end offset is -1 (offset leader epoch -1). \
             Reset using configured policy.";
        assert_eq!(cut(text), Some(Cut { epoch: -1, end: -1 }));
        assert_eq!(
            cut("fetch failed due to requested offset not available"),
            None
        );
    }
}
