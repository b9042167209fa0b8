//! The generator, from outside.
#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use tidegate_base::clock::Clock;
use tidegate_generator::{
    EventKind, FileFormat, Generator, GeneratorOptions, GeneratorSource, generate_files,
};
use tidegate_source::{
    ChunkLimits, FilesOptions, FilesSource, Resume, Source, SourceError, SourceEvent,
};
use tidegate_testkit::taken::{self, SMALL, SourceOutput, take_until};

const START: i64 = 1_764_000_000_000_000;

fn options(count: u64) -> GeneratorOptions {
    GeneratorOptions {
        count: Some(count),
        partitions: 4,
        start_time: Some(START),
        event_rate: 1000,
        duplicates: 0.05,
        updates: 0.10,
        late: 0.03,
        malformed: 0.02,
        rule_breaking: 0.04,
        ..GeneratorOptions::default()
    }
}

fn open(options: &GeneratorOptions, resume: &Resume, clock: &Clock) -> Box<dyn Source> {
    Box::new(GeneratorSource::open(options, resume, SMALL, clock).unwrap())
}

/// Opens the generator and takes everything until its end.
fn read_all(
    options: &GeneratorOptions,
    resume: &Resume,
    limits: ChunkLimits,
) -> Result<SourceOutput, SourceError> {
    let clock = Clock::manual(START);
    taken::read_all(&mut GeneratorSource::open(options, resume, limits, &clock)?)
}

#[test]
fn reading_on_from_anywhere_gives_the_rest() {
    let source = options(500);
    let whole = read_all(&source, &Resume::default(), SMALL).unwrap();
    assert_eq!(whole.records.values().map(Vec::len).sum::<usize>(), 500);
    assert_eq!(whole.names[&3], format!("p3/4@{START}"));
    // The clock and the options' start do not matter any more once the stream has begun.
    let later = GeneratorOptions {
        start_time: None,
        ..options(500)
    };
    for offset in 0..=125 {
        let mut resume = whole.resume();
        for (id, partition) in &mut resume.partitions {
            partition.offset = (offset + i64::from(*id)).min(125);
        }
        let rest = read_all(&later, &resume, ChunkLimits::default()).unwrap();
        for (id, partition) in &resume.partitions {
            let records = rest.records.get(id).map(Vec::as_slice).unwrap_or_default();
            assert_eq!(records, &whole.records[id][partition.offset as usize..]);
        }
    }
}

/// A log that has not heard of a partition takes it for one that was added, and what is before the
/// others' watermark for late.
#[test]
fn every_partition_is_named_before_the_first_record_of_any() {
    let source = options(500);
    let mut source = open(&source, &Resume::default(), &Clock::System);
    let mut named = BTreeSet::new();
    loop {
        if let SourceEvent::Chunk(chunk) = source.poll(Duration::from_secs(5)).unwrap() {
            if chunk.to > chunk.from {
                break;
            }
            assert!(named.insert((chunk.partition, chunk.from)));
        }
    }
    assert_eq!(named, (0..4).map(|id| (id, 0)).collect());
}

#[test]
fn one_customer_has_the_share_that_it_is_given() {
    let hot_key_share = 0.6;
    let hot = GeneratorOptions {
        hot_key_share,
        ..options(0)
    };
    let generator = Generator::new(&hot, START).unwrap();
    let count = (0..20_000)
        .filter(|offset| generator.key(1, *offset) == *b"CUST_000000")
        .count();
    assert!((11_600..12_400).contains(&count), "{count} of 20,000");
    let impossible = GeneratorOptions {
        hot_key_share: 1.5,
        ..options(0)
    };
    let error = Generator::new(&impossible, START).err().unwrap();
    assert!(error.to_string().contains("hot-key-share"), "{error}");
}

