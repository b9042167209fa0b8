//! Says when more is late than a stream in order brings, and why: one record that was ahead of its
//! time, or partitions that are read one after the other and hold the same hours.

use std::time::{Duration, Instant};

use tidegate_core::lane::{Jump, Verdict};

/// Percent of events that may be late before it is said.
const SHARE: u64 = 10;
/// Events after which the share is looked at, while the job runs.
const LOOK_AFTER: u64 = 10_000;
/// The same is said again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

/// How much of what this process read was late.
#[derive(Debug, Default)]
pub(crate) struct Lateness {
    judged: u64,
    late: u64,
    said: Option<Instant>,
    said_jump: Option<Instant>,
}

/// How the job reads, as far as it makes events late.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) delay: Duration,
    /// Several partitions have one watermark, as files have.
    pub(crate) shares_lanes: bool,
}

impl Lateness {
    /// Counts what became of a chunk's rows.
    pub(crate) fn add(&mut self, verdict: &Verdict, name: &str) {
        let late = verdict.late.len() as u64;
        self.judged += verdict.events + verdict.duplicates + late;
        self.late += late;
        if let Some(jump) = &verdict.late_for
            && is_due(&mut self.said_jump)
        {
            say_jump(jump, name);
        }
    }

    /// Looks whether too much is late, at the end of the run or after enough events.
    pub(crate) fn look(&mut self, at_end: bool, reading: Reading) {
        if self.judged < LOOK_AFTER && !at_end {
            return;
        }
        let (judged, late) = (self.judged, self.late);
        (self.judged, self.late) = (0, 0);
        if late > judged * SHARE / 100 && is_due(&mut self.said) {
            say_late(late, judged, reading);
        }
    }
}

fn is_due(said: &mut Option<Instant>) -> bool {
    let is_due = said.is_none_or(|said| said.elapsed() >= AGAIN_AFTER);
    if is_due {
        *said = Some(Instant::now());
    }
    is_due
}

fn say_jump(jump: &Jump, name: &str) {
    let forward = u64::try_from(jump.to.saturating_sub(jump.from)).unwrap_or(0);
    tracing::warn!(
        partition = name,
        from_offset = jump.offsets.start,
        to_offset = jump.offsets.end,
        forward = ?Duration::from_micros(forward),
        "one record was far ahead of the others in event time, so that events after it are late; look at its sender's clock, \
         and at `event-time.max-ahead`, beyond which records are rejected"
    );
}

fn say_late(late: u64, judged: u64, reading: Reading) {
    let delay = reading.delay;
    if reading.shares_lanes {
        tracing::warn!(
            late,
            of = judged,
            ?delay,
            "many events are late: they are in the table and not in the windows, and their repeats are not dropped. Files have one \
             watermark and are read one after the other, in the order of their names. With `source.follow = true`, name them in order of time; \
             or set `event-time.delay` to the time by which events are out of order, or files overlap"
        );
    } else {
        tracing::warn!(
            late,
            of = judged,
            ?delay,
            "many events are late: they are in the table and not in the windows, and their repeats are not dropped. They are further \
             behind the latest event of their partition than `event-time.delay`: raise it, or look at the senders' clocks"
        );
    }
}
