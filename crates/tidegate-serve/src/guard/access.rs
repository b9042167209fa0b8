//! The tokens that are known, and finding one without saying how close a guess was.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::token::{Role, Secret, TokenOptions};

/// Fewer bytes than these can be guessed.
const BYTES_MIN: usize = 16;
/// More bytes than these are no token, and are not hashed.
const BYTES_MAX: usize = 1024;

/// Why a token cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Its file cannot be read.
    #[error("cannot read the token `{name}` from {}: {source}", path.display())]
    File {
        /// Name of the token.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is too short, or too long.
    #[error(
        "the token `{name}` has {bytes} bytes, and needs {BYTES_MIN} to {BYTES_MAX}; make one with `openssl rand -hex 32`"
    )]
    Length {
        /// Name of the token.
        name: String,
        /// Its length.
        bytes: usize,
    },
    /// It has characters that a header cannot carry.
    #[error(
        "the token `{name}` has characters other than visible ASCII; make one with `openssl rand -hex 32`"
    )]
    Characters {
        /// Name of the token.
        name: String,
    },
    /// Two tokens are the same, so that it cannot be said whose a request is.
    #[error("the tokens `{first}` and `{second}` are the same; give each bearer one of their own")]
    Same {
        /// Name of one.
        first: String,
        /// Name of the other.
        second: String,
    },
}

/// A token that is known: its hash, so that the secret itself is nowhere in memory for long.
pub(super) struct Token {
    pub(super) name: Arc<str>,
    roles: Vec<Role>,
    hash: [u8; 32],
}

impl Token {
    pub(super) fn may(&self, needed: Role) -> bool {
        self.roles.iter().any(|role| role.includes(needed))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("name", &self.name)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

/// The tokens that are known.
#[derive(Debug)]
pub(super) struct Access(Vec<Token>);

impl Access {
    /// Reads the tokens.
    pub(super) fn open(options: &[TokenOptions]) -> Result<Self, AccessError> {
        let mut tokens: Vec<Token> = Vec::with_capacity(options.len());
        for option in options {
            let hash = hash(&read(option)?);
            if let Some(other) = tokens.iter().find(|token| token.hash == hash) {
                return Err(AccessError::Same {
                    first: other.name.to_string(),
                    second: option.name.clone(),
                });
            }
            tokens.push(Token {
                name: option.name.as_str().into(),
                roles: option.roles.clone(),
                hash,
            });
        }
        Ok(Access(tokens))
    }

    /// Whether nobody needs a token.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The token that was presented. It is compared with each by hash and in constant time, so that
    /// the time that this takes says nothing.
    pub(super) fn find(&self, presented: &[u8]) -> Option<&Token> {
        if presented.len() > BYTES_MAX {
            return None;
        }
        let presented = hash(presented);
        let mut found = None;
        for token in &self.0 {
            if bool::from(token.hash.ct_eq(&presented)) {
                found = Some(token);
            }
        }
        found
    }
}

fn hash(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

fn read(option: &TokenOptions) -> Result<Vec<u8>, AccessError> {
    let name = || option.name.clone();
    let secret = match &option.secret {
        Secret::Text(text) => text.trim().as_bytes().to_vec(),
        Secret::File(path) => std::fs::read(path)
            .map_err(|source| AccessError::File {
                name: name(),
                path: path.clone(),
                source,
            })?
            .trim_ascii()
            .to_vec(),
    };
    if !(BYTES_MIN..=BYTES_MAX).contains(&secret.len()) {
        return Err(AccessError::Length {
            name: name(),
            bytes: secret.len(),
        });
    }
    if !secret.iter().all(u8::is_ascii_graphic) {
        return Err(AccessError::Characters { name: name() });
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str, secret: &str, roles: &[Role]) -> TokenOptions {
        TokenOptions {
            name: name.to_owned(),
            roles: roles.to_vec(),
            secret: Secret::Text(secret.to_owned()),
        }
    }

    #[test]
    fn a_token_is_found_by_all_of_it() {
        let access = Access::open(&[
            token("ada", "0123456789abcdef", &[Role::Read]),
            token("bob", "fedcba9876543210", &[Role::Admin]),
        ])
        .unwrap();
        let ada = access.find(b"0123456789abcdef").unwrap();
        assert_eq!(&*ada.name, "ada");
        assert!(ada.may(Role::Read) && !ada.may(Role::Ingest) && !ada.may(Role::Admin));
        let bob = access.find(b"fedcba9876543210").unwrap();
        assert!(bob.may(Role::Read) && bob.may(Role::Ingest) && bob.may(Role::Admin));
        for wrong in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789ABCDEF",
        ] {
            assert!(access.find(wrong.as_bytes()).is_none(), "{wrong}");
        }
        assert!(access.find(&[b'a'; BYTES_MAX + 1]).is_none());
    }

    #[test]
    fn a_token_that_cannot_be_used_is_refused_without_being_shown() {
        let refused = |options: &[TokenOptions]| Access::open(options).unwrap_err().to_string();
        let short = refused(&[token("ada", "hunter2", &[Role::Read])]);
        assert!(
            short.contains("`ada`") && short.contains("7 bytes"),
            "{short}"
        );
        assert!(!short.contains("hunter2"), "{short}");
        let space = refused(&[token("ada", "hunter2 hunter2 hunter2", &[Role::Read])]);
        assert!(space.contains("visible ASCII"), "{space}");
        let twice = [
            token("ada", "0123456789abcdef", &[Role::Read]),
            token("bob", "0123456789abcdef", &[Role::Read]),
        ];
        assert!(refused(&twice).contains("`ada` and `bob`"));
    }

    #[test]
    fn a_token_comes_from_a_file_without_its_newline() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789abcdef\n").unwrap();
        let mut option = token("ada", "", &[Role::Read]);
        option.secret = Secret::File(file.path().to_owned());
        assert!(
            Access::open(&[option.clone()])
                .unwrap()
                .find(b"0123456789abcdef")
                .is_some()
        );
        option.secret = Secret::File("/no/such/file".into());
        let missing = Access::open(&[option]).unwrap_err().to_string();
        assert!(missing.contains("`ada` from /no/such/file"), "{missing}");
    }
}
