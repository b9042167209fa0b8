//! Lets programs that are started by cargo (tests, `cargo run`) find DuckDB's shared library.
//!
//! Cargo adds a build script's library folders to the search path of what it starts, for every
//! crate that depends on this one, but only those below the target folder; hence a link there.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

const LIBRARY: &str = "libduckdb.so";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=DUCKDB_LIB_DIR");
    if env::var_os("CARGO_FEATURE_BUNDLED_DUCKDB").is_some() {
        return Ok(());
    }
    let Some(folder) = env::var_os("DUCKDB_LIB_DIR").map(PathBuf::from) else {
        return Ok(()); // The system's own DuckDB is on its search path already.
    };
    let library = folder.join(LIBRARY);
    if cfg!(unix) && library.exists() {
        let out = PathBuf::from(env::var("OUT_DIR")?);
        let link = out.join(LIBRARY);
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link)?;
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(fs::canonicalize(library)?, &link)?;
        println!("cargo:rustc-link-search=native={}", out.display());
    }
    Ok(())
}
