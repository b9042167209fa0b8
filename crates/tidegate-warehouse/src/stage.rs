//! The files of a load, where a warehouse in this process can read them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt, stream};
use tempfile::TempDir;
use tidegate_log::FileEntry;
use tidegate_storage::Storage;

use crate::load::{LoadFault, LoadRequest};
use crate::scratch::Scratch;

/// How the names of the folders begin that files are fetched into.
pub(crate) const FOLDER: &str = "tidegate-load-";
/// Files that are fetched at the same time.
const FETCHED_AT_ONCE: usize = 8;
/// Bytes of a file that are read at a time.
const PIECE_BYTES: usize = 256 << 10;

/// A data file, on this machine.
#[derive(Debug)]
pub(crate) struct StagedFile<'a> {
    /// The record that added it.
    pub(crate) seq: u64,
    /// What the record says about it.
    pub(crate) entry: &'a FileEntry,
    /// Where it is.
    pub(crate) path: PathBuf,
}

/// The files of a load, in the order of the log.
#[derive(Debug, Default)]
pub(crate) struct Staged<'a> {
    pub(crate) files: Vec<StagedFile<'a>>,
    /// Holds what was fetched, and goes with it.
    _folder: Option<Folder>,
}

impl StagedFile<'_> {
    /// An error about this file.
    pub(crate) fn fault(&self, problem: impl Into<String>) -> LoadFault {
        LoadFault::File {
            seq: self.seq,
            dataset: self.entry.dataset.clone(),
            path: self.entry.path.clone(),
            problem: problem.into(),
        }
    }

    fn check_size(&self) -> Result<(), LoadFault> {
        let found = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(self.fault("is missing"));
            }
            Err(source) => {
                return Err(LoadFault::Keep {
                    path: self.entry.path.clone(),
                    source,
                });
            }
        };
        if found != self.entry.bytes {
            return Err(self.fault(format!("has {found} bytes instead of {}", self.entry.bytes)));
        }
        Ok(())
    }

    /// Checks a file where it is. One that was changed and kept its size can be good Parquet with
    /// other rows.
    fn check_content(&self) -> Result<(), LoadFault> {
        let keep = |source| LoadFault::Keep {
            path: self.entry.path.clone(),
            source,
        };
        let mut file = File::open(&self.path).map_err(keep)?;
        let mut piece = vec![0; PIECE_BYTES];
        let mut found = 0;
        loop {
            match file.read(&mut piece).map_err(keep)? {
                0 => break,
                length => found = crc32c::crc32c_append(found, &piece[..length]),
            }
        }
        self.check_sum(found)
    }

    fn check_sum(&self, found: u32) -> Result<(), LoadFault> {
        let wanted = self.entry.crc32c;
        if found == wanted {
            return Ok(());
        }
        Err(self.fault(format!(
            "has the checksum {found:08x} instead of {wanted:08x}"
        )))
    }
}

/// Where fetched files are, until this is dropped.
#[derive(Debug)]
enum Folder {
    Own(Scratch),
    Below(TempDir),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Folder::Own(folder) => folder.path(),
            Folder::Below(folder) => folder.path(),
        }
    }
}

/// Finds the files that have rows: local ones where they are, others fetched into a temporary
/// folder (`below` one that is there, since the database can reach no other), in pieces and a few
/// at a time. What is fetched takes as much disk as the load has bytes, which the loader bounds.
///
/// # Errors
/// If a file is missing, or has another size or another checksum.
pub(crate) fn stage<'a>(
    request: &LoadRequest<'a>,
    below: Option<&Path>,
    wanted: impl Fn(&FileEntry) -> bool,
) -> Result<Staged<'a>, LoadFault> {
    let mut staged = Staged::default();
    let mut fetched = Vec::new();
    for record in request.records {
        for entry in record
            .files
            .iter()
            .filter(|entry| entry.rows > 0 && wanted(entry))
        {
            let index = staged.files.len();
            let path = match request.storage.local_path(&entry.path) {
                Some(path) => path,
                None => {
                    fetched.push(index);
                    let folder = match &mut staged._folder {
                        Some(folder) => folder,
                        none => {
                            let new = match below {
                                Some(below) => TempDir::new_in(below).map(Folder::Below),
                                None => Scratch::new(FOLDER).map(Folder::Own),
                            };
                            none.insert(new.map_err(|source| LoadFault::Keep {
                                path: entry.path.clone(),
                                source,
                            })?)
                        }
                    };
                    folder.path().join(format!("{index}.parquet"))
                }
            };
            staged.files.push(StagedFile {
                seq: record.seq,
                entry,
                path,
            });
        }
    }
    let fetches = stream::iter(fetched)
        .map(|index| fetch(request.storage, &staged.files[index]))
        .buffered(FETCHED_AT_ONCE)
        .try_collect::<()>();
    request.runtime.block_on(fetches)?;
    staged.files.iter().try_for_each(StagedFile::check_size)?;
    // What was fetched has been checked on its way.
    if request.storage.local_root().is_some() {
        staged
            .files
            .iter()
            .try_for_each(StagedFile::check_content)?;
    }
    Ok(staged)
}

async fn fetch(storage: &Storage, file: &StagedFile<'_>) -> Result<(), LoadFault> {
    let keep = |source| LoadFault::Keep {
        path: file.entry.path.clone(),
        source,
    };
    let mut pieces = match storage.get_stream(&file.entry.path).await {
        Ok(pieces) => pieces,
        Err(error) if error.is_not_found() => return Err(file.fault("is missing")),
        Err(error) => return Err(error.into()),
    };
    let mut target = File::create(&file.path).map_err(keep)?;
    let mut found = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        found = crc32c::crc32c_append(found, &piece);
        target.write_all(&piece).map_err(keep)?;
    }
    file.check_sum(found)
}
