//! A micro-batch while it gathers: everything that one commit will cover.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use tidegate_core::lane::Verdict;
use tidegate_core::lanes::{Lanes, Notes};
use tidegate_core::plan::Plan;
use tidegate_core::prepare::Prepared;
use tidegate_core::window::ClosedWindows;
use tidegate_log::{Counts, Span};

use crate::latency::Samples;
use crate::options::BatchOptions;

/// Rows of a chunk with what became of them.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) lane: i32,
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
    pub(crate) idle: BTreeMap<i32, bool>,
    pub(crate) plan: Option<serde_json::Value>,
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
            idle: BTreeMap::new(),
            plan: None,
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

    /// Has the commit say what the rows mean from it on.
    pub(crate) fn announce_meaning(&mut self, meaning: Option<serde_json::Value>) {
        self.plan = meaning;
    }

    /// Notes that the bounded source ends with this batch.
    pub(crate) fn complete(&mut self) {
        self.complete = true;
    }

    /// Whether it is to be committed before its time is over.
    pub(crate) fn is_full(&self, options: &BatchOptions) -> bool {
        let rows = self.counts.read - self.counts.duplicates;
        rows >= options.max_rows as u64 || self.bytes >= options.max_bytes
    }

    /// Takes the windows that have closed, the watermarks that have moved, and which lanes are
    /// idle. Idleness alone makes no record, unless it is news or the job ends.
    pub(crate) fn close(&mut self, lanes: &mut Lanes, notes: Notes) {
        let moved = lanes.close(&mut self.closed);
        self.watermarks.extend(moved);
        if !self.is_empty() || notes == Notes::All || lanes.has_news() {
            self.idle.extend(lanes.notes(notes));
        }
    }

    /// Whether there is nothing to commit.
    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
            && self.watermarks.is_empty()
            && self.idle.is_empty()
            && !self.complete
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
            identity: None,
        });
    }

    /// Takes event times that stand for the rows of a chunk.
    pub(crate) fn sample(&mut self, samples: Samples) {
        self.samples.extend(samples);
    }

    /// Takes a chunk with the verdict on its rows. The partition has been announced.
    pub(crate) fn add(&mut self, prepared: Prepared, verdict: Verdict, cost: usize) {
        if let Some(span) = self.spans.get_mut(&prepared.partition) {
            span.to = prepared.to;
            span.gone += prepared.gone;
            if let Some(identity) = &prepared.identity {
                span.identity = Some(identity.to_string());
            }
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
                lane: prepared.lane,
                batch: prepared.batch,
                times: prepared.times,
                keep: verdict.keep,
                events: verdict.events,
                late: verdict.late,
            });
        }
    }
}
