//! Reading a source to its end.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod folder;
pub(crate) mod random;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidegate_core::chunk::Payload;
use tidegate_core::clock::Clock;
use tidegate_sources::{
    ChunkLimits, Resume, ResumePartition, Source, SourceError, SourceEvent, SourceOptions, open,
};

/// One record: offset, kind, payload.
pub(crate) type Record = (i64, Payload, Vec<u8>);

/// What a source has handed over.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Taken {
    pub(crate) names: BTreeMap<i32, String>,
    pub(crate) records: BTreeMap<i32, Vec<Record>>,
    pub(crate) ends: BTreeMap<i32, i64>,
    pub(crate) identities: BTreeMap<i32, String>,
    pub(crate) caught_up: bool,
    pub(crate) ended: bool,
    pub(crate) chunks: usize,
}

impl Taken {
    /// Takes one event, and checks that it keeps the contract.
    pub(crate) fn take(&mut self, event: SourceEvent) {
        assert!(
            !self.ended || matches!(event, SourceEvent::Nothing),
            "nothing after the end"
        );
        match event {
            SourceEvent::Partition { id, name, .. } => {
                assert!(self.names.insert(id, name).is_none(), "announced once");
            }
            SourceEvent::Chunk(chunk) => {
                self.chunks += 1;
                assert!(
                    self.names.contains_key(&chunk.partition),
                    "announced before its chunk"
                );
                let end = self.ends.entry(chunk.partition).or_insert(chunk.from);
                assert_eq!(*end, chunk.from, "a chunk begins where the last one ended");
                *end = chunk.to;
                if let Some(identity) = &chunk.identity {
                    self.identities
                        .insert(chunk.partition, identity.to_string());
                }
                let records = self.records.entry(chunk.partition).or_default();
                for (i, offset) in chunk.offsets().iter().enumerate() {
                    assert!((chunk.from..chunk.to).contains(offset));
                    records.push((*offset, chunk.kind(i), chunk.payload(i).to_vec()));
                }
            }
            SourceEvent::CaughtUp => {
                assert!(!self.caught_up, "caught up once");
                self.caught_up = true;
            }
            SourceEvent::Ended => {
                assert!(self.caught_up, "the end comes after having caught up");
                self.ended = true;
            }
            SourceEvent::Ahead(_) | SourceEvent::AtEnd { .. } | SourceEvent::Nothing => {}
        }
    }

    /// Payloads of a partition, as text.
    pub(crate) fn texts(&self, partition: i32) -> Vec<String> {
        let records = self
            .records
            .get(&partition)
            .map(Vec::as_slice)
            .unwrap_or_default();
        records
            .iter()
            .map(|(_, _, p)| String::from_utf8_lossy(p).into_owned())
            .collect()
    }

    /// Where it stopped.
    pub(crate) fn resume(&self) -> Resume {
        let position = |(id, offset): (&i32, &i64)| {
            let name = self.names[id].clone();
            (
                *id,
                ResumePartition {
                    name,
                    lane: 0,
                    offset: *offset,
                    identity: self.identities.get(id).cloned(),
                },
            )
        };
        Resume {
            partitions: self.ends.iter().map(position).collect(),
        }
    }
}

/// Small chunks, so that their limits are met.
pub(crate) const SMALL: ChunkLimits = ChunkLimits {
    records: 3,
    bytes: 64,
    linger: Duration::from_millis(5),
    record_bytes_max: 1000,
};

/// Takes everything until the end, or until `wanted` says that it is enough.
pub(crate) fn take_until(
    source: &mut dyn Source,
    taken: &mut Taken,
    wanted: impl Fn(&Taken) -> bool,
) -> Result<(), SourceError> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !wanted(taken) {
        assert!(Instant::now() < deadline, "so far: {taken:?}");
        taken.take(source.poll(Duration::from_millis(10))?);
    }
    Ok(())
}

/// Opens a source and takes everything until its end.
pub(crate) fn read_all(
    options: &SourceOptions,
    resume: &Resume,
    limits: ChunkLimits,
) -> Result<Taken, SourceError> {
    let mut source = open(
        options,
        resume,
        &limits,
        &Clock::manual(1_764_000_000_000_000),
    )?;
    let mut taken = Taken::default();
    take_until(source.as_mut(), &mut taken, |taken| taken.ended)?;
    Ok(taken)
}
