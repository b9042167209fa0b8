//! The lanes of a job through the whole engine: random streams over several partitions, and runs
//! that catch up, are stopped in the middle or fail, each with another configuration. Against the
//! model of a lane that the tests of `tidegate-core` have.
//!
//! `TIDEGATE_TEST_LONG=1` tries many seeds, `TIDEGATE_TEST_SEEDS=20..32` those.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use tidegate_base::clock::Clock;
use tidegate_engine::SourceOptions;
use tidegate_engine::{BatchOptions, Engine, EngineError, EngineOptions, LoadOptions, OpenSource};
use tidegate_kafka::KafkaOptions;
use tidegate_source::SourceError;
use tidegate_storage::StorageOptions;
use tidegate_testkit::{Random, each_seed};
use tokio::runtime::Runtime;

use crate::found::Found;
use crate::model::{Fate, Model};
use crate::played::{Ends, Event, How, Played, Topic};
use crate::spec::{WINDOW, spec};

/// Seeds of the default suite, of each property: a few seconds.
const SEEDS: Range<u64> = 0..16;
/// Seeds with `TIDEGATE_TEST_LONG`.
const SEEDS_LONG: Range<u64> = 0..1_000;

/// Microseconds.
const SECOND: i64 = 1_000_000;
const DELAY: i64 = 10 * SECOND;
const IDLE: i64 = 60 * SECOND;
/// Of a window.
const SIZE: i64 = WINDOW.as_micros() as i64;
/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600 * SECOND;

/// How long a run may take to read what it is to read.
const RUN_MAX: Duration = Duration::from_secs(60);
const PARTITIONS_MAX: usize = 5;

/// A topic, and the job that reads it.
struct World {
    runtime: Runtime,
    storage: String,
    random: Random,
    clock: Clock,
    now: i64,
    topic: Topic,
    next_id: u64,
    /// The delay of each run, by when it was: a run has one instant.
    delays: BTreeMap<i64, i64>,
    /// Final windows that somebody has seen.
    seen: BTreeMap<i64, i64>,
}

