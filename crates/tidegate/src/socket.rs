//! Queries while the pipeline runs: a process that has the warehouse open answers them on a Unix
//! socket, because an embedded database can be opened by one process only.
//!
//! The socket's path follows from the database file's, so that whoever knows the file finds the
//! process. Its folder is for this user only. A request is one line of JSON. The answer is a
//! sequence of frames: a byte that says what it is, the length as four bytes (big-endian), and that
//! many bytes. Until there are rows, a frame without any comes every second, so that whoever asks
//! can tell a long question from a process that was stopped.

use std::fs;
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cli::QueryFormat;

/// Queries that are answered at the same time; more wait.
const CONCURRENT_MAX: usize = 4;
/// Bytes of a request, at most.
const REQUEST_BYTES_MAX: u64 = 2 << 20;
/// Bytes of a frame, at most.
const FRAME_BYTES_MAX: usize = 64 << 10;
/// A client that neither asks nor takes its answer for so long is dropped.
const CLIENT_WAIT: Duration = Duration::from_secs(30);
/// A client that waits for rows is sent an empty frame so often: it knows that somebody is there.
const BEAT: Duration = Duration::from_secs(1);
/// A process that says nothing for so long does not answer.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);

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
        let mut clients = JoinSet::new();
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a query");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            while clients.try_join_next().is_some() {}
            let (answer, slots) = (Arc::clone(&answer), Arc::clone(&slots));
            clients.spawn(async move {
                if let Err(error) = reply_to(stream, answer, slots).await {
                    tracing::debug!(%error, "a client went away before it had its answer");
                }
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

/// What a frame is, and what it holds.
type Frame = (u8, Vec<u8>);

async fn reply_to(stream: UnixStream, answer: Answer, slots: Arc<Semaphore>) -> io::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut line = String::new();
    let mut from = BufReader::new(from.take(REQUEST_BYTES_MAX));
    timeout(CLIENT_WAIT, from.read_line(&mut line)).await??;
    let question: Question = serde_json::from_str(&line)?;
    let mut slot = pin!(slots.acquire_owned());
    let slot = loop {
        match timeout(BEAT, slot.as_mut()).await {
            Ok(slot) => break slot.map_err(io::Error::other)?,
            Err(_) => write_frame(&mut to, &(ROWS, Vec::new())).await?,
        }
    };
    let (sender, mut frames) = mpsc::channel(1);
    tokio::task::spawn_blocking(move || {
        let _slot = slot;
        let mut out = BufWriter::with_capacity(FRAME_BYTES_MAX, Frames(sender.clone()));
        let outcome = answer(&question, &mut out);
        let last = match (outcome, out.flush()) {
            (Ok(()), Ok(())) => (DONE, Vec::new()),
            (Err(error), Ok(())) => (ERROR, error.into_bytes()),
            // The client has gone.
            (_, Err(_)) => return,
        };
        let _ = sender.blocking_send(last);
    });
    loop {
        match timeout(BEAT, frames.recv()).await {
            Ok(Some(frame)) => write_frame(&mut to, &frame).await?,
            Ok(None) => return Ok(()),
            Err(_) => write_frame(&mut to, &(ROWS, Vec::new())).await?,
        }
    }
}

/// Hands rows on as frames.
struct Frames(mpsc::Sender<Frame>);

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(FRAME_BYTES_MAX);
        let frame = (ROWS, bytes[..length].to_vec());
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(frame).map_err(gone)?;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn write_frame(to: &mut OwnedWriteHalf, (kind, bytes): &Frame) -> io::Result<()> {
    let bytes = &bytes[..bytes.len().min(FRAME_BYTES_MAX)];
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(5 + bytes.len());
    frame.push(*kind);
    frame.extend(length.to_be_bytes());
    frame.extend(bytes);
    timeout(CLIENT_WAIT, to.write_all(&frame)).await?
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
    /// A process listens, and says nothing.
    #[error("it has said nothing for {} s", SILENCE_MAX.as_secs())]
    Silent,
    /// The process went away in the middle.
    #[error("the process that has the warehouse open does not answer: {0}")]
    Io(io::Error),
}

impl From<io::Error> for AskError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // How a socket's own time ends.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::Silent,
            _ => AskError::Io(error),
        }
    }
}

/// Connects. Where a process has been silent for long, and its queue is full, the system would wait
/// for ever.
fn connect(path: PathBuf) -> Result<net::UnixStream, AskError> {
    let (sender, connected) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(net::UnixStream::connect(path)));
    match connected.recv_timeout(SILENCE_MAX) {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Err(AskError::NotRunning),
            _ => Err(error.into()),
        },
        Err(_) => Err(AskError::Silent),
    }
}

/// Asks the process that has `database` open, and writes the rows to `out` as they come.
///
/// # Errors
/// There is none, or it has no answer.
pub fn ask(database: &Path, question: &Question, out: &mut dyn Write) -> Result<(), AskError> {
    let stream = connect(path(database)?)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    let mut line = serde_json::to_vec(question).map_err(io::Error::from)?;
    line.push(b'\n');
    (&stream).write_all(&line)?;
    let mut reader = io::BufReader::new(&stream);
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
