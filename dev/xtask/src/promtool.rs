//! promtool, which checks the alert rules: named by `PROMTOOL`, found, or taken out of Debian's
//! package `prometheus` without installing it, since that would start a server.

use std::env;
use std::fs;
use std::path::PathBuf;

use crate::packages::{apt_get, on_path};
use crate::places::Places;
use crate::process::{Failure, Step};

/// Where promtool is, after fetching it into the cache if it is missing.
pub(crate) fn promtool(places: &Places) -> Result<PathBuf, Failure> {
    if let Some(named) = env::var_os("PROMTOOL") {
        return Ok(named.into());
    }
    if on_path("promtool") {
        return Ok("promtool".into());
    }
    let folder = places.cache.join("promtool");
    let program = folder.join("usr/bin/promtool");
    if program.exists() {
        return Ok(program);
    }
    if !on_path("apt-get") || !on_path("dpkg-deb") {
        return Err(Failure::new(
            "promtool is missing: install Prometheus (https://prometheus.io/download), or set PROMTOOL to its path",
        ));
    }
    let unpacking = places.cache.join("promtool.part");
    let _ = fs::remove_dir_all(&unpacking);
    fs::create_dir_all(&unpacking)
        .map_err(|error| Failure::new(format!("cannot make {}: {error}", unpacking.display())))?;
    let download = || {
        Step::new("apt-get")
            .args(["download", "-qq", "prometheus"])
            .within(&unpacking)
    };
    match (download().run(), apt_get()) {
        // The lists of packages may be missing, or old.
        (Err(_), Some(apt)) => {
            apt(&["update", "-qq"]).run()?;
            download().run()?;
        }
        (downloaded, _) => downloaded.map_err(|failure| {
            Failure::new(format!(
                "{failure}\nsudo apt-get update, then call it again; or set PROMTOOL to promtool's path"
            ))
        })?,
    }
    Step::new("sh")
        .args([
            "-c",
            "dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb",
        ])
        .within(&unpacking)
        .run()?;
    let _ = fs::remove_dir_all(&folder);
    fs::rename(&unpacking, &folder)
        .map_err(|error| Failure::new(format!("cannot make {}: {error}", folder.display())))?;
    Ok(program)
}
