//! A micro-batch while it gathers: everything that one commit will cover.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use tidegate_core::lane::Verdict;
use tidegate_core::plan::Plan;
use tidegate_core::prepare::Prepared;
use tidegate_core::window::ClosedWindows;
use tidegate_log::{Counts, Span};

use crate::latency::Samples;

/// Rows of a chunk with what became of them.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) batch: RecordBatch,
    pub(crate) times: Vec<i64>,
    pub(crate) keep: Vec<bool>,
    pub(crate) events: u64,
    pub(crate) late: Vec<u32>,
}

/// A micro-batch.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) spans: BTreeMap<i32, Span>,
    pub(crate) watermarks: BTreeMap<i32, i64>,
    pub(crate) counts: Counts,
    pub(crate) rejected_by: BTreeMap<String, u64>,
    pub(crate) judged: Vec<Judged>,
    pub(crate) rejected: Vec<RecordBatch>,
    pub(crate) oversized: Vec<RecordBatch>,
    pub(crate) closed: Vec<ClosedWindows>,
    /// Event times that stand for the rows.
    pub(crate) samples: Samples,
    /// The bounded source has ended with this batch.
    pub(crate) complete: bool,
    /// Bytes of payload.
    pub(crate) bytes: usize,
    /// Bytes of the budget that are given back when it is committed.
    pub(crate) cost: usize,
}

impl Batch {
    pub(crate) fn new(plan: &Plan) -> Self {
        Batch {
            spans: BTreeMap::new(),
            watermarks: BTreeMap::new(),
            counts: Counts::default(),
            rejected_by: BTreeMap::new(),
            judged: Vec::new(),
            rejected: Vec::new(),
            oversized: Vec::new(),
            closed: plan.windows().map(|_| ClosedWindows::default()).collect(),
            samples: Samples::default(),
            complete: false,
            bytes: 0,
            cost: 0,
        }
    }

    /// Whether there is nothing to commit.
    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty() && self.watermarks.is_empty() && !self.complete
    }

    /// Names a partition, so that the log knows it before its first record.
    pub(crate) fn announce(&mut self, id: i32, lane: i32, name: &str, offset: i64) {
        self.spans.entry(id).or_insert_with(|| Span {
            id,
            lane,
            name: name.to_owned(),
            from: offset,
            to: offset,
            gone: 0,
        });
    }

    /// Takes a chunk with the verdict on its rows. The partition has been announced.
    pub(crate) fn add(&mut self, prepared: Prepared, verdict: Verdict, cost: usize) {
        if let Some(span) = self.spans.get_mut(&prepared.partition) {
            span.to = prepared.to;
            span.gone += prepared.gone;
        }
        let rejected = prepared.rejected.as_ref().map_or(0, RecordBatch::num_rows) as u64;
        self.counts.read += prepared.read;
        self.counts.events += verdict.events;
        self.counts.late += verdict.late.len() as u64;
        self.counts.rejected += rejected;
        self.counts.duplicates += verdict.duplicates;
        self.counts.gone += prepared.gone;
        for (code, count) in prepared.rejected_by {
            *self.rejected_by.entry(code).or_insert(0) += count;
        }
        self.rejected.extend(prepared.rejected);
        self.oversized.extend(prepared.oversized);
        self.bytes += prepared.bytes;
        self.cost += cost;
        if verdict.events > 0 || !verdict.late.is_empty() {
            self.judged.push(Judged {
                batch: prepared.batch,
                times: prepared.times,
                keep: verdict.keep,
                events: verdict.events,
                late: verdict.late,
            });
        }
    }
}
