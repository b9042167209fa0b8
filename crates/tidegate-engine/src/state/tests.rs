//! The state thread without a thread: what comes when, and what time it is, is in the test's hand.

use tidegate_base::chunk::{Chunk, Payload};
use tidegate_core::prepare::Preparer;
use tidegate_log::{Counts, JobId};

use super::*;
use crate::shared::Intervals;

#[path = "../../tests/engine/spec.rs"]
mod spec;

const SECOND: i64 = 1_000_000;
/// 2026-01-01T00:00:00Z, where a window begins.
const START: i64 = 1_767_225_600 * SECOND;
const DELAY: Duration = Duration::from_secs(10);
const IDLE_AFTER: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(5);
const MOMENT: Duration = Duration::from_millis(1);

/// A state, and what is around it.
struct Job {
    state: State,
    preparer: Preparer,
    clock: Clock,
    now: Instant,
    batches: (Sender<Batch>, Receiver<Batch>),
    /// Number of what the source says next.
    number: u64,
}

impl Job {
    fn new(options: BatchOptions) -> Self {
        let plan = Arc::new(Plan::compile(&spec::spec(DELAY, IDLE_AFTER)).expect("a plan"));
        let clock = Clock::manual(START);
        let intervals = Intervals {
            batch: options.interval,
            load: options.interval,
        };
        let shared = Arc::new(Shared::new(clock.clone(), 1 << 20, &intervals));
        let interval = options.interval;
        let state = State::new(
            Arc::clone(&plan),
            shared,
            options,
            EndsAt::SourceEnd,
            &founded(),
            BTreeMap::new(),
            None,
        );
        Job {
            now: state.due - interval,
            state,
            preparer: Preparer::new(plan, 0).expect("a preparer"),
            clock,
            batches: crossbeam_channel::bounded(8),
            number: 0,
        }
    }

    fn numbered(&mut self, item: Item) -> Numbered {
        let number = self.number;
        self.number += 1;
        Numbered { number, item }
    }

    fn signal(&mut self, signal: Signal) -> Numbered {
        self.numbered(Item::Signal(signal))
    }

    /// Events of a partition from an offset on: seconds after [`START`], and their keys.
    fn chunk(&mut self, partition: i32, from: i64, events: &[(i64, &str)]) -> Numbered {
        let mut chunk = Chunk::new(partition, partition, from);
        for (offset, (at, id)) in (from..).zip(events) {
            chunk.push(offset, None, Payload::Bytes, payload(*at, id).as_bytes());
        }
        let prepared = self.preparer.prepare(&chunk, START, &[]).expect("a chunk");
        self.numbered(Item::Prepared {
            prepared: Box::new(prepared),
            cost: 1,
            read_at: START,
        })
    }

    fn arrive(&mut self, numbered: Numbered) -> ControlFlow<()> {
        self.state.arrive(numbered, self.now, &self.batches.0)
    }

    /// A chunk that arrives in its turn.
    fn take(&mut self, partition: i32, from: i64, events: &[(i64, &str)]) {
        let chunk = self.chunk(partition, from, events);
        assert!(self.arrive(chunk).is_continue());
    }

    /// The source has nothing more of a lane.
    fn at_end(&mut self, lane: i32) {
        let at_end = self.signal(Signal::AtEnd { lane });
        assert!(self.arrive(at_end).is_continue());
    }

    /// Lets time pass, and does what is due.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        assert!(self.state.tick(self.now, &self.batches.0).is_continue());
    }

    /// The batch that was handed over, if one was.
    fn batch(&self) -> Option<Batch> {
        self.batches.1.try_recv().ok()
    }

    /// The batch that is handed over where the job is stopped.
    fn stop(&mut self) -> Option<Batch> {
        self.state.stop(self.now, &self.batches.0);
        self.batch()
    }
}

