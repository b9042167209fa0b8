//! A Kafka topic.
//!
//! The commit log is the truth about positions: the source assigns itself every partition of the
//! topic at the offset that the log says, and commits offsets to its group only for tools that show
//! lag. Every start is an explicit offset and the client's own reset is switched off, so nothing is
//! passed over that the configuration did not say to pass over.
//!
//! librdkafka asks the cluster, tells the group, and reports what is down. Records come from the
//! brokers without it (`fetch`) where the settings allow, otherwise from it too (`messages`).

mod assembly;
mod context;
mod fetch;
mod group;
mod identity;
mod messages;
mod options;
mod positions;
mod source;
mod topic_id;
mod trouble;

pub use options::{KafkaClient, KafkaOptions, KafkaStart, MissingOffsets};
pub(crate) use options::{check_producer_properties, producer_properties};
pub use source::KafkaSource;
pub(crate) use source::is_connection;
