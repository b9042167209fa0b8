//! The topic, and the responses that its brokers give.

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::error::RDKafkaErrorCode;

use tidegate_testkit::Random;

use crate::consumer::fetch::response::Ends;
use crate::consumer::fetch::tests::{
    COMPRESSIONS, MARKER, Row, TRANSACTIONAL, batch, old_message, old_wrapper,
};
use crate::consumer::fetch::wire::{EpochEnd, FetchPosition};
use crate::consumer::positions::Watermarks;

pub(super) const OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC: i16 = 3;
const NOT_LEADER: i16 = 6;
/// Bytes of a batch or message up to and with the one that says its format.
const NAMED: usize = 17;

/// A topic of some partitions, each with a leader of its own.
pub(super) struct Broker {
    pub(super) id: u64,
    pub(super) partitions: BTreeMap<i32, Log>,
    /// Whether some of it is in formats from before Kafka 0.11. Such messages have no leader epoch,
    /// so that nobody can tell whether they are still those that were read: its logs are not cut
    /// off.
    has_old: bool,
    /// The number that the next record has as its value.
    serial: u64,
    /// What became of the records of transactions that have ended, over all times.
    pub(super) aborted: BTreeSet<u64>,
}

/// A partition's log.
#[derive(Clone, Default)]
pub(super) struct Log {
    batches: Vec<Stored>,
    /// Leader epochs, and the offset at which each began.
    epochs: Vec<(i32, i64)>,
    low: i64,
    next: i64,
    /// Producers with a transaction that has not ended, and its first offset.
    open: BTreeMap<i64, i64>,
    /// Ended transactions that were aborted: producer, first offset, and that of the marker.
    aborted: Vec<(i64, i64, i64)>,
    /// Those that were committed: first offset, and that of the marker.
    commits: Vec<(i64, i64)>,
    /// The leader has moved: the next response, be it of records or of where an epoch ended, says
    /// so.
    moved: bool,
    /// The topic was made anew: the next response says so.
    unknown: bool,
}

#[derive(Clone)]
struct Stored {
    first: i64,
    next: i64,
    bytes: Vec<u8>,
    /// Of the leader that took it; -1 in the old formats.
    epoch: i32,
    producer: i64,
    /// The records that are left, by offset.
    records: Vec<(i64, u64)>,
}

/// A message of an old format that a response begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Old {
    pub(super) partition: i32,
    /// Where the partition was asked for.
    pub(super) offset: i64,
    pub(super) format: u8,
}

/// What librdkafka reads of a partition.
pub(super) struct Consumed {
    /// Offsets, leader epochs, and the numbers that are the values.
    pub(super) records: Vec<(i64, i32, u64)>,
    /// Where it goes on, and the epoch of what is before that.
    pub(super) next: i64,
    pub(super) epoch: i32,
    /// Whether there is nothing more now.
    pub(super) is_end: bool,
}

impl Log {
    fn new() -> Self {
        Log {
            epochs: vec![(0, 0)],
            ..Log::default()
        }
    }

    fn epoch(&self) -> i32 {
        self.epochs.last().map_or(-1, |(epoch, _)| *epoch)
    }

    fn next_epoch(&mut self) {
        let epoch = self.epoch() + 1;
        // An epoch in which nothing was written is forgotten.
        self.epochs.retain(|(_, start)| *start < self.next);
        self.epochs.push((epoch, self.next));
    }

    fn stable(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(self.next)
    }

    pub(super) fn ends(&self) -> Ends {
        Ends {
            stable: self.stable(),
            high: self.next,
        }
    }

    pub(super) fn marks(&self) -> Watermarks {
        Watermarks {
            low: self.low,
            high: self.stable(),
        }
    }

    fn store(
        &mut self,
        random: &mut Random,
        rows: &[(i64, Option<Vec<u8>>)],
        last: i32,
        flags: i16,
        producer: i64,
    ) {
        let how = match random.below(12) {
            how @ 1..=5 => COMPRESSIONS[how as usize],
            _ => COMPRESSIONS[0],
        };
        let how = if flags & MARKER != 0 {
            COMPRESSIONS[0]
        } else {
            how
        };
        let mut bytes = batch(self.next, last, rows, how, flags, producer);
        bytes[12..16].copy_from_slice(&self.epoch().to_be_bytes());
        let rows = if flags & MARKER == 0 { rows } else { &[] };
        let records = rows
            .iter()
            .map(|(offset, value)| (self.next + offset, serial(value.as_deref())));
        let stored = Stored {
            first: self.next,
            next: self.next + i64::from(last) + 1,
            bytes,
            epoch: self.epoch(),
            producer: if flags & TRANSACTIONAL != 0 {
                producer
            } else {
                -1
            },
            records: records.collect(),
        };
        self.next = stored.next;
        self.batches.push(stored);
    }

