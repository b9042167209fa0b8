//! All lanes of a job: where a new one begins, which are idle, and what an idle lane follows.
//!
//! The windows of a job are final up to the least watermark of its lanes, so a lane that gets
//! nothing would hold them up. Such a lane follows the others, by these rules:
//!
//! - **A lane is idle** when it has had nothing for `idle-after`, and was *asked* all that time:
//!   what counts is the time between the first and the last time that its source said "at the end".
//!   Time in which nobody asks (no broker can be reached, the process stands still) counts for
//!   little, and the wall clock for nothing.
//! - **An idle lane follows** the slowest lane that is not idle; where all are idle, the fastest.
//!   It does so only after it has been asked again, twice, since the other lane got there: the
//!   first answer may have been under way already.
//! - **A pause of all ends for all.** When something comes while all lanes are idle, none of them
//!   is idle any more: what was held up for one of them (a network that was away) was probably held
//!   up for all, and comes at different times.
//! - **A new lane begins** at the watermark up to which windows are final, so that they stay as
//!   they are.
//! - **Partitions that share a lane and are read one after the other** hold its watermark before
//!   the time at which the first of those begins whose turn is still to come, as if each had a
//!   watermark and the slowest counted. Where it is not known when one begins, because none of the
//!   records that were looked at was accepted, the watermark stays where it is.
//!
//! Since when a lane has had nothing is in the log, so that runs that are shorter than `idle-after`
//! can find out, too.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::lane::{Lane, Verdict};
use crate::plan::Plan;
use crate::prepare::Prepared;
use crate::window::{ClosedWindows, micros};

/// Answers that a lane waits for before it follows.
const ANSWERS: u64 = 2;

/// Before all times.
const UNKNOWN: i64 = i64::MIN;

/// The lanes of a job. Times are steady ones, in microseconds: see
/// [`tidegate_base::clock::Clock::steady_micros`].
#[derive(Debug)]
pub struct Lanes {
    plan: Arc<Plan>,
    idle_after: i64,
    lanes: BTreeMap<i32, Watched>,
    /// Of the partitions whose turn is still to come, by lane, the event time at which they begin;
    /// [`UNKNOWN`] while that is not known.
    to_come: BTreeMap<i32, BTreeMap<i32, i64>>,
    /// Number of the next time that a lane has nothing.
    next_quiet: u64,
}

/// A lane, and whether it is idle.
#[derive(Debug)]
struct Watched {
    lane: Lane,
    /// The watermark at which it began.
    began: Option<i64>,
    /// The watermark in the last batch that was closed: windows up to it are final as far as this
    /// lane goes.
    closed: Option<i64>,
    /// Since when it has nothing; none while it gets something.
    quiet: Option<Quiet>,
    /// How often its source has said that there is no more.
    answers: u64,
    follows: Option<Follows>,
    /// Which [`Quiet`] the log knows of.
    noted: Option<u64>,
}

/// A time in which a lane has nothing.
#[derive(Debug, Clone, Copy)]
struct Quiet {
    number: u64,
    since: i64,
    /// When its source said so last.
    asked: i64,
}

/// Where an idle lane goes.
#[derive(Debug, Clone, Copy)]
struct Follows {
    to: i64,
    /// Answers that it had when this was decided.
    answers: u64,
}

/// Since when a lane had nothing when its job was stopped, in steady time, which may be before this
/// process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WasQuiet {
    /// Since when.
    pub since: i64,
    /// Until when that is known.
    pub until: i64,
}

/// When notes about idleness are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notes {
    /// Where something is written anyway.
    Some,
    /// With the last that is written.
    All,
}

impl Lanes {
    /// No lanes.
    pub fn new(plan: &Arc<Plan>) -> Self {
        Lanes {
            idle_after: micros(plan.idle_after()),
            plan: Arc::clone(plan),
            lanes: BTreeMap::new(),
            to_come: BTreeMap::new(),
            next_quiet: 0,
        }
    }

    /// Takes in a lane that the log knows.
    pub fn restore(&mut self, lane: Lane, was_quiet: Option<WasQuiet>) {
        let quiet = was_quiet.map(|was| self.quiet(was.since, was.until));
        let id = lane.id();
        let watched = Watched {
            closed: lane.watermark(),
            noted: quiet.map(|quiet| quiet.number),
            quiet,
            ..Watched::new(lane)
        };
        self.lanes.insert(id, watched);
    }

    /// Takes in a lane, unless it is known.
    pub fn open(&mut self, id: i32) {
        if self.lanes.contains_key(&id) {
            return;
        }
        let lane = Lane::new(id, &self.plan, self.reached());
        self.lanes.insert(id, Watched::new(lane));
    }

