//! From single records to chunks, and from ends of partitions to events. No IO.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_base::chunk::{Chunk, Payload};

use super::fetch::Ends;
use super::identity::PartitionIdentity;
use super::positions::{Position, ResumePosition};
use tidegate_source::{ChunkLimits, SourceEvent};

/// Bytes of partial chunks that are kept over all partitions, in chunks.
const PENDING_CHUNKS: usize = 16;

/// The partitions that are read, and what was read of them but not handed over.
pub(super) struct Assembly {
    limits: ChunkLimits,
    parts: BTreeMap<i32, PartitionAssembly>,
    ready: VecDeque<SourceEvent>,
    /// When the oldest partial chunk has to be handed over.
    due: Option<Instant>,
    pending_bytes: usize,
    /// Partitions that have not reached what was there when the source was opened.
    behind: usize,
    caught_up: bool,
}

struct PartitionAssembly {
    chunk: Chunk,
    /// What the partition is recognised by where `chunk` ends. Offsets of the broker are shifted by
    /// it.
    identity: PartitionIdentity,
    /// The same as text, once it is needed.
    text: Option<Arc<str>>,
    /// When the first record of `chunk` came.
    since: Option<Instant>,
    /// Offset up to which there were records when the source was opened, shifted.
    target: i64,
    /// Where the partition begins, if its leader is asked whether it has what was read before that:
    /// it has answered once something comes.
    asked_at: Option<i64>,
    behind: bool,
    /// The broker had no more when it was last asked.
    at_end: bool,
    said_at_end: bool,
    /// Records and bytes of the last chunk: the next one is probably as large.
    last: (usize, usize),
}

/// A record as it comes from a broker.
#[derive(Debug, Clone, Copy)]
pub(super) struct BrokerRecord<'a> {
    /// At the broker.
    pub(super) offset: i64,
    /// Of the leader that took it; -1 if that is not known.
    pub(super) epoch: i32,
    /// Microseconds since 1970.
    pub(super) timestamp: Option<i64>,
    /// None of a tombstone.
    pub(super) payload: Option<&'a [u8]>,
    /// Bytes of the payload, of which `payload` may be only the beginning.
    pub(super) bytes: usize,
}

impl PartitionAssembly {
    /// What comes next was taken by the leader of this epoch; -1 if it has none, as before Kafka
    /// 0.11: then no leader can be asked for it.
    #[inline]
    fn reach_epoch(&mut self, epoch: i32) {
        if epoch != self.identity.epoch || self.identity.beyond != 0 {
            self.identity.epoch = epoch;
            self.identity.beyond = 0;
            self.text = None;
        }
    }

    /// So many offsets come next of which no epoch is known.
    fn go_beyond(&mut self, offsets: i64) {
        if self.identity.epoch >= 0 {
            self.identity.beyond = self.identity.beyond.saturating_add(offsets);
            self.text = None;
        }
    }

