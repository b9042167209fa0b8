//! What a response with records means for the partitions that were asked for. No IO.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use super::batch::{BadBatch, KafkaBatch, Large};
use super::connection::{ConnectionEnd, FetchEvent, cut_off, error_code};
use super::wire::{self, EpochEnd, FetchPosition, Trust};

/// What is in a response of one partition, and how much of it has been decoded.
pub(super) struct PartitionBatches {
    pub(super) partition: i32,
    /// Where the partition ends now.
    pub(super) ends: Ends,
    /// Whether nothing of it was whole, although there is more, and it was its turn to come.
    pub(super) is_stuck: bool,
    /// Whether there was nothing more to read.
    pub(super) is_end: bool,
    /// Where reading goes on after it.
    pub(super) next: i64,
    /// Epoch of its last batch.
    pub(super) epoch: i32,
    /// Producer and first offset of each aborted transaction, by offset.
    pub(super) aborted: VecDeque<(i64, i64)>,
    /// Producers whose transactions end in an abort, of those that have begun. It belongs to this
    /// part: another one, even of the same partition, has its own list of aborted transactions.
    pub(super) aborting: BTreeSet<i64>,
    /// Where in the response the record batches are, all of them whole.
    pub(super) records: Range<usize>,
    /// The first of them, if it is being read as it decompresses.
    pub(super) large: Option<Box<Large>>,
}

/// Where a partition ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Ends {
    /// Offset after the last record that may be read now.
    pub(in super::super) stable: i64,
    /// Offset of the next record that is written; what is between the two waits for the end of a
    /// transaction.
    pub(in super::super) high: i64,
}

/// What follows from a response.
#[derive(Default)]
pub(super) struct Digest {
    pub(super) parts: VecDeque<PartitionBatches>,
    /// Where the partitions go on that were answered for, and whether each comes first next time.
    pub(super) moved: Vec<(FetchPosition, bool)>,
    /// The partitions that the broker does not give, and its error.
    pub(super) left: Vec<(FetchPosition, i16)>,
    /// The first partition with records, if not one batch of it was whole, and where it is.
    pub(super) starved: Option<(i32, i64)>,
}

impl Digest {
    /// Whether a batch was in it.
    pub(super) fn has_records(&self) -> bool {
        self.parts.iter().any(|part| !part.records.is_empty())
    }
}

/// Moves the partitions that are fetched to after what is in a response. Gives its parts, and what
/// there is to tell before they are handed over.
pub(super) fn advance(
    wanted: &mut VecDeque<FetchPosition>,
    digest: Digest,
) -> (Vec<FetchEvent>, VecDeque<PartitionBatches>) {
    let Digest {
        parts, moved, left, ..
    } = digest;
    let left_ids = left.iter().map(|(wanted, _)| wanted.partition);
    let moved_ids = moved.iter().map(|(wanted, _)| wanted.partition);
    let dealt_with: BTreeSet<i32> = left_ids.chain(moved_ids).collect();
    wanted.retain(|wanted| !dealt_with.contains(&wanted.partition));
    for (moved, first) in moved {
        if first {
            wanted.push_front(moved);
        } else {
            wanted.push_back(moved);
        }
    }
    let left = left.into_iter().map(|(wanted, code)| FetchEvent::Left {
        wanted,
        code: error_code(code),
    });
    (left.collect(), parts)
}

/// Of the partitions that are fetched, those of which the leader has to be asked whether it has
/// what was read. Where nothing was read there is nothing to ask.
pub(super) fn unchecked(wanted: &mut VecDeque<FetchPosition>) -> Vec<FetchPosition> {
    for wanted in wanted.iter_mut().filter(|w| w.epoch < 0) {
        if wanted.trust == Trust::Unchecked {
            wanted.trust = Trust::Fresh;
        }
    }
    let unchecked = wanted.iter().filter(|w| w.trust == Trust::Unchecked);
    unchecked.copied().collect()
}

/// Takes in where the epochs ended that were read last. Gives what there is to tell: partitions
/// that are not fetched any more.
pub(super) fn check(wanted: &mut VecDeque<FetchPosition>, ends: Vec<EpochEnd>) -> Vec<FetchEvent> {
    let mut told = Vec::new();
    for end in ends {
        let is_asked =
            |w: &FetchPosition| w.partition == end.partition && w.trust == Trust::Unchecked;
        let Some(at) = wanted.iter().position(is_asked) else {
            continue;
        };
        let read = wanted[at];
        let cut = cut_off(&read, end.epoch, end.end);
        if end.error != 0 {
            wanted.remove(at);
            let code = error_code(end.error);
            told.push(FetchEvent::Left { wanted: read, code });
        } else if let Some(cut) = cut {
            wanted.remove(at);
            told.push(FetchEvent::Truncated { wanted: read, cut });
        } else {
            wanted[at].trust = Trust::Fresh;
        }
    }
    told
}

