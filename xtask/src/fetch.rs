//! Filling a folder of the cache all or nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use crate::process::Failure;

/// The folder `name` in `cache`. Where it is missing, `fill` fills an empty one, which then gets that name: a folder that is there
/// is complete, whenever a fetch is broken off and however many run at once.
pub(crate) fn folder(
    cache: &Path,
    name: &str,
    fill: impl FnOnce(&Path) -> Result<(), Failure>,
) -> Result<PathBuf, Failure> {
    let folder = cache.join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    println!("Fetching {name}");
    let partial = cache.join(format!("{name}.{}.partial", process::id()));
    let failed = |error| Failure::new(format!("cannot make {}: {error}", folder.display()));
    fs::create_dir_all(&partial).map_err(failed)?;
    let filled = fill(&partial).and_then(|()| match fs::rename(&partial, &folder) {
        Err(_) if folder.is_dir() => Ok(()), // another one was faster
        renamed => renamed.map_err(failed),
    });
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(failed)?;
    }
    filled.map(|()| folder)
}
