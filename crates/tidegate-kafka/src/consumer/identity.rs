//! What a partition is recognised by: the topic's id, and the leader epoch of the last batch that
//! was read. No IO.
//!
//! A topic that is deleted and made again under its name has another id. A log that was cut off, by
//! an unclean leader election say, has lost the end of an epoch, which its leader can be asked for.
//! Offsets alone tell neither. Brokers from before Kafka 2.8 have no ids of topics: the time of the
//! last record that was read stands for it there.

use std::fmt::Write as _;
use std::sync::Arc;

use tidegate_base::chunk::Chunk;

/// What is known of a partition where its log was read last.
///
/// As text it is in the commit record, and comes back at the next start:
/// `topic=...;epoch=...;beyond=...;shift=...;last=...`, each part where it says something. Parts
/// that are not known are passed over, so that a later version may have more of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartitionIdentity {
    /// The topic's id, in base64 as Kafka's own tools print it; none if the brokers have none.
    pub(super) topic: Option<Arc<str>>,
    /// Leader epoch of the last batch; -1 if there was none, or it had none.
    pub(super) epoch: i32,
    /// How many offsets were covered after that batch without a word of their epochs: librdkafka
    /// passes over markers and aborted transactions. Another leader may have written them, so that
    /// the epoch may have ended before them.
    pub(super) beyond: i64,
    /// By how much the offsets that Tidegate gives are greater than the broker's. More than zero
    /// only after the history was replaced by another one: Tidegate's offsets never go back.
    pub(super) shift: i64,
    /// The last record that was read, where the topic has no id.
    pub(super) last: Option<LastRecord>,
}

/// A record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastRecord {
    /// At the broker.
    pub(super) offset: i64,
    /// Its time, in milliseconds since the Unix epoch.
    pub(super) millis: i64,
}

impl Default for PartitionIdentity {
    fn default() -> Self {
        PartitionIdentity {
            topic: None,
            epoch: -1,
            beyond: 0,
            shift: 0,
            last: None,
        }
    }
}

impl PartitionIdentity {
    /// Of a partition of this topic of which nothing was read.
    pub(super) fn of(topic: Option<&Arc<str>>) -> Self {
        PartitionIdentity {
            topic: topic.cloned(),
            ..PartitionIdentity::default()
        }
    }

    /// Notes the last record of what was read, if the topic is to be recognised by that, and tells
    /// whether there was one.
    pub(super) fn note_last(&mut self, chunk: &Chunk) -> bool {
        let last = chunk.offsets().last().filter(|_| self.topic.is_none());
        let Some(offset) = last else { return false };
        self.last = chunk.timestamp(chunk.len() - 1).map(|micros| LastRecord {
            offset: offset.saturating_sub(self.shift),
            millis: micros.div_euclid(1000),
        });
        true
    }

    /// As text; none if it says nothing.
    pub(super) fn text(&self) -> Option<Arc<str>> {
        let mut text = String::new();
        if let Some(topic) = &self.topic {
            let _ = write!(text, "topic={topic};");
        }
        if self.epoch >= 0 {
            let _ = write!(text, "epoch={};", self.epoch);
        }
        if self.beyond != 0 {
            let _ = write!(text, "beyond={};", self.beyond);
        }
        if self.shift != 0 {
            let _ = write!(text, "shift={};", self.shift);
        }
        if let Some(LastRecord { offset, millis }) = self.last
            && self.topic.is_none()
        {
            let _ = write!(text, "last={offset}@{millis};");
        }
        text.pop().map(|_| text.into())
    }

    /// From its text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut identity = PartitionIdentity::default();
        for part in text.split(';') {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let bad = |_| format!("`{part}` is not a number");
            match name {
                "topic" => identity.topic = Some(value.into()),
                "epoch" => identity.epoch = value.parse().map_err(bad)?,
                "beyond" => identity.beyond = value.parse().map_err(bad)?,
                "shift" => identity.shift = value.parse().map_err(bad)?,
                "last" => {
                    let (offset, millis) = value.split_once('@').unwrap_or((value, ""));
                    identity.last = Some(LastRecord {
                        offset: offset.parse().map_err(bad)?,
                        millis: millis.parse().map_err(bad)?,
                    });
                }
                _ => {}
            }
        }
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_base::chunk::Payload;

    use super::*;

    #[test]
    fn an_identity_comes_back_from_its_text() {
        let topic = Some("SGVsbG8gdGhlcmUgOi0pIQ==".into());
        for identity in [
            PartitionIdentity::default(),
            PartitionIdentity {
                topic: topic.clone(),
                ..PartitionIdentity::default()
            },
            PartitionIdentity {
                topic,
                epoch: 7,
                beyond: 2,
                shift: 40,
                last: None,
            },
            PartitionIdentity {
                shift: 40,
                last: Some(LastRecord {
                    offset: 17,
                    millis: -3,
                }),
                ..PartitionIdentity::default()
            },
        ] {
            let text = identity.text();
            assert_eq!(
                PartitionIdentity::parse(text.as_deref().unwrap_or("")),
                Ok(identity)
            );
        }
        let later = PartitionIdentity::parse("topic=a;colour=blue;epoch=3").unwrap();
        assert_eq!((later.topic.as_deref(), later.epoch), (Some("a"), 3));
        assert!(PartitionIdentity::parse("epoch=much").is_err());
        assert!(PartitionIdentity::parse("last=7").is_err());
    }

    #[test]
    fn the_last_record_is_noted_where_a_topic_has_no_id() {
        let mut chunk = Chunk::new(0, 0, 40);
        let mut identity = PartitionIdentity {
            shift: 40,
            ..PartitionIdentity::default()
        };
        assert!(!identity.note_last(&chunk), "there is no record");
        for (offset, micros) in [(41, Some(5_000)), (43, Some(7_999))] {
            chunk.push(offset, micros, Payload::Bytes, b"x");
        }
        assert!(identity.note_last(&chunk));
        assert_eq!(identity.text().as_deref(), Some("shift=40;last=3@7"));
        chunk.push(44, None, Payload::Bytes, b"of a producer without a clock");
        assert!(identity.note_last(&chunk));
        assert_eq!(identity.text().as_deref(), Some("shift=40"));
        identity.topic = Some("a".into());
        assert!(!identity.note_last(&chunk));
    }
}
