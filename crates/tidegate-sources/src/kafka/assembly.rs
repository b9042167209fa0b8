//! From single records to chunks, and from ends of partitions to events. No IO.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use tidegate_core::chunk::{Chunk, Payload};

use super::positions::Position;
use crate::{ChunkLimits, SourceEvent};

/// Bytes of partial chunks that are kept over all partitions, in chunks.
const PENDING_CHUNKS: usize = 16;

/// The partitions that are read, and what was read of them but not handed over.
pub(super) struct Assembly {
    limits: ChunkLimits,
    parts: BTreeMap<i32, Part>,
    ready: VecDeque<SourceEvent>,
    /// When the oldest partial chunk has to be handed over.
    due: Option<Instant>,
    pending_bytes: usize,
    /// Partitions that have not reached what was there when the source was opened.
    behind: usize,
    caught_up: bool,
}

struct Part {
    chunk: Chunk,
    /// When the first record of `chunk` came.
    since: Option<Instant>,
    /// Offset up to which there were records when the source was opened.
    target: i64,
    behind: bool,
    /// The broker had no more when it was last asked.
    at_end: bool,
    said_at_end: bool,
    /// Records and bytes of the last chunk: the next one is probably as large.
    last: (usize, usize),
}

impl Assembly {
    pub(super) fn new(limits: ChunkLimits) -> Self {
        Assembly {
            limits,
            parts: BTreeMap::new(),
            ready: VecDeque::new(),
            due: None,
            pending_bytes: 0,
            behind: 0,
            caught_up: false,
        }
    }

    /// Takes a partition in, or sets a known one to a new position; `target` is where it ends now.
    pub(super) fn place(&mut self, id: i32, name: String, position: Position, target: i64) {
        let Position { from, at } = position;
        if let Some(part) = self.parts.get_mut(&id) {
            debug_assert_eq!(from, part.chunk.to, "a partition goes on where it was");
            part.at_end = false;
        } else {
            let behind = !self.caught_up && at < target;
            self.behind += usize::from(behind);
            let chunk = Chunk::new(id, id, from);
            let part = Part {
                chunk,
                since: None,
                target,
                behind,
                at_end: false,
                said_at_end: false,
                last: (0, 0),
            };
            self.parts.insert(id, part);
            self.ready
                .push_back(SourceEvent::Partition { id, lane: id, name });
            // Covers nothing, and says where the partition begins: without it, one that stays
            // empty would be unknown to the commit log, and begin elsewhere next time.
            self.ready
                .push_back(SourceEvent::Chunk(Chunk::new(id, id, from)));
        }
        if at > from {
            self.flush(id);
            if let Some(part) = self.parts.get_mut(&id) {
                part.chunk.to = at;
                part.chunk.gone = at.abs_diff(from);
            }
            self.flush(id);
        }
    }

    /// Takes a record.
    pub(super) fn record(
        &mut self,
        partition: i32,
        offset: i64,
        timestamp: Option<i64>,
        payload: Option<&[u8]>,
        now: Instant,
    ) {
        let Some(part) = self.parts.get_mut(&partition) else {
            return;
        };
        // Fetched twice, around an assignment that was made anew.
        if offset < part.chunk.to {
            return;
        }
        let (kind, payload) = match payload {
            None => (Payload::Tombstone, &[][..]),
            Some(payload) if payload.len() > self.limits.record_bytes_max => (
                Payload::Truncated,
                &payload[..self.limits.truncated_bytes()],
            ),
            Some(payload) => (Payload::Bytes, payload),
        };
        if part.chunk.is_empty() {
            part.chunk.reserve(part.last.0, part.last.1);
        }
        part.chunk.push(offset, timestamp, kind, payload);
        part.at_end = false;
        self.pending_bytes += payload.len();
        if part.since.is_none() {
            part.since = Some(now);
            self.due.get_or_insert(now + self.limits.linger);
        }
        let chunk = &part.chunk;
        if chunk.len() >= self.limits.records || chunk.bytes() >= self.limits.bytes {
            self.flush(partition);
        } else if self.pending_bytes > PENDING_CHUNKS * self.limits.bytes {
            self.flush_all();
        }
    }

    /// The partition has no more now.
    pub(super) fn end(&mut self, partition: i32) {
        let Some(part) = self.parts.get_mut(&partition) else {
            return;
        };
        part.at_end = true;
        // A partial chunk may still grow until it is due; then the end is said.
        if part.since.is_none() {
            self.flush(partition);
        }
        self.reach(partition);
    }

    /// There are no records before `position`, where a transaction may have left its marker.
    pub(super) fn cover(&mut self, partition: i32, position: i64) {
        let Some(part) = self.parts.get_mut(&partition) else {
            return;
        };
        part.chunk.to = part.chunk.to.max(position);
        if part.since.is_none() {
            self.flush(partition);
        }
    }

