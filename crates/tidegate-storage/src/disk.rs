//! What is done to the local disk, as a few steps. [`System`] does them; a test can do less, or
//! note them, and then take the power away.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use bytes::Bytes;

/// The steps. What is not synced may be lost when the power fails: of a file its content, of a
/// folder the names in it.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Makes a folder, and those above it that are missing.
    ///
    /// # Errors
    /// What the system says; so with all of them.
    fn make_folder(&self, path: &Path) -> io::Result<()>;

    /// Brings the names in a folder to stable storage.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Writes a file that must not be there yet.
    ///
    /// # Errors
    /// What the system says. A part of the file may be there.
    fn write_new(&self, path: &Path, content: &mut dyn Iterator<Item = &Bytes>) -> io::Result<()>;

    /// Brings a file's content to stable storage.
    ///
    /// # Errors
    /// What the system says.
    fn sync_file(&self, path: &Path) -> io::Result<()>;

    /// Gives a file a second name, which must be free.
    ///
    /// # Errors
    /// What the system says.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file another name, and takes that from whichever file had it.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a name away.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The disk of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Disk for System {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn write_new(&self, path: &Path, content: &mut dyn Iterator<Item = &Bytes>) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        for bytes in content {
            file.write_all(bytes)?;
        }
        Ok(())
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}
