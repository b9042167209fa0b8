//! All lanes of a job under a source that is asked and answers, on a clock that the tests set: what
//! becomes late, what is final, and what a restart changes.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use tidegate_base::chunk::{Chunk, Payload};
use tidegate_core::lane::Lane;
use tidegate_core::lanes::{Lanes, Notes, WasQuiet};
use tidegate_core::plan::Plan;
use tidegate_core::prepare::Preparer;
use tidegate_core::window::ClosedWindows;

use common::{MINUTE, NOW, Random, SECOND, plain_job, plan, preparer, window};

const DELAY: i64 = 10 * SECOND;
const IDLE: i64 = 60 * SECOND;
const SIZE: i64 = 30 * SECOND;

fn job(idle_after: i64) -> Arc<Plan> {
    let mut spec = plain_job(&["at!: timestamp_us"]);
    spec.event_time.delay = Duration::from_micros(DELAY as u64);
    spec.event_time.idle_after = Duration::from_micros(idle_after as u64);
    spec.windows = vec![window("w", SIZE, SIZE, &[], &["n = count(*)"])];
    plan(&spec)
}

/// What a commit log keeps of a job.
#[derive(Debug, Clone, Default)]
struct Log {
    offsets: BTreeMap<i32, usize>,
    watermarks: BTreeMap<i32, i64>,
    idle: BTreeMap<i32, i64>,
    written_at: i64,
    kept: Vec<(i32, RecordBatch)>,
    /// Rows of each window by its end, summed over lanes.
    windows: BTreeMap<i64, i64>,
    late: usize,
}

/// What a partition answered, before it arrives.
type Answer = std::ops::Range<usize>;

/// A topic and the job that reads it.
struct World {
    plan: Arc<Plan>,
    preparer: Preparer,
    lanes: Lanes,
    /// The wall clock.
    now: i64,
    /// What the wall clock showed when the process began.
    began: i64,
    /// Event times of each partition.
    topic: Vec<Vec<i64>>,
    read: BTreeMap<i32, usize>,
    under_way: BTreeMap<i32, Answer>,
    /// What the next commit adds.
    kept: Vec<(i32, RecordBatch)>,
    late: usize,
    log: Log,
    /// Final windows that somebody has seen.
    seen: BTreeMap<i64, i64>,
}

impl World {
    fn new(partitions: usize) -> Self {
        let plan = job(IDLE);
        let mut world = World {
            preparer: preparer(&plan),
            lanes: Lanes::new(&plan),
            plan,
            now: NOW,
            began: NOW,
            topic: Vec::new(),
            read: BTreeMap::new(),
            under_way: BTreeMap::new(),
            kept: Vec::new(),
            late: 0,
            log: Log::default(),
            seen: BTreeMap::new(),
        };
        for _ in 0..partitions {
            world.add_partition();
        }
        world
    }

    fn steady(&self) -> i64 {
        self.now - self.began
    }

    fn partitions(&self) -> std::ops::Range<i32> {
        0..self.topic.len() as i32
    }

    fn add_partition(&mut self) {
        self.announce(self.topic.len() as i32);
        self.topic.push(Vec::new());
    }

    fn announce(&mut self, partition: i32) {
        self.lanes.open(partition);
        self.read.entry(partition).or_insert(0);
    }

    fn append(&mut self, partition: i32, time: i64) {
        self.topic[partition as usize].push(time);
    }

    /// Asks a partition for more, unless it has been.
    fn ask(&mut self, partition: i32) {
        let from = self.read[&partition];
        let to = self.topic[partition as usize].len().min(from + 7);
        self.under_way.entry(partition).or_insert(from..to);
    }

