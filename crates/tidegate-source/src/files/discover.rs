//! Which files belong to the input.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::identity::Inode;
use crate::SourceError;

/// Where files are looked for.
#[derive(Debug)]
pub(super) enum SearchPath {
    /// One file.
    File { base: PathBuf, name: String },
    /// All files directly in a folder.
    Folder { base: PathBuf },
    /// The files that a pattern matches; names are relative to the folder before the first
    /// wildcard.
    Glob { base: PathBuf, pattern: String },
}

/// What the file system says about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) bytes: u64,
    pub(super) modified: Option<SystemTime>,
    pub(super) inode: Inode,
}

impl Facts {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok();
        let born = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        Facts {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            inode: Inode {
                device: metadata.dev(),
                number: metadata.ino(),
                born: born.map_or(0, |born| u64::try_from(born.as_nanos()).unwrap_or(0)),
            },
        }
    }
}

/// Refuses a pattern that cannot match anything.
pub(super) fn check_pattern(pattern: &str) -> Result<(), SourceError> {
    glob::Pattern::new(pattern).map(drop).map_err(|error| {
        SourceError::option(
            "source.path",
            format!("`{pattern}` is not a pattern: {error}"),
        )
    })
}

impl SearchPath {
    /// Finds out what `path` is: an existing file or folder, or a pattern.
    pub(super) fn of(path: &str) -> Result<Self, SourceError> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(SearchPath::Folder {
                base: PathBuf::from(path),
            }),
            Ok(_) => {
                let path = Path::new(path);
                let name = path.file_name().and_then(|n| n.to_str()).ok_or_else(|| {
                    SourceError::option("source.path", "the file's name has to be UTF-8")
                })?;
                let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
                Ok(SearchPath::File {
                    base,
                    name: name.to_owned(),
                })
            }
            Err(_) if path.contains(['*', '?', '[']) => {
                check_pattern(path)?;
                let wild = path.find(['*', '?', '[']).unwrap_or(path.len());
                let base = path[..wild].rfind('/').map_or("", |i| &path[..=i]);
                Ok(SearchPath::Glob {
                    base: PathBuf::from(base),
                    pattern: path.to_owned(),
                })
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(SourceError::NoInput {
                path: path.to_owned(),
                message: "there is no such file or folder. Create it, or correct `source.path`"
                    .to_owned(),
            }),
            Err(e) => Err(SourceError::io("read", path, e)),
        }
    }

    /// The folder that names are relative to.
    pub(super) fn base(&self) -> &Path {
        match self {
            SearchPath::File { base, .. }
            | SearchPath::Folder { base }
            | SearchPath::Glob { base, .. } => base,
        }
    }

    /// The files that are there now, by name.
    pub(super) fn list(&self) -> Result<BTreeMap<String, Facts>, SourceError> {
        let mut found = BTreeMap::new();
        match self {
            SearchPath::File { base, name } => self.add(&mut found, &base.join(name))?,
            SearchPath::Folder { base } => {
                let failed = |e| SourceError::io("list", base, e);
                for entry in fs::read_dir(base).map_err(failed)? {
                    self.add(&mut found, &entry.map_err(failed)?.path())?;
                }
            }
            SearchPath::Glob { base, pattern } => {
                let paths = glob::glob(pattern).map_err(|e| {
                    SourceError::option("source.path", format!("`{pattern}` is not a pattern: {e}"))
                })?;
                for path in paths {
                    let path = path.map_err(|e| SourceError::io("list", base, e.into()))?;
                    self.add(&mut found, &path)?;
                }
            }
        }
        Ok(found)
    }

    fn add(&self, found: &mut BTreeMap<String, Facts>, path: &Path) -> Result<(), SourceError> {
        let hidden = path
            .file_name()
            .is_some_and(|name| matches!(name.as_encoded_bytes().first(), Some(b'.' | b'_')));
        if hidden && !matches!(self, SearchPath::File { .. }) {
            return Ok(());
        }
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            // Gone since it was listed.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(SourceError::io("read", path, e)),
        };
        if !metadata.is_file() {
            return Ok(());
        }
        let name = path.strip_prefix(self.base()).unwrap_or(path);
        let name = name.to_str().ok_or_else(|| SourceError::NoInput {
            path: path.display().to_string(),
            message: "the file's name is not UTF-8, and so cannot be in the commit log. Rename it"
                .to_owned(),
        })?;
        found.insert(name.to_owned(), Facts::of(&metadata));
        Ok(())
    }
}
