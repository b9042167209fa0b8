//! How far a producer has come.

use super::histogram::Latencies;
use super::statistics::ClientReport;

/// How far it has come.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProduceReport {
    /// Events that were generated and handed to the client.
    pub events: u64,
    /// Records handed to the client: one for each event and topic.
    pub sent: u64,
    /// Records that the cluster has acknowledged, those of transactions that were aborted later
    /// included.
    pub acknowledged: u64,
    /// Records that could not be delivered.
    pub failed: u64,
    /// Why the first of them could not, or why the first transaction was aborted.
    pub first_failure: Option<DeliveryFailure>,
    /// Bytes of payload that were acknowledged.
    pub bytes: u64,
    /// Seconds since the start.
    pub seconds: f64,
    /// Times from handing a record to the client to its acknowledgement.
    pub latencies: Latencies,
    /// What became of transactions, if there are any.
    pub transactions: Option<TransactionReport>,
    /// What the client says about itself.
    pub client: ClientReport,
}

/// Why a record could not be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryFailure {
    /// What the client says.
    pub reason: String,
    /// Whether it may go better later: brokers were not there, or too few of them.
    pub is_temporary: bool,
}

/// What became of transactions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TransactionReport {
    /// Transactions that were committed.
    pub committed: u64,
    /// Transactions that were aborted.
    pub aborted: u64,
    /// Events in the committed ones.
    pub events_committed: u64,
    /// Events in the aborted ones.
    pub events_aborted: u64,
}

impl ProduceReport {
    /// Acknowledged records a second.
    pub fn rate(&self) -> f64 {
        per_second(self.acknowledged, self.seconds)
    }

    /// Acknowledged bytes of payload a second.
    pub fn byte_rate(&self) -> f64 {
        per_second(self.bytes, self.seconds)
    }

    /// Whether everything that was sent is in the topics, and is going to be seen.
    pub fn is_complete(&self) -> bool {
        self.failed == 0 && self.transactions.is_none_or(|t| t.aborted == 0)
    }
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}
