//! Who writes: one name for each process that opens a log.

use std::fmt;

use uuid::Uuid;

/// Names one opening of a log for writing: `host-pid-unique`, for example `host-1234-9f1c03ab`.
///
/// It is in each record, so that a process that lost a race can say to whom, and in the name of
/// each data file, so that two writers never put under the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterId(String);

impl WriterId {
    /// A new name, from this machine's host name, this process's id and 32 random bits.
    pub fn new() -> Self {
        let unique = Uuid::new_v4().as_fields().0;
        Self::from_parts(&host_name(), std::process::id(), unique)
    }

    /// The name made of these parts. For tests and for tools that need the same name twice.
    pub fn from_parts(host: &str, pid: u32, unique: u32) -> Self {
        let host: String = host
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '.' {
                    c
                } else {
                    '_'
                }
            })
            .take(64)
            .collect();
        WriterId(format!("{host}-{pid}-{unique:08x}"))
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The unique part alone: eight hexadecimal digits.
    pub fn unique(&self) -> &str {
        self.0.rsplit('-').next().unwrap_or_default()
    }
}

impl Default for WriterId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}
