//! The handle that tests hold.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::FutureProducer;

use crate::broker::{Broker, PASSWORD, Stop, USER};
use crate::skip::skip;

const EXTERNAL: &str = "TIDEGATE_TEST_KAFKA";

/// A Kafka to test against. One that was started here ends when this is dropped, or when the
/// process ends in any way.
pub struct Kafka {
    brokers: String,
    /// By codec. Kept, because an idempotent producer needs half a second before its first record.
    producers: Mutex<BTreeMap<&'static str, FutureProducer>>,
    /// `None` for one that was found through the environment.
    broker: Option<Broker>,
    /// Another one of the same cluster, if the test asked for it.
    second: Option<Broker>,
}

/// How to come to a broker that asks who is there: `SASL_PLAINTEXT` with the mechanism `PLAIN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sasl {
    /// What clients bootstrap from: `host:port`.
    pub brokers: String,
    /// The user's name.
    pub user: &'static str,
    /// The user's password.
    pub password: &'static str,
}

impl Kafka {
    /// The broker that the tests of this process share, started by whoever asks first. `None` where
    /// no Kafka can be had: the calling test has then been counted as skipped and should return.
    ///
    /// # Panics
    ///
    /// If there are jars but the broker does not come up.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Result<Kafka, String>> = OnceLock::new();
        let found = SHARED.get_or_init(|| match env::var(EXTERNAL) {
            Ok(brokers) if !brokers.is_empty() => Ok(Self {
                brokers,
                producers: Mutex::default(),
                broker: None,
                second: None,
            }),
            _ => home().map(|home| Self::start_from(&home)),
        });
        found.as_ref().map_err(|reason| skip(reason)).ok()
    }

    /// A broker of the test's own, which it may stop and start again. `None` where none can be
    /// started here, as for [`Kafka::shared`].
    ///
    /// # Panics
    ///
    /// If there are jars but the broker does not come up.
    pub fn start() -> Option<Self> {
        home()
            .map(|home| Self::start_from(&home))
            .map_err(|reason| skip(&reason))
            .ok()
    }

    fn start_from(home: &Path) -> Self {
        let broker = Broker::start(home);
        Self {
            brokers: broker.address(),
            producers: Mutex::default(),
            broker: Some(broker),
            second: None,
        }
    }

    /// As [`Kafka::start`], with a second broker. Topics have a copy on each, and half of their
    /// partitions are led by the second one while it is there.
    ///
    /// # Panics
    ///
    /// If there are jars but the brokers do not come up.
    pub fn start_two() -> Option<Self> {
        let mut kafka = Self::start()?;
        kafka.second = kafka.broker.as_ref().map(Broker::start_beside);
        Some(kafka)
    }

    /// Stops the second broker and waits until it is gone. Its data stay.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn stop_second(&mut self, how: Stop) {
        self.second.as_mut().expect("a second broker").stop(how);
    }

    /// Starts the second broker again after [`Kafka::stop_second`].
    ///
    /// # Panics
    ///
    /// If there is none, or it does not come up.
    pub fn start_second_again(&mut self) {
        self.second.as_mut().expect("a second broker").start_again();
    }

    /// Copies that a topic has.
    pub(crate) fn replicas(&self) -> i32 {
        1 + i32::from(self.second.is_some())
    }

    /// What clients bootstrap from: `host:port`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// How to come to the same broker with a name and a password; `None` for one that was found
    /// through the environment.
    pub fn sasl(&self) -> Option<Sasl> {
        self.broker.as_ref().map(|broker| Sasl {
            brokers: broker.sasl_address(),
            user: USER,
            password: PASSWORD,
        })
    }

    /// Stops the broker and waits until it is gone. Its data stay.
    ///
    /// # Panics
    ///
    /// If the broker was not started here.
    pub fn stop(&mut self, how: Stop) {
        self.own_broker().stop(how);
    }

    /// Starts the broker again after [`Kafka::stop`], at the same address with the same data, and
    /// waits until it answers.
    ///
    /// # Panics
    ///
    /// If it runs, or does not come up.
    pub fn start_again(&mut self) {
        self.own_broker().start_again();
    }

    fn own_broker(&mut self) -> &mut Broker {
        self.broker
            .as_mut()
            .expect("a broker that was started here")
    }

    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("reconnect.backoff.max.ms", "500");
        config
    }

    pub(crate) fn producers(&self) -> MutexGuard<'_, BTreeMap<&'static str, FutureProducer>> {
        self.producers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client()
            .create()
            .expect("the client's settings are right")
    }
}

/// The folder with Kafka's jars, or why there is none.
fn home() -> Result<PathBuf, String> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.deps/kafka");
    match home.canonicalize() {
        Ok(home) if home.join("libs").is_dir() => Ok(home),
        _ => Err("no Kafka here: `cargo xtask setup --kafka` fetches it".to_owned()),
    }
}

/// Waits for `future` on a thread of its own, so that it can be called inside and outside an async
/// runtime.
#[expect(clippy::disallowed_methods, reason = "it has no channel")]
pub(crate) fn wait_for<F>(future: F) -> F::Output
where
    F: Future + Send,
    F::Output: Send,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of one thread");
    thread::scope(|scope| {
        scope
            .spawn(move || runtime.block_on(future))
            .join()
            .expect("the waiting thread does not panic")
    })
}
