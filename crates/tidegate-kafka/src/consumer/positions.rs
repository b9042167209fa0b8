//! Where reading a partition begins: facts in, decision out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::identity::PartitionIdentity;
use super::{KafkaOptions, KafkaStart, MissingOffsets};
use tidegate_source::SourceError;

/// Offsets between which a broker has records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watermarks {
    /// The oldest offset that is left.
    pub(super) low: i64,
    /// The offset of the next record that is written.
    pub(super) high: i64,
}

/// Where an earlier run, or this one, stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResumePosition {
    /// The log's offset: the broker's, and the shift of the identity.
    pub(super) to: i64,
    pub(super) identity: PartitionIdentity,
}

impl ResumePosition {
    /// Where that is at the broker.
    pub(super) fn asked(&self) -> i64 {
        self.to.saturating_sub(self.identity.shift)
    }
}

/// A log that does not have all that was read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// The greatest epoch that is left of those that were read; -1 if none is.
    pub(super) epoch: i32,
    /// Where it ends, at the broker: from there on the log is another one. -1 if no epoch is left,
    /// or that is not known.
    pub(super) end: i64,
}

/// Where reading goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// First offset that is covered.
    pub(super) from: i64,
    /// First offset that is fetched; what is between the two expired.
    pub(super) at: i64,
    /// What the partition is recognised by from there on.
    pub(super) identity: PartitionIdentity,
    /// Whether the history that was read is not the broker's any more.
    pub(super) is_replaced: bool,
}

impl Position {
    /// Where an earlier run stopped.
    pub(super) fn of(known: &ResumePosition) -> Self {
        Position {
            from: known.to,
            at: known.to,
            identity: known.identity.clone(),
            is_replaced: false,
        }
    }

    /// First offset that is fetched, at the broker: what follows the last batch whose epoch is
    /// known, so that the leader can be asked for that epoch's end. What was covered after it comes
    /// again, and is dropped.
    pub(super) fn fetch(&self) -> i64 {
        let PartitionIdentity { shift, beyond, .. } = self.identity;
        self.at.saturating_sub(shift).saturating_sub(beyond)
    }
}

/// What is found of a partition at its broker.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartitionFacts<'a> {
    pub(super) marks: Watermarks,
    /// The topic's id, if the brokers have one.
    pub(super) topic: Option<&'a Arc<str>>,
    /// Whether its leader does not have what was read.
    pub(super) cut: Option<Cut>,
}

/// Decides where to go on in `partition`. `known` is where an earlier run, or this one, stopped;
/// `founded` says that the job has read the topic before, so that a partition without a position is
/// one that was added since, and is read from its beginning.
///
/// Where the history is another one, the spans of the commit log have to go on without a gap all
/// the same, and no offset may come twice. So what the broker has from the place on at which the
/// histories part gets the offsets from the known one on: nothing of the new history is passed
/// over.
pub(super) fn decide(
    options: &KafkaOptions,
    partition: i32,
    known: Option<ResumePosition>,
    founded: bool,
    found: &PartitionFacts<'_>,
) -> Result<Position, SourceError> {
    let Watermarks { low, high } = found.marks;
    let known = known.or_else(|| {
        let to = match &options.start {
            KafkaStart::Offsets(offsets) => offsets.get(&partition).copied()?,
            KafkaStart::Latest if !founded => high,
            KafkaStart::Earliest | KafkaStart::Latest => return None,
        };
        let identity = PartitionIdentity::of(found.topic);
        Some(ResumePosition { to, identity })
    });
    let Some(mut known) = known else {
        return Ok(Position {
            from: low,
            at: low,
            identity: PartitionIdentity::of(found.topic),
            is_replaced: false,
        });
    };
    if let Some(position) = replaced(options, partition, &known, found)? {
        return Ok(position);
    }
    // Brokers may have learnt of ids since.
    if let Some(topic) = found.topic {
        known.identity.topic = Some(Arc::clone(topic));
    }
    let (topic, asked) = (options.topic.clone(), known.asked());
    let expired = (asked < low).then(|| low.saturating_sub(asked));
    if asked > high {
        Err(SourceError::OffsetBeyondEnd {
            topic,
            partition,
            asked,
            high,
        })
    } else if expired.is_some() && options.on_missing_offsets == MissingOffsets::Fail {
        Err(SourceError::OffsetsGone {
            topic,
            partition,
            asked,
            low,
        })
    } else {
        let kept = asked.saturating_sub(low).max(0);
        known.identity.beyond = known.identity.beyond.min(kept);
        Ok(Position {
            from: known.to,
            at: known.to.saturating_add(expired.unwrap_or(0)),
            identity: known.identity,
            is_replaced: false,
        })
    }
}

