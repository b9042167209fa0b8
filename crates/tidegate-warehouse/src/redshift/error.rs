//! What can go wrong with a statement, and whether trying again can help.

use std::error::Error as StdError;
use std::time::Duration;

use aws_sdk_redshiftdata::error::SdkError;

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

/// Exceptions of the Data API that pass by themselves. The service's model (botocore's
/// `redshift-data/2019-12-20/service-2.json`) marks the two `...StatementException` as its own
/// fault (HTTP 500, "environmental error").
const PASSING: [&str; 17] = [
    "ActiveWaitingRequestsExceededException",
    "ActiveSessionsExceededException",
    "ActiveStatementsExceededException",
    "BatchExecuteStatementException",
    "DatabaseConnectionException",
    "ExecuteStatementException",
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

/// Pieces of messages about what passes by itself, in lower case and with single blanks. DG is
/// Redshift's developer guide.
const PASSING_MESSAGES: [&str; 20] = [
    // DG "Troubleshooting serializable isolation errors"; snowplow-rdb-loader#557.
    "serializable isolation violation",
    // amazon-redshift-jdbc-driver#147, dbt-adapters#626.
    "conflict with concurrent transaction",
    // A table that another transaction replaced meanwhile: dbt-redshift#974, dbt-adapters#1014.
    "could not open relation with oid",
    // The same in other words: dbt-core#825, dbt-core#1305.
    "dropped by concurrent transaction",
    // aws-lambda-redshift-loader#68.
    "system requested abort",
    // Of concurrent DDL: PostgreSQL's heapam.c, from which Redshift comes.
    "tuple concurrently updated",
    // Two loaders that make the same table at once, with IF NOT EXISTS: seen with PostgreSQL 15.
    "pg_type_typname_nsp_index",
    "pg_class_relname_nsp_index",
    // PostgreSQL's manual, "Transaction Isolation".
    "could not serialize access",
    // PostgreSQL's manual, "Error Codes": the code and its words.
    "40p01",
    "deadlock detected",
    // The system's words for ECONNRESET, ECONNREFUSED and ETIMEDOUT, which a COPY passes on.
    "connection reset",
    "connection refused",
    "connection timed out",
    // PostgreSQL's libpq, fe-misc.c: "server closed the connection unexpectedly".
    "closed the connection",
    // PostgreSQL's postgres.c: "terminating connection due to administrator command".
    "terminating connection",
    // S3's 503 and its words, which a COPY passes on: "Error responses" of the S3 API.
    "slowdown",
    "slow down",
    "reduce your request rate",
    // DG "CANCEL": "Query (168) cancelled on user's request".
    "cancelled on user's request",
];

/// Errors that pass by themselves and that some messages have only the number of: a relation that a
/// concurrent transaction dropped (DG "Managing concurrent write operations"), one that Redshift
/// itself ended (aws-lambda-redshift-loader#68), one that was not serializable (DG "Troubleshooting
/// serializable isolation errors").
const PASSING_NUMBERS: [&str; 3] = ["1018", "1020", "1023"];

/// What stands before a number, in lower case and with single blanks.
const FRAMES: [&str; 3] = [
    // "ERROR:1023 DETAIL: ..." in DG, "ERROR: 1023 Detail: ..." in blueshift#11, "ERROR: 1023
    // (SQLSTATE XX000)" in estuary/connectors#5218, "Error: 1023" in OHDSI/WebAPI#1939.
    "error:",
    // "error: ... code: 1020 context: ..." in aws-lambda-redshift-loader#68.
    "code:",
    // "[Amazon](500310) Invalid operation: 1023" in snowplow-rdb-loader#557.
    "invalid operation:",
];

/// Whether a message, in lower case and with single blanks, has the number of an error that passes.
fn has_passing_number(message: &str) -> bool {
    let after = |frame: &str| {
        let places = message.match_indices(frame);
        places
            .map(|(at, frame)| message[at + frame.len()..].trim_start())
            .collect::<Vec<_>>()
    };
    let is_passing = |rest: &str| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let number = &rest[..end.unwrap_or(rest.len())];
        PASSING_NUMBERS.contains(&number)
    };
    FRAMES
        .iter()
        .any(|frame| after(frame).into_iter().any(is_passing))
}

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
                let words: Vec<_> = message.split_whitespace().collect();
                let message = words.join(" ").to_lowercase();
                *aborted
                    || has_passing_number(&message)
                    || PASSING_MESSAGES.iter().any(|piece| message.contains(piece))
            }
            RedshiftError::Call { code, unclear, .. } => {
                *unclear || code.as_deref().is_none_or(|code| PASSING.contains(&code))
            }
            RedshiftError::Timeout(_) => true,
        }
    }

    /// Whether text did not fit into a column. Redshift says "Value too long for character type",
    /// PostgreSQL "value too long for type character varying(256)".
    pub(crate) fn is_too_long(&self) -> bool {
        matches!(self, RedshiftError::Failed { message, .. }
            if message.to_lowercase().contains("value too long for"))
    }
}