    /// The watermark up to which windows are final; none while there are none that are.
    fn reached(&self) -> Option<i64> {
        let lanes = self.lanes.values();
        // A lane that is as new as this one has no batch yet.
        lanes.map(|w| w.closed.max(w.began)).min().flatten()
    }

    fn quiet(&mut self, since: i64, asked: i64) -> Quiet {
        self.next_quiet += 1;
        Quiet {
            number: self.next_quiet,
            since,
            asked: asked.max(since),
        }
    }

    /// Decides about the rows of the next chunk, in its lane.
    pub fn absorb(&mut self, prepared: &Prepared, now: i64) -> Verdict {
        let id = prepared.lane;
        self.open(id);
        if prepared.read > 0 {
            self.wake(id, now);
            if !self.to_come.is_empty() {
                self.comes(id, prepared.partition);
            }
        }
        match self.lanes.get_mut(&id) {
            Some(watched) => watched.lane.absorb(prepared),
            None => Verdict::default(),
        }
    }

    /// Notes when a partition begins whose turn comes later: `first` are its first records, or
    /// those that come after what was looked at so far. Says whether it is still not known when it
    /// begins, because none was accepted. No records after others mean that there are no more.
    pub fn will_come(&mut self, first: &Prepared) -> bool {
        let of_lane = self.to_come.get(&first.lane);
        // It may have been its turn meanwhile.
        if first.from > 0 && of_lane.is_none_or(|all| !all.contains_key(&first.partition)) {
            return false;
        }
        if first.read == 0 {
            self.comes(first.lane, first.partition);
            return false;
        }
        // The first one, and not the least: one that is late has no say.
        let accepted = first.accepted.iter().position(|accepted| *accepted);
        let begins = accepted.map_or(UNKNOWN, |row| first.times[row]);
        self.open(first.lane);
        let to_come = self.to_come.entry(first.lane).or_default();
        to_come.insert(first.partition, begins);
        self.hold(first.lane);
        begins == UNKNOWN
    }

    /// It is the partition's turn.
    fn comes(&mut self, lane: i32, partition: i32) {
        let Some(to_come) = self.to_come.get_mut(&lane) else {
            return;
        };
        if to_come.remove(&partition).is_some() {
            self.hold(lane);
        }
    }

    fn hold(&mut self, lane: i32) {
        let to_come = self.to_come.get(&lane);
        let first = to_come.and_then(|to_come| to_come.values().copied().min());
        if let Some(watched) = self.lanes.get_mut(&lane) {
            watched.lane.hold(first);
        }
    }

    /// The lane gets something.
    fn wake(&mut self, id: i32, now: i64) {
        if self.lanes.get(&id).is_none_or(|w| w.quiet.is_none()) {
            return;
        }
        let after = self.idle_after;
        if self.lanes.values().all(|w| w.is_idle(after)) {
            let ids: Vec<i32> = self.lanes.keys().copied().collect();
            for id in ids {
                let quiet = self.quiet(now, now);
                if let Some(watched) = self.lanes.get_mut(&id) {
                    watched.quiet = Some(quiet);
                    watched.follows = None;
                }
            }
        }
        if let Some(watched) = self.lanes.get_mut(&id) {
            watched.quiet = None;
            watched.follows = None;
        }
    }

    /// The source was asked for more of this lane, and has nothing.
    pub fn at_end(&mut self, id: i32, now: i64) {
        self.open(id);
        let begins = self.quiet(now, now);
        // Longer than this nobody may have looked: whoever was cut off meanwhile gets time to come
        // back.
        let counts_at_most = self.idle_after / 2;
        let Some(watched) = self.lanes.get_mut(&id) else {
            return;
        };
        let quiet = watched.quiet.get_or_insert(begins);
        let passed = now.saturating_sub(quiet.asked).max(0);
        quiet.since += (passed - counts_at_most).max(0);
        quiet.asked = quiet.asked.max(now);
        watched.answers += 1;
        if let Some(follows) = watched.follows
            && watched.answers >= follows.answers + ANSWERS
        {
            watched.lane.follow(follows.to);
            watched.follows = None;
        }
    }

    /// Decides where idle lanes go. To be called from time to time.
    pub fn follow(&mut self) {
        let after = self.idle_after;
        let Some(to) = self.leader() else { return };
        for watched in self.lanes.values_mut().filter(|w| w.is_idle(after)) {
            if watched.follows.is_none() && watched.lane.watermark() < Some(to) {
                let answers = watched.answers;
                watched.follows = Some(Follows { to, answers });
            }
        }
    }

