//! A bucket in S3, or in a service that speaks its protocol, as an object store for a commit log.
//!
//! `object_store`'s `AmazonS3` speaks the protocol; what this adds is how answers are read:
//! - `409 ConditionalRequestConflict` to a conditional put says that another one was under way, and
//!   not that the object is there. `AmazonS3` makes `AlreadyExists` of it; here the put is tried
//!   again.
//! - A conditional put whose answer was lost is tried again too, here and inside `AmazonS3`, and
//!   may then find what it put itself. It reports `AlreadyExists`, and whoever put reads back whose
//!   object it is: a record carries its writer's id, a data file is compared.
//! - A large data file goes by parts, in parallel, and is created by their completion, if it is
//!   absent: [`multipart`]. A record never does, however large.
//! - Where an answer breaks off, `AmazonS3` reads an object on, but gives up on a page of a
//!   listing, on a deletion and on an error such as `404`; here they are tried again.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{
    AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider,
};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::{DELIMITER, Path};
use object_store::prefix::PrefixStore;
use object_store::{
    BackoffConfig, ClientOptions, CopyOptions, Error, GetOptions, GetResult, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result, RetryConfig, StaticCredentialProvider,
};

mod chain;
mod multipart;
mod retry;

use crate::WHOLE_FOLDER;
use crate::options::{Encryption, S3Options, StorageOptions};
use crate::storage::StorageError;
use chain::Chain;
use multipart::{CreateOnComplete, Multipart};
use retry::{Retry, is_conflict, is_transient};

/// Keys that one request deletes at most: S3's limit.
const DELETE_MAX: usize = 1000;

/// Opens the objects below `prefix` in `bucket`. No request is made to S3.
pub(crate) fn open(
    bucket: &str,
    prefix: &str,
    options: &StorageOptions,
) -> std::result::Result<Arc<dyn ObjectStore>, StorageError> {
    let region = match &options.s3 {
        S3Options {
            region: Some(region),
            ..
        } => region.clone(),
        S3Options {
            endpoint: Some(_), ..
        } => "us-east-1".to_owned(),
        _ => chain::region().ok_or_else(|| StorageError::NoRegion {
            url: options.url.clone(),
        })?,
    };
    let inner = builder(bucket, &region, &options.s3)
        .and_then(AmazonS3Builder::build)
        .map_err(|source| StorageError::Store {
            action: "open",
            url: options.url.clone(),
            path: String::new(),
            source: Box::new(source),
        })?;
    let store = S3Store {
        inner: Arc::new(inner),
        multipart: Multipart {
            part_size: options.s3.part_size.max(multipart::PART_SIZE_MIN),
            parts_in_flight: options.s3.parts_in_flight.max(1),
        },
        retry: Retry::new(options.s3.retry_for),
    };
    Ok(match prefix {
        "" => Arc::new(store),
        prefix => Arc::new(PrefixStore::new(store, prefix)),
    })
}

fn builder(bucket: &str, region: &str, options: &S3Options) -> Result<AmazonS3Builder> {
    let path_style = options.path_style.unwrap_or(options.endpoint.is_some());
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region)
        .with_virtual_hosted_style_request(!path_style)
        .with_http_connector(CreateOnComplete)
        .with_retry(RetryConfig {
            backoff: BackoffConfig {
                init_backoff: retry::PAUSE_MIN,
                max_backoff: retry::PAUSE_MAX,
                base: 2.0,
            },
            max_retries: 1000, // time is what bounds them
            retry_timeout: options.retry_for,
        })
        .with_client_options(
            ClientOptions::new()
                .with_allow_http(options.allow_http)
                .with_timeout(options.timeout)
                .with_connect_timeout(options.connect_timeout),
        );
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint_of(endpoint, bucket, path_style));
    }
    let sse: AmazonS3ConfigKey = "server_side_encryption".parse()?;
    match &options.encryption {
        Encryption::Bucket => {}
        Encryption::S3 => builder = builder.with_config(sse, "AES256"),
        Encryption::Kms { key, bucket_key } => {
            builder = match key {
                Some(key) => builder.with_sse_kms_encryption(key),
                None => builder.with_config(sse, "aws:kms"),
            };
            if let Some(enabled) = bucket_key {
                builder = builder.with_bucket_key(*enabled);
            }
        }
    }
    let credentials: AwsCredentialProvider = match &options.keys {
        Some(keys) => Arc::new(StaticCredentialProvider::new(AwsCredential {
            key_id: keys.id.clone(),
            secret_key: keys.secret.clone(),
            token: None,
        })),
        None => Arc::new(Chain::new(region)),
    };
    Ok(builder.with_credentials(credentials))
}

