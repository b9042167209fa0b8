//! What DuckDB's errors mean to those who have to act on them.

use duckdb::Error;

use crate::load::OUT_OF_MEMORY;

/// Text of an error, without DuckDB's pointer into the SQL, which nobody but the loader has seen.
pub(crate) fn message(error: &Error) -> String {
    let text = error.to_string();
    let end = text.find("\n\nLINE ").unwrap_or(text.len());
    in_words(text[..end].trim_end())
}

/// What DuckDB says, where it names what nobody can change here, or means something else.
pub(crate) fn in_words(text: &str) -> String {
    const TOO_DEEP: &str = "the statement is nested too deep: use fewer parentheses, or ask in \
                            several questions";
    let marks = ["max_expression_depth", "memory exhausted at or near"];
    match marks.iter().any(|mark| text.contains(mark)) {
        true => TOO_DEEP.to_owned(),
        false => text.to_owned(),
    }
}

/// Whether the same thing can succeed later without anybody changing what is to be done: the disk
/// is full or fails, memory is short, another transaction was in the way.
pub(crate) fn is_transient(error: &Error) -> bool {
    let text = error.to_string();
    [
        "IO Error",
        OUT_OF_MEMORY,
        "TransactionContext Error",
        "No space left",
        "FATAL Error",
    ]
    .iter()
    .any(|mark| text.contains(mark))
        || is_invalidated(error)
}

/// Whether DuckDB has given this database up until it is opened again.
pub(crate) fn is_invalidated(error: &Error) -> bool {
    let text = error.to_string();
    text.contains("database has been invalidated") || text.contains("FATAL Error")
}

/// Who holds the lock of a database file, if an error says so: `/usr/bin/duckdb (PID 1234)`.
pub(crate) fn lock_holder(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("Conflicting lock is held in ")?;
    let end = rest.find(')').map_or(rest.len(), |end| end + 1);
    Some(rest[..end].trim())
}

/// Who holds the lock, with the first two words of its command: whether it is a query or a run. The
/// rest stays out, because it can hold secrets.
pub(crate) fn with_command(holder: &str) -> String {
    let pid = holder
        .split_once("PID ")
        .map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect());
    let command = pid.and_then(|pid: String| std::fs::read(format!("/proc/{pid}/cmdline")).ok());
    let words: Vec<_> = command
        .iter()
        .flat_map(|bytes| bytes.split(|byte| *byte == 0).take(2))
        .map(String::from_utf8_lossy)
        .collect();
    match words.join(" ").trim() {
        "" => holder.to_owned(),
        words => format!("{holder}, `{words}`"),
    }
}

/// Whether an error says that another process has the database file.
pub(crate) fn is_locked(error: &Error) -> bool {
    error.to_string().contains("Could not set lock on file")
}
