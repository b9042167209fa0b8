//! The generator into Kafka topics, and single records ([`TopicProducer`]).
//!
//! One thread generates and hands over, which copies a record once, into the client's buffer; the
//! client's own threads compress and send, and one more takes what became of the records. A full
//! buffer stops the generator until records have left it.

mod deliveries;
mod histogram;
mod options;
mod report;
mod salt;
mod sender;
mod statistics;
mod topic;
mod transactions;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tidegate_core::clock::Clock;

use crate::generator::{Generator, first_start, partition_hash};
use crate::{GeneratorOptions, SourceError};

pub use histogram::Latencies;
pub use options::{Compression, ProduceOptions, TransactionEvery, TransactionOptions};
pub use report::{DeliveryFailure, ProduceReport, TransactionReport};
pub use statistics::ClientReport;
pub use topic::{Position, SendError, TopicOptions, TopicProducer};

use options::STATISTICS_EVERY;
use salt::Key;
use sender::{Refused, Sender, failed};
use transactions::{Transactions, requires_abort};

/// Events between two looks at the clock.
const STRIDE: u64 = 256;
/// How often a producer with a rate looks whether something is due.
const PACE: Duration = Duration::from_millis(2);

/// Sends generated events, keyed by customer, to every topic until their `count` is reached or `stop`
/// is set; then waits until all are delivered or have failed, and commits the last transaction. Calls
/// `progress` from time to time.
///
/// Idempotent, with `acks=all`: nothing is doubled or reordered by retries.
///
/// # Errors
/// If an option is wrong, a topic is not there, or the client has a fault that it cannot get over.
/// Records that could not be delivered are no error here: they are in the report.
pub fn produce(
    options: &ProduceOptions,
    clock: &Clock,
    stop: &AtomicBool,
    progress: impl FnMut(&ProduceReport),
) -> Result<ProduceReport, SourceError> {
    options.check()?;
    let sender = Sender::new(options)?;
    let mut topics = Vec::new();
    for topic in &options.topics {
        match sender.ask_partitions(topic, stop)? {
            Some(partitions) => topics.push((topic.as_str(), partitions)),
            None => return Ok(ProduceReport::default()),
        }
    }
    let generator_options = GeneratorOptions {
        partitions: topics[0].1,
        ..options.generator.clone()
    };
    let start_time = first_start(&generator_options, clock.now_micros());
    let generator = Generator::new(&generator_options, start_time)?;
    let transactions = Transactions::new(options, &sender)?;
    let mut run = Run {
        options,
        topics,
        generator,
        sender: &sender,
        settled: transactions.as_ref().map(Transactions::report),
        transactions,
        began: Instant::now(),
        reported: Instant::now(),
        progress,
        events: 0,
        sent: 0,
    };
    run.send_all(clock, stop)?;
    run.finish()
}

/// A producer at work.
struct Run<'a, F> {
    options: &'a ProduceOptions,
    /// Topics, and how many partitions each has.
    topics: Vec<(&'a str, i32)>,
    generator: Generator,
    sender: &'a Sender,
    transactions: Option<Transactions<'a>>,
    /// What became of the transactions so far.
    settled: Option<TransactionReport>,
    began: Instant,
    reported: Instant,
    progress: F,
    events: u64,
    sent: u64,
}

