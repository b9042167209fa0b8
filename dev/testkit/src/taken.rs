//! Reading a source to its end, and checking that it keeps the contract of all sources.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidegate_base::chunk::Payload;
use tidegate_source::{ChunkLimits, Resume, ResumePartition, Source, SourceError, SourceEvent};

/// One record: offset, kind, payload.
pub type OutputRecord = (i64, Payload, Vec<u8>);

/// What a source has handed over.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct SourceOutput {
    /// Names of the partitions, by their numbers.
    pub names: BTreeMap<i32, String>,
    /// Records of each partition.
    pub records: BTreeMap<i32, Vec<OutputRecord>>,
    /// The offset after the last that was covered, of each partition.
    pub ends: BTreeMap<i32, i64>,
    /// The last identity that came with a chunk, of each partition.
    pub identities: BTreeMap<i32, String>,
    /// Whether everything came that was there at the start.
    pub caught_up: bool,
    /// Whether the source has ended.
    pub ended: bool,
    /// How many chunks came.
    pub chunks: usize,
}

impl SourceOutput {
    /// Takes one event, and checks that it keeps the contract.
    pub fn take(&mut self, event: SourceEvent) {
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
    pub fn texts(&self, partition: i32) -> Vec<String> {
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
    pub fn resume(&self) -> Resume {
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
pub const SMALL: ChunkLimits = ChunkLimits {
    records: 3,
    bytes: 64,
    linger: Duration::from_millis(5),
    record_bytes_max: 1000,
};

/// Takes everything until the end, or until `wanted` says that it is enough.
///
/// # Errors
/// Those of the source.
///
/// # Panics
/// If that does not come about.
pub fn take_until(
    source: &mut dyn Source,
    taken: &mut SourceOutput,
    wanted: impl Fn(&SourceOutput) -> bool,
) -> Result<(), SourceError> {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !wanted(taken) {
        assert!(Instant::now() < deadline, "so far: {taken:?}");
        taken.take(source.poll(Duration::from_millis(10))?);
    }
    Ok(())
}

/// Takes everything until the source's end.
///
/// # Errors
/// Those of the source.
///
/// # Panics
/// If the end does not come.
pub fn read_all(source: &mut dyn Source) -> Result<SourceOutput, SourceError> {
    let mut taken = SourceOutput::default();
    take_until(source, &mut taken, |taken| taken.ended)?;
    Ok(taken)
}
