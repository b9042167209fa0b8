//! Records out of topics.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::Kafka;

const WAIT_MAX: Duration = Duration::from_secs(120);

/// Which records a consumer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Those of committed transactions and those outside transactions.
    Committed,
    /// Those of open and aborted transactions, too.
    Uncommitted,
}

/// One record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRecord {
    /// Partition that it is in.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Key, if any.
    pub key: Option<Vec<u8>>,
    /// Payload; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
}

impl Kafka {
    /// All records that the topic holds, by partition and offset.
    ///
    /// # Panics
    ///
    /// If there is no such topic, or it cannot be read to its end.
    pub fn read_all(&self, topic: &str, isolation: Isolation) -> Vec<ReadRecord> {
        let level = match isolation {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        };
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "testkit")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", level)
            // An end is said when a fetch comes back empty.
            .set("fetch.wait.max.ms", "20")
            .create()
            .expect("the client's settings are right");

        let mut open: Vec<i32> = self.offsets(topic).into_keys().collect();
        let mut assignment = TopicPartitionList::new();
        for &partition in &open {
            assignment
                .add_partition_offset(topic, partition, Offset::Beginning)
                .expect("an offset");
        }
        consumer
            .assign(&assignment)
            .expect("partitions that are there");

        let mut records = Vec::new();
        let begin = Instant::now();
        while !open.is_empty() {
            assert!(
                begin.elapsed() < WAIT_MAX,
                "{topic} was not read to its end within {WAIT_MAX:?}"
            );
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => records.push(ReadRecord::from(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.retain(|&id| id != partition)
                }
                Some(Err(error)) => panic!("cannot read {topic}: {error}"),
                None => {}
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }
}

impl From<&BorrowedMessage<'_>> for ReadRecord {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
        }
    }
}
