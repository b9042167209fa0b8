//! The generator into a Kafka topic.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tidegate_core::clock::Clock;

use crate::generator::{Generator, first_start};
use crate::kafka::check_producer_properties;
use crate::{GeneratorOptions, SourceError};

/// What to send where.
#[derive(Debug, Clone, PartialEq)]
pub struct ProduceOptions {
    /// Addresses to start from: `host:port,host:port`.
    pub brokers: String,
    /// The topic; it has to exist, or the broker has to create topics by itself.
    pub topic: String,
    /// What to generate. The number of partitions is the topic's, whatever it says here.
    pub generator: GeneratorOptions,
    /// How batches are compressed.
    pub compression: Compression,
    /// How long a batch may wait to become larger.
    pub linger: Duration,
    /// Bytes of a batch, at most.
    pub batch_bytes: usize,
    /// Memory for records that are not acknowledged yet, in bytes.
    pub buffer_bytes: usize,
    /// How long to try to deliver a record; this is what bounds retries.
    pub delivery_timeout: Duration,
    /// Further settings of librdkafka. Those that would break the order or lose records are refused.
    pub properties: BTreeMap<String, String>,
}

impl Default for ProduceOptions {
    fn default() -> Self {
        ProduceOptions {
            brokers: String::new(),
            topic: String::new(),
            generator: GeneratorOptions::default(),
            compression: Compression::Lz4,
            linger: Duration::from_millis(20),
            batch_bytes: 512 << 10,
            buffer_bytes: 128 << 20,
            delivery_timeout: Duration::from_secs(300),
            properties: BTreeMap::new(),
        }
    }
}

/// How batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// `snappy`
    Snappy,
    /// `lz4`
    #[default]
    Lz4,
    /// `zstd`
    Zstd,
}

/// How far it has come.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProduceReport {
    /// Records handed to the client.
    pub sent: u64,
    /// Records that the cluster has acknowledged.
    pub acknowledged: u64,
    /// Records that could not be delivered.
    pub failed: u64,
    /// Why the first of them could not.
    pub first_failure: Option<String>,
    /// Bytes of payload that were acknowledged.
    pub bytes: u64,
    /// Seconds since the start.
    pub seconds: f64,
}

impl ProduceReport {
    /// Acknowledged records a second.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 {
            self.acknowledged as f64 / self.seconds
        } else {
            0.0
        }
    }
}

/// Counts what becomes of the records.
#[derive(Default)]
struct Deliveries {
    acknowledged: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
    first_failure: Mutex<Option<String>>,
}

struct Context(Arc<Deliveries>);

impl ClientContext for Context {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => {
                self.0.acknowledged.fetch_add(1, Ordering::Relaxed);
                self.0
                    .bytes
                    .fetch_add(message.payload_len() as u64, Ordering::Relaxed);
            }
            Err((error, _)) => {
                self.0.failed.fetch_add(1, Ordering::Relaxed);
                let mut first = self
                    .0
                    .first_failure
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

/// Sends generated events, keyed by customer, until their `count` is reached or `stop` is set; then
/// waits until all are delivered or have failed. Calls `progress` about once a second.
///
/// Idempotent, with `acks=all`: nothing is doubled or reordered by retries.
///
/// # Errors
/// If an option is wrong, the topic is not there, or the client has a fault that it cannot get over.
/// Records that could not be delivered are no error here: they are in the report.
pub fn produce(
    options: &ProduceOptions,
    clock: &Clock,
    stop: &AtomicBool,
    mut progress: impl FnMut(&ProduceReport),
) -> Result<ProduceReport, SourceError> {
    let deliveries = Arc::new(Deliveries::default());
    let producer = connect(options, Context(Arc::clone(&deliveries)))?;
    let partitions = ask_partitions(options, &producer)?;
    let generator_options = GeneratorOptions {
        partitions,
        ..options.generator.clone()
    };
    let start_time = first_start(&generator_options, clock.now_micros());
    let generator = Generator::new(&generator_options, start_time)?;

    let began = Instant::now();
    let report = |sent| ProduceReport {
        sent,
        acknowledged: deliveries.acknowledged.load(Ordering::Relaxed),
        failed: deliveries.failed.load(Ordering::Relaxed),
        first_failure: deliveries
            .first_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone(),
        bytes: deliveries.bytes.load(Ordering::Relaxed),
        seconds: began.elapsed().as_secs_f64(),
    };
    let count = options.generator.count.unwrap_or(u64::MAX);
    let paced = options.generator.rate > 0;
    let mut reported = began;
    let mut sent = 0;
    let mut payload = Vec::with_capacity(1024);
    while sent < count && !stop.load(Ordering::Relaxed) {
        if reported.elapsed() >= Duration::from_secs(1) {
            reported = Instant::now();
            progress(&report(sent));
        }
        // A few at once, so that the clock is not read for each.
        let due = if paced {
            generator.due(clock.now_micros()).min(count)
        } else {
            count
        };
        if sent >= due {
            thread::sleep(Duration::from_millis(2));
            continue;
        }
        let until = due.min(sent + 256);
        while sent < until {
            let partition = (sent % partitions as u64) as i32;
            let offset = (sent / partitions as u64) as i64;
            payload.clear();
            generator.write_event(partition, offset, &mut payload);
            let key = generator.key(partition, offset);
            if !send(options, &producer, partition, &key, &payload, stop)? {
                break;
            }
            sent += 1;
        }
    }
    while producer.in_flight_count() > 0 {
        // Bounded: each record is delivered or fails within its delivery timeout.
        if let Err(error) = producer.flush(Duration::from_secs(1))
            && error.rdkafka_error_code() != Some(RDKafkaErrorCode::OperationTimedOut)
        {
            return Err(failed(options, "deliver the last records", &error));
        }
        progress(&report(sent));
    }
    Ok(report(sent))
}

/// Hands one record over, waiting while the client's buffer is full. False if it was stopped then.
fn send(
    options: &ProduceOptions,
    producer: &ThreadedProducer<Context>,
    partition: i32,
    key: &[u8],
    payload: &[u8],
    stop: &AtomicBool,
) -> Result<bool, SourceError> {
    let mut record = BaseRecord::to(&options.topic)
        .partition(partition)
        .key(key)
        .payload(payload);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(true),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                if stop.load(Ordering::Relaxed) {
                    return Ok(false);
                }
                record = back;
                thread::sleep(Duration::from_millis(1));
            }
            Err((error, _)) => return Err(failed(options, "send a record", &error)),
        }
    }
}

