//! Transactions: begun before an event, committed after some, aborted where one of them failed.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer;

use super::report::TransactionReport;
use super::sender::{Sender, failed};
use super::{ProduceOptions, TransactionEvery};
use tidegate_source::SourceError;

/// How long the client may keep us at a time.
const STEP: Duration = Duration::from_millis(500);
/// The same where it waits for reports to be taken, which is done between two steps.
const ABORT_STEP: Duration = Duration::from_millis(50);

/// The transactions of a producer, one after the other.
pub(super) struct Transactions<'a> {
    every: TransactionEvery,
    /// How long to try to begin, commit or abort.
    patience: Duration,
    topic: &'a str,
    open: Option<CurrentTransaction>,
    report: TransactionReport,
}

/// A transaction that is open.
struct CurrentTransaction {
    began: Instant,
    events: u64,
}

impl<'a> Transactions<'a> {
    /// Makes the client ready: ends what an earlier producer of the same name left open. `None`
    /// where there are to be no transactions.
    ///
    /// # Errors
    /// The cluster does not allow it.
    pub(super) fn new(
        options: &'a ProduceOptions,
        sender: &mut Sender,
    ) -> Result<Option<Self>, SourceError> {
        let Some(transactions) = &options.transactions else {
            return Ok(None);
        };
        let topic = options.topics[0].as_str();
        let patience = options.delivery_timeout();
        let began = Instant::now();
        while let Err(error) = sender.producer().init_transactions(STEP) {
            if !is_retriable(&error) || began.elapsed() >= patience {
                return Err(failed(topic, "set up transactions", &error));
            }
            sender.serve(Duration::ZERO);
        }
        Ok(Some(Transactions {
            every: transactions.every,
            patience,
            topic,
            open: None,
            report: TransactionReport::default(),
        }))
    }

    pub(super) fn report(&self) -> TransactionReport {
        self.report
    }

    /// Begins one if none is open. Gives the number of events that it still takes.
    pub(super) fn begin(&mut self, sender: &Sender) -> Result<u64, SourceError> {
        if self.open.is_none() {
            sender
                .producer()
                .begin_transaction()
                .map_err(|error| failed(self.topic, "begin a transaction", &error))?;
            self.open = Some(CurrentTransaction {
                began: Instant::now(),
                events: 0,
            });
        }
        let events = self.open.as_ref().map_or(0, |open| open.events);
        Ok(match self.every {
            TransactionEvery::Events(every) => every.saturating_sub(events),
            TransactionEvery::Time(_) => u64::MAX,
        })
    }

    /// Counts events of the open transaction.
    pub(super) fn add(&mut self, events: u64) {
        if let Some(open) = &mut self.open {
            open.events += events;
        }
    }

    /// Whether the open one has what it takes.
    pub(super) fn is_due(&self) -> bool {
        self.open.as_ref().is_some_and(|open| match self.every {
            TransactionEvery::Events(every) => open.events >= every,
            TransactionEvery::Time(every) => open.began.elapsed() >= every,
        })
    }

    /// Commits the open one; where a record of it could not be delivered, aborts it.
    ///
    /// # Errors
    /// The client cannot go on: a later producer has its name, or the cluster did not answer for as
    /// long as a record may take.
    pub(super) fn commit(
        &mut self,
        sender: &mut Sender,
        mut progress: impl FnMut(&Sender),
    ) -> Result<(), SourceError> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let events = open.events;
        let began = Instant::now();
        loop {
            sender.flush(&mut progress);
            // It flushes by itself, too, which would take reports: there are none left.
            match sender.producer().commit_transaction(STEP) {
                Ok(()) => break,
                Err(error) if requires_abort(&error) => return self.abort(sender, &error),
                Err(error) if is_retriable(&error) && began.elapsed() < self.patience => {
                    progress(sender);
                }
                Err(error) => return Err(failed(self.topic, "commit a transaction", &error)),
            }
        }
        self.open = None;
        self.report.committed += 1;
        self.report.events_committed += events;
        Ok(())
    }

    /// Aborts the open one because of `reason`.
    ///
    /// # Errors
    /// As [`Transactions::commit`].
    pub(super) fn abort(
        &mut self,
        sender: &mut Sender,
        reason: &KafkaError,
    ) -> Result<(), SourceError> {
        // Before what follows from it: records that are thrown away.
        sender.note_failure(reason);
        let began = Instant::now();
        while let Err(error) = sender.producer().abort_transaction(ABORT_STEP) {
            if !is_retriable(&error) || began.elapsed() >= self.patience {
                return Err(failed(self.topic, "abort a transaction", &error));
            }
            sender.serve(Duration::ZERO);
        }
        let events = self.open.take().map_or(0, |open| open.events);
        self.report.aborted += 1;
        self.report.events_aborted += events;
        tracing::warn!(%reason, events, "a transaction was aborted");
        Ok(())
    }
}

fn is_retriable(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_retriable(),
        KafkaError::Flush(code) => *code == RDKafkaErrorCode::OperationTimedOut,
        _ => false,
    }
}

/// Whether the transaction is lost, and the next one may go well.
pub(super) fn requires_abort(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.txn_requires_abort(),
        // Nothing is taken any more once a record of the transaction has failed.
        KafkaError::MessageProduction(code) => *code == RDKafkaErrorCode::State,
        _ => false,
    }
}
