//! Topics: making them, looking at them, and letting records expire.

use std::collections::BTreeMap;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, NewPartitions, NewTopic, TopicReplication};

use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::{Kafka, wait_for};

const WAIT_MAX: Duration = Duration::from_secs(120);

impl Kafka {
    /// Makes a topic and waits until its partitions can be written to. `configs` are topic settings
    /// such as `("retention.ms", "1000")`.
    ///
    /// # Panics
    ///
    /// If it is there already, or cannot be made.
    pub fn create_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(self.replicas()));
        for (key, value) in configs {
            topic = topic.set(key, value);
        }
        let admin = self.admin();
        let options = AdminOptions::new().operation_timeout(Some(WAIT_MAX));
        let results = wait_for(admin.create_topics([&topic], &options)).expect("Kafka answers");
        for result in results {
            result.unwrap_or_else(|(name, error)| panic!("cannot make the topic {name}: {error}"));
        }
        self.wait_for_leaders(name, partitions);
    }

    /// Adds partitions to a topic, so that it has `partitions` of them, and waits until they can be
    /// written to.
    ///
    /// # Panics
    ///
    /// If it has as many already, or Kafka refuses.
    pub fn add_partitions(&self, topic: &str, partitions: i32) {
        let count = usize::try_from(partitions).expect("a number of partitions");
        let options = AdminOptions::new().operation_timeout(Some(WAIT_MAX));
        let results = wait_for(
            self.admin()
                .create_partitions([&NewPartitions::new(topic, count)], &options),
        )
        .expect("Kafka answers");
        for result in results {
            result
                .unwrap_or_else(|(name, error)| panic!("cannot add partitions to {name}: {error}"));
        }
        self.wait_for_leaders(topic, partitions);
        // They know the topic as it was.
        self.producers().clear();
    }

    fn wait_for_leaders(&self, name: &str, partitions: i32) {
        let admin = self.admin();
        let begin = Instant::now();
        loop {
            let metadata = admin
                .inner()
                .fetch_metadata(Some(name), WAIT_MAX)
                .expect("Kafka answers");
            let led = metadata.topics()[0]
                .partitions()
                .iter()
                .filter(|partition| partition.leader() >= 0)
                .count();
            if i32::try_from(led) == Ok(partitions) {
                return;
            }
            assert!(
                begin.elapsed() < WAIT_MAX,
                "{name} has a leader for {led} of {partitions} partitions after {WAIT_MAX:?}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes a topic with a name that begins with `prefix` and that no other test has; returns the
    /// name.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    pub fn new_topic(&self, prefix: &str, partitions: i32, configs: &[(&str, &str)]) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "{prefix}-{}-{}",
            process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        self.create_topic(&name, partitions, configs);
        name
    }

    /// Deletes a topic.
    ///
    /// # Panics
    ///
    /// If Kafka refuses.
    pub fn delete_topic(&self, name: &str) {
        let options = AdminOptions::new().operation_timeout(Some(WAIT_MAX));
        let results =
            wait_for(self.admin().delete_topics(&[name], &options)).expect("Kafka answers");
        for result in results {
            result.unwrap_or_else(|(name, error)| panic!("cannot delete {name}: {error}"));
        }
        // They know the topic as it was.
        self.producers().clear();
    }

    /// Deletes the records of a partition with offsets below `before`, as retention does.
    ///
    /// # Panics
    ///
    /// If Kafka refuses.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let mut offsets = TopicPartitionList::new();
        offsets
            .add_partition_offset(topic, partition, Offset::Offset(before))
            .expect("an offset");
        let admin = self.admin();
        let options = AdminOptions::new().operation_timeout(Some(WAIT_MAX));
        let deleted = wait_for(admin.delete_records(&offsets, &options)).expect("Kafka answers");
        for element in deleted.elements() {
            element.error().unwrap_or_else(|error| {
                panic!("cannot delete records of {topic}/{partition}: {error}")
            });
        }
    }

    /// The first offset that is still there and the offset after the last one, per partition.
    ///
    /// # Panics
    ///
    /// If there is no such topic.
    pub fn offsets(&self, topic: &str) -> BTreeMap<i32, (i64, i64)> {
        let admin = self.admin();
        let metadata = admin
            .inner()
            .fetch_metadata(Some(topic), WAIT_MAX)
            .expect("Kafka answers");
        let partitions = metadata.topics()[0].partitions();
        assert!(!partitions.is_empty(), "there is no topic {topic}");
        let offsets = |id| {
            admin
                .inner()
                .fetch_watermarks(topic, id, WAIT_MAX)
                .expect("Kafka answers")
        };
        partitions
            .iter()
            .map(|partition| (partition.id(), offsets(partition.id())))
            .collect()
    }
}
