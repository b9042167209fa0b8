//! Credentials for S3 from the official AWS chain.
//!
//! The chain looks at the environment of its process, so the test binary starts itself: the child
//! runs only `credentials::child`, which puts some objects and says how that went.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use tidegate_storage::{Storage, StorageOptions};
use tidegate_testkit::S3;

/// Tells the child where S3 is.
const ENDPOINT: &str = "TIDEGATE_LOG_CREDENTIALS_ENDPOINT";

/// Said instead of an endpoint: the child only opens the storage, and asks nothing of it.
const AWS: &str = "aws";

/// Objects that the child puts.
const PUTS: usize = 5;

#[tokio::test]
async fn child() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else {
        return;
    };
    let mut options = StorageOptions::new(format!("s3://{}/job", S3::BUCKET));
    if endpoint == AWS {
        Storage::open(&options).unwrap_or_else(|error| panic!("{error}"));
        return;
    }
    options.s3.endpoint = Some(endpoint);
    options.s3.allow_http = true;
    let storage = Storage::open(&options).unwrap();
    for n in 0..PUTS {
        storage
            .put(&format!("data/{n}"), "x".into())
            .await
            .unwrap_or_else(|error| panic!("put {n}: {error}"));
    }
}

/// Runs the child with nothing in its environment but this; returns whether it could put, and what
/// it said.
fn run(endpoint: &str, environment: &[(&str, &str)]) -> (bool, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["credentials::child", "--exact", "--nocapture"])
        .env_clear()
        .envs(
            ["PATH", "HOME", "LD_LIBRARY_PATH"]
                .iter()
                .filter_map(|name| std::env::var_os(name).map(|value| (*name, value))),
        )
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/nonexistent/config")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
        .env(ENDPOINT, endpoint)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), text)
}

/// A profile whose credentials come from a program that counts how often it is asked. They expire
/// after `lasts`; after `answers` of them the program fails.
fn profile(folder: &Path, lasts: Duration, answers: usize) -> String {
    let expiry: DateTime<Utc> = (SystemTime::now() + lasts).into();
    let expiry = expiry.to_rfc3339_opts(SecondsFormat::Secs, true);
    let (id, secret) = (S3::ACCESS_KEY, S3::SECRET_KEY);
    let program = folder.join("program");
    let asked = folder.join("asked");
    let script = format!(
        "echo >> {asked}\n[ $(wc -l < {asked}) -le {answers} ] || exit 1\n\
         echo '{{\"Version\":1,\"AccessKeyId\":\"{id}\",\"SecretAccessKey\":\"{secret}\",\"Expiration\":\"{expiry}\"}}'\n",
        asked = asked.display(),
    );
    fs::write(&program, script).unwrap();
    let config = folder.join("config");
    let text = format!("[default]\ncredential_process = sh {}\n", program.display());
    fs::write(&config, text).unwrap();
    config.to_str().unwrap().to_owned()
}

fn asked(folder: &Path) -> usize {
    fs::read_to_string(folder.join("asked"))
        .unwrap()
        .lines()
        .count()
}

#[test]
fn keys_in_the_environment_are_used() {
    let s3 = S3::start();
    let (good, text) = run(&s3.endpoint(), &S3::environment());
    assert!(good, "{text}");
}

#[test]
fn without_credentials_the_error_says_so() {
    let s3 = S3::start();
    let (good, text) = run(&s3.endpoint(), &[]);
    assert!(!good && text.contains("no AWS credentials"), "{text}");
}

#[test]
fn credentials_that_last_are_asked_for_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = profile(folder.path(), Duration::from_secs(3600), usize::MAX >> 1);
    let s3 = S3::start();
    let (good, text) = run(&s3.endpoint(), &[("AWS_CONFIG_FILE", &config)]);
    assert!(good, "{text}");
    assert_eq!(asked(folder.path()), 1);
}

#[test]
fn credentials_are_renewed_before_they_expire() {
    let folder = tempfile::tempdir().unwrap();
    let config = profile(folder.path(), Duration::from_secs(120), usize::MAX >> 1);
    let s3 = S3::start();
    let (good, text) = run(&s3.endpoint(), &[("AWS_CONFIG_FILE", &config)]);
    assert!(good, "{text}");
    assert_eq!(asked(folder.path()), PUTS);
}

#[test]
fn credentials_that_cannot_be_renewed_are_used_until_they_expire() {
    let folder = tempfile::tempdir().unwrap();
    let config = profile(folder.path(), Duration::from_secs(120), 1);
    let s3 = S3::start();
    let (good, text) = run(&s3.endpoint(), &[("AWS_CONFIG_FILE", &config)]);
    assert!(good, "{text}");
    assert_eq!(asked(folder.path()), PUTS);
}

#[test]
fn the_region_comes_from_the_chain_and_where_none_is_the_error_says_so() {
    let (good, text) = run(AWS, &S3::environment());
    assert!(good, "{text}");
    let (good, text) = run(AWS, &[]);
    assert!(!good && text.contains("set storage.region"), "{text}");
}
