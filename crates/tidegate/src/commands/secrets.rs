//! Secrets in files that others can read.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tidegate_serve::Secret;

use crate::config::{LoadedConfig, show};

/// Permissions of others than the owner to read.
const READ_BY_OTHERS: u32 = 0o044;

/// A warning for each file that holds a secret of this configuration, and that others can read.
pub(super) fn warnings(config: &Path, loaded: &LoadedConfig) -> String {
    let guard = &loaded.config.http_guard;
    let tokens = guard.tokens.iter().filter_map(|token| match &token.secret {
        Secret::File(path) => Some((&**path, "a token (http.tokens.token-file)")),
        Secret::Text(_) => None,
    });
    let key = guard
        .tls
        .as_ref()
        .map(|tls| (&*tls.key, "a private key (http.tls.key)"));
    let file = show::has_secrets(&loaded.tree).then_some((
        config,
        "a secret; take it from the environment: \"${VARIABLE}\"",
    ));
    let mut out = String::new();
    for (path, what) in tokens.chain(key).chain(file) {
        // One that cannot be looked at is an error where it is read.
        let Ok(metadata) = fs::metadata(path) else {
            continue;
        };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & READ_BY_OTHERS != 0 {
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "warning: other users can read {path} (mode {mode:04o}), and it holds {what}\n  help: chmod 600 {path}",
                path = path.display()
            );
        }
    }
    out
}
