//! A broker made by hand, and what is fetched from it.

use std::io::Read;
use std::net::TcpListener;
use std::thread;

use super::*;
use crate::consumer::fetch::*;
use crate::consumer::identity::PartitionIdentity;

/// What a broker made by hand does when it is asked for records, or where an epoch ended.
enum Step {
    Response(Vec<u8>),
    /// The connection ends.
    Close,
}

/// A broker that takes these steps, over as many connections as come, and is silent then.
fn broker(steps: Vec<Step>) -> BTreeMap<i32, (String, u16)> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut steps = steps.into_iter();
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut length = [0; 4];
            while socket.read_exact(&mut length).is_ok() {
                let mut request = vec![0; u32::from_be_bytes(length) as usize];
                socket.read_exact(&mut request).unwrap();
                let response = match request[..2] {
                    [0, 18] => versions(&[(1, 4, 17), (23, 2, 4)]),
                    _ => match steps.next() {
                        Some(Step::Response(response)) => response,
                        Some(Step::Close) => break,
                        None => continue,
                    },
                };
                socket
                    .write_all(&(response.len() as u32).to_be_bytes())
                    .unwrap();
                socket.write_all(&response).unwrap();
            }
        }
    });
    [(1, ("127.0.0.1".to_owned(), port))].into()
}

