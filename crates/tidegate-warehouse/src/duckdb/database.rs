//! One open database file: connections for the loader and for readers, and opening it again.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{
    Arc, LazyLock, Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, TryLockError,
};
use std::time::{Duration, Instant};
use std::{fmt, fs};

use duckdb::{AccessMode, Config, Connection, InterruptHandle};

use tidegate_base::lock::{lock, read, write};

use super::error::{is_locked, lock_holder, message, with_command};
use super::make::make_if_absent;
use super::sql;
use crate::tree::Functions;

/// How long another process may keep the file that is to be opened for writing.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Time between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// Longest wait for questions to end that a load is to be done without.
const WAY_WAIT: Duration = Duration::from_secs(10);
/// Time between two looks at whether all questions have ended.
const WAY_PAUSE: Duration = Duration::from_millis(10);

/// How long a question takes at most to say that it found no memory.
const UNWINDING: Duration = Duration::from_secs(1);

/// What DuckDB may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DuckDbOptions {
    /// Most memory that DuckDB uses before it spills to disk, in bytes; none for its default, which
    /// is 80 % of the machine's.
    pub memory_limit_bytes: Option<usize>,
    /// Number of threads; none for all cores.
    pub threads: Option<usize>,
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// Another process has it.
    #[error(
        "the database {path} is in use by another process{}; DuckDB lets one process in at a time: stop that \
         process, or ask it for its data", .holder.as_ref().map(|h| format!(", {h}")).unwrap_or_default(),
        path = .path.display()
    )]
    Locked {
        /// The file.
        path: PathBuf,
        /// Program, process number and command, as far as they are known.
        holder: Option<String>,
    },
    /// This process has it open already.
    #[error("the database {} is open in this process already; use the reader of the one who has it", .path.display())]
    OpenHere {
        /// The file.
        path: PathBuf,
    },
    /// It is to be read and is not there.
    #[error("there is no database {}; it is made when the pipeline has loaded something", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot make the folder of the database {path}: {source}", path = .path.display())]
    Folder {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file system refused.
    #[error("cannot make the database {path}: {source}", path = .path.display())]
    Make {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder that the database reads from cannot be named in SQL.
    #[error("the path {} is not UTF-8; move the storage to one that is", .folder.display())]
    Path {
        /// The folder.
        folder: PathBuf,
    },
    /// DuckDB refused.
    #[error("cannot open the database {path}: {message}", path = .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What DuckDB says.
        message: String,
    },
}

/// Files that are open in this process. The operating system's lock keeps other processes out, but
/// not a second instance in the same process, which would destroy the file.
static OPEN_FILES: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

fn open_files() -> MutexGuard<'static, HashSet<PathBuf>> {
    lock(&OPEN_FILES)
}

/// A file's place in [`OPEN_FILES`].
#[derive(Debug)]
struct Claim(PathBuf);

impl Claim {
    fn new(path: &Path) -> Result<Self, DatabaseError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
        let path = match (folder, path.file_name()) {
            (Some(folder), Some(file)) => folder.join(file),
            _ => path,
        };
        if open_files().insert(path.clone()) {
            Ok(Claim(path))
        } else {
            Err(DatabaseError::OpenHere { path })
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        open_files().remove(&self.0);
    }
}

/// An open database file. It is closed when the loader and all readers have let go of it.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    access: Access,
    options: DuckDbOptions,
    /// Folders that statements can read from; see [`close_off`].
    folders: Vec<PathBuf>,
    /// Others are cloned from it; none only if opening it again has failed.
    base: Mutex<Option<Connection>>,
    /// Held for reading by whoever uses a connection, and for writing to open the file again, which
    /// can be done only when the last connection is closed.
    in_use: RwLock<()>,
    /// Held by who begins to read, for a moment, and by a load that nobody may read beside.
    door: Mutex<()>,
    /// Questions that run.
    questions: Mutex<Vec<Arc<RunningQuery>>>,
    loads: Mutex<Loads>,
    /// Nothing makes a function while the database is open.
    functions: OnceLock<Functions>,
    /// None in memory.
    _claim: Option<Claim>,
}

/// What a database is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// A question that runs.
struct RunningQuery {
    interrupt: Arc<InterruptHandle>,
    /// Whether it was ended because of a load.
    gave_way: AtomicBool,
}

impl fmt::Debug for RunningQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningQuery").finish_non_exhaustive()
    }
}

/// A question that is noted as one that runs.
#[derive(Debug)]
pub(crate) struct Asking<'a> {
    database: &'a Database,
    question: Arc<RunningQuery>,
}

impl Asking<'_> {
    /// Whether it was ended because a load needed the memory.
    pub(crate) fn gave_way(&self) -> bool {
        self.question.gave_way.load(Ordering::Acquire)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut questions = self.database.questions();
        questions.retain(|question| !Arc::ptr_eq(question, &self.question));
    }
}

