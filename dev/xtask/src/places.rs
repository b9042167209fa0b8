//! Where things are: the repository, what was linked into it, and the cache outside it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::process::Failure;

/// The folders that the commands work with.
pub(crate) struct Places {
    /// The root of the repository.
    pub(crate) root: PathBuf,
    /// What was fetched, kept between clones.
    pub(crate) cache: PathBuf,
}

impl Places {
    /// Finds them: from `CARGO_MANIFEST_DIR`, which cargo sets, and from `TIDEGATE_CACHE` or
    /// `HOME`.
    pub(crate) fn find() -> Result<Self, Failure> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR").ok_or_else(|| {
            Failure::new("call it as `cargo xtask`, so that it knows where the repository is")
        })?;
        let root = Path::new(&manifest)
            .ancestors()
            .nth(2)
            .ok_or_else(|| Failure::new("the folder dev/xtask has no folder above it"))?
            .to_owned();
        let cache = match (set_variable("TIDEGATE_CACHE"), set_variable("HOME")) {
            (Some(cache), _) => cache,
            (None, Some(home)) => home.join(".cache/tidegate"),
            (None, None) => {
                return Err(Failure::new(
                    "set TIDEGATE_CACHE or HOME to say where to keep what is fetched",
                ));
            }
        };
        Ok(Self { root, cache })
    }

    /// Where cargo puts the programs that are built: `tidegate`, `examples/broker`.
    pub(crate) fn release(&self) -> PathBuf {
        let target = set_variable("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        self.root.join(target).join("release")
    }

    /// Makes `.deps/NAME` a link to `target`, and says whether it was one already.
    pub(crate) fn link(&self, name: &str, target: &Path) -> Result<bool, Failure> {
        let link = self.root.join(".deps").join(name);
        if fs::read_link(&link).is_ok_and(|at| at == target) {
            return Ok(true);
        }
        let failed = |error| {
            Failure::new(format!(
                "cannot link {} to {}: {error}",
                link.display(),
                target.display()
            ))
        };
        fs::create_dir_all(self.root.join(".deps")).map_err(failed)?;
        match fs::symlink_metadata(&link) {
            Ok(there) if there.is_dir() => fs::remove_dir_all(&link).map_err(failed)?,
            Ok(_) => fs::remove_file(&link).map_err(failed)?,
            Err(_) => {}
        }
        std::os::unix::fs::symlink(target, &link).map_err(failed)?;
        Ok(false)
    }
}

fn set_variable(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}