/// Takes a response apart; `requested` are the partitions that were asked for, in that order.
///
/// A partition goes on no further than where another leader's batches begin, unless it is known
/// that what was read before was kept: it is then left unchecked, and whoever fetches it next has
/// to ask first.
pub(super) fn digest(
    response: &[u8],
    requested: &[FetchPosition],
    read_committed: bool,
) -> Result<Digest, ConnectionEnd> {
    let (error, found) = wire::records(response).map_err(ConnectionEnd::garbled)?;
    if error != 0 {
        return Err(ConnectionEnd::error(error));
    }
    let places = requested.iter().enumerate();
    let places: BTreeMap<i32, usize> = places.map(|(at, w)| (w.partition, at)).collect();
    let mut digest = Digest::default();
    let mut first_with_records = None;
    for mut found in found {
        let Some(&at) = places.get(&found.partition) else {
            continue;
        };
        let mut wanted = requested[at];
        if found.error != 0 {
            digest.left.push((wanted, found.error));
            continue;
        }
        let whole = walk(response, &found.records, &mut wanted)?;
        if !found.records.is_empty() && first_with_records.is_none_or(|(first, _)| at < first) {
            let starved = (whole == 0 && wanted.trust != Trust::Unchecked)
                .then_some((wanted.partition, wanted.offset));
            first_with_records = Some((at, starved));
        }
        // What did not fit comes first next time, where it will; who got something goes to the end
        // of the queue.
        let is_first = whole == 0 && !found.records.is_empty();
        let stable = if read_committed {
            found.last_stable
        } else {
            found.high
        };
        if wanted.trust == Trust::Fresh {
            wanted.trust = Trust::Settled;
        }
        digest.moved.push((wanted, is_first));
        found.aborted.sort_unstable_by_key(|(_, first)| *first);
        digest.parts.push_back(PartitionBatches {
            partition: found.partition,
            ends: Ends {
                stable,
                high: found.high.max(stable),
            },
            // A broker sends the first batch whole, of the first partition that has one.
            is_stuck: whole == 0
                && at == 0
                && wanted.trust != Trust::Unchecked
                && wanted.offset < stable,
            is_end: found.records.is_empty() && wanted.offset >= stable,
            next: wanted.offset,
            epoch: wanted.epoch,
            aborted: found.aborted.into(),
            aborting: BTreeSet::new(),
            records: found.records.start..found.records.start + whole,
            large: None,
        });
    }
    digest.starved = first_with_records.and_then(|(_, starved)| starved);
    Ok(digest)
}

/// Moves `wanted` to after the whole batches of its records; gives how many bytes they have.
fn walk(
    response: &[u8],
    records: &Range<usize>,
    wanted: &mut FetchPosition,
) -> Result<usize, ConnectionEnd> {
    let partition = wanted.partition;
    let corrupt = |error: BadBatch, offset: i64| match error {
        BadBatch::Format(_) => {
            ConnectionEnd::TooOld(format!("partition {partition} at offset {offset}: {error}"))
        }
        _ => ConnectionEnd::Corrupt {
            partition,
            offset,
            reason: error.to_string(),
        },
    };
    let mut rest = &response[records.clone()];
    let mut whole = 0;
    loop {
        let (batch, after) = match KafkaBatch::split(rest) {
            Ok(Some(split)) => split,
            Ok(None) => return Ok(whole),
            // What comes before it is read first.
            Err(_) if whole > 0 => return Ok(whole),
            Err(error) => return Err(corrupt(error, wanted.offset)),
        };
        match batch.check() {
            Ok(()) => {}
            Err(_) if whole > 0 => return Ok(whole),
            Err(error) => return Err(corrupt(error, batch.first)),
        }
        let is_other = wanted.epoch != batch.epoch && wanted.epoch >= 0;
        if is_other && wanted.trust != Trust::Fresh {
            wanted.trust = Trust::Unchecked;
            return Ok(whole);
        }
        wanted.trust = Trust::Settled;
        wanted.epoch = batch.epoch;
        wanted.offset = wanted.offset.max(batch.next);
        whole += rest.len() - after.len();
        rest = after;
    }
}
