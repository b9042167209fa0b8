//! What goes wrong: answers of the Data API, and errors of SQL in Redshift's words.

use std::fmt;

use serde_json::{Value, json};
use tokio_postgres::error::SqlState;

/// An error answer of the Data API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApiError {
    Validation(String),
    NotFound {
        message: String,
        id: String,
    },
    ActiveStatements(String),
    ActiveSessions(String),
    Throttling,
    Internal(String),
    /// `BatchExecuteStatementException`
    BatchExecuteStatement(String),
    DatabaseConnection(String),
    MissingAuthentication(String),
    IncompleteSignature(String),
    UnknownOperation,
    Serialization(String),
}

impl ApiError {
    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::Validation(message.into())
    }

    pub(crate) fn statement_not_found(id: &str) -> Self {
        Self::NotFound {
            message: "Query does not exist.".to_owned(),
            id: id.to_owned(),
        }
    }

    pub(crate) fn session_not_found(id: &str) -> Self {
        Self::NotFound {
            message: "Session does not exist.".to_owned(),
            id: id.to_owned(),
        }
    }

    /// The HTTP status: 500 where the service model says that it is the service's fault.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Internal(_) | Self::BatchExecuteStatement(_) | Self::DatabaseConnection(_) => 500,
            Self::MissingAuthentication(_) | Self::IncompleteSignature(_) => 403,
            _ => 400,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Validation(_) => "ValidationException",
            Self::NotFound { .. } => "ResourceNotFoundException",
            Self::ActiveStatements(_) => "ActiveStatementsExceededException",
            Self::ActiveSessions(_) => "ActiveSessionsExceededException",
            Self::Throttling => "ThrottlingException",
            Self::Internal(_) => "InternalServerException",
            Self::BatchExecuteStatement(_) => "BatchExecuteStatementException",
            Self::DatabaseConnection(_) => "DatabaseConnectionException",
            Self::MissingAuthentication(_) => "MissingAuthenticationTokenException",
            Self::IncompleteSignature(_) => "IncompleteSignatureException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::Serialization(_) => "SerializationException",
        }
    }

    pub(crate) fn body(&self) -> Value {
        let message = match self {
            Self::Validation(message)
            | Self::ActiveStatements(message)
            | Self::ActiveSessions(message)
            | Self::Internal(message)
            | Self::BatchExecuteStatement(message)
            | Self::DatabaseConnection(message)
            | Self::MissingAuthentication(message)
            | Self::IncompleteSignature(message)
            | Self::Serialization(message) => message.as_str(),
            Self::NotFound { message, id } => {
                return json!({"__type": self.name(), "Message": message, "ResourceId": id});
            }
            Self::Throttling => "Rate exceeded",
            Self::UnknownOperation => "",
        };
        json!({"__type": self.name(), "Message": message})
    }
}

/// Why a statement failed, as `DescribeStatement` shows it: `ERROR: ...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqlError(String);

impl SqlError {
    /// `message` without the `ERROR: ` before it.
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self(format!("ERROR: {message}"))
    }

    pub(crate) fn syntax(near: impl fmt::Display) -> Self {
        Self::new(format_args!("syntax error at or near \"{near}\""))
    }

    /// What Redshift has and this emulator lacks.
    pub(crate) fn lacking(what: impl fmt::Display) -> Self {
        Self::new(format_args!("the emulator lacks {what}"))
    }

    /// A decimal with more digits than its type has, or any has.
    pub(crate) fn numeric_overflow() -> Self {
        Self::new("Numeric data overflow (result precision)")
    }

    /// A transaction that lost against another one.
    pub(crate) fn serializable_violation() -> Self {
        Self(
            "ERROR: 1023\n  Detail: Serializable isolation violation on table - 100042, \
             transactions forming the cycle are: 1, 2 (pid:3)"
                .to_owned(),
        )
    }

    /// An error of a scan of files in S3, in the frame that Redshift puts around it.
    pub(crate) fn spectrum(code: u32, context: impl fmt::Display) -> Self {
        Self(format!(
            "ERROR: Spectrum Scan Error\n  Detail: \n  \
             -----------------------------------------------\n  \
             error:  Spectrum Scan Error\n  \
             code:      {code}\n  \
             context:   {context}\n  \
             query:     0\n  \
             location:  dory_util.cpp:1615\n  \
             process:   worker_thread [pid=0]\n  \
             -----------------------------------------------"
        ))
    }

    pub(crate) fn cancelled() -> Self {
        Self("ERROR: Query cancelled on user's request".to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SqlError {}

impl From<tokio_postgres::Error> for SqlError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            return Self::new(format_args!("connection to the database lost: {error}"));
        };
        let code = db.code();
        if *code == SqlState::T_R_SERIALIZATION_FAILURE {
            Self::serializable_violation()
        } else if *code == SqlState::T_R_DEADLOCK_DETECTED {
            Self::new("deadlock detected")
        } else if *code == SqlState::DIVISION_BY_ZERO {
            Self::new("Divide by zero")
        } else if *code == SqlState::QUERY_CANCELED {
            Self::cancelled()
        } else if *code == SqlState::NOT_NULL_VIOLATION {
            Self::new(format_args!(
                "Cannot insert a NULL value into column {}",
                db.column().unwrap_or("?")
            ))
        } else if *code == SqlState::NUMERIC_VALUE_OUT_OF_RANGE
            && db.message() == "numeric field overflow"
        {
            // A cast, or a value that its column has no room for.
            Self::numeric_overflow()
        } else if let Some(bytes) = db.constraint().and_then(byte_limit) {
            Self::new(format_args!(
                "value too long for type character varying({bytes})"
            ))
        } else if db
            .constraint()
            .is_some_and(|name| name.starts_with("redshift_decimal_"))
        {
            Self::numeric_overflow()
        } else {
            Self::new(db.message())
        }
    }
}

/// The limit in the name of a constraint that catalog.sql adds: the 256 of `redshift_bytes_256_3`.
fn byte_limit(constraint: &str) -> Option<&str> {
    constraint
        .strip_prefix("redshift_bytes_")?
        .split('_')
        .next()
}