    /// Takes what a partition has answered, if it has.
    fn take(&mut self, partition: i32) {
        let Some(range) = self.under_way.remove(&partition) else {
            return;
        };
        let now = self.steady();
        if range.is_empty() {
            return self.lanes.at_end(partition, now);
        }
        let mut chunk = Chunk::new(partition, partition, range.start as i64);
        for offset in range.clone() {
            let record = format!(r#"{{"at":{}}}"#, self.topic[partition as usize][offset]);
            chunk.push(offset as i64, None, Payload::Bytes, record.as_bytes());
        }
        let prepared = self.preparer.prepare(&chunk, NOW, &[]).expect("prepared");
        let verdict = self.lanes.absorb(&prepared, now);
        self.late += verdict.late.len();
        let keep = BooleanArray::from(verdict.keep);
        let kept = filter_record_batch(&prepared.batch, &keep).expect("filtered");
        self.kept.push((partition, kept));
        self.read.insert(partition, range.end);
    }

    fn poll(&mut self, partition: i32) {
        self.ask(partition);
        self.take(partition);
    }

    /// Commits. What is final must be what it was.
    fn commit(&mut self, notes: Notes) {
        let mut closed = [ClosedWindows::default()];
        let moved = self.lanes.close(&mut closed);
        let [closed] = closed;
        if !closed.is_empty() {
            let window = self.plan.windows().next().expect("a window");
            let batch = closed.into_batch(window).expect("a batch");
            let ends = batch.column(1).as_primitive::<TimestampMicrosecondType>();
            let counts = batch.column_by_name("n").expect("n");
            let counts = counts.as_primitive::<Int64Type>();
            for (end, n) in ends.values().iter().zip(counts.values()) {
                *self.log.windows.entry(*end).or_default() += n;
            }
        }
        for (lane, idle) in self.lanes.notes(notes) {
            if idle {
                self.log.idle.insert(lane, self.now);
            } else {
                self.log.idle.remove(&lane);
            }
        }
        for (lane, to) in moved {
            let before = self.log.watermarks.insert(lane, to);
            assert!(
                before.is_none_or(|before| before <= to),
                "a watermark went back"
            );
        }
        self.log.offsets.extend(&self.read);
        self.log.kept.append(&mut self.kept);
        self.log.late += std::mem::take(&mut self.late);
        self.log.written_at = self.now;
        let shown = self.shown();
        for (end, n) in &self.seen {
            assert_eq!(shown.get(end), Some(n), "a window that was final, to {end}");
        }
        self.seen = shown;
    }

    /// The windows that every lane has passed, by their ends.
    fn shown(&self) -> BTreeMap<i64, i64> {
        let lanes = self.log.offsets.keys();
        let least = lanes
            .map(|lane| self.log.watermarks.get(lane))
            .min()
            .flatten();
        let is_final = |end: &i64| least.is_some_and(|least| end <= least);
        let windows = self.log.windows.iter().map(|(end, n)| (*end, *n));
        windows.filter(|(end, _)| is_final(end)).collect()
    }

    /// The job as a restart finds it, after `down`.
    fn restart(&mut self, down: i64, idle_after: i64) {
        self.now += down;
        self.began = self.now - 1000;
        self.plan = job(idle_after);
        self.preparer = preparer(&self.plan);
        self.lanes = Lanes::new(&self.plan);
        self.under_way.clear();
        self.kept.clear();
        self.late = 0;
        self.read = self.log.offsets.clone();
        let (now, steady) = (self.now, self.steady());
        let ago = |time: i64| steady - (now - time);
        let needed = self.plan.state_columns();
        for id in self.read.keys() {
            let mut lane = Lane::new(*id, &self.plan, self.log.watermarks.get(id).copied());
            for (_, batch) in self.log.kept.iter().filter(|(kept, _)| kept == id) {
                let columns = batch.project(&needed).expect("columns");
                let restored = self.preparer.restore(&columns).expect("restored");
                lane.restore(&restored, &(0..batch.num_rows()).collect::<Vec<_>>());
            }
            let was_quiet = self.log.idle.get(id).map(|since| WasQuiet {
                since: ago(*since),
                until: ago(self.log.written_at),
            });
            self.lanes.restore(lane, was_quiet);
        }
        for partition in self.partitions() {
            self.announce(partition);
        }
    }

    /// Lets `time` pass, in which the job asks for more and commits every second.
    fn pass(&mut self, time: i64) {
        for _ in 0..time / SECOND {
            self.now += SECOND;
            for partition in self.partitions() {
                self.poll(partition);
            }
            self.lanes.follow();
            self.commit(Notes::Some);
        }
    }

    fn read_all(&mut self) {
        for partition in self.partitions() {
            while self.read[&partition] < self.topic[partition as usize].len() {
                self.under_way.remove(&partition);
                self.poll(partition);
            }
        }
    }

    /// The windows that all events make, up to the greatest watermark.
    fn expected(&self) -> BTreeMap<i64, i64> {
        let events = self.topic.iter().flatten();
        let last = events.clone().max().map_or(i64::MIN, |last| last - DELAY);
        let mut windows = BTreeMap::new();
        for time in events {
            *windows
                .entry(time.div_euclid(SIZE) * SIZE + SIZE)
                .or_default() += 1;
        }
        windows.retain(|end, _| *end <= last);
        windows
    }
}

/// How many seeds a property is tried with.
fn seeds() -> std::ops::Range<u64> {
    match std::env::var_os("TIDEGATE_TEST_LONG") {
        Some(long) if !long.is_empty() && long != "0" => 0..20_000,
        _ => 0..300,
    }
}

#[test]
fn a_lane_that_wakes_after_a_pause_of_all_does_not_make_the_others_late() {
    for first in [0, 1] {
        let mut world = World::new(2);
        for partition in [0, 1] {
            world.append(partition, NOW);
        }
        world.pass(3 * IDLE);
        assert!(world.lanes.is_idle(0) && world.lanes.is_idle(1));
        // An hour on in one, a minute on in the other.
        world.append(first, NOW + 60 * MINUTE);
        world.pass(IDLE / 2);
        world.append(1 - first, NOW + MINUTE);
        world.pass(4 * IDLE);
        assert_eq!(world.log.late, 0);
        assert_eq!(world.lanes.watermark(0), world.lanes.watermark(1));
    }
}

#[test]
fn a_lane_follows_only_after_it_was_asked_again_twice() {
    let mut world = World::new(2);
    world.pass(2 * IDLE);
    world.append(0, NOW);
    world.poll(0);
    // Nobody asks partition 1 for an hour, in which it gets something.
    let mut answers = 0;
    for second in 0..3600 {
        world.now += SECOND;
        world.append(0, NOW + second * SECOND);
        world.poll(0);
        world.lanes.follow();
        if second < IDLE / SECOND + 5 {
            world.poll(1);
            answers += 1;
        }
    }
    assert!(answers > 60 && world.lanes.is_idle(1));
    assert!(world.lanes.watermark(1) < world.lanes.watermark(0));
    let before = world.lanes.watermark(1);
    // An answer that was given before, and arrives only now.
    world.lanes.at_end(1, world.steady());
    world.lanes.follow();
    world.append(1, NOW + 1000 * SECOND);
    world.poll(1);
    world.commit(Notes::Some);
    assert_eq!(world.log.late, 0, "from {before:?}");
}

#[test]
fn time_in_which_nobody_asks_makes_no_lane_idle() {
    let mut world = World::new(2);
    world.append(0, NOW);
    world.pass(10 * SECOND);
    // A process that was suspended, a broker that was away: an hour in one step.
    world.now += 60 * MINUTE;
    world.poll(0);
    world.poll(1);
    assert!(!world.lanes.is_idle(0) && !world.lanes.is_idle(1));
    world.pass(IDLE);
    assert!(world.lanes.is_idle(0) && world.lanes.is_idle(1));
}

#[test]
fn a_new_lane_begins_at_the_watermark_that_was_reached() {
    for restarts in [false, true] {
        let mut world = World::new(1);
        for second in 0..120 {
            world.append(0, NOW + second * SECOND);
        }
        world.read_all();
        world.commit(Notes::Some);
        let before = world.shown();
        assert_eq!(before.len(), 3);
        world.add_partition();
        if restarts {
            world.restart(MINUTE, IDLE);
        }
        world.commit(Notes::All);
        assert_eq!(world.shown(), before, "with a partition that is empty");
        world.append(1, NOW + SECOND);
        world.append(1, NOW + 115 * SECOND);
        world.read_all();
        world.commit(Notes::Some);
        assert_eq!(
            world.log.late, 1,
            "what is older than what is final is late"
        );
        assert_eq!(world.shown(), before);
        world.append(0, NOW + 200 * SECOND);
        world.pass(3 * IDLE);
        assert_eq!(world.log.windows[&(NOW + 120 * SECOND)], 31);
    }
}

#[test]
fn lanes_that_are_added_together_all_begin_at_the_watermark_that_was_reached() {
    let mut world = World::new(1);
    world.append(0, NOW);
    world.append(0, NOW + MINUTE);
    world.read_all();
    world.commit(Notes::Some);
    let before = world.shown();
    assert_eq!(before.len(), 1);
    for _ in 0..3 {
        world.add_partition();
    }
    world.commit(Notes::Some);
    assert_eq!(world.shown(), before);
}

#[test]
fn partitions_that_are_there_at_the_start_begin_together() {
    let mut world = World::new(3);
    world.append(0, NOW + 60 * MINUTE);
    world.append(2, NOW);
    world.read_all();
    world.commit(Notes::Some);
    assert_eq!((world.log.late, world.lanes.watermark(1)), (0, None));
    world.append(1, NOW - 60 * MINUTE);
    world.read_all();
    world.commit(Notes::Some);
    assert_eq!(world.log.late, 0);
}

#[test]
fn short_runs_find_out_that_a_partition_gets_nothing() {
    let mut world = World::new(2);
    for run in 0..6 {
        for event in 0..6 {
            world.append(0, NOW + (run * 300 + event * 20) * SECOND);
        }
        world.read_all();
        world.poll(0);
        world.poll(1);
        world.lanes.caught_up();
        world.commit(Notes::All);
        world.restart(IDLE, IDLE);
    }
    let shown: i64 = world.shown().values().sum();
    assert!(shown >= 30, "{shown} of 36");
    assert_eq!(world.log.late, 0);
}

#[test]
fn another_idle_after_counts_from_the_same_instant() {
    let mut world = World::new(2);
    world.append(0, NOW);
    world.pass(3 * IDLE / 4);
    world.commit(Notes::All);
    world.restart(0, IDLE / 4);
    world.poll(1);
    assert!(world.lanes.is_idle(1), "with a shorter one");
    world.restart(0, 10 * IDLE);
    world.pass(IDLE);
    assert!(!world.lanes.is_idle(1), "with a longer one");
}

/// One run of a job over partitions that pause, wake, are added, with stops and kills if it
/// `restarts`.
///
/// Events are in order in each partition. Where they are not `orderly`, new partitions hold old
/// events.
fn random_run(seed: u64, orderly: bool, restarts: bool) -> World {
    let mut rng = Random::new(seed);
    let mut world = World::new(1 + rng.place(4));
    for _ in 0..250 {
        world.now += rng.range(0, 2 * SECOND);
        let partition = rng.place(world.topic.len()) as i32;
        match rng.place(100) {
            0..=29 => world.append(partition, world.now),
            30..=54 => world.ask(partition),
            55..=79 => world.take(partition),
            80..=89 => world.lanes.follow(),
            90..=95 => world.commit(Notes::Some),
            96 => {
                let (down, stops) = (rng.range(0, 3 * IDLE), rng.one_in(2));
                let other = [IDLE, IDLE, IDLE / 2, 2 * IDLE][rng.place(4)];
                if restarts {
                    if stops {
                        world.commit(Notes::All);
                    }
                    world.restart(down, other);
                } else {
                    world.now += down;
                }
            }
            97 if world.topic.len() < 7 => {
                world.add_partition();
                if !orderly {
                    world.append(partition, NOW);
                }
            }
            98 => pause(&mut world, &mut rng, restarts),
            _ => {}
        }
    }
    world.read_all();
    world.pass(6 * IDLE);
    world
}

/// Nothing comes for a while, and then what was held up meanwhile, in each partition at another
/// time.
fn pause(world: &mut World, rng: &mut Random, restarts: bool) {
    let began = world.now;
    world.read_all();
    world.pass(3 * IDLE + rng.range(0, 10 * IDLE));
    let down = rng.one_in(3);
    let mut left: Vec<Vec<i64>> = world
        .partitions()
        .map(|_| {
            let first = began + rng.range(0, IDLE);
            let step = rng.range(SECOND, 100 * SECOND);
            let held = (0..rng.range(0, 20)).map(|n| first + n * step);
            held.filter(|time| *time < world.now).rev().collect()
        })
        .collect();
    let mut add = |world: &mut World, partition: i32, most: usize| {
        for _ in 0..most {
            if let Some(time) = left[partition as usize].pop() {
                world.append(partition, time);
            }
        }
    };
    if down {
        for partition in world.partitions() {
            add(world, partition, 0xff);
        }
        if restarts {
            world.commit(Notes::Some);
            world.restart(SECOND, IDLE);
        }
        return world.read_all();
    }
    let ends = world.now + IDLE / 3;
    while world.now < ends {
        world.now += rng.range(0, SECOND / 2);
        let partition = rng.place(world.topic.len()) as i32;
        match rng.place(8) {
            0 => add(world, partition, 3),
            1 | 2 => world.ask(partition),
            3 | 4 => world.take(partition),
            5 => world.lanes.follow(),
            6 => world.commit(Notes::Some),
            _ if rng.one_in(20) && restarts => world.restart(0, IDLE),
            _ => {}
        }
    }
    for partition in world.partitions() {
        add(world, partition, 0xff);
    }
    world.read_all();
}

#[test]
fn nothing_is_late_that_is_in_order_whatever_pauses_wakes_and_restarts() {
    for seed in seeds() {
        let undisturbed = random_run(seed, true, false);
        let restarted = random_run(seed, true, true);
        for world in [&undisturbed, &restarted] {
            assert_eq!(world.log.late, 0, "seed {seed}");
            assert_eq!(world.shown(), world.expected(), "seed {seed}");
        }
    }
}

#[test]
fn what_is_final_stays_final_whatever_new_partitions_bring() {
    for seed in seeds() {
        let world = random_run(seed, false, true);
        let all: usize = world.topic.iter().map(Vec::len).sum();
        let kept: usize = world.log.kept.iter().map(|(_, b)| b.num_rows()).sum();
        assert_eq!(all, kept + world.log.late, "seed {seed}");
        let greatest = world.log.watermarks.values().max();
        let least = world.log.watermarks.values().min();
        assert_eq!(least, greatest, "seed {seed}: all are idle, and follow");
    }
}
