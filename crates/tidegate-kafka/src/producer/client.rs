//! Records to the client and reports from it, many at a time.
//!
//! `rdkafka` hands over one record after the other, each with two allocations, a copy and a look
//! for its topic, and gives each report by itself. librdkafka's own batches take one allocation. A
//! payload is not copied, either: the client has the batch that it is in until the last of its
//! records is done with.
//!
//! So a batch is as long in memory as its slowest record. Their number is bounded: where one
//! partition cannot be delivered, all of them wait for it in the end, as they do for room in a full
//! buffer.
//!
//! With `consumer::topic_id` and `consumer::messages` this is the only module of the crate with
//! `unsafe` in it. `cargo test --test kafka produce` runs it against real brokers, and valgrind's
//! memcheck finds no fault in it (docs/performance.md).
#![expect(
    unsafe_code,
    reason = "librdkafka's batches have no safe interface in rdkafka"
)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings::{
    RD_KAFKA_EVENT_DR, RD_KAFKA_EVENT_ERROR, RD_KAFKA_EVENT_LOG, RD_KAFKA_EVENT_STATS,
    RD_KAFKA_MSG_F_PARTITION, rd_kafka_event_destroy, rd_kafka_event_error,
    rd_kafka_event_error_string, rd_kafka_event_log, rd_kafka_event_message_next,
    rd_kafka_event_stats, rd_kafka_event_t, rd_kafka_event_type, rd_kafka_flush,
    rd_kafka_message_t, rd_kafka_produce_batch, rd_kafka_queue_destroy, rd_kafka_queue_get_main,
    rd_kafka_queue_poll, rd_kafka_queue_t, rd_kafka_topic_destroy, rd_kafka_topic_new,
    rd_kafka_topic_t,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::types::RDKafkaRespErr;

use super::batch::EventBatch;
use tidegate_generator::partition_hash;

/// A client, with the batches that it reads from.
///
/// The order of the fields is that in which they end: librdkafka wants its topics and queues back
/// before the client ends, and the client may read from the batches until then.
pub(super) struct ProducerClient<C: ProducerContext> {
    topics: Vec<Topic>,
    queue: Queue,
    /// Nobody else has it, so that it ends with this client.
    producer: BaseProducer<C>,
    lent: Vec<Lent>,
    /// Places of `lent` that are free.
    free: Vec<u16>,
    /// Batches that nobody reads any more.
    done: Vec<EventBatch>,
    messages: Vec<rd_kafka_message_t>,
}

/// A batch that the client reads from.
#[derive(Default)]
struct Lent {
    /// Neither changed nor dropped while `records` is not 0, or the batch is open.
    batch: EventBatch,
    /// Records of it that the client has.
    records: usize,
    /// More of it is to be sent.
    is_open: bool,
}

/// A batch that the client has, to send from it. Not to be cloned, so that nothing is sent of a
/// batch that is closed.
pub(super) struct OpenBatch {
    place: u16,
}

/// Records of a batch with the same fate.
pub(super) struct DeliveryReport {
    /// When they were sent, as it was said then.
    pub(super) sent: u64,
    pub(super) records: u64,
    /// Bytes of their payloads.
    pub(super) bytes: u64,
    /// Why they could not be delivered.
    pub(super) error: Option<KafkaError>,
}

/// Bits of a record's opaque value that say where in `lent` its batch is. The others are when it
/// was sent.
const PLACE_BITS: u32 = u16::BITS;
/// Batches that the client can have.
pub(super) const LENT_MAX: usize = 1 << PLACE_BITS;

impl<C: ProducerContext> ProducerClient<C> {
    /// Takes over a producer.
    pub(super) fn new(producer: BaseProducer<C>) -> Self {
        // SAFETY: the client lives, and longer than the queue.
        let queue = unsafe { rd_kafka_queue_get_main(producer.client().native_ptr()) };
        ProducerClient {
            topics: Vec::new(),
            queue: Queue(NonNull::new(queue).expect("a client has a main queue")),
            producer,
            lent: Vec::new(),
            free: Vec::new(),
            done: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// The producer, for all but records: its own `send`, `poll` and `flush` are not to be used.
    /// Reports say which batch is done with: those that they take are lost, and the report of a
    /// record of theirs would let go of a batch that is being read.
    pub(super) fn producer(&self) -> &BaseProducer<C> {
        &self.producer
    }

    /// Adds a topic to send to.
    ///
    /// # Errors
    /// The name has a NUL in it, which no topic has.
    pub(super) fn add_topic(&mut self, name: &str, partitions: i32) -> Result<(), KafkaError> {
        let name = CString::new(name)?;
        let client = self.producer.client().native_ptr();
        // SAFETY: client and name live; no settings of its own are the client's defaults.
        let topic = unsafe { rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut()) };
        let topic = NonNull::new(topic).ok_or(KafkaError::MessageProduction(
            RDKafkaErrorCode::InvalidTopic,
        ))?;
        self.topics.push(Topic { topic, partitions });
        Ok(())
    }

    /// Number of topics.
    pub(super) fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Lends a batch to the client, to send from it.
    pub(super) fn lend(&mut self, batch: EventBatch) -> OpenBatch {
        let place = self.free.pop().unwrap_or_else(|| {
            self.lent.push(Lent::default());
            u16::try_from(self.lent.len() - 1).expect("fewer than LENT_MAX batches")
        });
        self.lent[usize::from(place)] = Lent {
            batch,
            records: 0,
            is_open: true,
        };
        OpenBatch { place }
    }

    /// Number of events of a batch.
    pub(super) fn len(&self, open: &OpenBatch) -> usize {
        self.lent[usize::from(open.place)].batch.len()
    }

    /// Sends up to `count` events of a batch, from its event `from` on, to a topic. Gives how many
    /// the client took, and why not all. `now` comes back in their reports.
    ///
    /// Where the buffer is full, the state of a transaction forbids it or the client has failed for
    /// good, the first ones are taken. After any other error the client has to be given up: others
    /// may be taken, and its number in flight no longer reaches 0.
    pub(super) fn send(
        &mut self,
        topic: usize,
        open: &OpenBatch,
        (from, count): (usize, usize),
        now: u64,
    ) -> (usize, Result<(), KafkaError>) {
        let home_partitions = self.topics[0].partitions;
        let &Topic { topic, partitions } = &self.topics[topic];
        let lent = &mut self.lent[usize::from(open.place)];
        let opaque = (now << PLACE_BITS | u64::from(open.place)) as usize;
        self.messages.clear();
        let events = lent.batch.events(from).take(count);
        self.messages.extend(events.map(|event| rd_kafka_message_t {
            err: RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR,
            rkt: ptr::null_mut(),
            partition: if partitions == home_partitions {
                event.partition
            } else {
                (partition_hash(event.key) % partitions.unsigned_abs()) as i32
            },
            payload: event.payload.as_ptr() as *mut c_void,
            len: event.payload.len(),
            key: event.key.as_ptr() as *mut c_void,
            key_len: event.key.len(),
            offset: 0,
            _private: ptr::without_provenance_mut(opaque),
        }));
        // SAFETY: the topic is this client's. Keys are copied. Payloads are only read, and until
        // the record's report at the latest; `records` counts those that are not reported, and
        // keeps the batch as it is.
        let taken = unsafe {
            rd_kafka_produce_batch(
                topic.as_ptr(),
                0,
                RD_KAFKA_MSG_F_PARTITION,
                self.messages.as_mut_ptr(),
                self.messages.len() as i32,
            )
        };
        let taken = usize::try_from(taken).unwrap_or(0);
        lent.records += taken;
        let refused = self
            .messages
            .iter()
            .find(|message| message.err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR);
        match refused {
            None => (taken, Ok(())),
            Some(message) => (
                taken,
                Err(KafkaError::MessageProduction(message.err.into())),
            ),
        }
    }

    /// Nothing more is sent of this batch.
    pub(super) fn close(&mut self, OpenBatch { place }: OpenBatch) {
        self.lent[usize::from(place)].is_open = false;
        self.settle(place, 0);
    }

    /// Memory of the batches that the client has, in bytes.
    pub(super) fn lent_bytes(&self) -> u64 {
        let capacities = self.lent.iter().map(|lent| lent.batch.capacity());
        capacities.sum::<usize>() as u64
    }

    /// A batch all of whose records are done with.
    pub(super) fn take_back(&mut self) -> Option<EventBatch> {
        self.done.pop()
    }

    /// `records` of a batch are done with.
    fn settle(&mut self, place: u16, records: usize) {
        let lent = &mut self.lent[usize::from(place)];
        assert!(records <= lent.records, "a report of what was not sent");
        lent.records -= records;
        if lent.records == 0 && !lent.is_open {
            self.done.push(std::mem::take(&mut lent.batch));
            self.free.push(place);
        }
    }

    /// Waits for something that the client reports, and takes all that is there by then.
    pub(super) fn poll(&mut self, wait: Duration, mut each: impl FnMut(DeliveryReport)) {
        let mut wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        loop {
            // SAFETY: the queue lives.
            let event = unsafe { rd_kafka_queue_poll(self.queue.0.as_ptr(), wait) };
            let Some(event) = NonNull::new(event) else {
                return;
            };
            let event = ClientEvent(event);
            // SAFETY: the event is valid until it is dropped.
            match unsafe { rd_kafka_event_type(event.0.as_ptr()) } {
                RD_KAFKA_EVENT_DR => self.take_reports(&event, &mut each),
                RD_KAFKA_EVENT_STATS => self.producer.context().stats_raw(event.statistics()),
                RD_KAFKA_EVENT_ERROR => {
                    let (error, reason) = event.error();
                    self.producer.context().error(error, &reason);
                }
                RD_KAFKA_EVENT_LOG => event.log(),
                // Tokens of OAuth are librdkafka's own matter here.
                _ => {}
            }
            wait = 0;
        }
    }

    fn take_reports(&mut self, event: &ClientEvent, each: &mut impl FnMut(DeliveryReport)) {
        let mut next = event.next_report();
        while let Some(first) = next {
            // Neighbours mostly have their fate in common.
            let (mut records, mut bytes) = (0, 0);
            while let Some(report) = next
                && (report.opaque, report.error) == (first.opaque, first.error)
            {
                records += 1;
                bytes += report.bytes;
                next = event.next_report();
            }
            self.settle(first.opaque as u16, records);
            each(DeliveryReport {
                sent: first.opaque as u64 >> PLACE_BITS,
                records: records as u64,
                bytes: bytes as u64,
                error: (first.error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR)
                    .then(|| KafkaError::MessageProduction(first.error.into())),
            });
        }
    }

    /// Asks the client to send what it has without waiting for more, and leaves it `time` to begin.
    pub(super) fn begin_flush(&self, time: Duration) {
        let millis = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the client lives. What it answers is whether all was delivered, which is seen by
        // the reports.
        unsafe { rd_kafka_flush(self.producer.client().native_ptr(), millis) };
    }
}

/// A topic, and how many partitions it has.
struct Topic {
    topic: NonNull<rd_kafka_topic_t>,
    partitions: i32,
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: it is ours, and not used any more; the client lives.
        unsafe { rd_kafka_topic_destroy(self.topic.as_ptr()) }
    }
}

/// The client's main queue.
struct Queue(NonNull<rd_kafka_queue_t>);

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and not used any more; the client lives.
        unsafe { rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// Something that the client says.
struct ClientEvent(NonNull<rd_kafka_event_t>);

/// What became of a record.
#[derive(Clone, Copy)]
struct RecordReport {
    opaque: usize,
    bytes: usize,
    error: RDKafkaRespErr,
}

impl ClientEvent {
    /// The next of a delivery report's records.
    fn next_report(&self) -> Option<RecordReport> {
        // SAFETY: the event is valid, and its messages are as long as it is.
        let message = unsafe { rd_kafka_event_message_next(self.0.as_ptr()).as_ref()? };
        Some(RecordReport {
            opaque: message._private.addr(),
            bytes: message.len,
            error: message.err,
        })
    }

    fn statistics(&self) -> &[u8] {
        // SAFETY: the event is valid, and its text is as long as it is.
        unsafe { text(rd_kafka_event_stats(self.0.as_ptr())).to_bytes() }
    }

    fn error(&self) -> (KafkaError, String) {
        // SAFETY: the event is valid, and its text is as long as it is.
        unsafe {
            let code = rd_kafka_event_error(self.0.as_ptr());
            let reason = text(rd_kafka_event_error_string(self.0.as_ptr()));
            let reason = reason.to_string_lossy().trim().to_owned();
            (KafkaError::Global(code.into()), reason)
        }
    }

    fn log(&self) {
        let (mut facility, mut message, mut level) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the event is valid, and so are the places for what it says, which is as long as
        // it is.
        let (facility, message) = unsafe {
            rd_kafka_event_log(
                self.0.as_ptr(),
                &raw mut facility,
                &raw mut message,
                &raw mut level,
            );
            (text(facility), text(message))
        };
        let (facility, message) = (facility.to_string_lossy(), message.to_string_lossy());
        tracing::debug!(%facility, message = message.trim(), "librdkafka");
    }
}

impl Drop for ClientEvent {
    fn drop(&mut self) {
        // SAFETY: it is ours, and not used any more.
        unsafe { rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// A text of the client.
///
/// # Safety
/// It is null, or ends with a NUL and lives as long as the result is used.
unsafe fn text<'a>(text: *const c_char) -> &'a CStr {
    if text.is_null() {
        c""
    } else {
        // SAFETY: it is not null, and so it is what the caller says.
        unsafe { CStr::from_ptr(text) }
    }
}