/// A response with the records of partitions: number, error, end, batches.
fn response(parts: &[(i32, i16, i64, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![0; 14];
    out.extend_from_slice(&[0, 0, 0, 1, 0, 1, b't']);
    out.extend_from_slice(&(parts.len() as i32).to_be_bytes());
    for (partition, error, end, records) in parts {
        out.extend_from_slice(&partition.to_be_bytes());
        out.extend_from_slice(&error.to_be_bytes());
        for offset in [*end, *end, 0] {
            out.extend_from_slice(&offset.to_be_bytes());
        }
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        out.extend_from_slice(&(records.len() as i32).to_be_bytes());
        out.extend_from_slice(records);
    }
    out
}

/// A response about partition 0.
fn epoch_end(epoch: i32, end: i64) -> Vec<u8> {
    epoch_ends(&[(0, 0, epoch, end)])
}

/// A response about where epochs ended: partition, error, epoch, end.
fn epoch_ends(ends: &[(i32, i16, i32, i64)]) -> Vec<u8> {
    let mut out = vec![0; 8];
    out.extend_from_slice(&[0, 0, 0, 1, 0, 1, b't']);
    out.extend_from_slice(&(ends.len() as i32).to_be_bytes());
    for (partition, error, epoch, end) in ends {
        out.extend_from_slice(&error.to_be_bytes());
        out.extend_from_slice(&partition.to_be_bytes());
        out.extend_from_slice(&epoch.to_be_bytes());
        out.extend_from_slice(&end.to_be_bytes());
    }
    out
}

/// A batch of one record by the leader of an epoch, which its checksum leaves out.
fn one(offset: i64, epoch: i32) -> Vec<u8> {
    let mut batch = batch(offset, 0, &[(0, None)], COMPRESSIONS[0], 0, -1);
    batch[12..16].copy_from_slice(&epoch.to_be_bytes());
    batch
}

/// Fetches partitions 0 and 1 from their beginnings, and notes what comes, until nothing has for a
/// while. A partition that is left gets the same leader again.
fn fetch(steps: Vec<Step>) -> Vec<String> {
    fetch_from(steps, [(0, -1); 2])
}

/// The same from other offsets, which were read in these epochs.
fn fetch_from(steps: Vec<Step>, from: [(i64, i32); 2]) -> Vec<String> {
    let brokers = broker(steps);
    let options = KafkaOptions {
        topic: "t".to_owned(),
        ..KafkaOptions::default()
    };
    let settings = Settings::of(&options).unwrap();
    let mut fetch = Fetch::new(&options, settings, &ChunkLimits::default());
    let position = |(offset, epoch)| Position {
        from: offset,
        at: offset,
        identity: PartitionIdentity {
            epoch,
            ..PartitionIdentity::default()
        },
        is_replaced: false,
    };
    let positions = (0..).zip(from.map(position));
    fetch.assign(&positions.collect());
    let mut seen = Vec::new();
    let mut quiet = Instant::now();
    while quiet.elapsed() < Duration::from_millis(300) {
        if fetch.wants_leaders() {
            fetch.set_leaders(&[(0, 1), (1, 1)].into(), &brokers);
        }
        let before = seen.len();
        let taken = fetch.take(Duration::from_millis(10), |taken| {
            seen.push(match taken {
                Polled::Record {
                    partition, offset, ..
                } => format!("{partition}: {offset}"),
                Polled::End { partition, offset } => format!("{partition}: end at {offset}"),
                Polled::Error { code, .. } => format!("{code:?}"),
                Polled::Truncated { partition, cut } => {
                    format!("{partition}: cut off at {} in {}", cut.end, cut.epoch)
                }
                Polled::Passed { .. } => return,
            });
        });
        match taken {
            Ok(()) => {}
            Err(Stop::TooOld(reason)) => seen.push(format!("too old: {reason}")),
            Err(Stop::Error(error)) => {
                seen.push(error.to_string());
                return seen;
            }
        }
        if seen.len() > before {
            quiet = Instant::now();
        }
    }
    seen
}

#[test]
fn partitions_go_on_where_they_were_over_a_connection_that_ends() {
    let steps = vec![
        Step::Response(response(&[(0, 0, 2, one(0, 5)), (1, 0, 0, vec![])])),
        Step::Close,
        Step::Response(epoch_end(5, 2)),
        Step::Response(response(&[(1, 0, 1, one(0, 5)), (0, 0, 2, one(1, 5))])),
        Step::Response(response(&[(1, 0, 1, vec![]), (0, 0, 2, vec![])])),
    ];
    let seen = fetch(steps);
    assert_eq!(
        seen,
        [
            "0: 0",
            "1: end at 0",
            "1: 0",
            "0: 1",
            "1: end at 1",
            "0: end at 2"
        ]
    );
}

#[test]
fn a_partition_that_its_broker_does_not_lead_is_asked_for_again() {
    const NOT_LEADER: i16 = 6;
    let steps = vec![
        Step::Response(response(&[
            (0, NOT_LEADER, -1, vec![]),
            (1, 0, 1, one(0, 5)),
        ])),
        Step::Response(response(&[(1, 0, 2, one(1, 5))])),
        Step::Response(response(&[(0, 0, 1, one(0, 6)), (1, 0, 2, vec![])])),
    ];
    assert_eq!(fetch(steps), ["1: 0", "1: 1", "0: 0", "1: end at 2"]);
}

#[test]
fn offsets_that_are_gone_are_for_the_source_to_decide() {
    const OUT_OF_RANGE: i16 = 1;
    let steps = vec![Step::Response(response(&[(0, OUT_OF_RANGE, -1, vec![])]))];
    assert_eq!(fetch(steps), ["OffsetOutOfRange"]);
}

#[test]
fn what_another_leader_wrote_is_read_once_it_has_what_was_read_before() {
    let steps = vec![
        Step::Response(response(&[(
            0,
            0,
            3,
            [one(0, 5), one(1, 5), one(2, 7)].concat(),
        )])),
        Step::Response(epoch_end(5, 2)),
        Step::Response(response(&[(0, 0, 4, [one(2, 7), one(3, 7)].concat())])),
    ];
    assert_eq!(fetch(steps), ["0: 0", "0: 1", "0: 2", "0: 3"]);
}

#[test]
fn nothing_is_read_of_a_log_that_was_cut_off_before_that_is_decided_on() {
    let steps = vec![
        Step::Response(response(&[(0, 0, 3, [one(0, 5), one(1, 5)].concat())])),
        Step::Response(response(&[(0, 0, 3, [one(2, 7), one(3, 7)].concat())])),
        Step::Response(epoch_end(5, 1)),
        // The other partition goes on.
        Step::Response(response(&[(1, 0, 1, one(0, 5))])),
    ];
    assert_eq!(
        fetch(steps),
        ["0: 0", "0: 1", "0: cut off at 1 in 5", "1: 0"]
    );
}

#[test]
fn a_leader_is_asked_for_what_was_read_before_anything_is_fetched() {
    const NOT_LEADER: i16 = 6;
    let steps = vec![
        Step::Response(epoch_ends(&[(1, 0, 3, 60), (0, NOT_LEADER, -1, -1)])),
        Step::Response(epoch_ends(&[(0, 0, 4, 200)])),
        Step::Response(response(&[(0, 0, 101, one(100, 4))])),
    ];
    assert_eq!(
        fetch_from(steps, [(100, 4), (80, 3)]),
        ["1: cut off at 60 in 3", "0: 100"]
    );
}

#[test]
fn a_broker_that_sends_only_a_part_of_a_batch_is_not_asked_for_it_in_a_hot_loop() {
    let part = one(0, 5)[..70].to_vec();
    let steps = (0..1000).map(|_| Step::Response(response(&[(0, 0, 1, part.clone())])));
    let begun = Instant::now();
    let brokers = broker(steps.collect());
    let options = KafkaOptions::default();
    let mut fetch = Fetch::new(
        &options,
        Settings::of(&options).unwrap(),
        &ChunkLimits::default(),
    );
    let start = Position {
        from: 0,
        at: 0,
        identity: PartitionIdentity::default(),
        is_replaced: false,
    };
    fetch.assign(&[(0, start)].into());
    fetch.set_leaders(&[(0, 1)].into(), &brokers);
    while !fetch.wants_leaders() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        let taken = fetch.take(Duration::from_millis(10), |taken| {
            assert!(!matches!(taken, Polled::Record { .. }));
        });
        assert!(taken.is_ok());
    }
    // Whoever tells leaders does so with a pause.
}

#[test]
fn of_a_partition_of_which_nothing_whole_comes_it_is_said() {
    let parts = [
        one(0, 5)[..40].to_vec(),
        one(0, 5)[..70].to_vec(),
        Vec::new(),
    ];
    for part in parts {
        // The other partition gets on all the time.
        let steps = (0..10_000).map(|n| {
            let other = if n % 2 == 0 { one(n, -1) } else { Vec::new() };
            Step::Response(response(&[(0, 0, 1, part.clone()), (1, 0, n + 1, other)]))
        });
        let brokers = broker(steps.collect());
        let options = KafkaOptions::default();
        let settings = Settings::of(&options).unwrap();
        let mut fetch = Fetch::new(&options, settings, &ChunkLimits::default());
        let start = Position {
            from: 0,
            at: 0,
            identity: PartitionIdentity::default(),
            is_replaced: false,
        };
        fetch.assign(&[(0, start.clone()), (1, start)].into());
        let begun = Instant::now();
        let said = loop {
            assert!(begun.elapsed() < Duration::from_secs(30), "nothing is said");
            if fetch.wants_leaders() {
                thread::sleep(Duration::from_millis(50));
                fetch.set_leaders(&[(0, 1), (1, 1)].into(), &brokers);
            }
            let taken = fetch.take(Duration::from_millis(10), |taken| {
                assert!(!matches!(taken, Polled::Record { partition: 0, .. }));
            });
            assert!(taken.is_ok());
            if let Some((_, said)) = fetch.failing() {
                break said;
            }
        };
        assert!(
            said.contains("partition 0: broker 1 has records at offset 0"),
            "{said}"
        );
    }
}

#[test]
fn a_batch_that_does_not_fit_comes_with_the_next_response() {
    let whole = one(0, 5);
    let steps = vec![
        Step::Response(response(&[
            (0, 0, 1, whole[..70].to_vec()),
            (1, 0, 1, one(0, 5)),
        ])),
        Step::Response(response(&[(0, 0, 1, whole)])),
    ];
    assert_eq!(fetch(steps), ["1: 0", "0: 0"]);
}

#[test]
fn what_cannot_be_read_is_an_error_that_says_where() {
    let mut damaged = one(4, 5);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let seen = fetch(vec![Step::Response(response(&[(1, 0, 9, damaged)]))]);
    assert!(
        seen[0].contains("partition 1, the batch at offset 4: its checksum is wrong"),
        "{seen:?}"
    );

    let mut old = one(0, 5);
    old[16] = 1;
    let seen = fetch(vec![Step::Response(response(&[(1, 0, 9, old)]))]);
    assert!(
        seen[0].starts_with("too old: partition 1 at offset 0"),
        "{seen:?}"
    );
}
