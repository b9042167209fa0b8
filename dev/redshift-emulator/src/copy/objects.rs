//! Addresses in S3, and the stores behind them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::errors::SqlError;
use crate::options::Objects;

const LISTED_MAX: usize = 100_000;

/// `s3://bucket/key`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) bucket: String,
    pub(crate) key: String,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, SqlError> {
        let (bucket, key) = url
            .strip_prefix("s3://")
            .and_then(|rest| rest.split_once('/'))
            .filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
            .ok_or_else(|| SqlError::new(format_args!("Invalid S3 URL '{url}'")))?;
        Ok(Self {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.key)
    }

    /// As errors of a scan show it.
    pub(crate) fn https(&self) -> String {
        format!(
            "https://s3.us-east-1.amazonaws.com/{}/{}",
            self.bucket, self.key
        )
    }

    pub(crate) fn path(&self) -> Result<Path, SqlError> {
        Path::parse(&self.key)
            .map_err(|_| SqlError::new(format_args!("Invalid S3 URL '{}'", self.url())))
    }
}

/// The stores of the buckets that were asked for.
#[derive(Debug)]
pub(crate) struct BucketStores {
    objects: Objects,
    open: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
}

impl BucketStores {
    pub(crate) fn new(objects: Objects) -> Self {
        Self {
            objects,
            open: Mutex::default(),
        }
    }

    pub(crate) fn of(&self, bucket: &str) -> Result<Arc<dyn ObjectStore>, SqlError> {
        let s3 = match &self.objects {
            Objects::Store(store) => return Ok(Arc::clone(store)),
            Objects::S3(s3) => s3,
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = open.get(bucket) {
            return Ok(Arc::clone(store));
        }
        let store = AmazonS3Builder::new()
            .with_endpoint(&s3.endpoint)
            .with_allow_http(true)
            .with_virtual_hosted_style_request(false)
            .with_region(&s3.region)
            .with_access_key_id(&s3.access_key_id)
            .with_secret_access_key(&s3.secret_access_key)
            .with_bucket_name(bucket)
            .build()
            .map_err(|error| s3_error(&error))?;
        let store: Arc<dyn ObjectStore> = Arc::new(store);
        open.insert(bucket.to_owned(), Arc::clone(&store));
        Ok(store)
    }

    /// The size of an object; `None` where there is none.
    pub(crate) async fn size(&self, address: &Address) -> Result<Option<u64>, SqlError> {
        let store = self.of(&address.bucket)?;
        match store.head(&address.path()?).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(s3_error(&error)),
        }
    }

    /// The objects whose keys begin as `prefix` does, with their sizes, in the order of their keys.
    pub(crate) async fn list(&self, prefix: &Address) -> Result<Vec<(Address, u64)>, SqlError> {
        let store = self.of(&prefix.bucket)?;
        // A store lists folders; a prefix may end within a name.
        let folder = prefix
            .key
            .rsplit_once('/')
            .map(|(folder, _)| Path::from(folder));
        let mut listing = store.list(folder.as_ref());
        let mut found = Vec::new();
        while let Some(meta) = listing.try_next().await.map_err(|error| s3_error(&error))? {
            if meta.location.as_ref().starts_with(&prefix.key) {
                let key = meta.location.as_ref().to_owned();
                let bucket = prefix.bucket.clone();
                found.push((Address { bucket, key }, meta.size));
            }
            if found.len() > LISTED_MAX {
                return Err(SqlError::lacking("a COPY of that many files"));
            }
        }
        found.sort_by(|a, b| a.0.key.cmp(&b.0.key));
        Ok(found)
    }
}

pub(crate) fn s3_error(error: &object_store::Error) -> SqlError {
    SqlError::new(format_args!("S3ServiceException:{error}"))
}
