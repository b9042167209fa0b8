//! Consumer groups: what lag tools see of them, and what other tools may do to them.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::Kafka;

const WAIT_MAX: Duration = Duration::from_secs(120);

impl Kafka {
    /// The offsets that `group` has committed, per partition; without those where it has none.
    ///
    /// # Panics
    ///
    /// If Kafka does not answer.
    pub fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let mut asked = TopicPartitionList::new();
        for partition in self.offsets(topic).into_keys() {
            asked.add_partition(topic, partition);
        }
        let committed = self
            .member(group)
            .committed_offsets(asked, WAIT_MAX)
            .expect("Kafka answers");
        let offset = |offset| match offset {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        committed
            .elements()
            .iter()
            .filter_map(|element| Some((element.partition(), offset(element.offset())?)))
            .collect()
    }

    /// Commits `offsets` for `group`, as a tool that resets a group does.
    ///
    /// # Panics
    ///
    /// If Kafka refuses.
    pub fn commit(&self, group: &str, topic: &str, offsets: &BTreeMap<i32, i64>) {
        let mut list = TopicPartitionList::new();
        for (&partition, &offset) in offsets {
            list.add_partition_offset(topic, partition, Offset::Offset(offset))
                .expect("an offset");
        }
        self.member(group)
            .commit(&list, CommitMode::Sync)
            .expect("Kafka takes the offsets");
    }

    fn member(&self, group: &str) -> BaseConsumer {
        self.client()
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .create()
            .expect("the client's settings are right")
    }
}