/// Where to go on if the broker's history is not the one that was read.
fn replaced(
    options: &KafkaOptions,
    partition: i32,
    known: &ResumePosition,
    found: &PartitionFacts<'_>,
) -> Result<Option<Position>, SourceError> {
    let low = found.marks.low;
    let is_other = |(a, b): &(&Arc<str>, &Arc<str>)| a != b;
    let topics = known.identity.topic.as_ref().zip(found.topic);
    // Where the histories part, and the epoch before that.
    let (base, epoch, error) = if let Some((before, now)) = topics.filter(is_other) {
        let error = SourceError::OtherTopic {
            topic: options.topic.clone(),
            partition,
            before: before.to_string(),
            now: now.to_string(),
            read: known.asked(),
        };
        (0, -1, error)
    } else if let Some(cut) = found.cut {
        let error = SourceError::HistoryCut {
            topic: options.topic.clone(),
            partition,
            end: cut.end,
            read: known.asked(),
        };
        // Without ids, a topic that was made again looks as one that was cut off. What was read may
        // come again then, and nothing is passed over.
        let has_id = topics.is_some() || found.topic.is_some();
        match cut.end {
            0.. if !has_id && found.marks.high < known.asked() => (low, -1, error),
            0.. => (cut.end.min(known.asked()), cut.epoch, error),
            _ => (low, -1, error),
        }
    } else {
        return Ok(None);
    };
    if options.on_missing_offsets == MissingOffsets::Fail {
        return Err(error);
    }
    // Records of the new history that expired before they were read.
    let gone = low.saturating_sub(base).max(0);
    let topic = found.topic.or(known.identity.topic.as_ref()).cloned();
    Ok(Some(Position {
        from: known.to,
        at: known.to.saturating_add(gone),
        identity: PartitionIdentity {
            topic,
            epoch,
            beyond: 0,
            shift: known.to.saturating_sub(base),
            last: None,
        },
        is_replaced: true,
    }))
}

/// Where to go on in a partition that ends before what was read of it, where nobody can say why:
/// the brokers know neither ids of topics nor epochs. All that it has is read.
pub(super) fn anew(
    options: &KafkaOptions,
    known: &ResumePosition,
    found: &PartitionFacts<'_>,
) -> Option<Position> {
    let has_id = known.identity.topic.is_some() || found.topic.is_some();
    if has_id || options.on_missing_offsets == MissingOffsets::Fail {
        return None;
    }
    let shift = known.to.saturating_sub(found.marks.low);
    Some(Position {
        from: known.to,
        at: known.to,
        identity: PartitionIdentity {
            shift,
            ..PartitionIdentity::of(None)
        },
        is_replaced: true,
    })
}

/// Partitions that are read on beyond their end, so that their leader says where it has something
/// else, and whether it has answered that it has nothing there.
#[derive(Default)]
pub(super) struct Probes(BTreeMap<i32, bool>);

impl Probes {
    /// Where to go on in a partition that ends before what was read of it; none if its leader was
    /// asked in vain, or cannot be. That others have to be located meanwhile is no answer.
    pub(super) fn beyond_end(
        &mut self,
        options: &KafkaOptions,
        partition: i32,
        known: &ResumePosition,
    ) -> Option<Position> {
        if options.on_missing_offsets != MissingOffsets::Earliest || known.identity.epoch < 0 {
            return None;
        }
        let is_in_vain = *self.0.entry(partition).or_insert(false);
        (!is_in_vain).then(|| Position::of(known))
    }

