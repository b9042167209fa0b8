//! Tokens as the configuration says them.

use std::fmt;
use std::path::PathBuf;

/// What the bearer of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Look at everything.
    Read,
    /// Send events.
    Ingest,
    /// Both, and what is added for operators.
    Admin,
}

impl Role {
    /// All roles, by the names that the configuration has for them.
    pub const NAMES: [(&'static str, Role); 3] = [
        ("read", Role::Read),
        ("ingest", Role::Ingest),
        ("admin", Role::Admin),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Ingest => "ingest",
            Role::Admin => "admin",
        }
    }

    /// Whether it includes another.
    pub(crate) fn includes(self, other: Role) -> bool {
        self == Role::Admin || self == other
    }
}

/// A token: who has it, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenOptions {
    /// Name of the bearer, for messages and limits.
    pub name: String,
    /// What the bearer may do.
    pub roles: Vec<Role>,
    /// What the bearer presents.
    pub secret: Secret,
}

/// Where a secret comes from. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// It is this.
    Text(String),
    /// It is the text of this file, without white space around it.
    File(PathBuf),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Text(_) => f.write_str("Text(********)"),
            Secret::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let token = TokenOptions {
            name: "ada".to_owned(),
            roles: vec![Role::Read],
            secret: Secret::Text("hunter2-hunter2-hunter2".to_owned()),
        };
        assert!(!format!("{token:?}").contains("hunter2"));
    }
}
