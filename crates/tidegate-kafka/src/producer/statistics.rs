//! What librdkafka says about itself, added up.

use rdkafka::Statistics;

/// What the client says about itself, as of its last statistics, and what it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientReport {
    /// Batches that were sent, repeated ones included.
    pub batches: u64,
    /// Records in them.
    pub batch_records: u64,
    /// Bytes of them, compressed and with their headers.
    pub batch_bytes: u64,
    /// Bytes of keys and payloads in them.
    pub record_bytes: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// Requests that failed or timed out on their way.
    pub request_errors: u64,
    /// Bytes of the buffer that are in use: the memory of the batches that the client has, as of
    /// now.
    pub buffered_bytes: u64,
    /// Bytes of the buffer.
    pub buffer_bytes: u64,
}

impl ClientReport {
    /// Records of a batch, on average.
    pub fn records_per_batch(&self) -> f64 {
        ratio(self.batch_records, self.batches)
    }

    /// Compressed bytes of a batch, on average.
    pub fn bytes_per_batch(&self) -> f64 {
        ratio(self.batch_bytes, self.batches)
    }

    /// How many times smaller a batch is than the keys and payloads in it; 0 before the first one.
    pub fn compression_ratio(&self) -> f64 {
        ratio(self.record_bytes, self.batch_bytes)
    }

    /// Bytes of the buffer that are free.
    pub fn free_bytes(&self) -> u64 {
        self.buffer_bytes.saturating_sub(self.buffered_bytes)
    }

    /// Takes in the next statistics. The windows of batch sizes are of the time since the last
    /// ones, everything else is since the beginning.
    pub(super) fn update(&mut self, statistics: &Statistics) {
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        for topic in statistics.topics.values() {
            self.batches += count(topic.batchcnt.cnt);
            self.batch_records += count(topic.batchcnt.sum);
            self.batch_bytes += count(topic.batchsize.sum);
        }
        self.record_bytes = count(statistics.txmsg_bytes);
        let brokers = || statistics.brokers.values();
        self.retries = brokers().map(|broker| broker.txretries).sum();
        self.request_errors = brokers()
            .map(|broker| broker.txerrs + broker.req_timeouts)
            .sum();
        self.buffer_bytes = statistics.msg_size_max;
    }
}

fn ratio(of: u64, to: u64) -> f64 {
    if to == 0 { 0.0 } else { of as f64 / to as f64 }
}
