//! The files of a load, where a warehouse in this process can read them.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use futures::StreamExt;
use tempfile::TempDir;
use tidegate_log::FileEntry;

use crate::load::{LoadFault, LoadRequest};

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
    _folder: Option<TempDir>,
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
}

/// Finds the files that have rows: local ones where they are, others fetched into a temporary folder,
/// one after the other, in pieces. What is fetched takes as much disk as the load has bytes, which the
/// loader bounds.
///
/// # Errors
/// If a file is missing, has another size or, where it is fetched, another checksum.
pub(crate) fn stage<'a>(
    request: &LoadRequest<'a>,
    wanted: impl Fn(&FileEntry) -> bool,
) -> Result<Staged<'a>, LoadFault> {
    let mut staged = Staged::default();
    for record in request.records {
        for entry in record
            .files
            .iter()
            .filter(|entry| entry.rows > 0 && wanted(entry))
        {
            let local = request.storage.local_path(&entry.path);
            let fetched = local.is_none();
            let path = match local {
                Some(path) => path,
                None => {
                    if staged._folder.is_none() {
                        let keep = |source| LoadFault::Keep {
                            path: entry.path.clone(),
                            source,
                        };
                        staged._folder =
                            Some(TempDir::with_prefix("tidegate-load-").map_err(keep)?);
                    }
                    let folder = staged
                        ._folder
                        .as_ref()
                        .map_or_else(|| Path::new("."), TempDir::path);
                    folder.join(format!("{}.parquet", staged.files.len()))
                }
            };
            let file = StagedFile {
                seq: record.seq,
                entry,
                path,
            };
            if fetched {
                fetch(request, &file)?;
            }
            file.check_size()?;
            staged.files.push(file);
        }
    }
    Ok(staged)
}

fn fetch(request: &LoadRequest<'_>, file: &StagedFile<'_>) -> Result<(), LoadFault> {
    let keep = |source| LoadFault::Keep {
        path: file.entry.path.clone(),
        source,
    };
    let mut target = File::create(&file.path).map_err(keep)?;
    let crc32c = request.runtime.block_on(async {
        let mut stream = match request.storage.get_stream(&file.entry.path).await {
            Ok(stream) => stream,
            Err(error) if error.is_not_found() => return Err(file.fault("is missing")),
            Err(error) => return Err(error.into()),
        };
        let mut crc32c = 0;
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            crc32c = crc32c::crc32c_append(crc32c, &piece);
            target.write_all(&piece).map_err(keep)?;
        }
        Ok::<u32, LoadFault>(crc32c)
    })?;
    if crc32c != file.entry.crc32c {
        let wanted = file.entry.crc32c;
        return Err(file.fault(format!(
            "has the checksum {crc32c:08x} instead of {wanted:08x}"
        )));
    }
    Ok(())
}
