//! Counts the instructions of a program with callgrind, a tool of valgrind.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Why nothing was counted.
#[derive(Debug)]
pub enum NotCounted {
    /// There is no valgrind on this machine: the package `valgrind` has it.
    NoValgrind,
    /// Valgrind could not be started, for another reason.
    NotStarted(io::Error),
    /// The program failed, or callgrind saw none of the functions that it was told to count. This
    /// is what valgrind wrote.
    Nothing(String),
}

impl fmt::Display for NotCounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotCounted::NoValgrind => f.write_str("there is no valgrind: install it"),
            NotCounted::NotStarted(error) => write!(f, "cannot start valgrind: {error}"),
            NotCounted::Nothing(log) => write!(
                f,
                "valgrind counted nothing; did the program fail, or was a function renamed? {log}"
            ),
        }
    }
}

impl std::error::Error for NotCounted {}

/// Runs `program` under callgrind with these further `options` of it, and returns how many
/// instructions were counted: all of them, or with `--toggle-collect=FUNCTION` those of a function
/// and of what it calls.
///
/// What the program prints is thrown away.
///
/// # Errors
///
/// [`NotCounted`], also where the count is zero.
pub fn instructions(program: &Command, options: &[String]) -> Result<u64, NotCounted> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("tidegate-callgrind-{}-{number}", process::id());
    let log = env::temp_dir().join(name);
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--log-file={}", log.display()))
        .args(options)
        .arg(program.get_program())
        .args(program.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => valgrind.env(name, value),
            None => valgrind.env_remove(name),
        };
    }
    if let Some(folder) = program.get_current_dir() {
        valgrind.current_dir(folder);
    }
    let status = valgrind.status().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NotCounted::NoValgrind,
        _ => NotCounted::NotStarted(error),
    })?;
    let text = fs::read_to_string(&log).unwrap_or_default();
    // A log that stays is the system's to clean.
    let _ = fs::remove_file(&log);
    let count = text
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .and_then(|(_, count)| count.trim().parse().ok())
        .filter(|count| *count > 0 && status.success());
    count.ok_or(NotCounted::Nothing(text))
}
