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

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, RedisFuture, Value as RedisValue,
};
use serde_json::Value;

use super::{HotError, HotStore, HotWindow, HotWindows, READ_MAX, ReadWindows, expires_at};
use crate::number::Number;

/// Time for connecting, and for an answer.
const CONNECT_MAX: Duration = Duration::from_secs(2);
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long nobody asks again after an error.
const PAUSE: Duration = Duration::from_millis(500);
/// Commands that are under way at the same time. One connection takes them all, without waiting in between.
const AT_ONCE: usize = 64;
/// Fields that one command sets, at most.
const FIELDS_MAX: usize = 1_000;

/// Values in Redis.
pub(crate) struct RedisStore {
    client: Either<Client, ClusterClient>,
    /// Where it is, without what is secret.
    shown: String,
    job: String,
    keep: i64,
    /// A key of this process: if it is gone, so is the rest.
    mark: String,
    is_marked: AtomicBool,
    connection: tokio::sync::Mutex<Option<Connection>>,
    failed_at: Mutex<Option<Instant>>,
}

#[derive(Clone)]
enum Either<A, B> {
    One(A),
    Cluster(B),
}

type Connection = Either<MultiplexedConnection, ClusterConnection>;

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, RedisValue> {
        match self {
            Either::One(connection) => connection.req_packed_command(cmd),
            Either::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<RedisValue>> {
        match self {
            Either::One(connection) => connection.req_packed_commands(cmd, offset, count),
            Either::Cluster(connection) => connection.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Either::One(connection) => connection.get_db(),
            Either::Cluster(connection) => connection.get_db(),
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisStore").field(&self.shown).finish()
    }
}

impl RedisStore {
    /// A store behind `redis://` or, with TLS, `rediss://`. Nothing is asked of it yet. Keeps windows for `keep`
    /// microseconds.
    ///
    /// # Errors
    /// If the URL is not one of Redis.
    pub(crate) fn new(url: &str, is_cluster: bool, job: &str, keep: i64) -> Result<Self, HotError> {
        let shown = without_secret(url);
        let wrong = |error: RedisError| HotError::Url {
            url: shown.clone(),
            message: error.to_string(),
        };
        if url.starts_with("rediss:") {
            // The process's choice is the one that everything else here uses; another one that was made before stays.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let client = if is_cluster {
            let builder = ClusterClient::builder([url])
                .connection_timeout(CONNECT_MAX)
                .response_timeout(ANSWER_MAX)
                .retries(2);
            Either::Cluster(builder.build().map_err(wrong)?)
        } else {
            Either::One(Client::open(url).map_err(wrong)?)
        };
        Ok(RedisStore {
            client,
            shown,
            mark: format!("tidegate:{job}:process:{}", uuid::Uuid::new_v4()),
            is_marked: AtomicBool::new(false),
            job: job.to_owned(),
            keep,
            connection: tokio::sync::Mutex::new(None),
            failed_at: Mutex::new(None),
        })
    }

    fn key(&self, view: &str, start: i64) -> String {
        format!("tidegate:{}:{view}:{start}", self.job)
    }

    async fn connection(&self) -> Result<Connection, HotError> {
        let failed = *self
            .failed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if failed.is_some_and(|at| at.elapsed() < PAUSE) {
            return Err(HotError::Down {
                url: self.shown.clone(),
            });
        }
        let mut held = self.connection.lock().await;
        if let Some(connection) = &*held {
            return Ok(connection.clone());
        }
        let connected = match &self.client {
            Either::One(client) => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(CONNECT_MAX))
                    .set_response_timeout(Some(ANSWER_MAX));
                client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await
                    .map(Either::One)
            }
            Either::Cluster(client) => client.get_async_connection().await.map(Either::Cluster),
        };
        match connected {
            Ok(connection) => {
                *held = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                self.note_failed();
                Err(self.wrong(&error))
            }
        }
    }

    fn note_failed(&self) {
        *self
            .failed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Lets go of the connection after an error: the next caller makes a new one.
    async fn failed(&self, error: RedisError) -> HotError {
        self.note_failed();
        *self.connection.lock().await = None;
        self.wrong(&error)
    }

    fn wrong(&self, error: &RedisError) -> HotError {
        HotError::Redis {
            url: self.shown.clone(),
            message: error.to_string(),
        }
    }
}

#[async_trait]
impl HotStore for RedisStore {
    async fn check(&self) -> Result<bool, HotError> {
        let mut connection = self.connection().await?;
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
            Err(error) => Err(self.failed(error).await),
        }
    }

    async fn write(&self, view: &str, windows: &HotWindows, now: i64) -> Result<(), HotError> {
        let connection = self.connection().await?;
        let mut writes = Vec::new();
        for (start, window) in windows {
            let key = self.key(view, *start);
            let expires = (expires_at(*start, now, self.keep) - now) / 1_000;
            let values = window
                .values
                .iter()
                .map(|((lane, group), values)| (format!("{lane}|{group}"), encode(values)));
            let left_out = window
                .left_out
                .iter()
                .map(|(lane, groups)| (format!("!{lane}"), groups.to_string()));
            let fields: Vec<_> = values.chain(left_out).collect();
            for fields in fields.chunks(FIELDS_MAX) {
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
            Err(error) => Err(self.failed(error).await),
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
        let connection = self.connection().await?;
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
            Ok(read) => read
                .into_iter()
                .map(|(start, fields)| {
                    Ok((
                        start,
                        Arc::new(self.decode(&self.key(view, start), fields)?),
                    ))
                })
                .collect(),
            Err(error) => Err(self.failed(error).await),
        }
    }

    fn floor(&self, _: &str) -> Option<i64> {
        None
    }
}

impl RedisStore {
    fn decode(&self, key: &str, fields: Vec<(String, String)>) -> Result<HotWindow, HotError> {
        let mut window = HotWindow::default();
        for (field, text) in fields {
            let known = if let Some(lane) = field.strip_prefix('!') {
                lane.parse()
                    .ok()
                    .zip(text.parse().ok())
                    .map(|(lane, groups)| {
                        if groups > 0 {
                            window.left_out.insert(lane, groups);
                        }
                    })
            } else {
                field.split_once('|').and_then(|(lane, group)| {
                    window
                        .values
                        .insert((lane.parse().ok()?, group.into()), decode(&text)?);
                    Some(())
                })
            };
            known.ok_or_else(|| HotError::Redis {
                url: self.shown.clone(),
                message: format!(
                    "`{key}` has a field `{field}` that no Tidegate has written; delete the key"
                ),
            })?;
        }
        Ok(window)
    }
}

fn encode(values: &[Number]) -> String {
    let values = values.iter().map(|value| match value {
        Number::Null => Value::Null,
        Number::Int(value) => {
            i64::try_from(*value).map_or_else(|_| value.to_string().into(), Value::from)
        }
        Number::Float(value) if value.is_finite() => (*value).into(),
        Number::Float(value) => value.to_string().into(),
    });
    values.collect::<Value>().to_string()
}

fn decode(text: &str) -> Option<Box<[Number]>> {
    let values: Vec<Value> = serde_json::from_str(text).ok()?;
    let number = |value: &Value| match value {
        Value::Null => Some(Number::Null),
        Value::Number(number) => match number.as_i64() {
            Some(value) => Some(Number::Int(value.into())),
            None => number.as_f64().map(Number::Float),
        },
        Value::String(text) => match text.parse() {
            Ok(value) => Some(Number::Int(value)),
            Err(_) => text.parse().ok().map(Number::Float),
        },
        _ => None,
    };
    values.iter().map(number).collect()
}

/// A URL without user and password.
fn without_secret(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://{place}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were() {
        let values = [
            Number::Null,
            Number::Int(-3),
            Number::Int(i128::MAX),
            Number::Float(3.0),
            Number::Float(1e300),
            Number::Float(f64::NEG_INFINITY),
        ];
        assert_eq!(decode(&encode(&values)).as_deref(), Some(&values[..]));
        let nan = decode(&encode(&[Number::Float(f64::NAN)]));
        assert!(matches!(nan.as_deref(), Some([Number::Float(value)]) if value.is_nan()));
    }

    #[test]
    fn a_shown_url_has_no_password() {
        assert_eq!(
            without_secret("rediss://me:pa@ss@host:6379/1"),
            "rediss://host:6379/1"
        );
        assert_eq!(without_secret("redis://host"), "redis://host");
    }
}
