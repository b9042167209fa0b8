//! One open database file: connections for the loader and for readers, and opening it again.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use duckdb::{AccessMode, Config, Connection};

use super::error::{is_locked, lock_holder, message};

/// What DuckDB may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DuckDbOptions {
    /// Most memory that DuckDB uses before it spills to disk, in bytes; none for its default, which is
    /// 80 % of the machine's.
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
        /// Program and process number, if DuckDB knows.
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
    /// DuckDB refused.
    #[error("cannot open the database {path}: {message}", path = .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What DuckDB says.
        message: String,
    },
}

/// Files that are open in this process. The operating system's lock keeps other processes out, but not
/// a second instance in the same process, which would destroy the file.
static OPEN_FILES: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

fn open_files() -> MutexGuard<'static, HashSet<PathBuf>> {
    OPEN_FILES.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Others are cloned from it; none only if opening it again has failed.
    base: Mutex<Option<Connection>>,
    /// Held for reading by whoever uses a connection, and for writing to open the file again, which
    /// can be done only when the last connection is closed.
    in_use: RwLock<()>,
    /// None in memory.
    _claim: Option<Claim>,
}

/// What a database is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

impl Database {
    pub(crate) fn open(
        path: &Path,
        access: Access,
        options: &DuckDbOptions,
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
        let connection = connect(path, access, options)?;
        Ok(Arc::new(Database {
            path: path.to_owned(),
            access,
            options: options.clone(),
            base: Mutex::new(Some(connection)),
            in_use: RwLock::new(()),
            _claim: Some(claim),
        }))
    }

    /// A new and empty database in memory. It cannot be opened again.
    pub(crate) fn in_memory(options: &DuckDbOptions) -> Result<Arc<Self>, DatabaseError> {
        let path = PathBuf::from(":memory:");
        let connection = connect(&path, Access::Write, options)?;
        Ok(Arc::new(Database {
            path,
            access: Access::Write,
            options: options.clone(),
            base: Mutex::new(Some(connection)),
            in_use: RwLock::new(()),
            _claim: None,
        }))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Another connection. Whoever shares the database with [`Database::reopen`] holds
    /// [`Database::hold`] as long as it uses the connection.
    pub(crate) fn connection(&self) -> Result<Connection, DatabaseError> {
        let mut base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match base.take() {
            Some(connection) => connection,
            None => connect(&self.path, self.access, &self.options)?,
        };
        let clone = connection.try_clone().map_err(|error| self.refused(&error));
        *base = Some(connection);
        clone
    }

    /// Keeps the file from being opened again.
    pub(crate) fn hold(&self) -> RwLockReadGuard<'_, ()> {
        self.in_use.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the file and opens it, after readers have finished. Needed after an error that DuckDB
    /// cannot go on from, for example a disk that was full while it committed.
    pub(crate) fn reopen(&self) -> Result<Connection, DatabaseError> {
        let _alone = self.in_use.write().unwrap_or_else(PoisonError::into_inner);
        self.base
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.connection()
    }

    fn refused(&self, error: &duckdb::Error) -> DatabaseError {
        DatabaseError::Refused {
            path: self.path.clone(),
            message: message(error),
        }
    }
}

fn connect(
    path: &Path,
    access: Access,
    options: &DuckDbOptions,
) -> Result<Connection, DatabaseError> {
    let open = || {
        // Extensions are built in or not used: nothing is fetched from the net behind anybody's back.
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
                holder: lock_holder(&text).map(str::to_owned),
            }
        } else {
            DatabaseError::Refused {
                path,
                message: message(&error),
            }
        }
    })
}