fn payload(at: i64, id: &str) -> String {
    format!(r#"{{"at":{},"id":"{id}","ok":true}}"#, START + at * SECOND)
}

/// A batch is full by one thing only.
fn by_interval() -> BatchOptions {
    BatchOptions {
        interval: INTERVAL,
        max_rows: usize::MAX,
        max_bytes: usize::MAX,
    }
}

/// What a log says that has nothing but its first record.
fn founded() -> JobState {
    JobState {
        job: JobId("job".to_owned()),
        name: "job".to_owned(),
        fingerprint_seed: 0,
        created_at: START,
        last_seq: 1,
        last_crc32c: 0,
        last_writer: String::new(),
        last_written_at: START,
        schema_version: 1,
        partitions: BTreeMap::new(),
        watermarks: BTreeMap::new(),
        idle: BTreeMap::new(),
        plan: None,
        totals: Counts::default(),
        rejected_by: BTreeMap::new(),
        commits: 0,
        complete: false,
        recent_files: Vec::new(),
    }
}

/// The offsets that a batch covers, by partition.
fn covered(batch: &Batch) -> BTreeMap<i32, (i64, i64)> {
    let spans = batch.spans.values();
    spans.map(|span| (span.id, (span.from, span.to))).collect()
}

// Fails where a chunk is taken when it comes instead of when it is its turn: its offsets would not
// follow those before it.
#[test]
fn chunks_are_decided_in_the_order_of_the_source_in_whichever_they_come() {
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
        let mut job = Job::new(by_interval());
        let mut chunks = [
            // Moves the watermark to 10 s.
            Some(job.chunk(0, 0, &[(0, "a"), (20, "b")])),
            // Behind it; and a repeat.
            Some(job.chunk(0, 2, &[(5, "c"), (20, "b")])),
            // Another lane, which knows nothing of this one's keys.
            Some(job.chunk(1, 0, &[(5, "b")])),
            // The first `a` is further back than the horizon.
            Some(job.chunk(0, 4, &[(21, "a")])),
        ];
        for place in order {
            let chunk = chunks[place].take().expect("each comes once");
            assert!(job.arrive(chunk).is_continue(), "{order:?}");
        }
        let batch = job.stop().expect("a batch");
        let counts = Counts {
            read: 6,
            events: 4,
            late: 1,
            duplicates: 1,
            ..Counts::default()
        };
        assert_eq!(batch.counts, counts, "{order:?}");
        assert_eq!(covered(&batch), BTreeMap::from([(0, (0, 5)), (1, (0, 1))]));
        let watermarks = [(0, START + 11 * SECOND), (1, START - 5 * SECOND)];
        assert_eq!(batch.watermarks, BTreeMap::from(watermarks), "{order:?}");
    }
}

// Fails where a stop commits all that has come, and not only what has come without a gap.
#[test]
fn a_job_that_is_stopped_commits_what_came_before_the_first_chunk_that_is_missing() {
    let mut job = Job::new(by_interval());
    job.take(0, 0, &[(0, "a")]);
    let _missing = job.chunk(0, 1, &[(1, "b")]);
    let last = job.chunk(0, 2, &[(2, "c")]);
    assert!(job.arrive(last).is_continue());
    let batch = job.stop().expect("a batch");
    assert_eq!(covered(&batch), BTreeMap::from([(0, (0, 1))]));
    assert_eq!(batch.counts.read, 1);
}

// Fails where the comparison of offsets goes, or lets a gap pass that is in one partition only.
#[test]
fn offsets_that_are_left_out_end_the_job_and_nothing_of_the_batch_is_committed() {
    let mut job = Job::new(by_interval());
    job.take(0, 0, &[(0, "a")]);
    job.take(1, 7, &[(0, "a")]);
    let after_gap = job.chunk(0, 2, &[(1, "b")]);
    assert!(job.arrive(after_gap).is_break());
    assert!(job.state.shared.failed());
    assert!(job.stop().is_none());
    let error = job.state.shared.take_error();
    assert!(
        matches!(
            error,
            Some(EngineError::Gap {
                partition: 0,
                expected: 1,
                got: 2
            })
        ),
        "{error:?}"
    );
}