/// The endpoint as `AmazonS3` takes it: with the bucket in the host's name, if that is where it
/// goes.
fn endpoint_of(endpoint: &str, bucket: &str, path_style: bool) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    match endpoint.split_once("://") {
        Some((scheme, host)) if !path_style => format!("{scheme}://{bucket}.{host}"),
        _ => endpoint.to_owned(),
    }
}

/// Objects below a bucket; see the module's documentation.
#[derive(Debug, Clone)]
struct S3Store {
    inner: Arc<AmazonS3>,
    multipart: Multipart,
    retry: Retry,
}

impl S3Store {
    async fn create(
        &self,
        at: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        // Two writers put records under one name: the condition must count, and not every service
        // knows it where an upload in parts is completed. S3 takes up to 5 GiB at once.
        let is_record = at.as_ref().rsplit(DELIMITER).nth(1) == Some(WHOLE_FOLDER);
        let whole = is_record || payload.content_length() < self.multipart.part_size;
        let again = |error: &Error| is_conflict(error) || is_transient(error);
        self.retry
            .run(again, || async {
                if whole {
                    self.inner
                        .put_opts(at, payload.clone(), options.clone())
                        .await
                } else {
                    self.multipart
                        .create(&self.inner, &self.retry, at, &payload)
                        .await
                }
            })
            .await
    }

    /// The objects below `prefix` whose keys sort after `offset`, page by page.
    fn pages(
        &self,
        prefix: Option<&Path>,
        offset: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        let prefix = prefix
            .filter(|prefix| !prefix.as_ref().is_empty())
            .map(|prefix| format!("{prefix}{DELIMITER}"));
        let first = PaginatedListOptions {
            offset: offset.map(Path::to_string),
            ..PaginatedListOptions::default()
        };
        let pages = stream::try_unfold(Some(first), move |options| {
            let (store, prefix) = (store.clone(), prefix.clone());
            async move {
                let Some(options) = options else {
                    return Ok(None);
                };
                let page = store
                    .retry
                    .run(is_transient, || {
                        store
                            .inner
                            .list_paginated(prefix.as_deref(), options.clone())
                    })
                    .await?;
                let next = page.page_token.map(|token| PaginatedListOptions {
                    page_token: Some(token),
                    ..options
                });
                Ok::<_, Error>(Some((
                    stream::iter(page.result.objects.into_iter().map(Ok)),
                    next,
                )))
            }
        });
        pages.try_flatten().boxed()
    }

    /// Deletes up to [`DELETE_MAX`] objects; those that are not there count as deleted.
    async fn delete_some(&self, paths: Vec<Path>) -> Result<Vec<Path>> {
        self.retry
            .run(is_transient, || {
                let paths = stream::iter(paths.clone().into_iter().map(Ok)).boxed();
                self.inner.delete_stream(paths).try_collect()
            })
            .await
    }
}

impl fmt::Display for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        match options.mode {
            PutMode::Create => self.create(at, payload, options).await,
            PutMode::Overwrite => {
                self.retry
                    .run(is_transient, || {
                        self.inner.put_opts(at, payload.clone(), options.clone())
                    })
                    .await
            }
            PutMode::Update(_) => self.inner.put_opts(at, payload, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        _at: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented {
            operation: "multipart upload by hand; use put, which does it".to_owned(),
            implementer: self.to_string(),
        })
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.retry
            .run(is_transient, || self.inner.get_opts(at, options.clone()))
            .await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        paths
            .try_chunks(DELETE_MAX)
            .map_err(|error| error.1)
            .and_then(move |paths| {
                let store = store.clone();
                async move {
                    let deleted = store.delete_some(paths).await?;
                    Ok(stream::iter(deleted.into_iter().map(Ok)))
                }
            })
            .try_flatten()
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.pages(prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.pages(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.retry
            .run(is_transient, || self.inner.list_with_delimiter(prefix))
            .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
