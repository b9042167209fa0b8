//! What a storage URL means.

use std::path::Path;

use crate::storage::StorageError;

/// What a storage URL means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StorageLocation<'a> {
    /// A folder of the local disk.
    Folder(&'a Path),
    /// A store in this process's memory; empty for one that nobody else has.
    Memory(&'a str),
    /// A prefix of a bucket in S3, without `/` at its ends; empty for all of the bucket.
    Bucket { name: &'a str, prefix: &'a str },
}

impl<'a> StorageLocation<'a> {
    pub(crate) fn parse(url: &'a str) -> Result<Self, StorageError> {
        let unknown = |hint: String| StorageError::UnknownScheme {
            url: url.to_owned(),
            hint,
        };
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(unknown(match url {
                "" => String::new(),
                path => format!(" (did you mean `file:{path}`?)"),
            }));
        };
        match scheme {
            "memory" => Ok(StorageLocation::Memory(rest)),
            "file" => {
                let path = match rest.strip_prefix("//") {
                    None => rest,
                    Some(path) if path.starts_with('/') => path,
                    Some(path) => {
                        return Err(unknown(format!(
                            " (`file://` is followed by an absolute path; for a relative one: `file:{path}`)"
                        )));
                    }
                };
                if path.is_empty() {
                    return Err(unknown(" (the path is missing)".to_owned()));
                }
                Ok(StorageLocation::Folder(Path::new(path)))
            }
            "s3" => {
                let Some(rest) = rest.strip_prefix("//") else {
                    return Err(unknown(format!(" (did you mean `s3://{rest}`?)")));
                };
                let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if name.is_empty() {
                    return Err(unknown(" (the bucket is missing)".to_owned()));
                }
                let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
                if object_store::path::Path::parse(prefix).is_err()
                    || !name
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
                {
                    return Err(unknown(
                        " (a bucket's name is of letters, digits, `-` and `.`; in the prefix no part is empty, `.` or `..`)"
                            .to_owned(),
                    ));
                }
                Ok(StorageLocation::Bucket { name, prefix })
            }
            "s3a" | "s3n" => Err(unknown(format!(" (did you mean `s3:{rest}`?)"))),
            _ => Err(unknown(String::new())),
        }
    }
}