// Fails where the interval is counted from anything but the last time that a batch was due, or `>=`
// becomes `>`.
#[test]
fn a_batch_is_handed_over_when_its_interval_is_over_and_not_before() {
    let mut job = Job::new(by_interval());
    for offset in 0..3 {
        job.take(0, offset, &[(offset, "a")]);
        job.pass(INTERVAL - MOMENT);
        assert!(job.batch().is_none());
        job.pass(MOMENT);
        let batch = job.batch().expect("it is due");
        assert_eq!(covered(&batch), BTreeMap::from([(0, (offset, offset + 1))]));
    }
}

// Fails where an empty batch is handed over: each would be a record of the log.
#[test]
fn where_nothing_has_come_no_batch_is_handed_over() {
    let mut job = Job::new(by_interval());
    for _ in 0..3 {
        job.pass(INTERVAL);
        assert!(job.batch().is_none());
    }
}

// Fails where repeats, which are in no file, fill a batch; or where the bound is exceeded by one.
#[test]
fn a_batch_is_full_with_its_rows_and_repeats_do_not_count() {
    let mut job = Job::new(BatchOptions {
        max_rows: 3,
        ..by_interval()
    });
    job.take(0, 0, &[(0, "a"), (0, "a"), (0, "a"), (1, "b")]);
    assert!(job.batch().is_none(), "two rows");
    job.take(0, 4, &[(2, "c")]);
    let batch = job.batch().expect("three rows");
    assert_eq!(covered(&batch), BTreeMap::from([(0, (0, 5))]));
    assert_eq!(batch.counts.duplicates, 2);
}

// Fails where bytes are not counted, or counted again after a batch was handed over.
#[test]
fn a_batch_is_full_with_its_bytes_of_payload() {
    let mut job = Job::new(BatchOptions {
        max_bytes: 2 * payload(0, "a").len(),
        ..by_interval()
    });
    for offset in 0..6 {
        job.take(0, offset, &[(0, "a")]);
        let batch = job.batch();
        assert_eq!(batch.is_some(), offset % 2 == 1, "{offset}");
    }
}

// Fails where a full batch leaves the time of the one before it: the next would be small.
#[test]
fn after_a_full_batch_the_interval_begins_anew() {
    let mut job = Job::new(BatchOptions {
        max_rows: 2,
        ..by_interval()
    });
    job.pass(INTERVAL / 2);
    job.take(0, 0, &[(0, "a"), (1, "b")]);
    assert!(job.batch().is_some(), "it is full");
    job.take(0, 2, &[(2, "c")]);
    job.pass(INTERVAL / 2);
    assert!(job.batch().is_none());
    job.pass(INTERVAL / 2);
    assert!(job.batch().is_some());
}

// Fails where a batch that cannot be handed over is lost, as a whole or its watermarks and windows.
#[test]
fn a_batch_that_is_due_goes_on_gathering_while_the_writer_is_busy() {
    let mut job = Job::new(by_interval());
    // Nobody receives, and the queue holds nothing.
    job.batches = crossbeam_channel::bounded(0);
    // The watermark passes the end of the first window.
    job.take(0, 0, &[(0, "a"), (45, "b")]);
    job.pass(INTERVAL);
    job.take(0, 2, &[(50, "c")]);
    job.batches = crossbeam_channel::bounded(1);
    job.pass(INTERVAL);
    let batch = job.batch().expect("the writer is free");
    assert_eq!(covered(&batch), BTreeMap::from([(0, (0, 3))]));
    assert_eq!(batch.counts.events, 3);
    assert_eq!(batch.watermarks, BTreeMap::from([(0, START + 40 * SECOND)]));
    assert_eq!(batch.closed[0].len(), 1, "one window is closed");
    assert!(job.stop().is_none(), "nothing is left");
}

// Fails where a writer that has failed is waited for.
#[test]
fn a_writer_that_has_gone_ends_the_run() {
    let mut job = Job::new(BatchOptions {
        max_rows: 1,
        ..by_interval()
    });
    job.batches.1 = crossbeam_channel::never();
    let chunk = job.chunk(0, 0, &[(0, "a")]);
    assert!(job.arrive(chunk).is_break());
}