impl World {
    fn new(property: &str, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let partitions = 1 + random.place(3);
        World {
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime"),
            storage: format!("memory:lanes-{property}-{seed}"),
            random,
            clock: Clock::manual(START),
            now: START,
            topic: vec![Vec::new(); partitions],
            next_id: 0,
            delays: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    fn storage(&self) -> StorageOptions {
        StorageOptions::new(self.storage.clone())
    }

    /// A configuration, and how a run with it ends.
    fn how(&mut self, delay: i64, idle_after: i64) -> How {
        let random = &mut self.random;
        How {
            delay,
            idle_after,
            threads: 1 + random.place(3),
            batch: BatchOptions {
                interval: Duration::from_millis(random.choose(&[1, 10, 1_000])),
                max_rows: random.choose(&[1, 5, 30, 500_000]),
                max_bytes: 32 << 20,
            },
            ends: match random.place(3) {
                0 => Ends::CaughtUp,
                1 => Ends::Stopped(random.place(40)),
                _ => Ends::Fails(random.place(40)),
            },
            partitions: self.topic.len(),
            appear_after: 0,
        }
    }

    /// Runs the job once, `later` than the time before.
    fn run(&mut self, how: &How, later: i64) {
        self.now += later;
        self.clock.set(self.now);
        self.delays.insert(self.now, how.delay);
        let random = Random::new(self.random.bits());
        let (source, waiting) = Played::new(&self.topic, how, random);
        let options = EngineOptions {
            job: "lanes".to_owned(),
            spec: spec(
                Duration::from_micros(how.delay as u64),
                Duration::from_micros(how.idle_after as u64),
            ),
            source: SourceOptions::Kafka(KafkaOptions::default()),
            storage: self.storage(),
            warehouse: None,
            batch: how.batch.clone(),
            memory: 64 << 20,
            threads: how.threads,
            load: LoadOptions::default(),
            lookups: Vec::new(),
            until_caught_up: matches!(how.ends, Ends::CaughtUp),
            live: false,
            clock: self.clock.clone(),
        };
        let open: OpenSource = Box::new(|resume, _, _| Ok(Box::new(source.resumed(resume))));
        let started = self.runtime.block_on(Engine::start_over(options, open));
        let job = started.expect("it starts");
        if let Ends::Stopped(_) = how.ends {
            waiting.recv_timeout(RUN_MAX).expect("it reads");
            job.handle().stop();
        }
        let ended = self.runtime.block_on(job.wait());
        match (how.ends, ended) {
            (Ends::CaughtUp | Ends::Stopped(_), Ok(_))
            | (Ends::Fails(_), Err(EngineError::Source(SourceError::Kafka { .. }))) => {}
            (_, Ok(_)) => panic!("it ended well: {how:?}"),
            (_, Err(error)) => panic!("{error}: {how:?}"),
        }
    }

    fn look(&self) -> Found {
        Found::read(&self.storage(), &self.runtime)
    }

    /// What becomes of each event that is covered, by the model, whose lanes go through what each
    /// record of the log covers. Their watermarks are those of the log.
    fn judge(&self, found: &Found) -> BTreeMap<(i32, i64), Fate> {
        let mut lanes: BTreeMap<i32, Model<u64>> = BTreeMap::new();
        let mut watermarks: BTreeMap<i32, i64> = BTreeMap::new();
        let mut fates = BTreeMap::new();
        for record in &found.records {
            let delay = self.delays[&record.written_at];
            // Where lanes that are new begin, so that what is final stays final.
            let reached = lanes.keys().map(|id| watermarks.get(id).copied());
            let reached = reached.min().flatten();
            for span in &record.partitions {
                let lane = lanes
                    .entry(span.lane)
                    .or_insert_with(|| Model::new(reached));
                for offset in span.from..span.to {
                    let event = &self.topic[span.id as usize][offset as usize];
                    let fate = if event.ok {
                        lane.judge(event.id, event.at, delay)
                    } else {
                        Fate::Rejected
                    };
                    assert_eq!(fates.insert((span.id, offset), fate), None);
                }
            }
            // Of a partition that was announced, and whose first chunk is in the next record.
            for (id, watermark) in &record.watermarks {
                lanes
                    .entry(*id)
                    .or_insert_with(|| Model::new(Some(*watermark)));
            }
            watermarks.extend(&record.watermarks);
            for (id, lane) in &lanes {
                let at = watermarks.get(id).copied();
                assert_eq!(at, lane.watermark, "lane {id} at record {}", record.seq);
            }
        }
        fates
    }

    /// The parts of windows that the events make, as far as their lanes have passed them.
    fn windows(
        &self,
        fates: &BTreeMap<(i32, i64), Fate>,
        watermarks: &BTreeMap<i32, i64>,
    ) -> BTreeMap<(i32, i64), i64> {
        let mut windows = BTreeMap::new();
        for ((id, offset), _) in fates.iter().filter(|(_, fate)| **fate == Fate::Event) {
            let at = self.topic[*id as usize][*offset as usize].at;
            let end = at.div_euclid(SIZE) * SIZE + SIZE;
            if watermarks
                .get(id)
                .is_some_and(|watermark| end <= *watermark)
            {
                *windows.entry((*id, end)).or_default() += 1;
            }
        }
        windows
    }

    /// Looks at the windows that all lanes have passed: what was final is as it was.
    fn check_final(&mut self, found: &Found) {
        let spans = found.records.iter().flat_map(|record| &record.partitions);
        let least = spans
            .map(|span| found.watermarks.get(&span.lane).copied())
            .min()
            .flatten();
        let mut shown: BTreeMap<i64, i64> = BTreeMap::new();
        for ((_, end), n) in &found.windows {
            if least.is_some_and(|least| *end <= least) {
                *shown.entry(*end).or_default() += n;
            }
        }
        for (end, n) in &self.seen {
            assert_eq!(shown.get(end), Some(n), "the final window to {end}");
        }
        self.seen = shown;
    }

    /// An event that may be anything: in order or not, a repeat, one that no rule takes.
    fn append_anything(&mut self, partition: usize) {
        let random = &mut self.random;
        let events = &self.topic[partition];
        let newest = events.iter().map(|event| event.at).max().unwrap_or(START);
        let mut event = Event {
            at: newest
                + match random.place(50) {
                    0 => random.range(0, 10 * DELAY),
                    1..=5 => -random.range(0, 2 * DELAY),
                    _ => random.range(-DELAY / 10, DELAY / 8),
                },
            id: random.bits() % 1_000,
            ok: !random.one_in(20),
        };
        if !events.is_empty() && random.one_in(5) {
            let again = &events[events.len() - 1 - random.place(events.len().min(100))];
            event.id = again.id;
            if !random.one_in(3) {
                event.at = again.at;
            }
        }
        self.topic[partition].push(event);
    }

    /// An event of its own at this time.
    fn append(&mut self, partition: usize, at: i64) {
        self.next_id += 1;
        let id = self.next_id;
        self.topic[partition].push(Event { at, id, ok: true });
    }
}

#[test]
fn each_record_and_window_is_as_the_model_says_whatever_the_runs_are_like() {
    each_seed(SEEDS, SEEDS_LONG, |seed| {
        let mut world = World::new("model", seed);
        let runs = 3 + world.random.place(5);
        for run in 0..=runs {
            // From a fortieth to ten times the usual; nothing is idle.
            let delay = DELAY * world.random.range(1, 400) / 40;
            let mut how = world.how(delay, 1_000 * IDLE);
            how.appear_after = world.random.place(30);
            if run == runs {
                how.ends = Ends::CaughtUp;
            } else if run > 0 && world.topic.len() < PARTITIONS_MAX && world.random.one_in(3) {
                world.topic.push(Vec::new());
                if world.random.one_in(2) {
                    how.partitions += 1;
                }
            }
            for partition in 0..world.topic.len() {
                for _ in 0..world.random.place(100) {
                    world.append_anything(partition);
                }
            }
            world.run(&how, SECOND);
        }
        let found = world.look();
        let mut fates = world.judge(&found);
        let all: usize = world.topic.iter().map(Vec::len).sum();
        assert_eq!(fates.len(), all, "all is covered");
        let duplicates = fates.values().filter(|fate| **fate == Fate::Duplicate);
        let counted = found.records.iter().map(|record| record.counts.duplicates);
        assert_eq!(counted.sum::<u64>(), duplicates.count() as u64);
        fates.retain(|_, fate| *fate != Fate::Duplicate);
        assert_eq!(found.fates, fates);
        assert_eq!(found.windows, world.windows(&fates, &found.watermarks));
    });
}

#[test]
fn nothing_in_order_is_late_and_what_is_final_stays_so_whatever_the_runs_are_like() {
    each_seed(SEEDS, SEEDS_LONG, |seed| {
        let mut world = World::new("order", seed);
        let runs = 4 + world.random.place(6);
        let mut silent = [false; PARTITIONS_MAX];
        for _ in 0..runs {
            let delay = DELAY * world.random.range(1, 120) / 40;
            let idle_after = world.random.choose(&[IDLE, IDLE, IDLE / 2, 2 * IDLE]);
            if world.topic.len() < PARTITIONS_MAX && world.random.one_in(4) {
                world.topic.push(Vec::new());
            }
            let how = world.how(delay, idle_after);
            let later = world.random.range(SECOND, 3 * IDLE);
            let partitions = world.topic.len();
            for (partition, silent) in silent.iter_mut().enumerate().take(partitions) {
                *silent ^= world.random.one_in(3);
                if *silent {
                    continue;
                }
                let mut times: Vec<i64> = (0..world.random.place(40))
                    .map(|_| world.now + world.random.range(1, later))
                    .collect();
                times.sort_unstable();
                for at in times {
                    world.append(partition, at);
                }
            }
            world.run(&how, later);
            world.check_final(&world.look());
        }
        // One partition gets something, and the others are found to be idle.
        for _ in 0..8 {
            let mut how = world.how(DELAY, IDLE);
            how.ends = Ends::CaughtUp;
            world.append(0, world.now + IDLE);
            world.run(&how, IDLE);
            world.check_final(&world.look());
        }
        let found = world.look();
        let all: usize = world.topic.iter().map(Vec::len).sum();
        assert_eq!(found.fates.len(), all, "all is there");
        assert!(found.fates.values().all(|fate| *fate == Fate::Event));
        assert_eq!(
            found.windows,
            world.windows(&found.fates, &found.watermarks)
        );
        let watermarks: Vec<i64> = found.watermarks.values().copied().collect();
        let last = world.now - DELAY;
        assert_eq!(watermarks, vec![last; world.topic.len()], "all follow");
    });
}
