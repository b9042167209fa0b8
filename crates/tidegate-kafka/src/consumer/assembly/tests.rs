use super::*;

const LIMITS: ChunkLimits = ChunkLimits {
    records: 3,
    bytes: 100,
    linger: Duration::from_millis(50),
    record_bytes_max: 10,
};

fn position(from: i64, at: i64) -> Position {
    Position {
        from,
        at,
        identity: PartitionIdentity::default(),
        is_replaced: false,
    }
}

/// A record: offset, time, payload.
fn record(
    assembly: &mut Assembly,
    partition: i32,
    (offset, timestamp, payload): (i64, Option<i64>, Option<&[u8]>),
    now: Instant,
) {
    let record = BrokerRecord {
        offset,
        epoch: -1,
        timestamp,
        payload,
        bytes: payload.map_or(0, <[u8]>::len),
    };
    assembly.record(partition, &record, now);
}

fn assembly(parts: &[(i32, i64, i64)]) -> Assembly {
    let mut assembly = Assembly::new(LIMITS);
    for (id, at, target) in parts {
        let position = position(*at, *at);
        assembly.place(*id, format!("t/{id}"), position, *target);
    }
    while assembly.next().is_some() {}
    assembly
}

fn events(assembly: &mut Assembly) -> Vec<String> {
    let mut events = Vec::new();
    while let Some(event) = assembly.next() {
        events.push(match event {
            SourceEvent::Chunk(c) => {
                format!(
                    "chunk {} {}..{} {:?} gone {}",
                    c.partition,
                    c.from,
                    c.to,
                    c.offsets(),
                    c.gone
                )
            }
            SourceEvent::Partition { id, name, .. } => format!("partition {id} {name}"),
            other => format!("{other:?}"),
        });
    }
    events
}

#[test]
fn a_partition_is_announced_with_where_it_begins() {
    let mut assembly = Assembly::new(LIMITS);
    assembly.place(2, "t/2".to_owned(), position(5, 9), 9);
    assert_eq!(
        events(&mut assembly),
        [
            "partition 2 t/2",
            "chunk 2 5..5 [] gone 0",
            "chunk 2 5..9 [] gone 4"
        ]
    );
}

#[test]
fn full_chunks_go_at_once_and_partial_ones_when_due() {
    let now = Instant::now();
    let mut assembly = assembly(&[(0, 0, 100), (1, 7, 100)]);
    for offset in [0, 1, 4, 5] {
        record(&mut assembly, 0, (offset, None, Some(b"x")), now);
    }
    record(&mut assembly, 1, (7, None, None), now + LIMITS.linger);
    assert_eq!(events(&mut assembly), ["chunk 0 0..5 [0, 1, 4] gone 0"]);
    assembly.flush_due(now + LIMITS.linger);
    assert_eq!(events(&mut assembly), ["chunk 0 5..6 [5] gone 0"]);
    assert_eq!(assembly.due_in(now), Some(2 * LIMITS.linger));
    assembly.flush_due(now + 2 * LIMITS.linger);
    assert_eq!(events(&mut assembly), ["chunk 1 7..8 [7] gone 0"]);
    assert_eq!(assembly.due_in(now), None);
}

#[test]
fn an_end_is_said_after_the_last_chunk_each_time_it_was_asked_for_and_covers_markers() {
    let now = Instant::now();
    let mut assembly = assembly(&[(0, 0, 3)]);
    record(&mut assembly, 0, (0, None, Some(b"x")), now);
    assembly.end(0);
    assembly.cover(0, 2, -1);
    assembly.end(0);
    assert!(events(&mut assembly).is_empty());
    assembly.flush_due(now + LIMITS.linger);
    assert_eq!(
        events(&mut assembly),
        ["chunk 0 0..2 [0] gone 0", "AtEnd { lane: 0 }"]
    );
    assembly.asked(0, 2);
    assembly.asked(0, 3);
    assert_eq!(events(&mut assembly), ["AtEnd { lane: 0 }"]);
    assembly.end(0);
    assembly.cover(0, 2, -1);
    assert_eq!(events(&mut assembly), ["AtEnd { lane: 0 }"]);
    assembly.cover(0, 3, -1);
    assert_eq!(
        events(&mut assembly),
        ["chunk 0 2..3 [] gone 0", "AtEnd { lane: 0 }"]
    );
}

#[test]
fn a_partition_with_nothing_new_has_caught_up_once_its_leader_has_answered() {
    let mut assembly = Assembly::new(LIMITS);
    let position = Position {
        from: 5,
        at: 5,
        identity: PartitionIdentity {
            epoch: 3,
            ..PartitionIdentity::default()
        },
        is_replaced: false,
    };
    assembly.place(0, "t/0".to_owned(), position, 5);
    events(&mut assembly);
    assembly.say_caught_up();
    assert!(events(&mut assembly).is_empty());
    assembly.end(0);
    assembly.say_caught_up();
    assert_eq!(events(&mut assembly), ["AtEnd { lane: 0 }", "CaughtUp"]);
}