/// Loads that run.
#[derive(Debug, Default)]
struct Loads {
    running: usize,
    /// When the last one ended.
    ended: Option<Instant>,
}

/// A load that is noted as one that runs.
#[derive(Debug)]
pub(crate) struct Loading<'a>(&'a Database);

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        let mut loads = self.0.loads();
        loads.running -= 1;
        loads.ended = Some(Instant::now());
    }
}

impl Database {
    /// Statements can reach the database's own files and what is below `folders`, and nothing else.
    pub(crate) fn open(
        path: &Path,
        access: Access,
        options: &DuckDbOptions,
        folders: Vec<PathBuf>,
    ) -> Result<Arc<Self>, DatabaseError> {
        if access == Access::Read && !path.exists() {
            return Err(DatabaseError::Missing {
                path: path.to_owned(),
            });
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|source| DatabaseError::Folder {
                path: path.to_owned(),
                source,
            })?;
        }
        let claim = Claim::new(path)?;
        let connection = match access {
            Access::Read => connect(path, access, options)?,
            Access::Write => {
                make_if_absent(path, options)?;
                connect_when_free(path, options)?
            }
        };
        close_off(path, &connection, &folders)?;
        Ok(Arc::new(Database {
            path: path.to_owned(),
            access,
            options: options.clone(),
            folders,
            base: Mutex::new(Some(connection)),
            in_use: RwLock::new(()),
            door: Mutex::default(),
            questions: Mutex::default(),
            loads: Mutex::default(),
            functions: OnceLock::new(),
            _claim: Some(claim),
        }))
    }

    /// A new and empty database in memory. It cannot be opened again, and is not closed off yet.
    pub(crate) fn in_memory(options: &DuckDbOptions) -> Result<Arc<Self>, DatabaseError> {
        let path = PathBuf::from(":memory:");
        let connection = connect(&path, Access::Write, options)?;
        Ok(Arc::new(Database {
            path,
            access: Access::Write,
            options: options.clone(),
            folders: Vec::new(),
            base: Mutex::new(Some(connection)),
            in_use: RwLock::new(()),
            door: Mutex::default(),
            questions: Mutex::default(),
            loads: Mutex::default(),
            functions: OnceLock::new(),
            _claim: None,
        }))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Another connection. Whoever shares the database with [`Database::reopen`] holds
    /// [`Database::hold`] as long as it uses the connection.
    pub(crate) fn connection(&self) -> Result<Connection, DatabaseError> {
        let mut base = lock(&self.base);
        let connection = match base.take() {
            Some(connection) => connection,
            None => {
                let connection = connect(&self.path, self.access, &self.options)?;
                close_off(&self.path, &connection, &self.folders)?;
                connection
            }
        };
        let clone = connection.try_clone().map_err(|error| self.refused(&error));
        *base = Some(connection);
        clone
    }

    /// Closes a database in memory off, for ever: from here on, statements can read what is below
    /// `folders`, and nothing else.
    pub(crate) fn close_off(&self, folders: &[PathBuf]) -> Result<(), DatabaseError> {
        close_off(&self.path, &self.connection()?, folders)
    }

    /// Keeps the file from being opened again, and waits while a load is [alone](Database::alone).
    pub(crate) fn hold(&self) -> RwLockReadGuard<'_, ()> {
        let _door = lock(&self.door);
        read(&self.in_use)
    }

    /// Bytes that DuckDB may use; none if it has not been told.
    pub(crate) fn memory_limit(&self) -> Option<usize> {
        self.options.memory_limit_bytes
    }

    /// Its functions, those included that its owner has made.
    pub(crate) fn functions(&self, connection: &Connection) -> Result<&Functions, duckdb::Error> {
        if let Some(functions) = self.functions.get() {
            return Ok(functions);
        }
        let functions = Functions::of(connection)?;
        Ok(self.functions.get_or_init(|| functions))
    }

    /// Notes a question that is about to run over a connection, as long as the result is kept.
    pub(crate) fn asks(&self, connection: &Connection) -> Asking<'_> {
        let question = Arc::new(RunningQuery {
            interrupt: connection.interrupt_handle(),
            gave_way: AtomicBool::new(false),
        });
        self.questions().push(Arc::clone(&question));
        Asking {
            database: self,
            question,
        }
    }

    /// Notes a load that is about to run, as long as the result is kept.
    pub(crate) fn begin_load(&self) -> Loading<'_> {
        self.loads().running += 1;
        Loading(self)
    }

    /// Whether a load runs, or ran a moment ago: a question that finds no memory says so only when
    /// it has given back what it had.
    pub(crate) fn has_been_loading(&self) -> bool {
        let loads = self.loads();
        let is_fresh = |at: Instant| at.elapsed() < UNWINDING;
        loads.running > 0 || loads.ended.is_some_and(is_fresh)
    }

    fn loads(&self) -> MutexGuard<'_, Loads> {
        lock(&self.loads)
    }

    /// Does `work` while nobody reads: questions that run are ended, and others wait. All that use
    /// one instance share its memory, and of a question and a load it is the load that has to get
    /// on. It does not wait for long for one that does not end, because somebody takes its rows
    /// slowly.
    pub(crate) fn alone<T>(&self, work: impl FnOnce() -> T) -> T {
        let _door = lock(&self.door);
        let began = Instant::now();
        while let Err(TryLockError::WouldBlock) = self.in_use.try_write() {
            if began.elapsed() > WAY_WAIT {
                tracing::warn!("a question has not ended within {} s", WAY_WAIT.as_secs());
                break;
            }
            for question in self.questions().iter() {
                question.gave_way.store(true, Ordering::Release);
                // An interrupt between two steps of a query is forgotten when the next step begins.
                question.interrupt.interrupt();
            }
            std::thread::sleep(WAY_PAUSE);
        }
        work()
    }

    fn questions(&self) -> MutexGuard<'_, Vec<Arc<RunningQuery>>> {
        lock(&self.questions)
    }

    /// Closes the file and opens it, after readers have finished. Needed after an error that DuckDB
    /// cannot go on from, for example a disk that was full while it committed.
    pub(crate) fn reopen(&self) -> Result<Connection, DatabaseError> {
        let _alone = write(&self.in_use);
        lock(&self.base).take();
        self.connection()
    }

    fn refused(&self, error: &duckdb::Error) -> DatabaseError {
        DatabaseError::Refused {
            path: self.path.clone(),
            message: message(error),
        }
    }
}