    /// Stores messages in an old format: each by itself, or all of them in one.
    fn store_old(&mut self, random: &mut Random, rows: &[Row]) {
        let Some((last, _)) = rows.last() else {
            return;
        };
        let format = random.below(2) as u8;
        let base = self.next;
        let absolute: Vec<Row> = rows.iter().map(|(o, v)| (base + o, v.clone())).collect();
        let stored = |first, next, bytes, rows: &[Row]| Stored {
            first,
            next,
            bytes,
            epoch: -1,
            producer: -1,
            records: rows
                .iter()
                .map(|(o, v)| (*o, serial(v.as_deref())))
                .collect(),
        };
        if random.one_in(2) {
            let how = COMPRESSIONS[1 + random.below(3) as usize];
            let bytes = old_wrapper(format, &absolute, how);
            self.batches
                .push(stored(base, base + last + 1, bytes, &absolute));
        } else {
            for row in &absolute {
                let bytes = old_message(format, row.0, 0, row.1.as_deref());
                self.batches
                    .push(stored(row.0, row.0 + 1, bytes, std::slice::from_ref(row)));
            }
        }
        self.next = base + last + 1;
        // While the topic has such a format its leader keeps no epochs: they begin anew with the
        // next batch.
        self.epochs = vec![(self.epoch() + 1, self.next)];
    }

    /// Ends a transaction; gives the records that are aborted by that.
    fn end(&mut self, random: &mut Random, producer: i64, first: i64, commit: bool) -> Vec<u64> {
        let marker = self.next;
        let kind = vec![0, 0, 0, u8::from(commit)];
        let flags = TRANSACTIONAL | MARKER;
        self.store(random, &[(0, Some(kind))], 0, flags, producer);
        self.open.remove(&producer);
        if commit {
            self.commits.push((first, marker));
            return Vec::new();
        }
        self.aborted.push((producer, first, marker));
        let of_it = self
            .batches
            .iter()
            .filter(|stored| stored.producer == producer && stored.first >= first);
        of_it
            .flat_map(|stored| stored.records.iter().map(|(_, serial)| *serial))
            .collect()
    }

    /// The batches that whoever reads committed ones may read.
    fn kept(&self) -> impl Iterator<Item = &Stored> {
        let is_aborted = |stored: &&Stored| {
            let in_it = |(producer, first, marker): &(i64, i64, i64)| {
                *producer == stored.producer && (*first..*marker).contains(&stored.first)
            };
            self.aborted.iter().any(in_it)
        };
        self.batches
            .iter()
            .filter(move |stored| !is_aborted(stored))
    }

    /// The records that whoever reads committed ones may read.
    pub(super) fn committed(&self) -> impl Iterator<Item = (i64, u64)> {
        self.kept()
            .flat_map(|stored| stored.records.iter().copied())
            .filter(|(offset, _)| *offset >= self.low)
    }

    /// What librdkafka reads from an offset on, or the error that it reports.
    pub(super) fn consume(
        &mut self,
        random: &mut Random,
        offset: i64,
    ) -> Result<Consumed, RDKafkaErrorCode> {
        if std::mem::take(&mut self.unknown) {
            return Err(RDKafkaErrorCode::UnknownTopicOrPartition);
        }
        if !(self.low..=self.next).contains(&offset) {
            return Err(RDKafkaErrorCode::AutoOffsetReset);
        }
        let (most, stable) = (1 + random.below(12) as usize, self.stable());
        let readable = self.kept().filter(|stored| stored.first < stable);
        let records: Vec<_> = readable
            .flat_map(|stored| {
                stored
                    .records
                    .iter()
                    .map(move |(o, n)| (*o, stored.epoch, *n))
            })
            .filter(|(at, ..)| *at >= offset)
            .take(most)
            .collect();
        let is_end = records.len() < most;
        let next = match records.last() {
            // Markers, and what was aborted, are passed over.
            _ if is_end => stable.max(offset),
            Some((last, ..)) => last + 1,
            None => offset,
        };
        let before = self.batches.iter().rev().find(|s| s.first < next);
        Ok(Consumed {
            records,
            next,
            epoch: before.map_or(-1, |stored| stored.epoch),
            is_end,
        })
    }

