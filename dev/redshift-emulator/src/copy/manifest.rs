//! Which files a COPY reads.

use object_store::ObjectStoreExt;
use serde::Deserialize;

use super::command::CopyCommand;
use super::objects::{Address, BucketStores, s3_error};
use crate::errors::SqlError;

const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// One file to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataFile {
    pub(crate) address: Address,
    pub(crate) size: u64,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    entries: Vec<ManifestEntry>,
}

#[derive(Debug, Deserialize)]
struct ManifestEntry {
    url: String,
    #[serde(default)]
    mandatory: bool,
    meta: Option<Meta>,
}

#[derive(Debug, Deserialize)]
struct Meta {
    content_length: Option<u64>,
}

/// The files of `command`. A file that is listed twice comes twice.
pub(crate) async fn files(
    command: &CopyCommand,
    buckets: &BucketStores,
) -> Result<Vec<DataFile>, SqlError> {
    let from = Address::parse(&command.from)?;
    if !command.manifest {
        let found = buckets.list(&from).await?;
        let files: Vec<DataFile> = found
            .into_iter()
            .filter(|(_, size)| *size > 0)
            .map(|(address, size)| DataFile { address, size })
            .collect();
        return if files.is_empty() {
            Err(no_file(&command.from))
        } else {
            Ok(files)
        };
    }

    let mut files = Vec::new();
    for entry in read(&from, buckets).await?.entries {
        let address = Address::parse(&entry.url)?;
        let length = match entry.meta {
            None => {
                return Err(SqlError::spectrum(
                    15003,
                    format_args!(
                        "File entry does not have 'meta' key in manifest file {}",
                        from.url()
                    ),
                ));
            }
            Some(Meta {
                content_length: None,
            }) => {
                return Err(SqlError::spectrum(
                    15003,
                    format_args!(
                        "File entry does not have 'content_length' key in manifest file {}",
                        from.url()
                    ),
                ));
            }
            Some(Meta {
                content_length: Some(length),
            }) => length,
        };
        match buckets.size(&address).await? {
            Some(size) if size == length => files.push(DataFile { address, size }),
            Some(size) => {
                return Err(SqlError::spectrum(
                    15003,
                    format_args!(
                        "File '{}' has {size} bytes, and its content_length in the manifest is {length}",
                        address.url()
                    ),
                ));
            }
            None if entry.mandatory => return Err(missing(&address)),
            None => tracing::warn!(url = address.url(), "a file of a manifest is not there"),
        }
    }
    if files.is_empty() {
        return Err(no_file(&command.from));
    }
    Ok(files)
}

async fn read(from: &Address, buckets: &BucketStores) -> Result<Manifest, SqlError> {
    let size = buckets.size(from).await?.ok_or_else(|| missing(from))?;
    if size > MANIFEST_BYTES_MAX {
        return Err(SqlError::lacking("a manifest of that size"));
    }
    let store = buckets.of(&from.bucket)?;
    let bytes = async {
        store
            .get(&from.path().unwrap_or_default())
            .await?
            .bytes()
            .await
    };
    let bytes = bytes.await.map_err(|error| s3_error(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        SqlError::new(format_args!(
            "Manifest file {} is not well-formed: {error}",
            from.url()
        ))
    })
}

fn missing(address: &Address) -> SqlError {
    SqlError::new(format_args!(
        "S3ServiceException:The specified key does not exist.,Status 404,Error NoSuchKey,Key {}",
        address.key
    ))
}

fn no_file(from: &str) -> SqlError {
    SqlError::new(format_args!(
        "The specified S3 prefix '{from}' does not exist"
    ))
}
