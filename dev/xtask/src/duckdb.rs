//! DuckDB's official shared library, which building links and running loads.
//!
//! Compiling DuckDB takes half an hour on two cores. The same library, as its makers publish it, is
//! in the npm package of its binding for Node.js. Its checksum is pinned here.

use std::env;
use std::path::Path;

use crate::fetch;
use crate::packages;
use crate::places::Places;
use crate::process::{Failure, Step};

/// One build of the library: which processor it is for, and where it is.
struct Build {
    arch: &'static str,
    package: &'static str,
    version: &'static str,
    /// Of the package's tarball.
    sha512: &'static str,
}

/// The version of the crate `duckdb` in Cargo.toml fixes these: 1.10506 is DuckDB 1.5.6. For arm64
/// none of 1.5.6 is published; 1.5.5 has the same interface.
const BUILDS: &[Build] = &[
    Build {
        arch: "x86_64",
        package: "@duckdb/node-bindings-linux-x64",
        version: "1.5.6-r.1",
        sha512: "21772b64913a904a8cd19e30c1d5671811d7fdface4b7dd53cd0300d743f43e16cf386f4e7c41ef78721ac208870d2651bc6375072145387817824315b998dd5",
    },
    Build {
        arch: "aarch64",
        package: "@duckdb/node-bindings-linux-arm64",
        version: "1.5.5-r.5",
        sha512: "09a7c7d8022f5eda700f29c6dca07fe2e10e1d11a516807b6ae091308c07dc128d2286ec00d5792d2a43277b5fc9108522c2ba7bc013d5eb1e5959eed83bf773",
    },
];

/// Sees that `.deps/duckdb` holds the library.
pub(crate) fn fetch(places: &Places) -> Result<(), Failure> {
    let build = BUILDS.iter().find(|build| build.arch == env::consts::ARCH && env::consts::OS == "linux").ok_or_else(|| {
        Failure::new(
            "no DuckDB library is known for this system: build with `--features bundled-duckdb`, which compiles DuckDB",
        )
    })?;
    let name = format!("duckdb-{}-{}", build.version, build.arch);
    let folder = fetch::folder(&places.cache, &name, |folder| unpack(build, folder))?;
    if !places.link("duckdb", &folder)? {
        println!("DuckDB {} is in .deps/duckdb", build.version);
    }
    Ok(())
}

fn unpack(build: &Build, folder: &Path) -> Result<(), Failure> {
    packages::install(packages::DUCKDB)?;
    let package = format!("{}@{}", build.package, build.version);
    let printed = Step::new("npm")
        .args(["pack", "--silent", &package])
        .within(folder)
        .output()?;
    let tarball = printed.trim();
    let sum = Step::new("sha512sum")
        .args([tarball])
        .within(folder)
        .output()?;
    if sum.split_whitespace().next() != Some(build.sha512) {
        return Err(Failure::new(format!(
            "{package} is not what it was when its checksum was pinned: {sum}"
        )));
    }
    Step::new("tar")
        .args([
            "-xzf",
            tarball,
            "--strip-components=1",
            "package/libduckdb.so",
            "package/LICENSE",
        ])
        .within(folder)
        .run()?;
    std::fs::remove_file(folder.join(tarball))
        .map_err(|error| Failure::new(format!("cannot remove {tarball}: {error}")))
}