    /// Where the greatest epoch ended that is not above this one.
    pub(super) fn epoch_end(&mut self, read: &FetchPosition) -> EpochEnd {
        let end = |error, epoch, end| EpochEnd {
            error,
            partition: read.partition,
            epoch,
            end,
        };
        if std::mem::take(&mut self.unknown) {
            return end(UNKNOWN_TOPIC, -1, -1);
        }
        if std::mem::take(&mut self.moved) {
            return end(NOT_LEADER, -1, -1);
        }
        if read.epoch > self.epoch() {
            return end(0, -1, -1);
        }
        let above = self
            .epochs
            .iter()
            .position(|(epoch, _)| *epoch > read.epoch);
        match above {
            None => end(0, read.epoch, self.next),
            // All that is known is above it: its end is where the log begins.
            Some(0) => end(0, read.epoch, self.epochs[0].1),
            Some(at) => end(0, self.epochs[at - 1].0, self.epochs[at].1),
        }
    }

    /// Error, aborted transactions and bytes of a response.
    fn response(&mut self, random: &mut Random, offset: i64) -> (i16, Vec<(i64, i64)>, Vec<u8>) {
        if std::mem::take(&mut self.unknown) {
            return (UNKNOWN_TOPIC, Vec::new(), Vec::new());
        }
        if std::mem::take(&mut self.moved) {
            return (NOT_LEADER, Vec::new(), Vec::new());
        }
        if !(self.low..=self.next).contains(&offset) {
            return (OUT_OF_RANGE, Vec::new(), Vec::new());
        }
        let (mut bytes, mut end) = (Vec::new(), offset);
        let most = 1 + random.below(8) as usize;
        let stable = self.stable();
        let readable = self
            .batches
            .iter()
            .filter(|stored| stored.next > offset && stored.first < stable);
        for stored in readable.take(most) {
            bytes.extend_from_slice(&stored.bytes);
            end = stored.next;
        }
        let whole = bytes.len();
        if most > 1 && random.one_in(3) {
            bytes.truncate(whole - random.below(whole as u64 / 2 + 1) as usize);
        } else if random.one_in(20) {
            // Even the format of the first one may be missing.
            bytes.truncate(random.below(40) as usize);
        }
        let aborted = self
            .aborted
            .iter()
            .filter(|(_, first, marker)| *first < end && *marker >= offset)
            .map(|(producer, first, _)| (*producer, *first));
        (0, aborted.collect(), bytes)
    }
}

impl Broker {
    pub(super) fn new(partitions: i32, has_old: bool) -> Self {
        Broker {
            id: 1,
            partitions: (0..partitions).map(|id| (id, Log::new())).collect(),
            has_old,
            serial: 0,
            aborted: BTreeSet::new(),
        }
    }

    /// Whether all that was ever written is there, or expired.
    pub(super) fn is_whole(&self) -> bool {
        self.has_old && self.id == 1
    }

    fn any(&mut self, random: &mut Random) -> &mut Log {
        let at = random.below(self.partitions.len() as u64) as i32;
        self.partitions.get_mut(&at).expect("they count from 0")
    }

    pub(super) fn add_partition(&mut self) {
        let id = self.partitions.len() as i32;
        if id < 5 {
            self.partitions.insert(id, Log::new());
        }
    }

    pub(super) fn make_anew(&mut self, random: &mut Random) {
        self.id += 1;
        for log in self.partitions.values_mut() {
            *log = Log {
                unknown: true,
                ..Log::new()
            };
        }
        for _ in 0..random.below(20) {
            self.append(random);
        }
    }

    pub(super) fn move_leader(&mut self, random: &mut Random) {
        let log = self.any(random);
        log.next_epoch();
        // It may come back before anybody has noticed.
        log.moved = random.one_in(2);
    }

    /// A leader takes over that does not have all; not within a transaction, of which it would have
    /// the beginning.
    pub(super) fn cut_off(&mut self, random: &mut Random) {
        if self.has_old {
            return;
        }
        let again = random.below(12);
        let log = self.any(random);
        let is_within = |log: &Log, offset: i64| {
            let aborted = log
                .aborted
                .iter()
                .map(|(_, first, marker)| (*first, *marker));
            let open = log.open.values().map(|first| (*first, i64::MAX));
            let mut all = aborted.chain(open).chain(log.commits.iter().copied());
            all.any(|(first, marker)| first < offset && offset <= marker)
        };
        let ends = log.batches.iter().map(|stored| stored.first);
        let ends: Vec<i64> = ends
            .filter(|end| *end >= log.low && !is_within(log, *end))
            .collect();
        if ends.is_empty() {
            return;
        }
        let end = ends[random.below(ends.len() as u64) as usize];
        log.batches.retain(|stored| stored.next <= end);
        log.aborted.retain(|(_, _, marker)| *marker < end);
        log.commits.retain(|(_, marker)| *marker < end);
        log.open.retain(|_, first| *first < end);
        let epoch = log.epoch();
        log.epochs.retain(|(_, start)| *start < end);
        log.next = end;
        log.epochs.push((epoch + 1, end));
        log.moved = random.one_in(2);
        for _ in 0..again {
            self.append(random);
        }
    }

