//! What tests of several crates need from outside: a real Apache Kafka, a real PostgreSQL, a real
//! S3 server, a network that fails. Tests count themselves as skipped where there is no Kafka or
//! PostgreSQL.
//!
//! ```no_run
//! use tidegate_testkit::{Codec, Isolation, Kafka, ProducerRecord};
//!
//! // Where there is none, it has said why, and counted this test as skipped.
//! let Some(kafka) = Kafka::shared() else { return };
//! let topic = kafka.new_topic("orders", 3, &[]);
//! let records = [ProducerRecord::new(0, "first"), ProducerRecord::new(2, "second")];
//! kafka.produce(&topic, Codec::Lz4, records);
//! assert_eq!(kafka.read_all(&topic, Isolation::Committed).len(), 2);
//! ```
//!
//! ```
//! use tidegate_testkit::{Fault, FaultProxy, Rule, S3};
//!
//! // In a thread of this process; `cargo run --example s3` is a process of its own.
//! let s3 = S3::start();
//! let proxy = FaultProxy::start(s3.address(), 1);
//! proxy.inject(Rule::new(Fault::ResetAfter).method("PUT").path("/tidegate/job/log/"));
//! proxy.inject(Rule::new(Fault::SlowDown).chance(0.05));
//! println!("clients go to {}", proxy.endpoint());
//! assert_eq!(proxy.stats().total(), 0);
//! ```
//!
//! The broker is found through the environment variable `TIDEGATE_TEST_KAFKA` (`host:port`);
//! otherwise one is started from the jars that `cargo xtask setup --kafka` has put into
//! `.deps/kafka`. Helpers panic where something goes wrong, since that fails the test.

mod broker;
mod groups;
mod kafka;
mod postgres;
mod produce;
mod proxy;
mod read;
mod redis;
mod rule;
mod s3;
mod seeds;
mod server;
mod skip;
pub mod taken;
mod topics;

pub use broker::Stop;
pub use kafka::{Kafka, Sasl};
pub use postgres::Postgres;
pub use produce::{Codec, OpenTransaction, ProducerRecord, TransactionEnd};
pub use proxy::{FaultProxy, ProxyStats, SeenRequest};
pub use read::{Isolation, ReadRecord};
pub use redis::{Redis, RedisCluster};
pub use rule::{Fault, Rule};
pub use s3::{Conditions, S3};
pub use seeds::{each_seed, each_seed_on_all_cores, is_long, seeds};
pub use skip::{skip, skip_for_root};
pub use tidegate_random::Random;
