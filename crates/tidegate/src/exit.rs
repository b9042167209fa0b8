//! How a command ends: exit codes, and errors that say what to do next.

use std::fmt::Display;
use std::process::ExitCode;

/// Exit codes. They are an interface: scripts and supervisors branch on them. `docs/cli.md` has the
/// same list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or stopped as asked.
    Success = 0,
    /// Failed, and none of the others says why.
    Failure = 1,
    /// The command line is wrong. Set by the argument parser.
    Usage = 2,
    /// Another process has this job, or the warehouse file.
    OtherWriter = 3,
    /// The commit log or a data file is damaged.
    LogDamaged = 4,
    /// Something outside is unavailable (broker, disk full); starting again later goes on where it
    /// was. `EX_TEMPFAIL`.
    Temporary = 75,
    /// The configuration is wrong. `EX_CONFIG`.
    InvalidConfig = 78,
    /// Stopped at once by a second Ctrl-C, or before the end by a first one: 128 + SIGINT.
    Interrupted = 130,
    /// Stopped at once by a second SIGTERM: 128 + SIGTERM.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Exit codes as `--help` shows them.
pub const HELP: &str = "\
Exit codes:
  0    done, or stopped as asked
  1    failed
  2    the command line is wrong
  3    another process has this job or its warehouse
  4    the commit log or a data file is damaged
  75   something outside is unavailable (broker, full disk): start again later
  78   the configuration is wrong
  130  stopped at once by a second Ctrl-C (143: by a second SIGTERM)";

/// Why a command failed: what and where, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The code that the process exits with.
    pub exit: Exit,
    /// What failed, and where.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure of a kind.
    pub fn new(exit: Exit, message: impl Display) -> Self {
        Failure {
            exit,
            message: message.to_string(),
            hint: None,
        }
    }

    /// A failure of no particular kind.
    pub fn other(message: impl Display) -> Self {
        Failure::new(Exit::Failure, message)
    }

    /// All of it in one line.
    pub fn in_a_line(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}; {hint}", self.message),
            None => self.message.clone(),
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  help: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// An error and its causes in one line: `what: why: why`. A cause that its effect quotes already is
/// left out.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
