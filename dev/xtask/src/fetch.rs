//! Filling a folder of the cache all or nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use crate::packages;
use crate::process::{Failure, Step};

/// The folder `name` in `cache`. Where it is missing, `fill` fills an empty one, which then gets
/// that name: a folder that is there is complete, whenever a fetch is broken off and however many
/// run at once.
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

/// Puts the jars that `pom` depends on into `folder/libs`; `options` are Maven's.
pub(crate) fn jars(folder: &Path, pom: &str, options: &[String]) -> Result<(), Failure> {
    packages::install(packages::MAVEN)?;
    let file = folder.join("pom.xml");
    fs::write(&file, pom)
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", file.display())))?;
    Step::new("mvn")
        .args(["-B", "-q", "dependency:copy-dependencies"])
        .args(["-DincludeScope=runtime", "-DoutputDirectory=libs"])
        .args(options)
        .within(folder)
        .run()
}
