//! Running other programs, and saying which one failed.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Why a command ended early, in words for the person who typed it.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One program to run.
pub(crate) struct Step(Command);

impl Step {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self(Command::new(program))
    }

    /// The cargo that called us, without what it told us about our own package: build scripts
    /// (ring's) watch these variables, and everything that depends on them would be compiled anew.
    pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Self {
        let mut step = Self::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).args(args);
        for (name, _) in env::vars_os() {
            let ours = |prefix| name.to_string_lossy().starts_with(prefix);
            if ours("CARGO_PKG_") || ours("CARGO_MANIFEST_") {
                step.0.env_remove(name);
            }
        }
        step
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.0.args(args);
        self
    }

    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.0.current_dir(folder);
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs it and shows what it prints.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        let status = self.0.status().map_err(|error| self.not_started(&error))?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure::new(format!("{} ended with {status}", self.line())))
        }
    }

    /// Runs it unseen; true where it ended well.
    pub(crate) fn succeeds(mut self) -> bool {
        self.0
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Runs it and returns what it wrote to standard output.
    pub(crate) fn output(mut self) -> Result<String, Failure> {
        let output = self
            .0
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| self.not_started(&error))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(Failure::new(format!(
                "{} ended with {}",
                self.line(),
                output.status
            )))
        }
    }

    /// Becomes it, so that Ctrl-C reaches it and nobody else.
    pub(crate) fn become_it(mut self) -> Result<(), Failure> {
        let error = self.0.exec();
        Err(self.not_started(&error))
    }

    fn not_started(&self, error: &std::io::Error) -> Failure {
        Failure::new(format!("cannot start {}: {error}", self.line()))
    }

    fn line(&self) -> String {
        let words = std::iter::once(self.0.get_program()).chain(self.0.get_args());
        let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
        format!("`{}`", words.join(" "))
    }
}
