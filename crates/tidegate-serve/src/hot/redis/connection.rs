//! The connection to Redis, one server or a cluster: made when it is needed, let go after an error,
//! and not asked for again at once.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, RedisFuture, TlsCertificates, Value,
};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use tidegate_base::lock::lock;

use crate::hot::HotError;
use crate::options::HotOptions;

/// Time for connecting, and for an answer.
const CONNECT_MAX: Duration = Duration::from_secs(2);
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long nobody asks again after an error.
const PAUSE: Duration = Duration::from_millis(500);

/// Makes the connection, and keeps it for all who use it.
pub(super) struct Connector {
    client: Either<Client, ClusterClient>,
    /// Where it is, without what is secret.
    pub(super) shown: String,
    connection: tokio::sync::Mutex<Option<RedisConnection>>,
    failed_at: Mutex<Option<Instant>>,
}

impl Connector {
    /// For `redis://` or, with TLS, `rediss://`. Nothing is asked of it yet.
    ///
    /// # Errors
    /// If the URL is not one of Redis, or the certificate cannot be read.
    pub(super) fn new(url: &str, options: &HotOptions) -> Result<Self, HotError> {
        let shown = without_secret(url);
        let wrong = |error: RedisError| HotError::Url {
            url: shown.clone(),
            message: error.to_string(),
        };
        let certificates = if url.starts_with("rediss:") {
            // The process's choice is the one that everything else here uses; another one that was
            // made before stays.
            let _ = rustls::crypto::ring::default_provider().install_default();
            Some(certificates(options)?)
        } else {
            None
        };
        let client = if options.is_cluster {
            let mut builder = ClusterClient::builder([url])
                .connection_timeout(CONNECT_MAX)
                .response_timeout(ANSWER_MAX)
                .retries(2);
            if let Some(certificates) = certificates {
                builder = builder.certs(certificates);
            }
            Either::Cluster(builder.build().map_err(wrong)?)
        } else {
            let client = match certificates {
                Some(certificates) => Client::build_with_tls(url, certificates),
                None => Client::open(url),
            };
            Either::One(client.map_err(wrong)?)
        };
        Ok(Connector {
            client,
            shown,
            connection: tokio::sync::Mutex::new(None),
            failed_at: Mutex::new(None),
        })
    }

    /// The connection that is there, or a new one.
    ///
    /// # Errors
    /// If Redis cannot be reached, or could not a moment ago.
    pub(super) async fn get(&self) -> Result<RedisConnection, HotError> {
        let failed = *lock(&self.failed_at);
        if failed.is_some_and(|at| at.elapsed() < PAUSE) {
            return Err(HotError::Down {
                url: self.shown.clone(),
            });
        }
        let mut held = self.connection.lock().await;
        if let Some(connection) = &*held {
            return Ok(connection.clone());
        }
        let connected = match &self.client {
            Either::One(client) => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(CONNECT_MAX))
                    .set_response_timeout(Some(ANSWER_MAX));
                client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await
                    .map(Either::One)
            }
            Either::Cluster(client) => client.get_async_connection().await.map(Either::Cluster),
        };
        match connected {
            Ok(connection) => {
                *held = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                self.note_failed();
                Err(self.wrong(&error))
            }
        }
    }

    /// Lets go of the connection after an error: the next caller makes a new one.
    pub(super) async fn failed(&self, error: RedisError) -> HotError {
        self.note_failed();
        *self.connection.lock().await = None;
        self.wrong(&error)
    }

    fn note_failed(&self) {
        *lock(&self.failed_at) = Some(Instant::now());
    }

    fn wrong(&self, error: &RedisError) -> HotError {
        HotError::Redis {
            url: self.shown.clone(),
            message: error.to_string(),
        }
    }
}

/// Whom to believe: the authorities in `hot.ca`, or else those of the system.
///
/// # Errors
/// If `hot.ca` is not a file in PEM with certificates.
pub(super) fn certificates(options: &HotOptions) -> Result<TlsCertificates, HotError> {
    let read = |path: &PathBuf| {
        authorities(path).map_err(|message| HotError::Authority {
            path: path.clone(),
            message,
        })
    };
    Ok(TlsCertificates {
        client_tls: None,
        root_cert: options.ca.as_ref().map(read).transpose()?,
    })
}

/// The bytes of a file that are certificates in PEM. The client of Redis would say what is wrong
/// with them only when it connects, and pass over what it does not know.
fn authorities(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let mut known = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        known.add(certificate).map_err(|error| error.to_string())?;
    }
    match known.is_empty() {
        true => Err("there is no certificate in it".to_owned()),
        false => Ok(bytes),
    }
}

/// One server, or a cluster.
#[derive(Clone)]
pub(super) enum Either<A, B> {
    One(A),
    Cluster(B),
}

pub(super) type RedisConnection = Either<MultiplexedConnection, ClusterConnection>;

impl ConnectionLike for RedisConnection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Either::One(connection) => connection.req_packed_command(cmd),
            Either::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Either::One(connection) => connection.req_packed_commands(cmd, offset, count),
            Either::Cluster(connection) => connection.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Either::One(connection) => connection.get_db(),
            Either::Cluster(connection) => connection.get_db(),
        }
    }
}

/// A URL without user and password.
fn without_secret(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://{place}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_has_no_password() {
        assert_eq!(
            without_secret("rediss://me:pa@ss@host:6379/1"),
            "rediss://host:6379/1"
        );
        assert_eq!(without_secret("redis://host"), "redis://host");
    }
}
