//! What DuckDB's errors mean to those who have to act on them.

use duckdb::Error;

/// Text of an error, without DuckDB's pointer into the SQL, which nobody but the loader has seen.
pub(crate) fn message(error: &Error) -> String {
    let text = error.to_string();
    let end = text.find("\n\nLINE ").unwrap_or(text.len());
    text[..end].trim_end().to_owned()
}

/// Whether the same thing can succeed later without anybody changing what is to be done: the disk is
/// full or fails, memory is short, another transaction was in the way.
pub(crate) fn is_transient(error: &Error) -> bool {
    let text = error.to_string();
    [
        "IO Error",
        "Out of Memory Error",
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

/// Whether an error says that another process has the database file.
pub(crate) fn is_locked(error: &Error) -> bool {
    error.to_string().contains("Could not set lock on file")
}