    /// A leader has nothing at the offset that it was asked for, and has not said where it has
    /// something else. Without a partition that goes for all.
    pub(super) fn in_vain(&mut self, partition: Option<i32>) {
        let is_meant = |id: i32| partition.is_none_or(|partition| partition == id);
        for (_, is_in_vain) in self.0.iter_mut().filter(|(id, _)| is_meant(**id)) {
            *is_in_vain = true;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where to go on in a partition is known again.
    pub(super) fn forget(&mut self, partition: i32) {
        self.0.remove(&partition);
    }
}

/// Name of a partition in the commit log.
pub(super) fn partition_name(topic: &str, partition: i32) -> String {
    format!("{topic}/{partition}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Watermarks = Watermarks { low: 10, high: 20 };

    fn found(marks: Watermarks) -> PartitionFacts<'static> {
        PartitionFacts {
            marks,
            topic: None,
            cut: None,
        }
    }

    fn at(to: i64) -> ResumePosition {
        ResumePosition {
            to,
            identity: PartitionIdentity::default(),
        }
    }

    /// Of the topic `a`, read up to 100 in epoch 5.
    fn of_a() -> ResumePosition {
        ResumePosition {
            to: 100,
            identity: PartitionIdentity {
                topic: Some("a".into()),
                epoch: 5,
                ..PartitionIdentity::default()
            },
        }
    }

    fn options(on_missing_offsets: MissingOffsets) -> KafkaOptions {
        KafkaOptions {
            topic: "t".to_owned(),
            on_missing_offsets,
            ..KafkaOptions::default()
        }
    }

    fn check(start: KafkaStart, known: Option<i64>, founded: bool, expected: (i64, i64)) {
        let options = KafkaOptions {
            start,
            ..options(MissingOffsets::Earliest)
        };
        let position = decide(&options, 3, known.map(at), founded, &found(MARKS)).unwrap();
        assert_eq!((position.from, position.at), expected);
        assert_eq!(position.fetch(), position.at);
    }

    #[test]
    fn a_new_job_starts_as_configured() {
        check(KafkaStart::Earliest, None, false, (10, 10));
        check(KafkaStart::Latest, None, false, (20, 20));
        check(KafkaStart::Offsets([(3, 15)].into()), None, false, (15, 15));
        check(KafkaStart::Offsets([(4, 15)].into()), None, false, (10, 10));
    }

    #[test]
    fn a_known_position_comes_before_the_configuration() {
        check(KafkaStart::Latest, Some(12), true, (12, 12));
        check(
            KafkaStart::Offsets([(3, 15)].into()),
            Some(20),
            true,
            (20, 20),
        );
    }

    #[test]
    fn a_partition_that_was_added_is_read_from_its_beginning() {
        check(KafkaStart::Latest, None, true, (10, 10));
    }

    #[test]
    fn expired_offsets_are_covered_or_refused() {
        check(KafkaStart::Earliest, Some(4), true, (4, 10));
        let options = options(MissingOffsets::Fail);
        let error = decide(&options, 3, Some(at(4)), true, &found(MARKS)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "topic `t` partition 3: offset 4 is wanted, but the oldest that is left is 10: 6 offsets \
             expired before they were read. Restore them, or set \
             `source.on-missing-offsets = \"earliest\"` to go on from 10 and count them as gone"
        );
    }

    #[test]
    fn what_has_no_known_epoch_is_fetched_again_as_far_as_it_is_left() {
        let mut known = of_a();
        known.identity.beyond = 8;
        let fetch = |low| {
            let marks = Watermarks { low, high: 300 };
            let options = options(MissingOffsets::Earliest);
            let position = decide(&options, 3, Some(known.clone()), true, &found(marks)).unwrap();
            assert_eq!((position.from, position.at), (100, low.max(100)));
            position.fetch()
        };
        assert_eq!([0, 92, 95, 100, 120].map(fetch), [92, 92, 95, 100, 120]);
    }

    #[test]
    fn an_offset_behind_the_end_is_refused_in_any_case() {
        let options = options(MissingOffsets::Earliest);
        let error = decide(&options, 3, Some(at(21)), true, &found(MARKS)).unwrap_err();
        assert!(matches!(
            error,
            SourceError::OffsetBeyondEnd {
                asked: 21,
                high: 20,
                ..
            }
        ));
    }

    #[test]
    fn an_end_before_what_was_read_is_refused_only_once_its_leader_has_nothing_else() {
        let earliest = options(MissingOffsets::Earliest);
        let mut probes = Probes::default();
        let from = |probes: &mut Probes| Some(probes.beyond_end(&earliest, 0, &of_a())?.from);
        // Another partition, or a leader that moves, has all located again before it was asked.
        assert_eq!(from(&mut probes), Some(100));
        probes.in_vain(Some(1));
        assert_eq!(from(&mut probes), Some(100));
        probes.in_vain(Some(0));
        assert_eq!(from(&mut probes), None);
        probes.forget(0);
        assert_eq!(from(&mut probes), Some(100));
        probes.in_vain(None);
        assert_eq!(from(&mut probes), None);
        // What can say nothing is not asked.
        let mut probes = Probes::default();
        assert_eq!(probes.beyond_end(&earliest, 0, &at(100)), None);
        let fail = options(MissingOffsets::Fail);
        assert_eq!(probes.beyond_end(&fail, 0, &of_a()), None);
    }

    /// What is read of the topic `now` with these marks, when 100 was reached in the topic `a`: the
    /// first offset, and where that is at the broker, and how many are gone.
    fn after(now: &str, low: i64, high: i64, cut: Option<(i32, i64)>) -> (i64, i64, u64) {
        let topic = Arc::from(now);
        let found = PartitionFacts {
            marks: Watermarks { low, high },
            topic: Some(&topic),
            cut: cut.map(|(epoch, end)| Cut { epoch, end }),
        };
        let position = decide(
            &options(MissingOffsets::Earliest),
            0,
            Some(of_a()),
            true,
            &found,
        );
        let position = position.unwrap();
        assert_eq!(position.from, 100, "spans go on where they were");
        assert_eq!(position.is_replaced, now != "a" || cut.is_some());
        assert_eq!(position.identity.topic.as_deref(), Some(now));
        let gone = position.at.abs_diff(position.from);
        (position.at, position.fetch(), gone)
    }

    #[test]
    fn nothing_of_another_history_is_passed_over() {
        assert_eq!(after("a", 0, 300, None), (100, 100, 0));
        // Made again: from its beginning, or what is left of it, whether or not it is as long.
        assert_eq!(after("b", 0, 300, None), (100, 0, 0));
        assert_eq!(after("b", 0, 7, None), (100, 0, 0));
        assert_eq!(after("b", 30, 300, None), (130, 30, 30));
        // Cut off: from there on.
        assert_eq!(after("a", 0, 200, Some((4, 60))), (100, 60, 0));
        assert_eq!(after("a", 0, 70, Some((4, 60))), (100, 60, 0));
        assert_eq!(after("a", 80, 200, Some((4, 60))), (120, 80, 20));
        // An end before that is one of records that may be read now: what was read does not come
        // again.
        assert_eq!(after("a", 0, 40, Some((4, 60))), (100, 60, 0));
        // Nothing is left of any epoch that was read.
        assert_eq!(after("a", 20, 200, Some((-1, -1))), (100, 20, 0));
        // Made again, and that was seen by the epoch first.
        assert_eq!(after("b", 0, 200, Some((-1, -1))), (100, 0, 0));
    }

    #[test]
    fn without_ids_a_topic_that_is_shorter_than_what_was_read_is_read_from_its_beginning() {
        let mut known = of_a();
        known.identity.topic = None;
        let options = options(MissingOffsets::Earliest);
        let from = |low, high, end| {
            let found = PartitionFacts {
                cut: Some(Cut { epoch: 5, end }),
                ..found(Watermarks { low, high })
            };
            let position = decide(&options, 0, Some(known.clone()), true, &found).unwrap();
            assert!(position.is_replaced && position.from == 100);
            (position.at, position.fetch())
        };
        assert_eq!(from(0, 50, 50), (100, 0));
        assert_eq!(from(20, 50, 50), (100, 20));
        // Nor does anybody know of epochs.
        let short = Watermarks { low: 20, high: 50 };
        let position = anew(&options, &known, &found(short)).unwrap();
        assert_eq!((position.from, position.fetch()), (100, 20));
        assert!(position.is_replaced);
        assert_eq!(anew(&options, &of_a(), &found(short)), None);
        // It is longer: only that it was cut off is known.
        assert_eq!(from(0, 200, 60), (100, 60));
    }

    #[test]
    fn another_history_is_an_error_unless_it_is_to_be_gone_on_with() {
        let topic = Arc::from("b");
        let mut found = PartitionFacts {
            marks: MARKS,
            topic: Some(&topic),
            cut: None,
        };
        let options = options(MissingOffsets::Fail);
        let error = decide(&options, 0, Some(of_a()), true, &found).unwrap_err();
        assert!(matches!(error, SourceError::OtherTopic { .. }), "{error}");
        found.topic = None;
        found.cut = Some(Cut { epoch: 4, end: 60 });
        let error = decide(&options, 0, Some(of_a()), true, &found).unwrap_err();
        let expected = SourceError::HistoryCut {
            topic: "t".to_owned(),
            partition: 0,
            end: 60,
            read: 100,
        };
        assert_eq!(error.to_string(), expected.to_string());
    }

    #[test]
    fn what_was_shifted_once_stays_so() {
        let mut known = of_a();
        known.identity.shift = 40;
        let topic = Arc::from("a");
        let found = PartitionFacts {
            marks: Watermarks { low: 0, high: 60 },
            topic: Some(&topic),
            cut: None,
        };
        let options = options(MissingOffsets::Fail);
        let position = decide(&options, 0, Some(known.clone()), true, &found).unwrap();
        assert_eq!((position.at, position.fetch()), (100, 60));
        let found = PartitionFacts {
            marks: Watermarks { low: 0, high: 59 },
            ..found
        };
        let error = decide(&options, 0, Some(known), true, &found).unwrap_err();
        assert!(
            matches!(error, SourceError::OffsetBeyondEnd { asked: 60, .. }),
            "{error}"
        );
    }
}
