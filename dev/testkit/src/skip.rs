//! Tests that cannot run here count themselves.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::thread;

/// Says that the calling test is skipped, and why: on standard error, past the test runner's
/// capture, and in the file that `TIDEGATE_TEST_SKIPPED` names, from which `cargo xtask test`
/// counts. The test then returns.
///
/// # Panics
///
/// If the file cannot be written.
pub fn skip(reason: &str) {
    let thread = thread::current();
    let line = format!("{}: {reason}\n", thread.name().unwrap_or("a test"));
    // Each in one write, so that lines of tests that run side by side do not mix. Nobody to tell
    // where standard error is closed.
    let _ = io::stderr().write_all(format!("skipped {line}").as_bytes());
    if let Some(path) = env::var_os("TIDEGATE_TEST_SKIPPED").filter(|path| !path.is_empty()) {
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.unwrap_or_else(|error| panic!("cannot write to {}: {error}", path.display()));
    }
}

/// As [`skip`], for a test that only root can run: `what` is what is not allowed. `cargo xtask
/// test` counts these apart, and lets them be skipped.
///
/// # Panics
///
/// As [`skip`].
pub fn skip_for_root(what: &str) {
    skip(&format!("{what}: that needs root"));
}
