//! `dashboard`: the dashboard in a browser, against a demo that runs.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::places::Places;
use crate::process::{Failure, Step};

/// What the second demo asks for.
const TOKENS: &str =
    "\n[[http.tokens]]\nname = \"dashboard\"\nroles = [\"read\"]\ntoken = \"${TIDEGATE_TOKEN}\"\n";
const TOKEN: &str = "a-token-for-the-tests-of-the-dashboard";

/// Starts a demo in a folder of its own and runs the tests of the dashboard against it; then those with real data again, against
/// one that wants a token. `args` are a folder for screenshots, if any.
pub(crate) fn dashboard(places: &Places, args: &[String]) -> Result<(), Failure> {
    // What the tests build, so that nothing is built twice.
    Step::cargo(["build", "--release", "--workspace", "--bins"])
        .args(["--features", "failpoints"])
        .within(&places.root)
        .run()?;
    let script = places.root.join("crates/tidegate/tests/dashboard/run.sh");
    let folder = Folder(env::temp_dir().join(format!("tidegate-dashboard-{}", std::process::id())));
    {
        let mut demo = Demo::start(places, &folder)?;
        let url = demo.url()?;
        println!("testing {url}");
        Step::new(&script).args([&url]).args(args).run()?;
    }
    let config = folder.0.join("tidegate.toml");
    let mut text = fs::read_to_string(&config)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", config.display())))?;
    text.push_str(TOKENS);
    fs::write(&config, text)
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", config.display())))?;
    let mut demo = Demo::start(places, &folder)?;
    let url = demo.url()?;
    println!("testing {url}, with a token");
    Step::new(&script)
        .args([&url])
        .variable("TIDEGATE_TOKEN", TOKEN)
        .run()
}

/// Is removed with this.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Ends with this.
struct Demo(Child);

impl Demo {
    fn start(places: &Places, folder: &Folder) -> Result<Self, Failure> {
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| places.root.join("target"), PathBuf::from);
        let mut command = Command::new(target.join("release/tidegate"));
        command
            .args(["demo", "--rate", "5000", "--progress", "none", "--dir"])
            .arg(&folder.0)
            .env("LD_LIBRARY_PATH", places.root.join(".deps/duckdb"))
            .env("TIDEGATE_TOKEN", TOKEN)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
            .spawn()
            .map(Demo)
            .map_err(|error| Failure::new(format!("cannot start the demo: {error}")))
    }

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
        // What cannot be ended has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
