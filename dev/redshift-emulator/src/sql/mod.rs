//! Redshift's SQL over PostgreSQL: what is the same passes, what is spelled differently is
//! translated, what Redshift refuses is refused.

mod alter;
pub(crate) mod expressions;
pub(crate) mod parameters;
mod paths;
mod plan;
pub(crate) mod reserved;
mod rewrite;
mod select;
mod show;
pub(crate) mod table;
pub(crate) mod tokens;
mod types;

pub(crate) use plan::{Action, Plan};