    /// Everything that was there when the source was opened has come: idle lanes have nothing to
    /// wait for.
    pub fn caught_up(&mut self) {
        let after = self.idle_after;
        let Some(to) = self.leader() else { return };
        for watched in self.lanes.values_mut().filter(|w| w.is_idle(after)) {
            watched.lane.follow(to);
        }
    }

    /// The watermark that idle lanes follow: of the slowest lane that is not idle; where all are,
    /// of the fastest.
    fn leader(&self) -> Option<i64> {
        let after = self.idle_after;
        let watermarks = |idle| {
            let lanes = self.lanes.values();
            let lanes = lanes.filter(move |w| w.is_idle(after) == idle);
            lanes.map(|w| w.lane.watermark())
        };
        // A lane that is not idle and has no watermark yet may still bring anything: it holds all.
        let slowest = watermarks(false).min();
        slowest.unwrap_or_else(|| watermarks(true).max().flatten())
    }

    /// The bounded source has ended: nothing will come that could change an open window.
    pub fn complete(&mut self) {
        let ends = self
            .lanes
            .values()
            .filter_map(|w| w.lane.last_end().max(w.lane.watermark()));
        let Some(end) = ends.max() else { return };
        for watched in self.lanes.values_mut() {
            watched.lane.follow(end);
        }
    }

    /// Takes out the windows that have closed since the last call, and gives the watermarks that
    /// have moved; `out` has an element for each window of the plan.
    pub fn close(&mut self, out: &mut [ClosedWindows]) -> BTreeMap<i32, i64> {
        let mut moved = BTreeMap::new();
        for (id, watched) in &mut self.lanes {
            watched.lane.close_windows(out);
            let watermark = watched.lane.watermark();
            if watermark != watched.closed {
                watched.closed = watermark;
                moved.extend(watermark.map(|w| (*id, w)));
            }
        }
        moved
    }

    /// Whether a lane has become idle since the last call of [`Lanes::notes`].
    pub fn has_news(&self) -> bool {
        let is_news = |w: &Watched| w.is_idle(self.idle_after) && w.noted.is_none();
        self.lanes.len() > 1 && self.lanes.values().any(is_news)
    }

    /// The lanes that have nothing from about now on (true), and those that get something again
    /// (false), since the last call. A single lane has nobody to follow, and none that wait for it.
    pub fn notes(&mut self, notes: Notes) -> BTreeMap<i32, bool> {
        let mut changes = BTreeMap::new();
        if self.lanes.len() < 2 {
            return changes;
        }
        // Not each time that a lane has nothing for a moment.
        let least = match notes {
            Notes::Some => self.idle_after / 4,
            Notes::All => 0,
        };
        for (id, watched) in &mut self.lanes {
            let quiet = watched.quiet.filter(|quiet| quiet.lasts() >= least);
            let number = quiet.map(|quiet| quiet.number);
            // What is noted may also be shorter than that: it was so with the last that was
            // written.
            let known = watched.quiet.map(|quiet| quiet.number) == watched.noted;
            if known || number == watched.noted {
                continue;
            }
            watched.noted = number;
            changes.insert(*id, number.is_some());
        }
        changes
    }

    /// All lanes, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.values().map(|watched| &watched.lane)
    }

    /// All lanes, by number, to take out what they hold.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.lanes.values_mut().map(|watched| &mut watched.lane)
    }

    /// The watermark of a lane.
    pub fn watermark(&self, id: i32) -> Option<i64> {
        self.lanes.get(&id)?.lane.watermark()
    }

    /// Whether a lane is idle.
    pub fn is_idle(&self, id: i32) -> bool {
        let watched = self.lanes.get(&id);
        watched.is_some_and(|w| w.is_idle(self.idle_after))
    }

    /// Fingerprints and window groups in memory.
    pub fn len(&self) -> usize {
        self.lanes.values().map(|w| w.lane.len()).sum()
    }

    /// Whether there is no state.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Watched {
    fn new(lane: Lane) -> Self {
        Watched {
            began: lane.watermark(),
            lane,
            closed: None,
            quiet: None,
            answers: 0,
            follows: None,
            noted: None,
        }
    }

    fn is_idle(&self, after: i64) -> bool {
        self.quiet.is_some_and(|quiet| quiet.lasts() >= after)
    }
}

impl Quiet {
    /// How long it is known to last.
    fn lasts(&self) -> i64 {
        self.asked - self.since
    }
}
