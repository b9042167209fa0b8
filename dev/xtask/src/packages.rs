//! What the system has to have: looked for, installed where we may, and otherwise named.

use std::env;
use std::path::Path;

use crate::process::{Failure, Step};

/// One thing that the system has to have.
pub(crate) struct Need {
    what: &'static str,
    there: fn() -> bool,
    /// The Debian packages that bring it.
    debian: &'static [&'static str],
}

/// For `cargo build`: a C compiler for librdkafka, zstd and the allocator; OpenSSL for Kafka over
/// TLS.
pub(crate) const BUILDING: &[Need] = &[
    Need {
        what: "a C compiler (cc)",
        there: || on_path("cc"),
        debian: &["gcc", "libc6-dev"],
    },
    Need {
        what: "a C++ compiler (c++)",
        there: || on_path("c++"),
        debian: &["g++"],
    },
    Need {
        what: "make",
        there: || on_path("make"),
        debian: &["make"],
    },
    Need {
        what: "pkg-config",
        there: || on_path("pkg-config"),
        debian: &["pkg-config"],
    },
    Need {
        what: "OpenSSL's headers",
        there: || pkg_config("openssl"),
        debian: &["libssl-dev"],
    },
];

/// For fetching DuckDB's library.
pub(crate) const DUCKDB: &[Need] = &[Need {
    what: "npm",
    there: || on_path("npm"),
    debian: &["npm"],
}];

/// For a Kafka broker of the tests.
pub(crate) const KAFKA: &[Need] = &[Need {
    what: "a Java runtime (17 or later)",
    there: || java_version() >= Some(17),
    debian: &["default-jre-headless"],
}];

/// For fetching Kafka's jars.
pub(crate) const MAVEN: &[Need] = &[Need {
    what: "maven",
    there: || on_path("mvn"),
    debian: &["maven"],
}];

/// For fetching and running PySpark.
pub(crate) const SPARK: &[Need] = &[Need {
    what: "Python 3 with pip",
    there: || {
        Step::new("python3")
            .args(["-m", "pip", "--version"])
            .succeeds()
    },
    debian: &["python3-pip"],
}];

/// For programs from PyPI.
pub(crate) const PYTHON: &[Need] = &[Need {
    what: "Python 3 with venv",
    there: || {
        Step::new("python3")
            .args(["-m", "ensurepip", "--version"])
            .succeeds()
    },
    debian: &["python3-venv"],
}];

/// For programs in JavaScript.
pub(crate) const NODE: &[Need] = &[Need {
    // Debian 12 has an older one.
    what: "Node (20 or later, https://nodejs.org has it) with npm",
    there: || node_version() >= Some(20) && on_path("npm"),
    debian: &["nodejs", "npm"],
}];

/// The names of the browser that the dashboard is tested in, and of those it is made from.
pub(crate) const BROWSERS: &[&str] = &["chromium", "chromium-browser", "google-chrome"];

/// For the tests of the dashboard.
pub(crate) const CHROMIUM: &[Need] = &[Need {
    what: "Chromium",
    there: || first_on_path(BROWSERS).is_some(),
    debian: &["chromium"],
}];

/// For the PostgreSQL under the Redshift emulator of the tests.
pub(crate) const POSTGRES: &[Need] = &[Need {
    what: "PostgreSQL (15 or later)",
    there: postgres,
    debian: &["postgresql"],
}];

/// For the Redis of the tests of the hot tier.
pub(crate) const REDIS: &[Need] = &[Need {
    what: "Redis (6.2 or later)",
    there: || on_path("redis-server"),
    debian: &["redis-server"],
}];

/// For the commands on the pages of the documentation.
pub(crate) const JQ: &[Need] = &[Need {
    what: "jq",
    there: || on_path("jq"),
    debian: &["jq"],
}];

/// For counting instructions.
pub(crate) const VALGRIND: &[Need] = &[Need {
    what: "valgrind",
    there: || on_path("valgrind"),
    debian: &["valgrind"],
}];

/// Installs what is missing of `needs`, or says precisely what to install.
pub(crate) fn install(needs: &[Need]) -> Result<(), Failure> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.there)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|need| need.debian.iter().copied())
        .collect();
    let by_hand = || {
        let whats: Vec<&str> = missing.iter().map(|need| need.what).collect();
        Failure::new(format!(
            "missing: {}\non Debian and Ubuntu: sudo apt-get install {}\nthen call it again",
            whats.join(", "),
            packages.join(" "),
        ))
    };
    let Some(apt) = apt_get() else {
        return Err(by_hand());
    };
    println!("Installing {}", packages.join(", "));
    apt(&["update", "-qq"]).run().map_err(|_| by_hand())?;
    apt(&["install", "-y", "-qq", "--no-install-recommends"])
        .args(&packages)
        .run()
        .map_err(|_| by_hand())?;
    match missing.iter().find(|need| !(need.there)()) {
        None => Ok(()),
        Some(_) => Err(by_hand()),
    }
}

/// `apt-get`, as root or through a sudo that asks nothing; `None` where neither is to be had.
pub(crate) fn apt_get() -> Option<fn(&[&str]) -> Step> {
    if !on_path("apt-get") {
        None
    } else if Step::new("sh")
        .args(["-c", "test \"$(id -u)\" = 0"])
        .succeeds()
    {
        Some(|args| {
            Step::new("apt-get")
                .variable("DEBIAN_FRONTEND", "noninteractive")
                .args(args)
        })
    } else if Step::new("sudo").args(["-n", "true"]).succeeds() {
        Some(|args| {
            // Sudo passes no variables on.
            Step::new("sudo")
                .args(["-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"])
                .args(args)
        })
    } else {
        None
    }
}

/// The first of some programs that is on the search path.
pub(crate) fn first_on_path(programs: &[&'static str]) -> Option<&'static str> {
    programs.iter().copied().find(|program| on_path(program))
}

/// Whether a program is on the search path.
pub(crate) fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| Path::new(&folder).join(program).is_file())
}

/// Debian keeps the server's programs off the path.
fn postgres() -> bool {
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    on_path("initdb")
        || debian
            .flatten()
            .any(|version| version.path().join("bin/initdb").is_file())
}

fn pkg_config(library: &str) -> bool {
    Step::new("pkg-config")
        .args(["--exists", library])
        .succeeds()
}

/// What `java` is: the 17 of `openjdk version "17.0.15"`.
fn java_version() -> Option<u32> {
    // It says so on standard error.
    let text = Step::new("sh")
        .args(["-c", "java -version 2>&1"])
        .output()
        .ok()?;
    let version = text.split('"').nth(1)?;
    version.split('.').next()?.parse().ok()
}

/// What `node` is: the 20 of `v20.19.2`.
fn node_version() -> Option<u32> {
    let text = Step::new("node").args(["--version"]).output().ok()?;
    text.trim()
        .strip_prefix('v')?
        .split('.')
        .next()?
        .parse()
        .ok()
}
