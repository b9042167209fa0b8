//! The hot tier in Redis 6.2 or later, one server or a cluster.
//!
//! A window is one hash, `tidegate:<job>:<view>:<start>`, with the start in microseconds since the Unix epoch:
//! - field `<lane>|<group>`, the group as a JSON array of its values: a JSON array with the partial values, in the
//!   order of the part's columns (an average has two, sum and count). Whole numbers are whole, floats have a point or
//!   an exponent; what JSON has no number for is a string. Dates are days, instants microseconds, decimals their
//!   digits without the point. What a window shows is the merge of its fields: sums are added up, the least of the
//!   least and the greatest of the greatest count.
//! - field `!<lane>`: how many groups of the lane are not up to date.
//!
//! The hash expires `hot.keep` after it was written last. `tidegate:<job>:process:<id>` marks a process that writes: when
//! it is gone, Redis has lost what was in it, and all open windows are written again.

mod connection;
mod format;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use redis::RedisError;

use self::connection::Connector;
use super::{HotError, HotStore, HotWindows, READ_MAX, ReadWindows, expires_at};
use crate::options::HotOptions;

/// Commands that are under way at the same time. One connection takes them all, without waiting in between.
const AT_ONCE: usize = 64;
/// Fields that one command sets, at most.
const FIELDS_MAX: usize = 1_000;

/// Values in Redis.
pub(crate) struct RedisStore {
    connector: Connector,
    job: String,
    keep: i64,
    /// A key of this process: if it is gone, so is the rest.
    mark: String,
    is_marked: AtomicBool,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisStore")
            .field(&self.connector.shown)
            .finish()
    }
}

impl RedisStore {
    /// A store for a job's values. Nothing is asked of it yet.
    ///
    /// # Errors
    /// If `url` is not one of Redis, or the certificate in `options` cannot be read.
    pub(crate) fn new(url: &str, options: &HotOptions, job: &str) -> Result<Self, HotError> {
        Ok(RedisStore {
            connector: Connector::new(url, options)?,
            mark: format!("tidegate:{job}:process:{}", uuid::Uuid::new_v4()),
            is_marked: AtomicBool::new(false),
            job: job.to_owned(),
            keep: options.keep_micros(),
        })
    }

    fn key(&self, view: &str, start: i64) -> String {
        format!("tidegate:{}:{view}:{start}", self.job)
    }

    fn foreign(&self, key: &str, field: &str) -> HotError {
        HotError::Redis {
            url: self.connector.shown.clone(),
            message: format!(
                "`{key}` has a field `{field}` that no Tidegate has written; delete the key"
            ),
        }
    }
}

#[async_trait]
impl HotStore for RedisStore {
    async fn check(&self) -> Result<bool, HotError> {
        let mut connection = self.connector.get().await?;
        let is_there: Result<Option<String>, _> = redis::cmd("SET")
            .arg(&self.mark)
            .arg(1)
            .arg("GET")
            .arg("PX")
            .arg(2 * self.keep / 1_000)
            .query_async(&mut connection)
            .await;
        match is_there {
            Ok(is_there) => {
                let is_first = !self.is_marked.swap(true, Ordering::Relaxed);
                Ok(is_first || is_there.is_some())
            }
            Err(error) => Err(self.connector.failed(error).await),
        }
    }

    async fn write(&self, view: &str, windows: &HotWindows, now: i64) -> Result<(), HotError> {
        let connection = self.connector.get().await?;
        let mut writes = Vec::new();
        for (start, window) in windows {
            let key = self.key(view, *start);
            let expires = (expires_at(*start, now, self.keep) - now) / 1_000;
            for fields in format::fields(window).chunks(FIELDS_MAX) {
                let mut pipeline = redis::pipe();
                pipeline
                    .hset_multiple(&key, fields)
                    .ignore()
                    .pexpire(&key, expires)
                    .ignore();
                writes.push(pipeline);
            }
        }
        let done = stream::iter(writes)
            .map(|pipeline| {
                let mut connection = connection.clone();
                async move { pipeline.exec_async(&mut connection).await }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await;
        match done {
            Ok(()) => Ok(()),
            Err(error) => Err(self.connector.failed(error).await),
        }
    }

    async fn read(
        &self,
        view: &str,
        starts: (i64, i64),
        slide: i64,
    ) -> Result<ReadWindows, HotError> {
        let count = (starts.1.saturating_sub(starts.0).saturating_add(slide - 1)).div_euclid(slide);
        if count > READ_MAX {
            return Err(HotError::TooMany(count));
        }
        let connection = self.connector.get().await?;
        let read = stream::iter((0..count.max(0)).map(|n| starts.0 + n * slide))
            .map(|start| {
                let (mut connection, key) = (connection.clone(), self.key(view, start));
                async move {
                    let fields: Vec<(String, String)> = redis::cmd("HGETALL")
                        .arg(key)
                        .query_async(&mut connection)
                        .await?;
                    Ok::<_, RedisError>((start, fields))
                }
            })
            .buffered(AT_ONCE)
            .try_filter(|(_, fields)| std::future::ready(!fields.is_empty()))
            .try_collect::<Vec<_>>()
            .await;
        match read {
            Ok(read) => {
                let window = |(start, fields)| {
                    let window = format::window(fields)
                        .map_err(|field| self.foreign(&self.key(view, start), &field))?;
                    Ok((start, Arc::new(window)))
                };
                read.into_iter().map(window).collect()
            }
            Err(error) => Err(self.connector.failed(error).await),
        }
    }

    fn floor(&self, _: &str) -> Option<i64> {
        None
    }
}