/// A job with two lanes, of which the second has had an event and then nothing, so that its
/// watermark stands at 10 s before the start.
fn with_a_quiet_lane() -> Job {
    let mut job = Job::new(BatchOptions {
        interval: Duration::from_secs(3_600),
        ..by_interval()
    });
    for lane in 0..2 {
        let announced = job.signal(Signal::Partition {
            id: lane,
            lane,
            name: format!("p{lane}"),
        });
        assert!(job.arrive(announced).is_continue());
    }
    job.take(1, 0, &[(0, "a")]);
    job.at_end(1);
    job
}

// Fails where `tick` does not look at idle lanes, or a lane follows before it was asked again.
#[test]
fn an_idle_lane_follows_after_it_was_asked_twice_more_and_its_windows_close() {
    let mut job = with_a_quiet_lane();
    for second in [20, 40, 60] {
        assert!(!job.state.lanes.is_idle(1));
        job.clock.set(START + second * SECOND);
        job.at_end(1);
    }
    assert!(job.state.lanes.is_idle(1));
    job.take(0, 0, &[(100, "b")]);
    job.pass(TICK);
    let (before, after) = (START - 10 * SECOND, START + 90 * SECOND);
    for watermark in [before, after] {
        job.at_end(1);
        assert_eq!(job.state.lanes.watermark(1), Some(watermark));
    }
    let batch = job.stop().expect("a batch");
    assert_eq!(batch.watermarks, BTreeMap::from([(0, after), (1, after)]));
    assert_eq!(batch.idle, BTreeMap::from([(1, true)]));
    assert_eq!(batch.closed[0].len(), 1, "that of the idle lane");
}

// Fails where idleness is measured by the wall clock.
#[test]
fn a_wall_clock_that_is_set_makes_no_lane_idle() {
    let mut job = with_a_quiet_lane();
    for seconds in [25, 50, 75, 100] {
        job.clock.step(START + seconds * SECOND);
        job.at_end(1);
        assert!(!job.state.lanes.is_idle(1));
    }
}

// Fails where the end leaves windows open, or where it is taken for a failure.
#[test]
fn the_end_of_a_bounded_source_closes_all_windows_and_ends_the_run() {
    let mut job = Job::new(by_interval());
    job.take(0, 0, &[(0, "a"), (31, "b")]);
    let ended = job.signal(Signal::Ended);
    assert!(job.arrive(ended).is_break());
    let batch = job.batch().expect("the last batch");
    assert!(batch.complete);
    assert_eq!(batch.watermarks, BTreeMap::from([(0, START + 60 * SECOND)]));
    assert_eq!(batch.closed[0].len(), 2);
    assert!(job.state.shared.stopping() && !job.state.shared.failed());
}

// Fails where a job that is to go on ends when it has caught up, or one that is to end does not.
#[test]
fn having_caught_up_ends_only_a_run_that_is_to_end_then() {
    for ends_at in [EndsAt::SourceEnd, EndsAt::CaughtUp] {
        let mut job = Job::new(by_interval());
        job.state.ends_at = ends_at;
        job.take(0, 0, &[(0, "a")]);
        let caught_up = job.signal(Signal::CaughtUp);
        let ends = job.arrive(caught_up).is_break();
        assert_eq!(ends, ends_at == EndsAt::CaughtUp);
        assert_eq!(job.batch().is_some(), ends);
        assert_eq!(job.state.shared.stopping(), ends);
    }
}

// Fails where what was only looked at keeps its memory: the source would stand still in the end.
#[test]
fn what_was_only_looked_at_gives_its_memory_back() {
    let mut job = Job::new(by_interval());
    let mut chunk = Chunk::new(3, 0, 0);
    chunk.push(0, None, Payload::Bytes, b"no event");
    let prepared = job.preparer.prepare(&chunk, START, &[]).expect("a chunk");
    let cost = 100;
    assert!(job.state.shared.budget.take(cost, || false));
    let ahead = job.numbered(Item::Ahead {
        prepared: Box::new(prepared),
        cost,
    });
    assert!(job.arrive(ahead).is_continue());
    assert_eq!(job.state.shared.budget.used(), 0);
    // When the partition begins is still not known: the source looks further.
    assert_eq!(job.state.shared.take_asked_ahead(), [3]);
    assert!(job.stop().is_none(), "nothing of it is committed");
}
