//! The generator into Kafka topics, and single records ([`TopicProducer`]).
//!
//! One thread makes batches of events, some ahead. Another hands them over, as many as are due, and
//! takes what became of the records. The client's own threads compress and send; they read the
//! events where they were made, and a batch is filled again when the last of its records is
//! acknowledged or has failed. So the batches are the buffer: when all are in use, nothing is
//! generated.

mod batch;
mod client;
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

use tidegate_base::clock::Clock;

use tidegate_generator::{Generator, GeneratorOptions, first_start};
use tidegate_source::SourceError;

pub use histogram::Latencies;
pub use options::{Compression, ProduceOptions, TransactionEvery, TransactionOptions};
pub use report::{DeliveryFailure, ProduceReport, TransactionReport};
pub use statistics::ClientReport;
pub use topic::{Partitioner, Position, SendError, TopicOptions, TopicProducer};

use batch::{Batches, Maker};
use options::STATISTICS_EVERY;
use sender::{Sender, failed};
use transactions::{Transactions, requires_abort};

/// How often a producer with a rate looks whether something is due.
const PACE: Duration = Duration::from_millis(2);

/// Sends generated events, keyed by customer, to every topic until their `count` is reached or
/// `stop` is set; then waits until all are delivered or have failed, and commits the last
/// transaction. Calls `progress` from time to time.
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
    let mut sender = Sender::new(options)?;
    let mut home_partitions = None;
    for topic in &options.topics {
        let Some(partitions) = sender.request_partitions(topic, stop)? else {
            return Ok(ProduceReport::default());
        };
        sender.add_topic(topic, partitions)?;
        home_partitions.get_or_insert(partitions);
    }
    sender.make_ready(&options.topics[0]);
    let generator_options = GeneratorOptions {
        partitions: home_partitions.unwrap_or(1),
        ..options.generator.clone()
    };
    let start_time = first_start(&generator_options, clock.now_micros());
    let generator = Generator::new(&generator_options, start_time)?;
    let transactions = Transactions::new(options, &mut sender)?;
    let mut run = ProducerRun {
        options,
        generator: &generator,
        reporter: Reporter {
            began: Instant::now(),
            reported: Instant::now(),
            every: options.report_every,
            progress,
            events: 0,
            settled: transactions.as_ref().map(Transactions::report),
        },
        transactions,
        sender,
    };
    run.send_all(clock, stop)?;
    run.finish()
}

/// A producer at work.
struct ProducerRun<'a, F> {
    options: &'a ProduceOptions,
    generator: &'a Generator,
    sender: Sender,
    transactions: Option<Transactions<'a>>,
    reporter: Reporter<F>,
}

impl<F: FnMut(&ProduceReport)> ProducerRun<'_, F> {
    #[expect(
        clippy::disallowed_methods,
        reason = "both channels of the maker end with `batches`, inside of the scope"
    )]
    fn send_all(&mut self, clock: &Clock, stop: &AtomicBool) -> Result<(), SourceError> {
        let generator = self.generator;
        let count = self.options.generator.count.unwrap_or(u64::MAX);
        let maker = Maker::new(self.options, generator);
        thread::scope(|scope| {
            let mut batches = Batches::start(scope, maker).map_err(|error| SourceError::Kafka {
                topic: self.options.topics[0].clone(),
                action: "start a thread that makes the events",
                reason: error.to_string(),
            })?;
            while self.reporter.events < count && !stop.load(Ordering::Relaxed) {
                self.send_some(&mut batches, count, clock)?;
            }
            Ok(())
        })
    }

    /// Sends what is due of a batch, or waits a little.
    fn send_some(
        &mut self,
        batches: &mut Batches,
        count: u64,
        clock: &Clock,
    ) -> Result<(), SourceError> {
        self.reporter.report_now_and_then(&self.sender);
        if self.transactions.as_ref().is_some_and(Transactions::is_due) {
            self.commit()?;
        }
        let due = if self.options.generator.rate > 0 {
            self.generator.due(clock.now_micros()).min(count)
        } else {
            count
        };
        if self.reporter.events >= due {
            self.sender.serve(PACE);
            return Ok(());
        }
        let room = match &mut self.transactions {
            Some(transactions) => transactions.begin(&self.sender)?,
            None => u64::MAX,
        };
        let (events, outcome) = self
            .sender
            .send(batches, (due - self.reporter.events).min(room));
        self.reporter.events += events;
        if let Some(transactions) = &mut self.transactions {
            transactions.add(events);
        }
        match (outcome, &mut self.transactions) {
            (Ok(()), _) => Ok(()),
            (Err(error), Some(transactions)) if requires_abort(&error) => {
                transactions.abort(&mut self.sender, &error)?;
                self.reporter.settled = Some(transactions.report());
                Ok(())
            }
            (Err(error), _) => Err(failed(&self.options.topics[0], "send a record", &error)),
        }
    }

    fn commit(&mut self) -> Result<(), SourceError> {
        let Some(transactions) = &mut self.transactions else {
            return Ok(());
        };
        let reporter = &mut self.reporter;
        let committed = transactions.commit(&mut self.sender, |sender| {
            reporter.report_now_and_then(sender);
        });
        self.reporter.settled = Some(transactions.report());
        committed
    }

    /// Waits for what is in flight.
    fn finish(&mut self) -> Result<ProduceReport, SourceError> {
        self.commit()?;
        let reporter = &mut self.reporter;
        self.sender
            .flush(|sender| reporter.report_now_and_then(sender));
        let seconds = reporter.began.elapsed().as_secs_f64();
        // The client's statistics come at intervals: those that know of the last batch are yet to
        // come.
        let asked = Instant::now();
        while asked.elapsed() < 2 * STATISTICS_EVERY
            && self.sender.client_report().batch_records < self.sender.sent()
        {
            self.sender.serve(Duration::from_millis(10));
        }
        Ok(ProduceReport {
            seconds,
            ..self.reporter.report(&self.sender)
        })
    }
}

/// Says how far it has come.
struct Reporter<F> {
    began: Instant,
    reported: Instant,
    every: Duration,
    progress: F,
    events: u64,
    /// What became of the transactions so far.
    settled: Option<TransactionReport>,
}

impl<F: FnMut(&ProduceReport)> Reporter<F> {
    fn report_now_and_then(&mut self, sender: &Sender) {
        if self.reported.elapsed() >= self.every {
            self.reported = Instant::now();
            let report = self.report(sender);
            (self.progress)(&report);
        }
    }

    fn report(&self, sender: &Sender) -> ProduceReport {
        let deliveries = sender.deliveries();
        ProduceReport {
            events: self.events,
            sent: sender.sent(),
            acknowledged: deliveries.acknowledged(),
            failed: deliveries.failed(),
            first_failure: deliveries.first_failure(),
            bytes: deliveries.bytes(),
            seconds: self.began.elapsed().as_secs_f64(),
            latencies: deliveries.latencies(),
            transactions: self.settled,
            client: sender.client_report(),
        }
    }
}
