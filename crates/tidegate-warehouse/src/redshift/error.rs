//! What can go wrong with a statement, and whether trying again can help.

use std::time::Duration;

/// Why a statement did not end well, as far as can be told.
#[derive(Debug, thiserror::Error)]
pub enum RedshiftError {
    /// Redshift ran it, and it failed. Its transaction is rolled back.
    #[error("{message}")]
    Failed {
        /// Whether it was cancelled.
        aborted: bool,
        /// What Redshift says.
        message: String,
        /// Which statement of a batch it was, from 0 on, if that is known.
        statement: Option<usize>,
        /// Redshift's number of the query, for its system views; 0 if it has none.
        query_id: i64,
    },
    /// The Data API refused the call, or could not be reached.
    #[error("{}{message}", .code.as_ref().map(|code| format!("{code}: ")).unwrap_or_default())]
    Call {
        /// Name of the exception; none if there was no answer.
        code: Option<String>,
        /// What it says.
        message: String,
        /// Whether the statement may have run all the same.
        unclear: bool,
    },
    /// It took longer than configured, and was cancelled.
    #[error("no end after {} s; it was cancelled. `redshift.timeout` allows it more", .0.as_secs())]
    Timeout(Duration),
}

/// Exceptions of the Data API that pass by themselves.
const PASSING: [&str; 14] = [
    "ActiveSessionsExceededException",
    "ActiveStatementsExceededException",
    "DatabaseConnectionException",
    "ExpiredToken",
    "ExpiredTokenException",
    "InternalServerException",
    "InternalServerError",
    "QueryTimeoutException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
];

/// Pieces of messages about what passes by itself, in lower case.
const PASSING_MESSAGES: [&str; 13] = [
    "error: 1023",
    "serializable isolation violation",
    "conflict with concurrent transaction",
    "could not serialize access",
    "40p01",
    "deadlock detected",
    "connection reset",
    "connection refused",
    "connection timed out",
    "closed the connection",
    "terminating connection",
    "slowdown",
    "cancelled on user's request",
];

impl RedshiftError {
    /// An answer that says nothing about what happened.
    pub(crate) fn unclear(message: &str) -> Self {
        RedshiftError::Call {
            code: None,
            message: message.to_owned(),
            unclear: true,
        }
    }

    /// Whether the same statement can succeed later, without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            RedshiftError::Failed {
                aborted, message, ..
            } => {
                let message = message.to_lowercase();
                *aborted || PASSING_MESSAGES.iter().any(|piece| message.contains(piece))
            }
            RedshiftError::Call { code, unclear, .. } => {
                *unclear || code.as_deref().is_none_or(|code| PASSING.contains(&code))
            }
            RedshiftError::Timeout(_) => true,
        }
    }

    /// Whether text did not fit into a column. Redshift says "Value too long for character type", PostgreSQL
    /// "value too long for type character varying(256)".
    pub(crate) fn is_too_long(&self) -> bool {
        matches!(self, RedshiftError::Failed { message, .. }
            if message.to_lowercase().contains("value too long for"))
    }
}

/// The error of a call: a statement that is forgotten may have run; so may one whose answer is lost.
pub(crate) fn of_call(code: Option<String>, message: String) -> RedshiftError {
    let unclear = matches!(
        code.as_deref(),
        None | Some(
            "ResourceNotFoundException" | "InternalServerException" | "InternalServerError"
        )
    );
    RedshiftError::Call {
        code,
        message,
        unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(message: &str) -> RedshiftError {
        RedshiftError::Failed {
            aborted: false,
            message: message.to_owned(),
            statement: None,
            query_id: 0,
        }
    }

    #[test]
    fn text_that_is_too_long_is_known_by_both_wordings() {
        assert!(failed("ERROR: Value too long for character type").is_too_long());
        assert!(failed("ERROR: value too long for type character varying(256)").is_too_long());
    }

    #[test]
    fn conflicts_and_throttling_pass_and_mistakes_do_not() {
        assert!(
            failed("ERROR: 1023\n  Detail: Serializable isolation violation on table - 1")
                .is_transient()
        );
        assert!(failed("ERROR: deadlock detected").is_transient());
        assert!(!failed("ERROR: relation \"x\" does not exist").is_transient());
        assert!(!failed("ERROR: column \"session_connection_1023\" does not exist").is_transient());
        let call = |code: &str| of_call(Some(code.to_owned()), String::new());
        assert!(call("ThrottlingException").is_transient());
        assert!(call("ActiveStatementsExceededException").is_transient());
        assert!(
            call("ResourceNotFoundException").is_transient(),
            "the ledger is asked"
        );
        assert!(!call("ValidationException").is_transient());
        assert!(of_call(None, "connection reset".to_owned()).is_transient());
    }
}