    /// Where the partition ends, shifted, as far as known.
    fn high(&self, ends: Option<&Ends>) -> i64 {
        let shift = self.identity.shift;
        let end = match ends {
            Some(ends) => ends.high.saturating_add(shift),
            None if self.at_end => self.chunk.to,
            None => self.target,
        };
        end.max(self.chunk.to)
    }
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
        let Position {
            from, at, identity, ..
        } = position;
        let target = target.saturating_add(identity.shift);
        if let Some(part) = self.parts.get_mut(&id) {
            debug_assert_eq!(from, part.chunk.to, "a partition goes on where it was");
            part.at_end = false;
            if part.identity != identity {
                // What is in the chunk so far was read of what it was before.
                self.flush(id);
            }
            if let Some(part) = self.parts.get_mut(&id) {
                part.identity = identity;
                part.text = None;
            }
        } else {
            let asked_at = (identity.epoch >= 0).then_some(at);
            let behind = !self.caught_up && (at < target || asked_at.is_some());
            self.behind += usize::from(behind);
            let text = identity.text();
            let mut empty = Chunk::new(id, id, from);
            empty.identity.clone_from(&text);
            let part = PartitionAssembly {
                chunk: Chunk::new(id, id, from),
                identity,
                text,
                since: None,
                target,
                asked_at,
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
            self.ready.push_back(SourceEvent::Chunk(empty));
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
    pub(super) fn record(&mut self, partition: i32, record: &BrokerRecord<'_>, now: Instant) {
        let Some(part) = self.parts.get_mut(&partition) else {
            return;
        };
        let offset = record.offset.saturating_add(part.identity.shift);
        // Fetched twice, around an assignment that was made anew.
        if offset < part.chunk.to {
            return;
        }
        let (kind, payload) = match record.payload {
            None => (Payload::Tombstone, &[][..]),
            Some(payload) if record.bytes > self.limits.record_bytes_max => (
                Payload::Truncated,
                &payload[..payload.len().min(self.limits.truncated_bytes())],
            ),
            Some(payload) => (Payload::Bytes, payload),
        };
        part.reach_epoch(record.epoch);
        if part.chunk.is_empty() {
            part.chunk.reserve(part.last.0, part.last.1);
        }
        part.chunk.push(offset, record.timestamp, kind, payload);
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

    /// The partition has no more now. Each time that it was asked for more.
    pub(super) fn end(&mut self, partition: i32) {
        let Some(part) = self.parts.get_mut(&partition) else {
            return;
        };
        part.at_end = true;
        // A partial chunk may still grow until it is due; then the end is said.
        if part.since.is_none() {
            part.said_at_end = false;
            self.flush(partition);
        }
        self.reach(partition);
    }

    /// The partition was asked for more, and ends at `end`. Only says again what is known: that
    /// there is more, or that there are markers to pass over, is for the records and
    /// [`Assembly::end`] to tell.
    pub(super) fn asked(&mut self, partition: i32, end: i64) {
        let Some(part) = self.parts.get_mut(&partition) else {
            return;
        };
        let end = end.saturating_add(part.identity.shift);
        if part.said_at_end && part.at_end && end <= part.chunk.to {
            self.ready.push_back(SourceEvent::AtEnd { lane: partition });
        }
    }

    /// There are no further records before `position`, where a transaction may have left its
    /// marker; `epoch` is that of the batch before it, if it is known.
    pub(super) fn cover(&mut self, partition: i32, position: i64, epoch: i32) {
        let Some(part) = self.parts.get_mut(&partition) else {
            return;
        };
        let position = position.saturating_add(part.identity.shift);
        if position > part.chunk.to {
            if epoch >= 0 {
                part.reach_epoch(epoch);
            } else {
                part.go_beyond(position - part.chunk.to);
            }
            part.chunk.to = position;
        }
        if part.since.is_none() {
            self.flush(partition);
        }
    }

    /// There are no further records before `position`, and there may be some after it.
    pub(super) fn pass(&mut self, partition: i32, position: i64, epoch: i32) {
        if let Some(part) = self.parts.get_mut(&partition)
            && position.saturating_add(part.identity.shift) > part.chunk.to
        {
            part.at_end = false;
            self.cover(partition, position, epoch);
        }
    }

    /// Hands over the partial chunks that have waited long enough.
    pub(super) fn flush_due(&mut self, now: Instant) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        let linger = self.limits.linger;
        let is_due =
            |part: &PartitionAssembly| part.since.is_some_and(|since| since + linger <= now);
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

    /// How far a partition was read, if it is known.
    pub(super) fn known(&self, partition: i32) -> Option<ResumePosition> {
        self.parts.get(&partition).map(|part| ResumePosition {
            to: part.chunk.to,
            identity: part.identity.clone(),
        })
    }

    /// Numbers of the partitions.
    pub(super) fn partitions(&self) -> impl Iterator<Item = i32> {
        self.parts.keys().copied()
    }

    /// Records beyond what was handed over, where `ends` says how far the partitions go: up to the
    /// last one that was written, whether or not it may be read yet.
    pub(super) fn lag(&self, ends: &BTreeMap<i32, Ends>) -> BTreeMap<i32, u64> {
        let lag =
            |id: &i32, part: &PartitionAssembly| part.high(ends.get(id)).abs_diff(part.chunk.from);
        self.parts
            .iter()
            .map(|(id, part)| (*id, lag(id, part)))
            .collect()
    }

    /// Of those, the records that may not be read before a transaction ends.
    pub(super) fn held(&self, ends: &BTreeMap<i32, Ends>) -> u64 {
        let held = |id: &i32, part: &PartitionAssembly| {
            let readable = match ends.get(id) {
                Some(ends) if !part.at_end => ends.stable.saturating_add(part.identity.shift),
                _ => part.chunk.to,
            };
            let high = part.high(ends.get(id));
            high.abs_diff(readable.clamp(part.chunk.to, high))
        };
        let known = self.parts.iter().filter(|(id, _)| ends.contains_key(id));
        known.map(|(id, part)| held(id, part)).sum()
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
            let mut chunk = std::mem::replace(&mut part.chunk, next);
            if part.identity.note_last(&chunk) || part.text.is_none() {
                part.text = part.identity.text();
            }
            chunk.identity.clone_from(&part.text);
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
        let has_answered = part.asked_at.is_none_or(|at| part.chunk.to > at);
        if part.behind && (part.at_end || has_answered && part.chunk.to >= part.target) {
            part.behind = false;
            self.behind -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
