//! Plain SQL for those who look after a Redshift, beside what the loader runs.

use tokio::runtime::Handle;

use super::client::DataApiClient;
use super::error::RedshiftError;
use super::options::RedshiftOptions;
use super::sql;

/// Runs SQL through the Data API. Its methods block: they must not be called from a thread of the
/// runtime.
#[derive(Debug)]
pub struct Session {
    client: DataApiClient,
}

impl Session {
    /// Nothing is asked until the first statement.
    pub fn new(options: &RedshiftOptions, runtime: &Handle) -> Self {
        Session {
            client: DataApiClient::new(options, runtime),
        }
    }

    /// Runs one statement, in a transaction of its own.
    ///
    /// # Errors
    /// What Redshift or the Data API says.
    pub fn run(&self, sql: &str) -> Result<(), RedshiftError> {
        self.client.run(sql).map(|_| ())
    }

    /// Runs statements in one transaction.
    ///
    /// # Errors
    /// As [`Session::run`]; of a statement that failed, which one it was.
    pub fn transaction(&self, statements: &[String]) -> Result<(), RedshiftError> {
        let token = uuid::Uuid::new_v4().to_string();
        self.client
            .transaction(statements.to_vec(), &token)
            .map(|_| ())
    }

    /// Runs statements in one transaction, the last of which is a query, and returns its rows as
    /// text.
    ///
    /// # Errors
    /// As [`Session::transaction`].
    pub fn rows(&self, statements: &[String]) -> Result<Vec<Vec<Option<String>>>, RedshiftError> {
        match statements {
            [query] => self.client.query(query),
            _ => self.client.transaction_rows(statements.to_vec()),
        }
    }
}

/// An identifier as the loader writes it.
pub fn quoted(identifier: &str) -> String {
    sql::name(identifier)
}

/// An identifier as a literal, as the system views have it.
pub fn in_catalog(identifier: &str) -> String {
    sql::in_catalog(identifier)
}
