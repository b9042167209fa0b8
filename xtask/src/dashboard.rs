//! `dashboard`: the dashboard in a browser, against a demo that runs.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::places::Places;
use crate::process::{Failure, Step};

/// Starts a demo in a folder of its own, runs the tests of the dashboard against it, and ends it. `args` are a folder
/// for screenshots, if any.
pub(crate) fn dashboard(places: &Places, args: &[String]) -> Result<(), Failure> {
    // What the tests build, so that nothing is built twice.
    Step::cargo(["build", "--release", "--workspace", "--bins"])
        .args(["--features", "failpoints"])
        .within(&places.root)
        .run()?;
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| places.root.join("target"), PathBuf::from);
    let folder = env::temp_dir().join(format!("tidegate-dashboard-{}", std::process::id()));
    let mut command = Command::new(target.join("release/tidegate"));
    command
        .args(["demo", "--rate", "5000", "--progress", "none", "--dir"])
        .arg(&folder)
        .env("LD_LIBRARY_PATH", places.root.join(".deps/duckdb"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let demo = command
        .spawn()
        .map_err(|error| Failure::new(format!("cannot start the demo: {error}")))?;
    let mut demo = Demo(demo, folder);
    let url = demo.url()?;
    println!("testing {url}");
    let script = places.root.join("crates/tidegate/tests/dashboard/run.sh");
    Step::new(script).args([&url]).args(args).run()
}

/// Ends with this, and its folder goes too.
struct Demo(Child, PathBuf);

impl Demo {
    /// Where it says that it can be looked at.
    fn url(&mut self) -> Result<String, Failure> {
        let none = || Failure::new("the demo has ended without saying where it is");
        let mut lines = BufReader::new(self.0.stderr.take().ok_or_else(none)?).lines();
        let url = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.strip_prefix("Look at it: ")?.trim().to_owned()))
            .ok_or_else(none)?;
        // What comes later has to go somewhere, or the demo would wait.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(url)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // What cannot be ended or removed has ended, or is the system's to clean.
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = fs::remove_dir_all(&self.1);
    }
}
