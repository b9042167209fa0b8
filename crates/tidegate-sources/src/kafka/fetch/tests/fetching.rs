//! A broker made by hand, and what is fetched from it.

use std::io::Read;
use std::net::TcpListener;
use std::thread;

use super::*;
use crate::kafka::fetch::*;

/// What a broker made by hand does when it is asked for records, or where an epoch ended.
enum Step {
    Answer(Vec<u8>),
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
                let answer = match request[..2] {
                    [0, 18] => versions(&[(1, 4, 17), (23, 2, 4)]),
                    _ => match steps.next() {
                        Some(Step::Answer(answer)) => answer,
                        Some(Step::Close) => break,
                        None => continue,
                    },
                };
                socket
                    .write_all(&(answer.len() as u32).to_be_bytes())
                    .unwrap();
                socket.write_all(&answer).unwrap();
            }
        }
    });
    [(1, ("127.0.0.1".to_owned(), port))].into()
}

/// An answer with the records of partitions: number, error, end, batches.
fn answer(parts: &[(i32, i16, i64, Vec<u8>)]) -> Vec<u8> {
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

fn epoch_end(epoch: i32, end: i64) -> Vec<u8> {
    let mut out = vec![0; 8];
    out.extend_from_slice(&[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&epoch.to_be_bytes());
    out.extend_from_slice(&end.to_be_bytes());
    out
}

/// A batch of one record by the leader of an epoch, which its checksum leaves out.
fn one(offset: i64, epoch: i32) -> Vec<u8> {
    let mut batch = batch(offset, 0, &[(0, None)], COMPRESSIONS[0], 0, -1);
    batch[12..16].copy_from_slice(&epoch.to_be_bytes());
    batch
}

/// Fetches partitions 0 and 1 from their beginnings, and notes what comes, until nothing has for a while. A partition that is left
/// gets the same leader again.
fn fetch(steps: Vec<Step>) -> Vec<String> {
    let brokers = broker(steps);
    let options = KafkaOptions {
        topic: "t".to_owned(),
        ..KafkaOptions::default()
    };
    let settings = Settings::of(&options).unwrap();
    let mut fetch = Fetch::new(&options, settings, &ChunkLimits::default());
    fetch.assign(&[0, 1].map(|id| (id, Position { from: 0, at: 0 })).into());
    let mut seen = Vec::new();
    let mut quiet = Instant::now();
    while quiet.elapsed() < Duration::from_millis(300) {
        if fetch.wants_leaders() {
            fetch.lead(&[(0, 1), (1, 1)].into(), &brokers);
        }
        let before = seen.len();
        let taken = fetch.take(Duration::from_millis(10), |taken| {
            seen.push(match taken {
                Taken::Record {
                    partition, offset, ..
                } => format!("{partition}: {offset}"),
                Taken::End { partition, offset } => format!("{partition}: end at {offset}"),
                Taken::Error(code) => format!("{code:?}"),
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
        Step::Answer(answer(&[(0, 0, 2, one(0, 5)), (1, 0, 0, vec![])])),
        Step::Close,
        Step::Answer(answer(&[(1, 0, 1, one(0, 5)), (0, 0, 2, one(1, 5))])),
        Step::Answer(answer(&[(1, 0, 1, vec![]), (0, 0, 2, vec![])])),
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
        Step::Answer(answer(&[(0, NOT_LEADER, -1, vec![]), (1, 0, 1, one(0, 5))])),
        Step::Answer(answer(&[(1, 0, 2, one(1, 5))])),
        Step::Answer(answer(&[(0, 0, 1, one(0, 6)), (1, 0, 2, vec![])])),
    ];
    assert_eq!(fetch(steps), ["1: 0", "1: 1", "0: 0", "1: end at 2"]);
}

#[test]
fn offsets_that_are_gone_are_for_the_source_to_decide() {
    const OUT_OF_RANGE: i16 = 1;
    let steps = vec![Step::Answer(answer(&[(0, OUT_OF_RANGE, -1, vec![])]))];
    assert_eq!(fetch(steps), ["OffsetOutOfRange"]);
}

#[test]
fn what_another_leader_wrote_is_read_whether_or_not_the_log_was_cut_off() {
    let steps = vec![
        Step::Answer(answer(&[(
            0,
            0,
            3,
            [one(0, 5), one(1, 5), one(2, 7)].concat(),
        )])),
        Step::Answer(epoch_end(5, 2)),
        Step::Answer(answer(&[(0, 0, 4, one(3, 9))])),
        // What follows from an answer is `cut_off`'s to say, which has a test of its own.
        Step::Answer(epoch_end(5, 2)),
    ];
    assert_eq!(fetch(steps), ["0: 0", "0: 1", "0: 2", "0: 3"]);
}

#[test]
fn a_batch_that_does_not_fit_comes_with_the_next_answer() {
    let whole = one(0, 5);
    let steps = vec![
        Step::Answer(answer(&[
            (0, 0, 1, whole[..70].to_vec()),
            (1, 0, 1, one(0, 5)),
        ])),
        Step::Answer(answer(&[(0, 0, 1, whole)])),
    ];
    assert_eq!(fetch(steps), ["1: 0", "0: 0"]);
}

#[test]
fn what_cannot_be_read_is_an_error_that_says_where() {
    let mut damaged = one(4, 5);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let seen = fetch(vec![Step::Answer(answer(&[(1, 0, 9, damaged)]))]);
    assert!(
        seen[0].contains("partition 1, the batch at offset 4: its checksum is wrong"),
        "{seen:?}"
    );

    let mut old = one(0, 5);
    old[16] = 1;
    let seen = fetch(vec![Step::Answer(answer(&[(1, 0, 9, old)]))]);
    assert!(
        seen[0].starts_with("too old: partition 1 at offset 0"),
        "{seen:?}"
    );
}
