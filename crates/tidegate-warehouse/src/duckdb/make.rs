//! A new database file. It is made under another name and gets its own when it is whole: whoever is
//! killed meanwhile leaves no file that DuckDB refuses to open.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FlockOperation, RenameFlags, fcntl_lock, renameat_with};
use tidegate_base::failpoint;

use super::database::{Access, DatabaseError, DuckDbOptions, connect};

/// Bytes that every database has: three headers of 4,096. A file with fewer was being made by a
/// process that was killed.
const HEADERS: u64 = 3 * 4096;
/// How long another process may take to make a database in the same folder.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Time between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// What stands in the first header, after eight bytes of checksum.
const MAGIC: &[u8] = b"DUCK";

/// Makes the database, if there is none or only the beginning of one.
pub(super) fn make_if_absent(path: &Path, options: &DuckDbOptions) -> Result<(), DatabaseError> {
    let failed = |source| DatabaseError::Make {
        path: path.to_owned(),
        source,
    };
    if found(path).map_err(failed)? == ExistingFile::Something {
        return Ok(());
    }
    // Two processes that start at once take turns, and the second one finds what the first one
    // made.
    let _turn = lock_folder(path);
    let found = found(path).map_err(failed)?;
    if found == ExistingFile::Something {
        return Ok(());
    }
    let new = sibling(path, ".new");
    remove(&new).map_err(failed)?;
    remove(&sibling(&new, ".wal")).map_err(failed)?;
    failpoint("warehouse.make.before");
    drop(connect(&new, Access::Write, options)?);
    failpoint("warehouse.make.whole");
    let name = || {
        File::open(&new)?.sync_all()?;
        match found {
            // Of a database that somebody has deleted. It is not for this one.
            ExistingFile::Nothing => remove(&sibling(path, ".wal"))?,
            ExistingFile::Beginning => {
                tracing::warn!(
                    path = %path.display(),
                    "the database was being made when its process was killed: it is made anew"
                );
                fs::remove_file(path)?;
            }
            ExistingFile::Something => {}
        }
        rename_to_free_name(&new, path)?;
        failpoint("warehouse.make.named");
        File::open(folder_of(path))?.sync_all()
    };
    name().map_err(failed)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExistingFile {
    Nothing,
    /// Less than every database has, and no data.
    Beginning,
    /// A database, or what DuckDB says something about.
    Something,
}

fn found(path: &Path) -> io::Result<ExistingFile> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(ExistingFile::Nothing),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.is_file() || metadata.len() >= HEADERS => {
            return Ok(ExistingFile::Something);
        }
        Ok(_) => {}
    }
    if sibling(path, ".wal").exists() {
        return Ok(ExistingFile::Something);
    }
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    // Locked as DuckDB does: who has it open is making it right now.
    if fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(ExistingFile::Something);
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let is_header = bytes.get(8..8 + MAGIC.len()) == Some(MAGIC);
    Ok(if is_header || bytes.iter().all(|byte| *byte == 0) {
        ExistingFile::Beginning
    } else {
        ExistingFile::Something
    })
}

/// Renames, and fails if the name is taken. Where the file system cannot do both at once, the
/// folder's lock has to be enough.
fn rename_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // Somebody else's program was faster. What it made is as good.
            remove(from)
        }
        Err(_) if !to.exists() => fs::rename(from, to),
        Err(error) => Err(error.into()),
    }
}

/// Held until it is dropped; none where the file system cannot lock folders, or somebody else has
/// locked this one for something that takes longer.
fn lock_folder(path: &Path) -> Option<File> {
    let folder = File::open(folder_of(path)).ok()?;
    let began = Instant::now();
    while let Err(error) = folder.try_lock() {
        if matches!(error, TryLockError::Error(_)) || began.elapsed() > LOCK_WAIT {
            tracing::debug!(%error, "a folder is not locked while its database is made");
            return None;
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Some(folder)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The file with more at the end of its name.
fn sibling(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    PathBuf::from(name)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
