//! Which Redshift, who asks it, and how its tables are laid out.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_storage::Keys;

use crate::table::check_redshift_name;

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
    /// What becomes of a row whose text does not fit into a column that cannot be widened.
    pub too_long: TooLong,
    /// How instants are stored in the files.
    pub timestamps: Timestamps,
    /// Longest wait for a statement; then it is cancelled, and the ledger is asked.
    pub timeout: Duration,
    /// Keys for tests; `None`: the AWS credential chain (environment, profile, web identity,
    /// container, instance). There is no setting for them in configuration files.
    pub keys: Option<Keys>,
}

impl RedshiftOptions {
    /// Checks the names that Redshift is asked by.
    ///
    /// # Errors
    /// The setting of the first one that it would not keep as it is, and what is wrong with it.
    pub fn check_names(&self) -> Result<(), (&'static str, String)> {
        let of = |setting| move |message| (setting, message);
        for (what, name) in [("a database", &self.database), ("a schema", &self.schema)] {
            check_redshift_name(what, name).map_err(of("warehouse.url"))?;
        }
        match &self.identity {
            Identity::DbUser(user) => {
                check_redshift_name("a user", user).map_err(of("redshift.db-user"))
            }
            Identity::Iam | Identity::Secret(_) => Ok(()),
        }
    }
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

/// How instants are stored in the files that `COPY` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timestamps {
    /// Microseconds, marked as UTC.
    #[default]
    Int64,
    /// The older form of twelve bytes, for clusters that misread the other one.
    Int96,
}

/// What becomes of a row whose text does not fit into a column that cannot be widened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TooLong {
    /// It goes to the rejected table, with the reason `text.too_long`.
    #[default]
    Reject,
    /// The text is cut to the column's width. A key never is: its row is rejected.
    Cut,
}

/// How new tables of events are distributed and sorted, and how wide their text columns are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// Distribution.
    pub dist: Distribution,
    /// Columns of a compound sort key; empty for `SORTKEY AUTO`.
    pub sort_key: Vec<String>,
    /// Bytes of a text column, by its name, in whichever table; others have [`VARCHAR_MAX`], and so
    /// have keys.
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

/// The most bytes that a text column can have, and what a column has that the configuration does
/// not size: a column that a view uses cannot be widened, so widening has to be the exception.
pub const VARCHAR_MAX: u32 = 65_535;
