//! Where reading a partition begins: facts in, decision out.

use super::{KafkaOptions, KafkaStart, MissingOffsets};
use crate::SourceError;

/// Offsets between which a broker has records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watermarks {
    /// The oldest offset that is left.
    pub(super) low: i64,
    /// The offset of the next record that is written.
    pub(super) high: i64,
}

/// Where reading goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// First offset that is covered.
    pub(super) from: i64,
    /// First offset that is fetched; what is between the two expired.
    pub(super) at: i64,
}

/// Decides where to go on in `partition`. `known` is where an earlier run, or this one, stopped;
/// `founded` says that the job has read the topic before, so that a partition without a position is
/// one that was added since, and is read from its beginning.
pub(super) fn decide(
    options: &KafkaOptions,
    partition: i32,
    known: Option<i64>,
    founded: bool,
    Watermarks { low, high }: Watermarks,
) -> Result<Position, SourceError> {
    let wanted = known.or_else(|| match &options.start {
        KafkaStart::Offsets(offsets) => offsets.get(&partition).copied(),
        KafkaStart::Latest if !founded => Some(high),
        KafkaStart::Earliest | KafkaStart::Latest => None,
    });
    let Some(asked) = wanted else {
        return Ok(Position { from: low, at: low });
    };
    let topic = options.topic.clone();
    if asked > high {
        Err(SourceError::OffsetBeyondEnd {
            topic,
            partition,
            asked,
            high,
        })
    } else if asked >= low {
        Ok(Position {
            from: asked,
            at: asked,
        })
    } else {
        match options.on_missing_offsets {
            MissingOffsets::Earliest => Ok(Position {
                from: asked,
                at: low,
            }),
            MissingOffsets::Fail => Err(SourceError::OffsetsGone {
                topic,
                partition,
                asked,
                low,
            }),
        }
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

    fn check(start: KafkaStart, known: Option<i64>, founded: bool, expected: (i64, i64)) {
        let options = KafkaOptions {
            start,
            on_missing_offsets: MissingOffsets::Earliest,
            ..KafkaOptions::default()
        };
        let position = decide(&options, 3, known, founded, MARKS).unwrap();
        assert_eq!((position.from, position.at), expected);
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
        let options = KafkaOptions {
            topic: "t".to_owned(),
            ..KafkaOptions::default()
        };
        let error = decide(&options, 3, Some(4), true, MARKS).unwrap_err();
        assert_eq!(
            error.to_string(),
            "topic `t` partition 3: offset 4 is wanted, but the oldest that is left is 10: 6 offsets \
             expired before they were read. Restore them, or set \
             `source.on-missing-offsets = \"earliest\"` to go on from 10 and count them as gone"
        );
    }

    #[test]
    fn an_offset_behind_the_end_is_refused_in_any_case() {
        let options = KafkaOptions {
            on_missing_offsets: MissingOffsets::Earliest,
            ..KafkaOptions::default()
        };
        let error = decide(&options, 3, Some(21), true, MARKS).unwrap_err();
        assert!(matches!(
            error,
            SourceError::OffsetBeyondEnd {
                asked: 21,
                high: 20,
                ..
            }
        ));
    }
}