/// The error of a call: a statement that is forgotten may have run; so may one whose answer is
/// lost.
pub(crate) fn of_call(code: Option<String>, message: String) -> RedshiftError {
    let unclear = matches!(
        code.as_deref(),
        None | Some(
            "BatchExecuteStatementException"
                | "ExecuteStatementException"
                | "InternalServerException"
                | "InternalServerError"
                | "ResourceNotFoundException"
        )
    );
    RedshiftError::Call {
        code,
        message,
        unclear,
    }
}

/// What to say of a call that the service itself says nothing about: what happened, where, and what
/// to do next. The SDK has the reasons in its error's sources only.
pub(crate) fn without_words<E: StdError + 'static>(error: &SdkError<E>, place: &str) -> String {
    let why = reasons(error);
    match error {
        SdkError::TimeoutError(_) => no_connection(place, &why),
        SdkError::DispatchFailure(failure) if failure.is_io() || failure.is_timeout() => {
            no_connection(place, &why)
        }
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => format!(
            "the call to {place} could not be made: {why}; AWS credentials come from the environment, a profile, \
             web identity, the container or the instance, and the region from there or `redshift.region`"
        ),
        error => {
            let status = error
                .raw_response()
                .map_or(0, |response| response.status().as_u16());
            format!(
                "{place} gave an answer that says nothing (HTTP {status}): {why}; see whether the Data API is there, \
                 or something else that `redshift.endpoint` or a proxy leads to"
            )
        }
    }
}

fn no_connection(place: &str, why: &str) -> String {
    format!(
        "no answer from {place}: {why}; see whether `redshift.endpoint` and `redshift.region` are right, and whether this \
         machine can reach it"
    )
}

/// What the causes of an error say, but for its kind, each once.
fn reasons<E: StdError + 'static>(error: &SdkError<E>) -> String {
    let mut cause = match error {
        SdkError::DispatchFailure(failure) => {
            let connector = failure.as_connector_error();
            connector.and_then(StdError::source)
        }
        error => error.source(),
    };
    let mut text = String::new();
    while let Some(error) = cause {
        let more = error.to_string();
        if text.is_empty() {
            text = more;
        } else if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    match text.is_empty() {
        true => error.to_string(),
        false => text,
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
        for number in [1018, 1020, 1023] {
            for passing in [
                format!("ERROR: {number}"),
                format!("ERROR:{number} DETAIL: x"),
                format!("ERROR: {number} (SQLSTATE XX000)"),
                format!("Error: {number};"),
                format!("ERROR: \n  -----\n  error:  \n  code:      {number}\n  context:   x\n"),
                format!("[Amazon](500310) Invalid operation: {number} \nDetails: x"),
            ] {
                assert!(failed(&passing).is_transient(), "{passing}");
            }
            for staying in [
                format!("ERROR: {number}0"),
                format!("ERROR: code: 1{number}"),
                format!("ERROR: {number}_x is no column"),
                format!("ERROR: column \"c_{number}\" does not exist"),
            ] {
                assert!(!failed(&staying).is_transient(), "{staying}");
            }
        }
        for passing in [
            "ERROR: deadlock detected",
            "ERROR: could not open relation with OID 102938",
            "ERROR: 1018 DETAIL: Relation does not exist",
            "ERROR:1018",
            "ERROR: \n  -----\n  error:  System requested abort\n  code:      1020\n  context:   x\n",
            "ERROR: \n  -----\n  error:  \n  code:      1020\n  context:   x\n  query:     0\n",
            "ERROR: Query aborted. DETAIL: System requested abort query",
            "ERROR: tuple concurrently updated",
            "ERROR: S3ServiceException:Please reduce your request rate.,Status 503,Error SlowDown",
        ] {
            assert!(failed(passing).is_transient(), "{passing}");
        }
        assert!(!failed("ERROR: relation \"x\" does not exist").is_transient());
        assert!(!failed("ERROR: column \"session_connection_1023\" does not exist").is_transient());
        let call = |code: &str| of_call(Some(code.to_owned()), String::new());
        assert!(call("ThrottlingException").is_transient());
        assert!(call("ActiveStatementsExceededException").is_transient());
        for environmental in [
            "BatchExecuteStatementException",
            "ExecuteStatementException",
        ] {
            let error = call(environmental);
            assert!(error.is_transient(), "{environmental}");
            assert!(matches!(error, RedshiftError::Call { unclear: true, .. }));
        }
        assert!(
            call("ResourceNotFoundException").is_transient(),
            "the ledger is asked"
        );
        assert!(!call("ValidationException").is_transient());
        assert!(of_call(None, "connection reset".to_owned()).is_transient());
    }
}