    /// Hands over the partial chunks that have waited long enough.
    pub(super) fn flush_due(&mut self, now: Instant) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        let linger = self.limits.linger;
        let is_due = |part: &Part| part.since.is_some_and(|since| since + linger <= now);
        let due: Vec<i32> = self
            .parts
            .iter()
            .filter(|(_, part)| is_due(part))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.flush(id);
        }
        self.due = self
            .parts
            .values()
            .filter_map(|part| part.since)
            .min()
            .map(|at| at + linger);
    }

    /// Says that the source has caught up, once it has.
    pub(super) fn say_caught_up(&mut self) {
        if self.behind == 0 && !self.caught_up {
            self.flush_all();
            self.caught_up = true;
            self.ready.push_back(SourceEvent::CaughtUp);
        }
    }

    /// The next event.
    pub(super) fn next(&mut self) -> Option<SourceEvent> {
        self.ready.pop_front()
    }

    pub(super) fn has_events(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How long the oldest partial chunk can still wait.
    pub(super) fn due_in(&self, now: Instant) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(now))
    }

    /// Offset of the next record that is wanted, if the partition is known.
    pub(super) fn position(&self, partition: i32) -> Option<i64> {
        self.parts.get(&partition).map(|part| part.chunk.to)
    }

    /// Numbers of the partitions.
    pub(super) fn partitions(&self) -> impl Iterator<Item = i32> {
        self.parts.keys().copied()
    }

    /// Records beyond what was handed over, where `ends` says how far the partitions go.
    pub(super) fn lag(&self, ends: &BTreeMap<i32, i64>) -> BTreeMap<i32, u64> {
        let lag = |id: &i32, part: &Part| {
            let end = ends.get(id).copied().unwrap_or(part.target);
            let end = if part.at_end {
                part.chunk.to
            } else {
                end.max(part.chunk.to)
            };
            end.abs_diff(part.chunk.from)
        };
        self.parts
            .iter()
            .map(|(id, part)| (*id, lag(id, part)))
            .collect()
    }

    fn flush_all(&mut self) {
        let ids: Vec<i32> = self.parts.keys().copied().collect();
        for id in ids {
            self.flush(id);
        }
        self.due = None;
    }

    /// Hands over what there is of a partition, and says its end if it is there.
    fn flush(&mut self, partition: i32) {
        let Some(part) = self.parts.get_mut(&partition) else {
            return;
        };
        if part.chunk.to > part.chunk.from {
            let next = Chunk::new(partition, partition, part.chunk.to);
            let chunk = std::mem::replace(&mut part.chunk, next);
            self.pending_bytes = self.pending_bytes.saturating_sub(chunk.bytes());
            part.last = (chunk.len(), chunk.bytes());
            self.ready.push_back(SourceEvent::Chunk(chunk));
            part.since = None;
            part.said_at_end = false;
        }
        if part.at_end && !part.said_at_end {
            part.said_at_end = true;
            self.ready.push_back(SourceEvent::AtEnd { lane: partition });
        }
        self.reach(partition);
    }

    /// Notes when a partition has come as far as it went when the source was opened.
    fn reach(&mut self, partition: i32) {
        let Some(part) = self.parts.get_mut(&partition) else {
            return;
        };
        if part.behind && (part.at_end || part.chunk.to >= part.target) {
            part.behind = false;
            self.behind -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ChunkLimits = ChunkLimits {
        records: 3,
        bytes: 100,
        linger: Duration::from_millis(50),
        record_bytes_max: 10,
    };

    fn assembly(parts: &[(i32, i64, i64)]) -> Assembly {
        let mut assembly = Assembly::new(LIMITS);
        for (id, at, target) in parts {
            let position = Position { from: *at, at: *at };
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
        assembly.place(2, "t/2".to_owned(), Position { from: 5, at: 9 }, 9);
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
            assembly.record(0, offset, None, Some(b"x"), now);
        }
        assembly.record(1, 7, None, None, now + LIMITS.linger);
        assert_eq!(events(&mut assembly), ["chunk 0 0..5 [0, 1, 4] gone 0"]);
        assembly.flush_due(now + LIMITS.linger);
        assert_eq!(events(&mut assembly), ["chunk 0 5..6 [5] gone 0"]);
        assert_eq!(assembly.due_in(now), Some(2 * LIMITS.linger));
        assembly.flush_due(now + 2 * LIMITS.linger);
        assert_eq!(events(&mut assembly), ["chunk 1 7..8 [7] gone 0"]);
        assert_eq!(assembly.due_in(now), None);
    }

    #[test]
    fn an_end_is_said_once_behind_the_last_chunk_and_covers_markers() {
        let now = Instant::now();
        let mut assembly = assembly(&[(0, 0, 3)]);
        assembly.record(0, 0, None, Some(b"x"), now);
        assembly.end(0);
        assembly.cover(0, 2);
        assembly.end(0);
        assert!(events(&mut assembly).is_empty());
        assembly.flush_due(now + LIMITS.linger);
        assert_eq!(
            events(&mut assembly),
            ["chunk 0 0..2 [0] gone 0", "AtEnd { lane: 0 }"]
        );
        assembly.end(0);
        assembly.cover(0, 2);
        assert!(events(&mut assembly).is_empty());
        assembly.cover(0, 3);
        assert_eq!(
            events(&mut assembly),
            ["chunk 0 2..3 [] gone 0", "AtEnd { lane: 0 }"]
        );
    }

    #[test]
    fn caught_up_comes_once_behind_everything_that_was_there() {
        let now = Instant::now();
        let mut assembly = assembly(&[(0, 0, 1), (1, 5, 5), (2, 0, 2)]);
        assembly.say_caught_up();
        assembly.record(0, 0, None, Some(b"x"), now);
        assembly.record(2, 0, None, Some(b"x"), now);
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
        assembly.record(0, 0, Some(5), Some(&[b'x'; 11]), now);
        assembly.record(0, 0, Some(5), Some(b"again"), now);
        assembly.record(0, 1, None, Some(b""), now);
        assembly.record(0, 2, None, None, now);
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
    fn lag_counts_from_what_was_handed_over() {
        let now = Instant::now();
        let mut assembly = assembly(&[(0, 0, 10), (1, 4, 10)]);
        assembly.record(0, 0, None, Some(b"x"), now);
        assembly.end(1);
        assembly.cover(1, 9);
        assert_eq!(assembly.lag(&[(0, 12)].into()), [(0, 12), (1, 0)].into());
    }
}