#[test]
fn caught_up_comes_once_behind_everything_that_was_there() {
    let now = Instant::now();
    let mut assembly = assembly(&[(0, 0, 1), (1, 5, 5), (2, 0, 2)]);
    assembly.say_caught_up();
    record(&mut assembly, 0, (0, None, Some(b"x")), now);
    record(&mut assembly, 2, (0, None, Some(b"x")), now);
    assembly.end(2);
    assembly.say_caught_up();
    assert!(
        events(&mut assembly).is_empty(),
        "partition 0 has a partial chunk"
    );
    assembly.flush_due(now + LIMITS.linger);
    assembly.say_caught_up();
    assembly.say_caught_up();
    assert_eq!(
        events(&mut assembly),
        [
            "chunk 0 0..1 [0] gone 0",
            "chunk 2 0..1 [0] gone 0",
            "AtEnd { lane: 2 }",
            "CaughtUp"
        ]
    );
}

#[test]
fn large_records_are_cut_and_repeats_of_a_fetch_dropped() {
    let now = Instant::now();
    let mut assembly = assembly(&[(0, 0, 0)]);
    record(&mut assembly, 0, (0, Some(5), Some(&[b'x'; 11])), now);
    record(&mut assembly, 0, (0, Some(5), Some(b"again")), now);
    record(&mut assembly, 0, (1, None, Some(b"")), now);
    record(&mut assembly, 0, (2, None, None), now);
    let Some(SourceEvent::Chunk(chunk)) = assembly.next() else {
        panic!("a full chunk")
    };
    let kinds: Vec<_> = (0..3)
        .map(|i| (chunk.kind(i), chunk.payload(i).len()))
        .collect();
    assert_eq!(
        kinds,
        [
            (Payload::Truncated, 10),
            (Payload::Bytes, 0),
            (Payload::Tombstone, 0)
        ]
    );
    assert_eq!((chunk.timestamp(0), chunk.timestamp(1)), (Some(5), None));
}

#[test]
fn lag_counts_from_what_was_handed_over_to_what_was_written() {
    let now = Instant::now();
    let mut assembly = assembly(&[(0, 0, 10), (1, 4, 10), (2, 0, 0)]);
    record(&mut assembly, 0, (0, None, Some(b"x")), now);
    assembly.end(1);
    assembly.cover(1, 9, -1);
    let ends = |stable, high| Ends { stable, high };
    let ends = [(0, ends(12, 12)), (1, ends(9, 9)), (2, ends(50, 1000))].into();
    assert_eq!(assembly.lag(&ends), [(0, 12), (1, 0), (2, 1000)].into());
    assert_eq!(assembly.held(&ends), 950, "they wait for a transaction");
    assembly.cover(2, 50, -1);
    assembly.end(2);
    assert_eq!(assembly.lag(&ends)[&2], 950);
    assert_eq!(assembly.held(&ends), 950);
}

#[test]
fn chunks_say_by_what_the_partition_is_recognised() {
    let now = Instant::now();
    let mut assembly = Assembly::new(LIMITS);
    let mut position = position(100, 100);
    position.identity.topic = Some("a".into());
    position.identity.shift = 40;
    assembly.place(0, "t/0".to_owned(), position, 70);
    let of = |offset, epoch| BrokerRecord {
        offset,
        epoch,
        timestamp: None,
        payload: None,
        bytes: 0,
    };
    assembly.record(0, &of(60, 5), now);
    assembly.flush_due(now + LIMITS.linger);
    assembly.record(0, &of(61, 5), now);
    assembly.record(0, &of(62, 7), now);
    assembly.flush_due(now + LIMITS.linger);
    assembly.cover(0, 64, 9);
    // Markers, of which librdkafka says nothing but that the end is after them.
    assembly.cover(0, 65, -1);
    assembly.cover(0, 67, -1);
    assembly.record(0, &of(67, 9), now);
    assembly.flush_due(now + LIMITS.linger);
    // A record of an old format.
    assembly.record(0, &of(68, -1), now);
    assembly.cover(0, 70, -1);
    assembly.flush_due(now + LIMITS.linger);
    let mut identities = Vec::new();
    while let Some(event) = assembly.next() {
        if let SourceEvent::Chunk(chunk) = event {
            let identity = chunk.identity.as_deref().unwrap_or_default();
            identities.push(format!("{}..{} {identity}", chunk.from, chunk.to));
        }
    }
    assert_eq!(
        identities,
        [
            "100..100 topic=a;shift=40",
            "100..101 topic=a;epoch=5;shift=40",
            "101..103 topic=a;epoch=7;shift=40",
            "103..104 topic=a;epoch=9;shift=40",
            "104..105 topic=a;epoch=9;beyond=1;shift=40",
            "105..107 topic=a;epoch=9;beyond=3;shift=40",
            "107..108 topic=a;epoch=9;shift=40",
            "108..110 topic=a;shift=40",
        ]
    );
    let known = assembly.known(0).unwrap();
    assert_eq!((known.to, known.asked()), (110, 70));
}
