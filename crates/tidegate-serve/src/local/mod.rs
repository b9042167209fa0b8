//! Questions from the same machine: HTTP on a Unix socket. One process only can have an embedded
//! database open, and `tidegate query` asks that one.
//!
//! The socket's path follows from the database file's, so that whoever knows the file finds the
//! process. Its folder is for this user only. `POST /query` takes a [`LocalQuery`] and answers with
//! the rows as text, as they come; what goes wrong after the first of them is in a trailer. Whoever
//! hears nothing for a while asks `GET /alive`, to tell a long question from a process that was
//! stopped.

mod client;
mod server;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_warehouse::format::Format;

pub use client::{AskError, ask};
pub use server::LocalServer;

/// A process that says nothing for so long does not answer.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Trailer that says why there are no (more) rows: a text in JSON.
const ERROR: &str = "tidegate-error";
const QUERY: &str = "/query";
const ALIVE: &str = "/alive";

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalQuery {
    /// SQL.
    pub sql: String,
    /// Form of the answer.
    pub format: Format,
    /// The query is interrupted after so many milliseconds.
    pub timeout_ms: u64,
}

/// Answers a question by writing its rows as text. Blocks. What it is given last is gone once
/// nobody waits for the answer. The error is for the person who asked.
pub type QueryHandler =
    Arc<dyn Fn(&LocalQuery, &mut dyn Write, Weak<()>) -> Result<(), String> + Send + Sync>;

/// Where the process that has `database` open listens.
///
/// # Errors
/// The folder cannot be made, or is not this user's alone.
fn path(database: &Path) -> io::Result<PathBuf> {
    let base = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute() && dir.is_dir())
        .unwrap_or_else(|| PathBuf::from("/tmp"));
    let user = rustix::process::geteuid().as_raw();
    let folder = base.join(format!("tidegate-{user}"));
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // In /tmp somebody else could have made it first.
    let found = fs::symlink_metadata(&folder)?;
    if !found.is_dir() || found.uid() != user || found.mode() & 0o077 != 0 {
        let message = format!(
            "{} is not a folder of this user alone (mode 0700); remove it",
            folder.display()
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    let name = xxhash_rust::xxh3::xxh3_128(canonical(database).as_os_str().as_encoded_bytes());
    Ok(folder.join(format!("{name:032x}.sock")))
}

/// The one path of a file, which need not be there yet.
fn canonical(database: &Path) -> PathBuf {
    if let Ok(path) = fs::canonicalize(database) {
        return path;
    }
    let parent = database
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    match (fs::canonicalize(parent), database.file_name()) {
        (Ok(parent), Some(name)) => parent.join(name),
        _ => std::path::absolute(database).unwrap_or_else(|_| database.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask_text(database: &Path, sql: &str) -> Result<String, AskError> {
        let question = LocalQuery {
            sql: sql.to_owned(),
            format: Format::Csv,
            timeout_ms: 1_000,
        };
        let database = database.to_owned();
        let asking = std::thread::spawn(move || {
            let mut out = Vec::new();
            ask(&database, &question, &mut out).map(|()| String::from_utf8(out).unwrap())
        });
        asking.join().unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_question_is_answered_while_the_server_lives() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.duckdb");
        assert!(matches!(
            ask_text(&database, "x"),
            Err(AskError::NotRunning)
        ));
        let server = LocalServer::bind(&database).unwrap();
        let answer: QueryHandler = Arc::new(|question, out, _| match question.sql.as_str() {
            "bad" => Err("no such table: \"ä\"\n ^".to_owned()),
            "half" => out
                .write_all(&vec![b'x'; 300_000])
                .map_err(|e| e.to_string())
                .and(Err("it took too long".to_owned())),
            "gone" => panic!("as it would not"),
            "slow" => {
                std::thread::sleep(SILENCE_MAX + Duration::from_secs(1));
                Ok(())
            }
            "long" => out
                .write_all(&vec![b'x'; 300_000])
                .map_err(|e| e.to_string()),
            sql => write!(out, "{sql} {:?}", question.format).map_err(|e| e.to_string()),
        });
        let serving = tokio::spawn(async move { server.serve(answer).await });
        assert_eq!(ask_text(&database, "x\ny").unwrap(), "x\ny Csv");
        assert_eq!(ask_text(&database, "long").unwrap().len(), 300_000);
        for (sql, said) in [
            ("bad", "no such table: \"ä\"\n ^"),
            ("half", "it took too long"),
        ] {
            let error = ask_text(&database, sql).unwrap_err();
            assert!(
                matches!(&error, AskError::Query(text) if text == said),
                "{error}"
            );
        }
        let error = ask_text(&database, "gone").unwrap_err();
        assert!(matches!(&error, AskError::Io(_)), "{error}");
        // Somebody is there.
        assert_eq!(ask_text(&database, "slow").unwrap(), "");
        serving.abort();
        assert!(serving.await.is_err());
        assert!(matches!(
            ask_text(&database, "x"),
            Err(AskError::NotRunning)
        ));
    }

    #[test]
    fn a_file_has_one_socket_however_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let plain = path(&folder.path().join("a.duckdb")).unwrap();
        assert_eq!(path(&folder.path().join("./a.duckdb")).unwrap(), plain);
        assert_ne!(path(&folder.path().join("b.duckdb")).unwrap(), plain);
    }
}
