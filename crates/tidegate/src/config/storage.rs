//! Reads `[storage]`: where a job's files and its commit log are.

use std::time::Duration;

use tidegate_storage::{Encryption, S3Options, StorageOptions};

use super::diagnostics::Diagnostic;
use super::reader::{KeyRefusal, Section};
use super::tree::Entry;

const SECOND: Duration = Duration::from_secs(1);

/// The least size of a part of an object in S3, in bytes.
const PART_SIZE_MIN: usize = 5 << 20;

/// The keys that count for storage in S3 only.
const S3_KEYS: [&str; 11] = [
    "region",
    "endpoint",
    "path-style",
    "allow-http",
    "sse",
    "sse-kms-key",
    "sse-bucket-key",
    "timeout",
    "connect-timeout",
    "retry-for",
    "part-size",
];

/// Reads `[storage]`.
pub fn read(section: &Section<'_>) -> StorageOptions {
    let url = url(section);
    let s3 = s3(section);
    if !url.is_empty() && !url.starts_with("s3:") {
        for entry in section.entries() {
            if S3_KEYS.contains(&&*entry.key) {
                let diagnostic =
                    section.refuse(entry, "is for storage in S3, and storage.url names another");
                section
                    .context()
                    .report(diagnostic.hint("leave it out, or write url = \"s3://BUCKET/PREFIX\""));
            }
        }
    }
    section.finish_with(credential);
    StorageOptions { url, s3 }
}

/// Refuses what looks like a credential: files are copied, shown and kept.
fn credential(entry: &Entry) -> KeyRefusal {
    let secret = ["access", "secret", "token", "credential", "profile"];
    if !secret.iter().any(|part| entry.key.contains(part)) {
        return KeyRefusal::Unknown;
    }
    let message = format!(
        "`storage.{}`: credentials are not taken from this file",
        entry.key
    );
    let hint = "they come from the AWS chain: environment (AWS_ACCESS_KEY_ID, AWS_PROFILE...), profile, container or instance";
    KeyRefusal::Because(Diagnostic::error(entry.key_origin.clone(), message).hint(hint))
}

fn url(section: &Section<'_>) -> String {
    let url = section.required_string("url", "write url = \"file:./data\" in [storage]");
    let Some(entry) = section.entry("url").filter(|_| !url.is_empty()) else {
        return url;
    };
    let refuse = |message: String| Some(section.refuse(entry, message));
    let diagnostic = match url.split_once(':') {
        Some(("file", path)) if !path.is_empty() && path != "//" => None,
        Some(("memory", _)) => None,
        Some(("file", _)) => {
            refuse("has no path".to_owned()).map(|d| d.hint("write file:PATH, as in file:./data"))
        }
        Some(("s3", rest)) => match rest.strip_prefix("//").map(|rest| rest.split('/').next()) {
            Some(Some(bucket)) if !bucket.is_empty() => None,
            _ => refuse("has no bucket".to_owned())
                .map(|d| d.hint("write s3://BUCKET/PREFIX; the prefix is what the job owns")),
        },
        Some((scheme @ ("gs" | "az" | "azure" | "abfs" | "http" | "https"), _)) => {
            refuse(format!("`{scheme}:` is not supported in this version"))
                .map(|d| d.hint("use s3://BUCKET/PREFIX, or file:PATH on a local disk"))
        }
        _ => refuse(format!("`{url}` is not a storage URL")).map(|d| {
            d.hint("write file:PATH (local disk), s3://BUCKET/PREFIX or memory: (nothing survives the process)")
        }),
    };
    report(section, diagnostic);
    url
}

fn s3(section: &Section<'_>) -> S3Options {
    let defaults = S3Options::default();
    let endpoint = section.string("endpoint");
    let allow_http = section.boolean("allow-http").unwrap_or(false);
    if let Some(endpoint) = &endpoint
        && let Some(entry) = section.entry("endpoint")
    {
        let diagnostic = match endpoint.split_once("://") {
            Some(("https", host)) if !host.is_empty() => None,
            Some(("http", host)) if !host.is_empty() => (!allow_http).then(|| {
                section
                    .refuse(
                        entry,
                        "is not encrypted: what is sent to it can be read and changed on its way",
                    )
                    .hint(
                        "write https://..., or add allow-http = true where the network is trusted",
                    )
            }),
            _ => Some(
                section
                    .refuse(entry, format!("`{endpoint}` is not a URL"))
                    .hint("write it as in https://minio.example.com:9000"),
            ),
        };
        report(section, diagnostic);
    }
    S3Options {
        region: section.string("region"),
        endpoint,
        path_style: section.boolean("path-style"),
        allow_http,
        encryption: encryption(section),
        timeout: section
            .duration("timeout", SECOND)
            .unwrap_or(defaults.timeout),
        connect_timeout: section
            .duration("connect-timeout", Duration::from_millis(100))
            .unwrap_or(defaults.connect_timeout),
        retry_for: section
            .duration("retry-for", SECOND)
            .unwrap_or(defaults.retry_for),
        part_size: section
            .size_within("part-size", PART_SIZE_MIN, 1 << 30)
            .unwrap_or(defaults.part_size),
        ..defaults
    }
}

fn encryption(section: &Section<'_>) -> Encryption {
    #[derive(Clone, Copy, PartialEq)]
    enum Sse {
        Bucket,
        S3,
        Kms,
    }
    let choices = [
        ("bucket", Sse::Bucket),
        ("AES256", Sse::S3),
        ("aws:kms", Sse::Kms),
    ];
    let sse = section.choice("sse", &choices).unwrap_or(Sse::Bucket);
    let key = section.string("sse-kms-key");
    let bucket_key = section.boolean("sse-bucket-key");
    if sse != Sse::Kms {
        for name in ["sse-kms-key", "sse-bucket-key"] {
            let refused = section.entry(name).map(|entry| {
                section
                    .refuse(entry, "is for encryption with KMS")
                    .hint("add sse = \"aws:kms\", or leave it out")
            });
            report(section, refused);
        }
    }
    match sse {
        Sse::Bucket => Encryption::Bucket,
        Sse::S3 => Encryption::S3,
        Sse::Kms => Encryption::Kms { key, bucket_key },
    }
}

fn report(section: &Section<'_>, diagnostic: Option<Diagnostic>) {
    if let Some(diagnostic) = diagnostic {
        section.context().report(diagnostic);
    }
}