fn connect(
    options: &ProduceOptions,
    context: Context,
) -> Result<ThreadedProducer<Context>, SourceError> {
    check_producer_properties(&options.properties)?;
    if options.brokers.trim().is_empty() || options.topic.trim().is_empty() {
        return Err(SourceError::option(
            "brokers, topic",
            "neither must be empty",
        ));
    }
    let mut config = ClientConfig::new();
    config
        .set("client.id", "tidegate-produce")
        .set("queue.buffering.max.messages", "1000000")
        .set(
            "queue.buffering.max.kbytes",
            (options.buffer_bytes >> 10).max(1024).to_string(),
        )
        .set("batch.num.messages", "10000")
        .set("batch.size", options.batch_bytes.max(1024).to_string())
        .set("linger.ms", options.linger.as_millis().to_string())
        .set(
            "message.timeout.ms",
            options.delivery_timeout.as_millis().to_string(),
        )
        .set(
            "compression.type",
            match options.compression {
                Compression::None => "none",
                Compression::Snappy => "snappy",
                Compression::Lz4 => "lz4",
                Compression::Zstd => "zstd",
            },
        );
    for (key, value) in &options.properties {
        config.set(key, value);
    }
    config
        .set("bootstrap.servers", &options.brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("max.in.flight.requests.per.connection", "5")
        .set_log_level(RDKafkaLogLevel::Warning);
    config
        .create_with_context(context)
        .map_err(|error: KafkaError| match error {
            KafkaError::ClientConfig(_, reason, key, value) => SourceError::option(
                format!("properties.{key}"),
                format!("librdkafka refuses `{value}`: {reason}"),
            ),
            other => failed(options, "set up the client", &other),
        })
}

/// Number of the topic's partitions, which a broker may have to create first.
fn ask_partitions(
    options: &ProduceOptions,
    producer: &ThreadedProducer<Context>,
) -> Result<i32, SourceError> {
    const WAIT: Duration = Duration::from_secs(30);
    let began = Instant::now();
    loop {
        let asked = producer
            .client()
            .fetch_metadata(Some(&options.topic), Duration::from_secs(5));
        let late = began.elapsed() >= WAIT;
        match asked {
            Ok(metadata) => {
                let topic = metadata.topics().iter().find(|t| t.name() == options.topic);
                let partitions = topic
                    .filter(|t| t.error().is_none())
                    .map(|t| t.partitions().len());
                match partitions.and_then(|n| i32::try_from(n).ok()) {
                    Some(n) if n > 0 => return Ok(n),
                    _ if late => {
                        return Err(SourceError::TopicMissing {
                            topic: options.topic.clone(),
                            brokers: options.brokers.clone(),
                            after: WAIT,
                        });
                    }
                    _ => {}
                }
            }
            Err(error) if late => {
                return Err(SourceError::Unreachable {
                    brokers: options.brokers.clone(),
                    reason: error.to_string(),
                    after: began.elapsed(),
                });
            }
            Err(_) => {}
        }
        thread::sleep(Duration::from_millis(500));
    }
}

fn failed(options: &ProduceOptions, action: &'static str, error: &KafkaError) -> SourceError {
    SourceError::Kafka {
        topic: options.topic.clone(),
        action,
        reason: error.to_string(),
    }
}
