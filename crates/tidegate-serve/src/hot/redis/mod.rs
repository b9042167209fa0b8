//! The hot tier in Redis 6.2 or later, one server or a cluster.
//!
//! A window is one hash, `tidegate:<job>:<view>:<definition>:<start>`, with the start in
//! microseconds since the Unix epoch. The definition is a digest: a view that is grouped in another
//! way after a restart, or has other aggregates, or is that of another log, has hashes of its own.
//! So nobody adds values up that do not belong together, and a process that has not noticed yet
//! that another one took its place can do no harm. `tidegate:<job>:<view>` has the definition that
//! was written last, for others who read. The fields of a hash:
//! - field `<lane>|<group>`, the group as a JSON array of its values: a JSON array with the partial
//!   values, in the order of the part's columns (an average has two, sum and count). Whole numbers
//!   are whole, floats have a point or an exponent; what JSON has no number for is a string. Dates
//!   are days, instants microseconds, decimals their digits without the point. After them stands
//!   what the sums have beside themselves, in their order: of a sum of floats what rounding took
//!   from it, of one of decimals how many times 10^38 it has more. What a window shows is the merge
//!   of its fields: sums are added up, the least of the least and the greatest of the greatest
//!   count.
//! - field `!<lane>`: how many groups of the lane are not up to date.
//!
//! The hash expires `hot.keep` after it was written last; so nothing of an old definition has to be
//! removed. `tidegate:<job>:process:<id>` marks a process that writes; its value is how often the
//! process has looked. When it is not what the last answer set, Redis has lost what was in it, or
//! may have: all open windows are written again.

mod connection;
mod format;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use redis::RedisError;

use self::connection::{Connector, RedisConnection};
use super::{HotError, HotStore, HotView, HotWindows, READ_MAX, ReadWindows, expires_at};
use crate::options::HotOptions;

/// Commands that are under way at the same time. One connection takes them all, without waiting in
/// between.
const AT_ONCE: usize = 64;
/// Fields that one command sets, at most.
const FIELDS_MAX: usize = 1_000;

/// Looks whether the certificates that Redis is believed by can be read.
pub(super) fn check(options: &HotOptions) -> Result<(), HotError> {
    connection::certificates(options).map(drop)
}

/// Values in Redis.
pub(crate) struct RedisStore {
    connector: Connector,
    job: String,
    keep: i64,
    /// A key of this process: if it is gone, so is the rest.
    mark: String,
    /// How often the mark was to be set. Each time has a value of its own: where an answer is lost,
    /// nobody knows whether the mark was there before, and the next answer tells that from its
    /// value.
    looks: AtomicU64,
    /// The value of the mark that Redis has confirmed last; 0: none yet.
    confirmed: AtomicU64,
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
            looks: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            job: job.to_owned(),
            keep: options.keep_micros(),
        })
    }

    fn key(&self, view: HotView<'_>, start: i64) -> String {
        let HotView { name, definition } = view;
        format!("tidegate:{}:{name}:{definition}:{start}", self.job)
    }

    /// Tells others which windows of a view are those of now.
    async fn name_definition(
        &self,
        view: HotView<'_>,
        mut connection: RedisConnection,
    ) -> Result<(), RedisError> {
        redis::cmd("SET")
            .arg(format!("tidegate:{}:{}", self.job, view.name))
            .arg(view.definition)
            .arg("PX")
            .arg(2 * self.keep / 1_000)
            .exec_async(&mut connection)
            .await
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
        let look = self.looks.fetch_add(1, Ordering::Relaxed) + 1;
        let found: Result<Option<u64>, _> = redis::cmd("SET")
            .arg(&self.mark)
            .arg(look)
            .arg("GET")
            .arg("PX")
            .arg(2 * self.keep / 1_000)
            .query_async(&mut connection)
            .await;
        match found {
            Ok(found) => {
                let confirmed = self.confirmed.swap(look, Ordering::Relaxed);
                Ok(confirmed == 0 || found == Some(confirmed))
            }
            Err(error) => Err(self.connector.failed(error).await),
        }
    }

    async fn write(
        &self,
        view: HotView<'_>,
        windows: &HotWindows,
        now: i64,
    ) -> Result<(), HotError> {
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
        let done = match done {
            Ok(()) => self.name_definition(view, connection).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => Ok(()),
            Err(error) => Err(self.connector.failed(error).await),
        }
    }

    async fn read(
        &self,
        view: HotView<'_>,
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
