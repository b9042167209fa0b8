//! The Data API: statements are submitted, then asked after until they have ended.

use std::future::Future;
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region};
use aws_sdk_redshiftdata::Client as Sdk;
use aws_sdk_redshiftdata::config::Credentials;
use aws_sdk_redshiftdata::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_redshiftdata::types::{Field, StatementStatusString, StatusString};
use tokio::runtime::Handle;

use super::error::{self, RedshiftError};
use super::options::{Identity, RedshiftOptions, Target};

/// Pauses between two questions after a statement: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Longest wait for the answer to one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Tries of one call; the SDK waits in between, longer each time, with jitter.
const CALL_TRIES: u32 = 4;

/// A client of one database. Its methods block: they must not be called from a thread of the
/// runtime.
#[derive(Debug, Clone)]
pub(crate) struct DataApiClient {
    sdk: Sdk,
    runtime: Handle,
    options: RedshiftOptions,
}

/// A statement of a batch that has ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    /// Rows that it returned, copied, inserted or deleted; negative if it has none to tell.
    pub(crate) rows: i64,
}

/// A value of a result; none is null.
pub(crate) type SqlValue = Option<String>;

impl DataApiClient {
    pub(crate) fn new(options: &RedshiftOptions, runtime: &Handle) -> Self {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(aws_smithy_http_client::tls::Provider::Rustls(
                aws_smithy_http_client::tls::rustls_provider::CryptoMode::Ring,
            ))
            .build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .timeout_config(
                aws_config::timeout::TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(5))
                    .operation_attempt_timeout(CALL_TIMEOUT)
                    .build(),
            )
            .retry_config(aws_config::retry::RetryConfig::standard().with_max_attempts(CALL_TRIES));
        if let Some(region) = &options.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = &options.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(keys) = &options.keys {
            let fixed = Credentials::new(&keys.id, &keys.secret, None, None, "fixed");
            loader = loader.credentials_provider(fixed);
        }
        let config = runtime.block_on(loader.load());
        DataApiClient {
            sdk: Sdk::new(&config),
            runtime: runtime.clone(),
            options: options.clone(),
        }
    }

    /// Runs statements in one transaction, and waits for its end. `token` makes a repeated
    /// submission the same one.
    ///
    /// # Errors
    /// If it could not be submitted, failed, or its end could not be seen.
    pub(crate) fn transaction(
        &self,
        sqls: Vec<String>,
        token: &str,
    ) -> Result<Vec<Done>, RedshiftError> {
        self.batch(sqls, token).map(|(_, done)| done)
    }

    fn batch(&self, sqls: Vec<String>, token: &str) -> Result<(String, Vec<Done>), RedshiftError> {
        let call = self
            .sdk
            .batch_execute_statement()
            .set_sqls(Some(sqls))
            .client_token(token)
            .database(&self.options.database)
            .set_workgroup_name(self.workgroup())
            .set_cluster_identifier(self.cluster())
            .set_db_user(self.db_user())
            .set_secret_arn(self.secret());
        let id = self
            .wait(call.send())?
            .id
            .ok_or_else(|| RedshiftError::unclear("the Data API gave the batch no id"))?;
        let done = self.end_of(&id)?;
        Ok((id, done))
    }

    /// Runs statements of which the last is a query, in one transaction, and returns its rows.
    ///
    /// # Errors
    /// As [`DataApiClient::transaction`].
    pub(crate) fn transaction_rows(
        &self,
        sqls: Vec<String>,
    ) -> Result<Vec<Vec<SqlValue>>, RedshiftError> {
        let token = uuid::Uuid::new_v4().to_string();
        let last = sqls.len();
        let (id, _) = self.batch(sqls, &token)?;
        self.rows_of(&format!("{id}:{last}"))
    }

    /// Runs one statement, in a transaction of its own, and waits for its end.
    ///
    /// # Errors
    /// As [`DataApiClient::transaction`].
    pub(crate) fn run(&self, sql: &str) -> Result<Done, RedshiftError> {
        self.statement(sql, &uuid::Uuid::new_v4().to_string())
            .map(|(_, done)| done)
    }

    /// Runs one query, and returns its rows.
    ///
    /// # Errors
    /// As [`DataApiClient::transaction`].
    pub(crate) fn query(&self, sql: &str) -> Result<Vec<Vec<SqlValue>>, RedshiftError> {
        let (id, _) = self.statement(sql, &uuid::Uuid::new_v4().to_string())?;
        self.rows_of(&id)
    }

    /// The rows of a statement, or of the `n`-th of a batch: `id:n`.
    pub(crate) fn rows_of(&self, id: &str) -> Result<Vec<Vec<SqlValue>>, RedshiftError> {
        let mut rows = Vec::new();
        let mut next = None;
        loop {
            let call = self
                .sdk
                .get_statement_result()
                .id(id)
                .set_next_token(next.take());
            let page = self.wait(call.send())?;
            for record in page.records() {
                rows.push(record.iter().map(text).collect());
            }
            next = page.next_token;
            if next.as_deref().is_none_or(str::is_empty) {
                return Ok(rows);
            }
        }
    }

    fn statement(&self, sql: &str, token: &str) -> Result<(String, Done), RedshiftError> {
        let call = self
            .sdk
            .execute_statement()
            .sql(sql)
            .client_token(token)
            .database(&self.options.database)
            .set_workgroup_name(self.workgroup())
            .set_cluster_identifier(self.cluster())
            .set_db_user(self.db_user())
            .set_secret_arn(self.secret());
        let id = self
            .wait(call.send())?
            .id
            .ok_or_else(|| RedshiftError::unclear("the Data API gave the statement no id"))?;
        let done = self.end_of(&id)?;
        let rows = done.first().map_or(-1, |done| done.rows);
        Ok((id, Done { rows }))
    }

    /// Waits for the end of a statement or batch.
    fn end_of(&self, id: &str) -> Result<Vec<Done>, RedshiftError> {
        let started = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            let now = self.wait(self.sdk.describe_statement().id(id).send())?;
            match now.status() {
                Some(StatusString::Finished) => {
                    let parts = now.sub_statements();
                    return Ok(if parts.is_empty() {
                        vec![Done {
                            rows: now.result_rows(),
                        }]
                    } else {
                        parts
                            .iter()
                            .map(|part| Done {
                                rows: part.result_rows(),
                            })
                            .collect()
                    });
                }
                Some(status @ (StatusString::Failed | StatusString::Aborted)) => {
                    let failed = now
                        .sub_statements()
                        .iter()
                        .position(|part| part.status() == Some(&StatementStatusString::Failed));
                    let part = failed.and_then(|index| now.sub_statements().get(index));
                    let message = part
                        .and_then(|part| part.error())
                        .or_else(|| now.error())
                        .unwrap_or("Redshift says nothing more");
                    return Err(RedshiftError::Failed {
                        aborted: *status == StatusString::Aborted,
                        message: message.to_owned(),
                        statement: failed,
                        query_id: part
                            .map_or(now.redshift_query_id(), |part| part.redshift_query_id()),
                    });
                }
                _ if started.elapsed() >= self.options.timeout => {
                    // It may end well while it is being cancelled: the ledger knows.
                    if let Err(error) = self.wait(self.sdk.cancel_statement().id(id).send()) {
                        tracing::warn!(%error, id, "cannot cancel a statement that takes too long");
                    }
                    return Err(RedshiftError::Timeout(self.options.timeout));
                }
                _ => {
                    std::thread::sleep(pause);
                    pause = (pause * 3 / 2).min(PAUSE_MAX);
                }
            }
        }
    }

    fn wait<T, E>(
        &self,
        call: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, RedshiftError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.runtime.block_on(call).map_err(|error| {
            let code = error.code().map(str::to_owned);
            let message = match error.message() {
                Some(message) => message.to_owned(),
                None => error::without_words(&error, &self.place()),
            };
            error::of_call(code, message)
        })
    }

    /// Where the Data API is asked, for people.
    fn place(&self) -> String {
        match (&self.options.endpoint, self.sdk.config().region()) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Some(region)) => format!("the Data API in {region}"),
            (None, None) => "the Data API".to_owned(),
        }
    }

    fn workgroup(&self) -> Option<String> {
        match &self.options.target {
            Target::Workgroup(name) => Some(name.clone()),
            Target::Cluster(_) => None,
        }
    }

    fn cluster(&self) -> Option<String> {
        match &self.options.target {
            Target::Cluster(name) => Some(name.clone()),
            Target::Workgroup(_) => None,
        }
    }

    fn db_user(&self) -> Option<String> {
        match &self.options.identity {
            Identity::DbUser(user) => Some(user.clone()),
            _ => None,
        }
    }

    fn secret(&self) -> Option<String> {
        match &self.options.identity {
            Identity::Secret(arn) => Some(arn.clone()),
            _ => None,
        }
    }
}

fn text(field: &Field) -> SqlValue {
    match field {
        Field::StringValue(text) => Some(text.clone()),
        Field::LongValue(number) => Some(number.to_string()),
        Field::DoubleValue(number) => Some(number.to_string()),
        Field::BooleanValue(value) => Some(value.to_string()),
        _ => None,
    }
}
