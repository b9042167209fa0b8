//! Queries while the pipeline runs: a process that has the warehouse open answers them on a Unix
//! socket, because an embedded database can be opened by one process only.
//!
//! The socket's path follows from the database file's, so that whoever knows the file finds the
//! process. Its folder is for this user only. A request is one line of JSON. The answer is a sequence of
//! frames: a byte that says what it is, the length as four bytes (big-endian), and that many bytes.

use std::fs;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::sync::Semaphore;

use crate::cli::QueryFormat;

/// Queries that are answered at the same time; more wait.
const CONCURRENT_MAX: usize = 4;
/// Bytes of a request, at most.
const REQUEST_BYTES_MAX: u64 = 2 << 20;
/// Bytes of a frame, at most.
const FRAME_BYTES_MAX: usize = 64 << 10;
/// A client that neither asks nor takes its answer for so long is dropped.
const CLIENT_WAIT: Duration = Duration::from_secs(30);

/// Frame with a part of the rows.
const ROWS: u8 = b'r';
/// Last frame: there are no more rows.
const DONE: u8 = b'd';
/// Last frame: why there are no (more) rows.
const ERROR: u8 = b'e';

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// SQL.
    pub sql: String,
    /// Form of the answer.
    pub format: QueryFormat,
    /// The query is interrupted after so many milliseconds.
    pub timeout_ms: u64,
}

/// Answers a question by writing its rows as text. Blocks. The error is for the person who asked.
pub type Answer = Arc<dyn Fn(&Question, &mut dyn Write) -> Result<(), String> + Send + Sync>;

/// Where the process that has `database` open listens.
///
/// # Errors
/// The folder cannot be made, or is not this user's alone.
pub fn path(database: &Path) -> io::Result<PathBuf> {
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

/// A socket that listens, but does not answer yet. It is removed when this is dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Takes the socket of `database`. Only the process that has the database open may: what a dead
    /// one left behind is removed.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn bind(database: &Path) -> io::Result<Self> {
        let path = path(database)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(Server { listener, path })
    }

    /// Answers until the future is dropped.
    pub async fn serve(&self, answer: Answer) {
        let slots = Arc::new(Semaphore::new(CONCURRENT_MAX));
        loop {
            let accepted = self
                .listener
                .accept()
                .await
                .and_then(|(stream, _)| stream.into_std());
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a query");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            let answer = Arc::clone(&answer);
            tokio::task::spawn_blocking(move || {
                if let Err(error) = reply_to(&stream, &answer) {
                    tracing::debug!(%error, "a client went away before it had its answer");
                }
                drop(slot);
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // If it cannot be removed, the next process does.
        let _ = fs::remove_file(&self.path);
    }
}

fn reply_to(stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(CLIENT_WAIT))?;
    stream.set_write_timeout(Some(CLIENT_WAIT))?;
    let mut line = String::new();
    BufReader::new(stream)
        .take(REQUEST_BYTES_MAX)
        .read_line(&mut line)?;
    let question: Question = serde_json::from_str(&line)?;
    let mut out = BufWriter::with_capacity(FRAME_BYTES_MAX, Frames(stream));
    let outcome = answer(&question, &mut out);
    out.flush()?;
    match outcome {
        Ok(()) => write_frame(stream, DONE, &[]),
        Err(error) => {
            let end = error.len().min(FRAME_BYTES_MAX);
            write_frame(stream, ERROR, &error.as_bytes()[..end])
        }
    }
}

/// Writes rows as frames.
struct Frames<'a>(&'a UnixStream);

impl Write for Frames<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(FRAME_BYTES_MAX);
        write_frame(self.0, ROWS, &bytes[..length])?;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_frame(mut stream: &UnixStream, kind: u8, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut head = [kind, 0, 0, 0, 0];
    head[1..].copy_from_slice(&length.to_be_bytes());
    stream.write_all(&head)?;
    stream.write_all(bytes)
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No process listens: the file can be opened directly.
    #[error("no process has the warehouse open")]
    NotRunning,
    /// The query failed.
    #[error("{0}")]
    Query(String),
    /// Whoever takes the rows failed.
    #[error("cannot write the answer: {0}")]
    Out(io::Error),
    /// The process went away in the middle.
    #[error("the process that has the warehouse open does not answer: {0}")]
    Io(#[from] io::Error),
}

/// Asks the process that has `database` open, and writes the rows to `out` as they come.
///
/// # Errors
/// There is none, or it has no answer.
pub fn ask(database: &Path, question: &Question, out: &mut dyn Write) -> Result<(), AskError> {
    let stream = match UnixStream::connect(path(database)?) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Err(AskError::NotRunning);
        }
        Err(error) => return Err(error.into()),
    };
    let mut line = serde_json::to_vec(question).map_err(io::Error::from)?;
    line.push(b'\n');
    (&stream).write_all(&line)?;
    let mut reader = BufReader::new(&stream);
    let mut bytes = Vec::new();
    loop {
        let mut head = [0; 5];
        reader.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it sent a frame that is too large",
            )
            .into());
        }
        bytes.resize(length, 0);
        reader.read_exact(&mut bytes)?;
        match head[0] {
            ROWS => out.write_all(&bytes).map_err(AskError::Out)?,
            DONE => return Ok(()),
            ERROR => {
                return Err(AskError::Query(
                    String::from_utf8_lossy(&bytes).into_owned(),
                ));
            }
            _ => {
                return Err(
                    io::Error::new(io::ErrorKind::InvalidData, "it sent an unknown frame").into(),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask_text(database: &Path, sql: &str) -> Result<String, AskError> {
        let question = Question {
            sql: sql.to_owned(),
            format: QueryFormat::Csv,
            timeout_ms: 1_000,
        };
        let mut out = Vec::new();
        ask(database, &question, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_question_is_answered_while_the_server_lives() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.duckdb");
        assert!(matches!(
            ask_text(&database, "x"),
            Err(AskError::NotRunning)
        ));
        let server = Server::bind(&database).unwrap();
        let answer: Answer = Arc::new(|question, out| match question.sql.as_str() {
            "bad" => Err("no such table".to_owned()),
            "long" => out
                .write_all(&vec![b'x'; 300_000])
                .map_err(|e| e.to_string()),
            sql => write!(out, "{sql} {:?}", question.format).map_err(|e| e.to_string()),
        });
        let serving = tokio::spawn(async move { server.serve(answer).await });
        assert_eq!(ask_text(&database, "x\ny").unwrap(), "x\ny Csv");
        assert_eq!(ask_text(&database, "long").unwrap().len(), 300_000);
        let error = ask_text(&database, "bad").unwrap_err();
        assert!(
            matches!(&error, AskError::Query(text) if text == "no such table"),
            "{error}"
        );
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
