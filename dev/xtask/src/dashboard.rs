//! `dashboard`: the dashboard in a browser, against a demo that runs.

use std::env;
use std::fs;

use crate::packages::{self, first_on_path};
use crate::places::Places;
use crate::process::{Failure, Step};
use crate::programs;
use crate::running::{Folder, Running};

/// What the second demo asks for.
const TOKENS: &str =
    "\n[[http.tokens]]\nname = \"dashboard\"\nroles = [\"read\"]\ntoken = \"${TIDEGATE_TOKEN}\"\n";
const TOKEN: &str = "a-token-for-the-tests-of-the-dashboard";

/// Starts a demo in a folder of its own and runs the tests of the dashboard against it; then those
/// with real data again, against one that wants a token. `args` are a folder for screenshots, if
/// any.
pub(crate) fn dashboard(places: &Places, args: &[String]) -> Result<(), Failure> {
    packages::install(packages::NODE)?;
    let chromium = chromium()?;
    programs(places)?;
    let script = places.root.join("crates/tidegate/tests/dashboard/run.sh");
    let tests = || {
        Step::new(&script)
            .variable("TIDEGATE_CACHE", &places.cache)
            .variable("CHROMIUM", &chromium)
    };
    let folder = Folder::new("tidegate-dashboard")?;
    {
        let (_demo, url) = demo(places, &folder)?;
        println!("testing {url}");
        tests().args([&url]).args(args).run()?;
    }
    let config = folder.path().join("tidegate.toml");
    let mut text = fs::read_to_string(&config)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", config.display())))?;
    text.push_str(TOKENS);
    fs::write(&config, text)
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", config.display())))?;
    let (_demo, url) = demo(places, &folder)?;
    println!("testing {url}, with a token");
    tests().args([&url]).variable("TIDEGATE_TOKEN", TOKEN).run()
}

/// The browser: `CHROMIUM` if that names one, or what is on the path, or Debian's.
fn chromium() -> Result<String, Failure> {
    if let Ok(named) = env::var("CHROMIUM")
        && !named.is_empty()
    {
        return Ok(named);
    }
    packages::install(packages::CHROMIUM)?;
    first_on_path(packages::BROWSERS)
        .map(str::to_owned)
        .ok_or_else(|| Failure::new("no browser is on the path: set CHROMIUM to the path of one"))
}

/// A demo, and where it says that it can be looked at.
fn demo(places: &Places, folder: &Folder) -> Result<(Running, String), Failure> {
    let mut demo = Running::start(places, "tidegate", |command| {
        command
            .args(["demo", "--rate", "5000", "--progress", "none", "--dir"])
            .arg(folder.path())
            .env("TIDEGATE_TOKEN", TOKEN);
    })?;
    let url = demo.wait_for("where it can be looked at", |line| {
        Some(line.strip_prefix("Look at it: ")?.trim().to_owned())
    })?;
    Ok((demo, url))
}
