//! Which Redshift, who asks it, and how its tables are laid out.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_log::Keys;

/// What a Redshift warehouse is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedshiftOptions {
    /// What runs the SQL.
    pub target: Target,
    /// Who runs it.
    pub identity: Identity,
    /// Database.
    pub database: String,
    /// Schema of the tables; it has to be there.
    pub schema: String,
    /// Role with which `COPY` reads the files: an ARN, or `default` for the cluster's own.
    pub iam_role: String,
    /// AWS region; none to take it from the environment or the profile.
    pub region: Option<String>,
    /// Another endpoint of the Data API, such as a VPC endpoint or an emulator.
    pub endpoint: Option<String>,
    /// Layout of new tables of events; other tables keep Redshift's automatic one.
    pub layout: Layout,
    /// Longest wait for a statement; then it is cancelled, and the ledger is asked.
    pub timeout: Duration,
    /// Keys for tests; `None`: the AWS credential chain (environment, profile, web identity, container,
    /// instance). There is no setting for them in configuration files.
    pub keys: Option<Keys>,
}

/// What runs the SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A Serverless workgroup, by name.
    Workgroup(String),
    /// A provisioned cluster, by identifier.
    Cluster(String),
}

/// Who runs the SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Whoever the AWS credentials are of.
    Iam,
    /// A database user of a provisioned cluster, with temporary credentials.
    DbUser(String),
    /// User and password in a secret of Secrets Manager, by ARN.
    Secret(String),
}

/// How new tables of events are distributed and sorted, and how wide their text columns are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// Distribution.
    pub dist: Distribution,
    /// Columns of a compound sort key; empty for `SORTKEY AUTO`.
    pub sort_key: Vec<String>,
    /// Bytes of a text column, by its name, in whichever table; others have [`VARCHAR_DEFAULT`] and grow where needed.
    pub varchar: BTreeMap<String, u32>,
}

/// How a table's rows are spread over the slices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Distribution {
    /// Redshift decides.
    #[default]
    Auto,
    /// Evenly.
    Even,
    /// A copy on every node.
    All,
    /// By a column.
    Key(String),
}

/// Bytes of a text column that the configuration does not size. A value that does not fit widens it.
pub const VARCHAR_DEFAULT: u32 = 256;
/// The most bytes that a text column can have.
pub const VARCHAR_MAX: u32 = 65_535;
