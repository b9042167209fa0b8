//! How a storage is opened: its URL, and what only storage in S3 asks for.

use std::fmt;
use std::time::Duration;

/// How a storage is opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StorageOptions {
    /// Which storage it is; see [`crate::Storage::open`].
    pub url: String,
    /// What counts if it is in S3.
    pub s3: S3Options,
}

impl StorageOptions {
    /// The storage that `url` names, with the defaults of all else.
    pub fn new(url: impl Into<String>) -> Self {
        StorageOptions {
            url: url.into(),
            s3: S3Options::default(),
        }
    }
}

impl From<&str> for StorageOptions {
    fn from(url: &str) -> Self {
        StorageOptions::new(url)
    }
}

impl From<String> for StorageOptions {
    fn from(url: String) -> Self {
        StorageOptions::new(url)
    }
}

/// How a bucket is reached, and what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Options {
    /// The bucket's region. `None`: with an [`S3Options::endpoint`] `us-east-1`, else what the AWS
    /// chain says (environment, profile, instance metadata).
    pub region: Option<String>,
    /// URL of a service other than AWS, as in `https://minio.example.com:9000`.
    pub endpoint: Option<String>,
    /// Whether the bucket is the first part of the path (`https://host/bucket/key`) instead of a
    /// part of the host's name. `None`: only with an [`S3Options::endpoint`].
    pub path_style: Option<bool>,
    /// Whether the endpoint may be spoken to without TLS.
    pub allow_http: bool,
    /// How objects are encrypted where they lie.
    pub encryption: Encryption,
    /// How long one request may take, with its answer.
    pub timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long an operation is tried again after it has failed in a way that may pass, with
    /// growing, random pauses. A last try that begins within this time may go on for as long again.
    pub retry_for: Duration,
    /// Objects from this size on are put in parts of this size, in bytes; at least 5 MiB.
    pub part_size: usize,
    /// Parts of one object that are put at the same time.
    pub parts_in_flight: usize,
    /// Keys for tests; `None`: the AWS credential chain. There is no setting for them in
    /// configuration files.
    pub keys: Option<Keys>,
}

impl Default for S3Options {
    fn default() -> Self {
        S3Options {
            region: None,
            endpoint: None,
            path_style: None,
            allow_http: false,
            encryption: Encryption::Bucket,
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            retry_for: Duration::from_secs(60),
            part_size: 8 << 20,
            parts_in_flight: 4,
            keys: None,
        }
    }
}

/// How objects are encrypted where they lie.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Encryption {
    /// As the bucket's own settings say.
    #[default]
    Bucket,
    /// With a key that S3 keeps: SSE-S3, `AES256`.
    S3,
    /// With a key that the Key Management Service keeps: SSE-KMS, `aws:kms`.
    Kms {
        /// Id or ARN of the key; `None` for the account's `aws/s3`.
        key: Option<String>,
        /// Whether a key of the bucket spares requests to KMS; `None`: as the bucket's settings
        /// say.
        bucket_key: Option<bool>,
    },
}

/// A pair of keys that never expires. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Its id.
    pub id: String,
    /// What requests are signed with.
    pub secret: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}