    pub(super) fn expire(&mut self, random: &mut Random) {
        let log = self.any(random);
        let stable = log.stable();
        let ends = log.batches.iter().map(|stored| stored.next);
        let ends: Vec<i64> = ends.filter(|end| *end <= stable).collect();
        if ends.is_empty() {
            return;
        }
        // Mostly what is old.
        let low = ends[random.below(ends.len() as u64 / 2 + 1) as usize];
        log.low = log.low.max(low);
        let low = log.low;
        log.batches.retain(|stored| stored.next > low);
        // Of the epochs that lie before, the last one is where the log begins.
        while let [_, (_, second), ..] = log.epochs[..]
            && second <= low
        {
            log.epochs.remove(0);
        }
        if let Some((_, start)) = log.epochs.first_mut() {
            *start = (*start).max(low);
        }
    }

    fn rows(&mut self, random: &mut Random) -> (Vec<Row>, i32) {
        let mut rows = Vec::new();
        let last = random.below(6) as i32;
        for offset in 0..=i64::from(last) {
            // Compaction takes some away, and may leave an empty batch.
            if !random.one_in(4) {
                rows.push((offset, Some(self.serial.to_be_bytes().to_vec())));
                self.serial += 1;
            }
        }
        (rows, last)
    }

    pub(super) fn append(&mut self, random: &mut Random) {
        let (rows, last) = self.rows(random);
        let is_old = self.has_old && random.one_in(3);
        let log = self.any(random);
        if is_old {
            log.store_old(random, &rows);
        } else {
            log.store(random, &rows, last, 0, -1);
        }
    }

    pub(super) fn append_transactional(&mut self, random: &mut Random) {
        // Mostly the same one, so that its transactions on several partitions end differently.
        let producer = random.below(6).saturating_sub(3) as i64;
        let (rows, last) = self.rows(random);
        let log = self.any(random);
        let first = log.next;
        log.open.entry(producer).or_insert(first);
        log.store(random, &rows, last, TRANSACTIONAL, producer);
    }

    pub(super) fn end_transaction(&mut self, random: &mut Random) {
        let commit = random.one_in(2);
        let log = self.any(random);
        let open: Vec<(i64, i64)> = log.open.iter().map(|(p, f)| (*p, *f)).collect();
        if open.is_empty() {
            return;
        }
        let (producer, first) = open[random.below(open.len() as u64) as usize];
        let aborted = log.end(random, producer, first, commit);
        self.aborted.extend(aborted);
    }

    /// Ends all transactions.
    pub(super) fn end_all(&mut self, random: &mut Random) {
        for log in self.partitions.values_mut() {
            for (producer, first) in log.open.clone() {
                let commit = random.one_in(2);
                let aborted = log.end(random, producer, first, commit);
                self.aborted.extend(aborted);
            }
        }
    }

    /// A response about these partitions, as bytes, and the first one in it that begins with a
    /// message of an old format.
    pub(super) fn response(
        &mut self,
        random: &mut Random,
        wanted: &[FetchPosition],
    ) -> (Vec<u8>, Option<Old>) {
        let (mut out, mut old) = (vec![0; 14], None);
        out.extend_from_slice(&[0, 0, 0, 1, 0, 1, b't']);
        out.extend_from_slice(&(wanted.len() as i32).to_be_bytes());
        for wanted in wanted {
            let id = wanted.partition;
            let log = self.partitions.get_mut(&id).expect("it was found");
            let (error, aborted, records) = log.response(random, wanted.offset);
            let ends = log.ends();
            out.extend_from_slice(&id.to_be_bytes());
            out.extend_from_slice(&error.to_be_bytes());
            for offset in [ends.high, ends.stable, log.low] {
                out.extend_from_slice(&offset.to_be_bytes());
            }
            out.extend_from_slice(&(aborted.len() as i32).to_be_bytes());
            for (producer, first) in aborted {
                out.extend_from_slice(&producer.to_be_bytes());
                out.extend_from_slice(&first.to_be_bytes());
            }
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            out.extend_from_slice(&(records.len() as i32).to_be_bytes());
            out.extend_from_slice(&records);
            if let Some(format) = records.get(NAMED - 1).filter(|format| **format != 2) {
                old.get_or_insert(Old {
                    partition: id,
                    offset: wanted.offset,
                    format: *format,
                });
            }
        }
        (out, old)
    }
}

/// The number that a value is.
fn serial(value: Option<&[u8]>) -> u64 {
    let bytes: Option<[u8; 8]> = value.and_then(|value| value.try_into().ok());
    u64::from_be_bytes(bytes.expect("eight bytes"))
}
