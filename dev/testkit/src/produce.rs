//! Records into topics.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};

use crate::kafka::{Kafka, wait_for};

const WAIT_MAX: Duration = Duration::from_secs(120);

/// One record to produce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerRecord {
    /// Partition that it goes to.
    pub partition: i32,
    /// Key, if any.
    pub key: Option<Vec<u8>>,
    /// Payload; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Milliseconds since 1970; `None`: now.
    pub timestamp: Option<i64>,
}

impl ProducerRecord {
    /// A record with a payload and no key.
    pub fn new(partition: i32, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            partition,
            key: None,
            payload: Some(payload.into()),
            timestamp: None,
        }
    }

    /// A record without a payload.
    pub fn tombstone(partition: i32, key: impl Into<Vec<u8>>) -> Self {
        Self {
            partition,
            key: Some(key.into()),
            payload: None,
            timestamp: None,
        }
    }

    /// The same record with a key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same record with a timestamp, in milliseconds since 1970.
    #[must_use]
    pub fn timestamp(mut self, millis: i64) -> Self {
        self.timestamp = Some(millis);
        self
    }
}

/// How a producer compresses its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the codecs' own names
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    fn codec(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionEnd {
    /// Its records become visible.
    Commit,
    /// Its records stay in the log, and `read_committed` consumers never see them.
    Abort,
}

impl Kafka {
    /// Produces `records`, idempotently and in order, and waits until Kafka has them all.
    ///
    /// # Panics
    ///
    /// If one is not delivered.
    pub fn produce(
        &self,
        topic: &str,
        compression: Codec,
        records: impl IntoIterator<Item = ProducerRecord>,
    ) {
        let producer = {
            let mut producers = self.producers();
            let make = || {
                let mut config = self.client();
                config
                    .set("compression.type", compression.codec())
                    .set("enable.idempotence", "true");
                producer(&config)
            };
            producers
                .entry(compression.codec())
                .or_insert_with(make)
                .clone()
        };
        send(&producer, topic, records);
    }

    /// Produces `records` in one transaction and ends it.
    ///
    /// # Panics
    ///
    /// If one is not delivered, or the transaction does not end as asked.
    pub fn transaction(
        &self,
        topic: &str,
        ending: TransactionEnd,
        records: impl IntoIterator<Item = ProducerRecord>,
    ) {
        self.begin_transaction(topic, records).end(ending);
    }

    /// Produces `records` in a transaction and leaves it open, so that `read_committed` consumers
    /// stop before its first record.
    ///
    /// # Panics
    ///
    /// If one is not delivered.
    pub fn begin_transaction(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = ProducerRecord>,
    ) -> OpenTransaction {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!(
            "testkit-{}-{}",
            process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let producer = producer(self.client().set("transactional.id", id));
        producer.init_transactions(WAIT_MAX).expect("Kafka answers");
        producer
            .begin_transaction()
            .expect("no transaction is open");
        send(&producer, topic, records);
        OpenTransaction(producer)
    }
}

/// A transaction whose records are delivered and that has not ended.
pub struct OpenTransaction(FutureProducer);

impl OpenTransaction {
    /// Ends it.
    ///
    /// # Panics
    ///
    /// If it does not end as asked.
    pub fn end(self, ending: TransactionEnd) {
        match ending {
            TransactionEnd::Commit => self
                .0
                .commit_transaction(WAIT_MAX)
                .expect("the transaction commits"),
            TransactionEnd::Abort => self
                .0
                .abort_transaction(WAIT_MAX)
                .expect("the transaction aborts"),
        }
    }
}

fn producer(config: &ClientConfig) -> FutureProducer {
    config
        .clone()
        .set("linger.ms", "2")
        .set("queue.buffering.max.messages", "1000000")
        .set("queue.buffering.max.kbytes", "1048576")
        .set("message.max.bytes", "268435456")
        .create()
        .expect("the client's settings are right")
}

fn send(producer: &FutureProducer, topic: &str, records: impl IntoIterator<Item = ProducerRecord>) {
    let mut deliveries = Vec::new();
    for record in records {
        let mut message = FutureRecord::to(topic).partition(record.partition);
        message.key = record.key.as_deref();
        message.payload = record.payload.as_deref();
        message.timestamp = record.timestamp;
        deliveries.push(
            producer
                .send_result(message)
                .map_err(|(error, _)| error)
                .expect("the producer has room"),
        );
    }
    producer
        .flush(WAIT_MAX)
        .expect("Kafka takes what is produced");
    wait_for(async {
        for delivery in deliveries {
            delivery
                .await
                .expect("the producer lives")
                .map_err(|(error, _)| error)
                .expect("Kafka takes the record");
        }
    });
}
