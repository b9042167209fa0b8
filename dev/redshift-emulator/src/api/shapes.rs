//! What callers send and get, in the Data API's spelling.

use serde::{Deserialize, Serialize};

/// A named parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SqlParameter {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// Who asks, and for which database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RequestTarget {
    pub(crate) cluster_identifier: Option<String>,
    pub(crate) workgroup_name: Option<String>,
    pub(crate) secret_arn: Option<String>,
    pub(crate) db_user: Option<String>,
    pub(crate) database: Option<String>,
}

/// ExecuteStatement and BatchExecuteStatement: one has `sql`, the other `sqls`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Submit {
    #[serde(flatten)]
    pub(crate) target: RequestTarget,
    pub(crate) sql: Option<String>,
    pub(crate) sqls: Option<Vec<String>>,
    pub(crate) parameters: Option<Vec<SqlParameter>>,
    pub(crate) statement_name: Option<String>,
    pub(crate) client_token: Option<String>,
    pub(crate) result_format: Option<String>,
    pub(crate) session_keep_alive_seconds: Option<i64>,
    pub(crate) session_id: Option<String>,
    pub(crate) execution_mode: Option<ExecutionMode>,
    pub(crate) wait_time_seconds: Option<i64>,
}

/// How a batch runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ExecutionMode {
    #[default]
    Transaction,
    AutoCommit,
}

/// DescribeStatement, GetStatementResult, CancelStatement.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ById {
    pub(crate) id: Option<String>,
    pub(crate) next_token: Option<String>,
    pub(crate) wait_time_seconds: Option<i64>,
}

/// ListStatements.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListStatements {
    pub(crate) next_token: Option<String>,
    pub(crate) max_results: Option<i64>,
    pub(crate) statement_name: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) cluster_identifier: Option<String>,
    pub(crate) workgroup_name: Option<String>,
}

/// ListDatabases, ListSchemas, ListTables, DescribeTable.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Metadata {
    #[serde(flatten)]
    pub(crate) target: RequestTarget,
    pub(crate) schema_pattern: Option<String>,
    pub(crate) table_pattern: Option<String>,
    pub(crate) schema: Option<String>,
    pub(crate) table: Option<String>,
    pub(crate) next_token: Option<String>,
    pub(crate) max_results: Option<i64>,
}

/// One value of a result.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Field {
    IsNull(bool),
    BooleanValue(bool),
    LongValue(i64),
    DoubleValue(f64),
    StringValue(String),
}

/// What is known of a result's column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ColumnMetadata {
    pub(crate) is_case_sensitive: bool,
    pub(crate) is_currency: bool,
    pub(crate) is_signed: bool,
    pub(crate) label: String,
    pub(crate) name: String,
    pub(crate) nullable: i32,
    pub(crate) precision: i32,
    pub(crate) scale: i32,
    pub(crate) schema_name: String,
    pub(crate) table_name: String,
    pub(crate) type_name: String,
    pub(crate) length: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column_default: Option<String>,
}