#[test]
fn every_kind_is_what_it_says_in_its_share() {
    let generator = Generator::new(&options(0), START).unwrap();
    let delay = 600_000_000;
    let mut counts: HashMap<EventKind, f64> = HashMap::new();
    let mut home: HashMap<String, i32> = HashMap::new();
    let mut ids = HashSet::new();
    let mut hot = 0_usize;
    let per_partition = 20_000;
    for partition in 0..4 {
        let mut seen: HashMap<String, Vec<u8>> = HashMap::new();
        for offset in 0..per_partition {
            let mut payload = Vec::new();
            let kind = generator.write_event(partition, offset, &mut payload);
            *counts.entry(kind).or_default() += 1.0 / (4.0 * per_partition as f64);
            assert!(!payload.contains(&b'\n'));
            let key = String::from_utf8(generator.key(partition, offset).to_vec()).unwrap();
            hot += usize::from(key.ends_with(['0', '5']));
            assert_eq!(*home.entry(key.clone()).or_insert(partition), partition);
            let json = serde_json::from_slice::<serde_json::Value>(&payload);
            if kind == EventKind::Malformed {
                let spoiled = json.as_ref().map_or(true, |json| {
                    json.get("customer_id").is_none()
                        || !json["amount"].is_number()
                        || json["timestamp"] == "yesterday at noon"
                });
                assert!(spoiled, "{}", String::from_utf8_lossy(&payload));
                continue;
            }
            let json = json.unwrap();
            assert_eq!(json["customer_id"], key);
            let id = json["transaction_id"].as_str().unwrap().to_owned();
            let time = micros(json["timestamp"].as_str().unwrap());
            let now = generator.event_time(partition, offset);
            match kind {
                EventKind::Original => {
                    assert!(
                        valid(&json) && (now - 2_000_000..=now).contains(&time),
                        "{json}"
                    );
                    assert!(ids.insert(id.clone()), "{id} is unique");
                    seen.insert(id, payload);
                }
                EventKind::Duplicate => assert_eq!(seen[&id], payload),
                EventKind::Update => {
                    let original: serde_json::Value = serde_json::from_slice(&seen[&id]).unwrap();
                    assert_eq!(original["status"], "PENDING");
                    assert_eq!(json["status"], "COMPLETED");
                    assert_eq!(original["amount"], json["amount"]);
                    assert!(time > micros(original["timestamp"].as_str().unwrap()));
                }
                EventKind::Late => assert!(valid(&json) && time < now - delay),
                _ => assert!(
                    !valid(&json) || (time - now).abs() > 7 * 86_400_000_000,
                    "{json}"
                ),
            }
        }
    }
    for (kind, share) in [
        (EventKind::Original, 0.76),
        (EventKind::Duplicate, 0.05),
        (EventKind::Update, 0.10),
        (EventKind::Late, 0.03),
        (EventKind::Malformed, 0.02),
        (EventKind::RuleBreaking, 0.04),
    ] {
        assert!(
            (counts[&kind] - share).abs() < 0.01,
            "{kind:?}: {}",
            counts[&kind]
        );
    }
    let hot = hot as f64 / (4.0 * per_partition as f64);
    assert!(
        (hot - 0.8).abs() < 0.02,
        "{hot} of the traffic is from one customer in five"
    );
}

fn valid(json: &serde_json::Value) -> bool {
    let amount = json["amount"].as_f64().unwrap();
    amount > 0.0
        && amount < 1_000_000.0
        && ["USD", "EUR", "GBP"].contains(&json["currency"].as_str().unwrap())
        && ["COMPLETED", "PENDING", "FAILED"].contains(&json["status"].as_str().unwrap())
}

fn micros(time: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(time)
        .unwrap()
        .timestamp_micros()
}

#[test]
fn events_come_when_they_are_due() {
    let clock = Clock::manual(START);
    let options = GeneratorOptions {
        rate: 100,
        count: None,
        partitions: 2,
        start_time: None,
        ..GeneratorOptions::default()
    };
    let mut first = open(&options, &Resume::default(), &clock);
    let mut taken = SourceOutput::default();
    take_until(first.as_mut(), &mut taken, |t| t.caught_up).unwrap();
    clock.set(START + 990_000);
    take_until(first.as_mut(), &mut taken, |t| {
        t.ends.values().sum::<i64>() == 100
    })
    .unwrap();
    for _ in 0..5 {
        taken.take(first.poll(Duration::from_millis(5)).unwrap());
    }
    assert_eq!(taken.ends, [(0, 50), (1, 50)].into());
    clock.set(START + 1_990_000);
    assert_eq!(first.lag(), [(0, 50), (1, 50)].into());
    // A restart owes what became due meanwhile, and has caught up with it before more comes.
    let mut second = open(&options, &taken.resume(), &clock);
    let mut rest = SourceOutput::default();
    take_until(second.as_mut(), &mut rest, |t| t.caught_up).unwrap();
    assert_eq!(rest.ends, [(0, 100), (1, 100)].into());
}

#[test]
fn a_stream_as_fast_as_possible_ends_now() {
    let clock = Clock::manual(START);
    let options = GeneratorOptions {
        start_time: None,
        ..options(1000)
    };
    let mut source = open(&options, &Resume::default(), &clock);
    let mut taken = SourceOutput::default();
    take_until(source.as_mut(), &mut taken, |t| t.ended).unwrap();
    assert_eq!(taken.names[&0], format!("p0/4@{}", START - 1_000_000));
}

#[test]
fn another_number_of_partitions_or_another_source_is_refused() {
    let whole = read_all(&options(10), &Resume::default(), SMALL).unwrap();
    let more = GeneratorOptions {
        partitions: 5,
        ..options(10)
    };
    let mut resume = whole.resume();
    for resume in [resume.clone(), {
        resume.partitions.get_mut(&0).unwrap().name = "events.jsonl".to_owned();
        resume
    }] {
        let error = read_all(&more, &resume, SMALL).unwrap_err();
        assert!(matches!(error, SourceError::OtherSource { .. }), "{error}");
    }
}

