//! A real Apache Kafka and a real PostgreSQL for tests, and tests that count themselves as skipped where there is none.
//!
//! ```no_run
//! use tidegate_testkit::{Compression, Isolation, Kafka, Record};
//!
//! let Some(kafka) = Kafka::shared() else { return }; // has said why, and counted this test as skipped
//! let topic = kafka.new_topic("orders", 3, &[]);
//! kafka.produce(&topic, Compression::Lz4, [Record::new(0, "first"), Record::new(2, "second")]);
//! assert_eq!(kafka.read_all(&topic, Isolation::Committed).len(), 2);
//! ```
//!
//! The broker is found through the environment variable `TIDEGATE_TEST_KAFKA` (`host:port`); otherwise one is started from the
//! jars that `cargo xtask setup --kafka` has put into `.deps/kafka`. Helpers panic where something goes wrong, since that fails
//! the test.

mod broker;
mod groups;
mod kafka;
mod postgres;
mod produce;
mod read;
mod skip;
mod topics;

pub use broker::Stop;
pub use kafka::{Kafka, Sasl};
pub use postgres::Postgres;
pub use produce::{Compression, Ending, OpenTransaction, Record};
pub use read::{Isolation, ReadRecord};
pub use skip::skip;
