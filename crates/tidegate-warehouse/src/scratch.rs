//! Temporary folders that go with their process, however it ends.
//!
//! Each is locked for as long as its process lives; the system takes the lock away with the
//! process. A folder gets its name when it is locked, so that one without a lock is what a killed
//! process left behind, and the next one removes it at once.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

/// What the name of a folder begins with as long as it may not be locked yet.
const UNNAMED: &str = ".new-";
/// One of these that is older has no process that is about to lock it.
const YOUNG: Duration = Duration::from_secs(60);

/// A temporary folder. It goes when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    /// Holds the lock. None where the file system cannot lock folders: there nothing is collected.
    _lock: Option<File>,
}

impl Scratch {
    /// A new folder whose name begins with `prefix`, in the system's folder for temporary files.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(prefix: &str) -> io::Result<Self> {
        Self::new_in(&std::env::temp_dir(), prefix)
    }

    /// As [`Scratch::new`], in another folder.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new_in(place: &Path, prefix: &str) -> io::Result<Self> {
        let made = TempDir::with_prefix_in(format!("{UNNAMED}{prefix}"), place)?;
        let lock = lock(made.path());
        let name = made.path().file_name().and_then(|name| name.to_str());
        let name = name.and_then(|name| name.strip_prefix(UNNAMED));
        let name = name.ok_or_else(|| io::Error::other("a temporary folder has another name"))?;
        let folder = place.join(name);
        fs::rename(made.path(), &folder)?;
        // It is there no more under the name by which it would be removed.
        let _ = made.keep();
        Ok(Scratch {
            folder,
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            // The next process collects it.
            tracing::debug!(%error, path = %self.folder.display(), "a temporary folder stays");
        }
    }
}

fn lock(folder: &Path) -> Option<File> {
    let file = File::open(folder).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

/// Removes the folders with this prefix that processes of this user have left behind. What cannot
/// be removed stays, and is said.
pub fn collect(prefix: &str) {
    collect_in(&std::env::temp_dir(), prefix);
}

/// As [`collect`], in another folder.
pub fn collect_in(place: &Path, prefix: &str) {
    let entries = match fs::read_dir(place) {
        Ok(entries) => entries,
        Err(error) => {
            return tracing::debug!(%error, folder = %place.display(), "nothing is collected");
        }
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let named = name.strip_prefix(UNNAMED);
        if !named.unwrap_or(name).starts_with(prefix) {
            continue;
        }
        let age = if named.is_some() {
            YOUNG
        } else {
            Duration::ZERO
        };
        let path = entry.path();
        match collect_one(&path, age) {
            Ok(true) => {
                tracing::info!(path = %path.display(), "removed what a killed process left")
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a folder of a killed process stays");
            }
        }
    }
}

/// Removes a folder of this age or older if its process is gone.
fn collect_one(path: &Path, age: Duration) -> io::Result<bool> {
    // Not through a link: in a folder that all may write to, somebody else may have put one.
    let metadata = fs::symlink_metadata(path)?;
    let is_this_users = metadata.uid() == rustix::process::geteuid().as_raw();
    let is_young = metadata.modified()?.elapsed().unwrap_or_default() < age;
    if !metadata.is_dir() || !is_this_users || is_young {
        return Ok(false);
    }
    let Some(_lock) = lock(path) else {
        return Ok(false);
    };
    fs::remove_dir_all(path)?;
    Ok(true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn make_old(path: &Path) {
        let old = SystemTime::now() - 2 * YOUNG;
        File::open(path).unwrap().set_modified(old).unwrap();
    }

    #[test]
    fn folders_of_processes_that_are_gone_are_removed_at_once_and_others_stay() {
        let prefix = format!("tidegate-test-{}-", std::process::id());
        let unnamed = format!("{UNNAMED}{prefix}");
        let living = Scratch::new(&prefix).unwrap();
        let left = TempDir::with_prefix(&prefix).unwrap();
        let (young, old) = (
            TempDir::with_prefix(&unnamed).unwrap(),
            TempDir::with_prefix(&unnamed).unwrap(),
        );
        let other = TempDir::with_prefix("tidegate-other-").unwrap();
        fs::write(left.path().join("1.parquet"), "x").unwrap();
        for path in [living.path(), old.path(), other.path()] {
            make_old(path);
        }
        collect(&prefix);
        let there = [
            living.path(),
            left.path(),
            young.path(),
            old.path(),
            other.path(),
        ];
        assert_eq!(there.map(Path::exists), [true, false, true, false, true]);
        let path = living.path().to_owned();
        assert!(
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(&prefix)
        );
        drop(living);
        assert!(!path.exists());
    }
}
