//! The official AWS credential chain: environment, profiles, web identity, container, instance.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::{BehaviorVersion, ConfigLoader, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::tls;
use object_store::aws::AwsCredential;
use object_store::{CredentialProvider, Error, Result};
use tokio::sync::{Mutex, OnceCell};

/// Credentials are replaced when they expire within this time; it is longer than any request is
/// tried again.
const REFRESH_BEFORE: Duration = Duration::from_secs(300);

/// Credentials from the chain, kept until they are about to expire.
#[derive(Debug)]
pub(super) struct Chain {
    region: Region,
    provider: OnceCell<Option<SharedCredentialsProvider>>,
    kept: Mutex<Option<CachedCredential>>,
}

#[derive(Debug)]
struct CachedCredential {
    credential: Arc<AwsCredential>,
    expiry: Option<SystemTime>,
}

impl Chain {
    /// The chain, for a client in `region`. Nothing is looked up yet.
    pub(super) fn new(region: &str) -> Self {
        Chain {
            region: Region::new(region.to_owned()),
            provider: OnceCell::new(),
            kept: Mutex::new(None),
        }
    }

    async fn provide(&self) -> Result<Credentials> {
        let provider = self
            .provider
            .get_or_init(|| async {
                let config = loader().region(self.region.clone()).load().await;
                config.credentials_provider()
            })
            .await;
        let Some(provider) = provider else {
            return Err(failed(&CredentialsError::not_loaded_no_source()));
        };
        provider
            .provide_credentials()
            .await
            .map_err(|error| failed(&error))
    }
}

#[async_trait]
impl CredentialProvider for Chain {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        // Held while new ones are asked for, so that only one request does.
        let mut kept = self.kept.lock().await;
        let now = SystemTime::now();
        if let Some(kept) = kept
            .as_ref()
            .filter(|kept| !expires_by(kept, now + REFRESH_BEFORE))
        {
            return Ok(Arc::clone(&kept.credential));
        }
        match self.provide().await {
            Ok(new) => {
                let credential = Arc::new(AwsCredential {
                    key_id: new.access_key_id().to_owned(),
                    secret_key: new.secret_access_key().to_owned(),
                    token: new.session_token().map(str::to_owned),
                });
                *kept = Some(CachedCredential {
                    credential: Arc::clone(&credential),
                    expiry: new.expiry(),
                });
                Ok(credential)
            }
            Err(error) => match kept.as_ref().filter(|kept| !expires_by(kept, now)) {
                Some(kept) => {
                    tracing::warn!(%error, "AWS credentials cannot be renewed; the old ones are still valid");
                    Ok(Arc::clone(&kept.credential))
                }
                None => Err(error),
            },
        }
    }
}

fn expires_by(kept: &CachedCredential, time: SystemTime) -> bool {
    kept.expiry.is_some_and(|expiry| expiry <= time)
}

/// Says all that went wrong: the chain's errors keep their reasons to themselves.
fn failed(error: &(dyn StdError + 'static)) -> Error {
    let mut text = "no AWS credentials".to_owned();
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Error::Generic {
        store: "S3",
        source: text.into(),
    }
}

fn loader() -> ConfigLoader {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(
            tls::rustls_provider::CryptoMode::Ring,
        ))
        .build_https();
    aws_config::defaults(BehaviorVersion::latest()).http_client(http)
}

/// The region that the environment, the profile or the instance says. Blocks, for seconds where
/// there is none.
pub(super) fn region() -> Option<String> {
    // A thread of its own: the caller may be one of a runtime's.
    let thread = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .ok()?;
        let config = runtime.block_on(async { loader().load().await });
        config.region().map(ToString::to_string)
    });
    thread.join().ok().flatten()
}