impl<F: FnMut(&ProduceReport)> Run<'_, F> {
    fn send_all(&mut self, clock: &Clock, stop: &AtomicBool) -> Result<(), SourceError> {
        let count = self.options.generator.count.unwrap_or(u64::MAX);
        let paced = self.options.generator.rate > 0;
        let mut payload = Vec::with_capacity(self.options.generator.event_bytes + 1024);
        while self.events < count && !stop.load(Ordering::Relaxed) {
            self.report_now_and_then();
            if self.transactions.as_ref().is_some_and(Transactions::is_due) {
                self.commit()?;
            }
            let due = if paced {
                self.generator.due(clock.now_micros()).min(count)
            } else {
                count
            };
            if self.events >= due {
                thread::sleep(PACE);
                continue;
            }
            let room = match &mut self.transactions {
                Some(transactions) => transactions.begin()?,
                None => u64::MAX,
            };
            let events = (due - self.events).min(STRIDE).min(room);
            let before = self.events;
            let outcome = (0..events).try_for_each(|_| self.send_event(&mut payload, stop));
            if let Some(transactions) = &mut self.transactions {
                transactions.add(self.events - before);
            }
            match (outcome, &mut self.transactions) {
                (Ok(()) | Err(Refused::Stopped), _) => {}
                (Err(Refused::Error(error)), Some(transactions)) if requires_abort(&error) => {
                    transactions.abort(&error)?;
                    self.settled = Some(transactions.report());
                }
                (Err(Refused::Error(error)), _) => {
                    return Err(failed(self.topics[0].0, "send a record", &error));
                }
            }
        }
        Ok(())
    }

    /// Sends the next event to every topic.
    fn send_event(&mut self, payload: &mut Vec<u8>, stop: &AtomicBool) -> Result<(), Refused> {
        let home = u64::from(self.generator.partitions().unsigned_abs());
        let partition = (self.events % home) as i32;
        let offset = (self.events / home) as i64;
        payload.clear();
        let written = self.generator.write_record(partition, offset, payload);
        let salts = self.options.salt_hot_keys.filter(|_| written.is_hot);
        let key = match salts {
            Some(salts) => Key::salted(&written.key, written.event, salts),
            None => Key::plain(&written.key),
        };
        for (i, &(topic, partitions)) in self.topics.iter().enumerate() {
            // Where the generator has it, unless the key belongs elsewhere.
            let partition = if salts.is_none()
                && !self.generator.has_hot_key()
                && partitions == self.generator.partitions()
            {
                partition
            } else {
                (partition_hash(key.as_bytes()) % partitions.unsigned_abs()) as i32
            };
            // An event that one topic has comes into the others, too.
            let stop = (i == 0).then_some(stop);
            self.sender
                .send(topic, partition, key.as_bytes(), payload, stop)?;
            self.sent += 1;
        }
        self.events += 1;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), SourceError> {
        let Some(mut transactions) = self.transactions.take() else {
            return Ok(());
        };
        let committed = transactions.commit(|| self.report_now_and_then());
        self.settled = Some(transactions.report());
        self.transactions = Some(transactions);
        committed
    }

    /// Waits for what is in flight.
    fn finish(&mut self) -> Result<ProduceReport, SourceError> {
        self.commit()?;
        let sender = self.sender;
        sender
            .flush(|| self.report_now_and_then())
            .map_err(|error| failed(self.topics[0].0, "deliver the last records", &error))?;
        let seconds = self.began.elapsed().as_secs_f64();
        // The client's statistics come at intervals: those that know of the last batch are yet to come.
        let asked = Instant::now();
        while asked.elapsed() < 2 * STATISTICS_EVERY
            && sender.deliveries.client().batch_records < self.sent
        {
            thread::sleep(Duration::from_millis(10));
        }
        Ok(ProduceReport {
            seconds,
            ..self.report()
        })
    }

    fn report_now_and_then(&mut self) {
        if self.reported.elapsed() >= self.options.report_every {
            self.reported = Instant::now();
            let report = self.report();
            (self.progress)(&report);
        }
    }

    fn report(&self) -> ProduceReport {
        let deliveries = &self.sender.deliveries;
        ProduceReport {
            events: self.events,
            sent: self.sent,
            acknowledged: deliveries.acknowledged(),
            failed: deliveries.failed(),
            first_failure: deliveries.first_failure(),
            bytes: deliveries.bytes(),
            seconds: self.began.elapsed().as_secs_f64(),
            latencies: deliveries.latencies(),
            transactions: self.settled,
            client: deliveries.client(),
        }
    }
}