#[test]
fn options_out_of_range_are_refused() {
    for (options, word) in [
        (
            GeneratorOptions {
                partitions: 0,
                ..options(1)
            },
            "partitions",
        ),
        (
            GeneratorOptions {
                late: 1.5,
                ..options(1)
            },
            "late",
        ),
        (
            GeneratorOptions {
                late: 0.5,
                duplicates: 0.6,
                ..options(1)
            },
            "add up",
        ),
        (
            GeneratorOptions {
                event_rate: 0,
                ..options(1)
            },
            "event-rate",
        ),
    ] {
        let error = read_all(&options, &Resume::default(), SMALL);
        let message = error.unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn files_hold_the_stream_in_its_order() {
    let options = options(1001);
    let stream = read_all(&options, &Resume::default(), SMALL).unwrap();
    let mut in_order: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
    for (id, records) in stream.records {
        for (offset, _, payload) in records {
            in_order.insert(offset * 4 + i64::from(id), payload);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    for format in [FileFormat::Plain, FileFormat::Gzip, FileFormat::Zstd] {
        let dir = dir.path().join(format!("{format:?}"));
        let written = generate_files(&dir, 3, format, &options, &Clock::System).unwrap();
        assert_eq!((written.paths.len(), written.events), (3, 1001));
        let path = dir.to_str().unwrap().to_owned();
        let files = FilesOptions {
            path,
            ..FilesOptions::default()
        };
        let mut files = FilesSource::open(&files, &Resume::default(), SMALL).unwrap();
        let taken = taken::read_all(&mut files).unwrap();
        let payloads: Vec<_> = taken
            .records
            .into_values()
            .flatten()
            .map(|(_, _, payload)| payload)
            .collect();
        assert_eq!(payloads, in_order.values().cloned().collect::<Vec<_>>());
    }
}

#[test]
fn another_seed_makes_other_events() {
    let first = |seed| {
        let generator = Generator::new(&GeneratorOptions { seed, ..options(1) }, START).unwrap();
        let mut out = Vec::new();
        generator.write_event(0, 0, &mut out);
        out
    };
    assert_eq!((0..20).map(first).collect::<BTreeSet<_>>().len(), 20);
}

#[test]
fn a_fifth_of_a_hundred_thousand_customers_makes_four_fifths_of_the_traffic() {
    // Repeats and updates would be further records of the same draw.
    let options = GeneratorOptions {
        duplicates: 0.0,
        updates: 0.0,
        ..options(0)
    };
    let generator = Generator::new(&options, START).unwrap();
    let mut counts: HashMap<[u8; 11], u64> = HashMap::new();
    for number in 0..2_000_000 {
        *counts
            .entry(generator.key(number % 4, i64::from(number / 4)))
            .or_default() += 1;
    }
    // Of 80,000 that have five records on average, some hundred have none.
    assert!(
        (99_000..=100_000).contains(&counts.len()),
        "{}",
        counts.len()
    );
    let mut counts: Vec<u64> = counts.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let busiest: u64 = counts[..20_000].iter().sum();
    let share = busiest as f64 / 2_000_000.0;
    assert!((share - 0.8).abs() < 0.01, "{share}");
}

#[test]
fn events_are_filled_up_to_a_size_and_say_the_same() {
    let plain = GeneratorOptions {
        malformed: 0.0,
        ..options(0)
    };
    let filled = GeneratorOptions {
        event_bytes: 2048,
        ..plain
    };
    let [plain, filled] = [plain, filled].map(|o| Generator::new(&o, START).unwrap());
    for offset in 0..5_000 {
        let (mut short, mut long) = (Vec::new(), Vec::new());
        let kind = plain.write_event(1, offset, &mut short);
        assert_eq!(filled.write_event(1, offset, &mut long), kind);
        assert_eq!(long.len(), 2048);
        let short: serde_json::Value = serde_json::from_slice(&short).unwrap();
        let mut long: serde_json::Value = serde_json::from_slice(&long).unwrap();
        let note = long["metadata"].as_object_mut().unwrap().remove("note");
        assert!(note.unwrap().as_str().unwrap().len() > 1500);
        assert_eq!(long, short);
    }
    // Where there is no room for a text there is none.
    let mut tight = Vec::new();
    let options = GeneratorOptions {
        event_bytes: 100,
        ..options(0)
    };
    Generator::new(&options, START)
        .unwrap()
        .write_event(0, 0, &mut tight);
    let tight: serde_json::Value = serde_json::from_slice(&tight).unwrap();
    assert!(tight["metadata"].get("note").is_none());
}