/// Waits a while for another process to let go of the file: a query, or a run that is ending.
fn connect_when_free(path: &Path, options: &DuckDbOptions) -> Result<Connection, DatabaseError> {
    let began = Instant::now();
    let mut is_told = false;
    loop {
        match connect(path, Access::Write, options) {
            Err(error @ DatabaseError::Locked { .. }) if began.elapsed() < LOCK_WAIT => {
                if !is_told {
                    tracing::info!("{error}. Waiting for it, for {} s", LOCK_WAIT.as_secs());
                    is_told = true;
                }
                std::thread::sleep(LOCK_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// The wall that does not depend on what a statement is taken for: the instance can reach its own
/// files (the database, its write-ahead log, its folder for what does not fit into memory) and what
/// is below `folders`. Nobody can change that while it is open, nor any other setting.
fn close_off(
    path: &Path,
    connection: &Connection,
    folders: &[PathBuf],
) -> Result<(), DatabaseError> {
    let text = |folder: &PathBuf| match folder.to_str() {
        Some(text) => Ok(sql::text(text)),
        None => Err(DatabaseError::Path {
            folder: folder.clone(),
        }),
    };
    let folders: Vec<_> = folders.iter().map(text).collect::<Result<_, _>>()?;
    let settings = format!(
        "SET GLOBAL allowed_directories = [{}]::VARCHAR[]; SET GLOBAL enable_external_access = false; \
         SET GLOBAL lock_configuration = true",
        folders.join(", ")
    );
    connection
        .execute_batch(&settings)
        .map_err(|error| DatabaseError::Refused {
            path: path.to_owned(),
            message: message(&error),
        })
}

pub(super) fn connect(
    path: &Path,
    access: Access,
    options: &DuckDbOptions,
) -> Result<Connection, DatabaseError> {
    let open = || {
        // Extensions are built in or not used: nothing is fetched from the net behind anybody's
        // back.
        let mut config = Config::default()
            .access_mode(match access {
                Access::Read => AccessMode::ReadOnly,
                Access::Write => AccessMode::ReadWrite,
            })?
            .with("autoload_known_extensions", "false")?
            .with("autoinstall_known_extensions", "false")?;
        if let Some(bytes) = options.memory_limit_bytes {
            config = config.max_memory(&format!("{}KiB", bytes / 1024))?;
        }
        if let Some(threads) = options.threads {
            config = config.threads(i64::try_from(threads.max(1)).unwrap_or(i64::MAX))?;
        }
        let connection = Connection::open_with_flags(path, config)?;
        if connection
            .execute_batch("SET GLOBAL TimeZone = 'UTC'")
            .is_err()
        {
            // Without ICU there is no such setting, and what would use it is UTC anyhow.
            tracing::debug!("this DuckDB has no time zones");
        }
        Ok(connection)
    };
    open().map_err(|error: duckdb::Error| {
        let path = path.to_owned();
        let text = error.to_string();
        if is_locked(&error) {
            DatabaseError::Locked {
                path,
                holder: lock_holder(&text).map(with_command),
            }
        } else {
            DatabaseError::Refused {
                path,
                message: message(&error),
            }
        }
    })
}
