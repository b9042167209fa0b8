//! `openapi`: schemathesis sends a running job what its OpenAPI document allows, and what it does
//! not. No answer may be a server error, or one that is not documented.

use std::path::Path;

use crate::fetch;
use crate::packages;
use crate::places::Places;
use crate::process::{Failure, Step};
use crate::running::{Folder, Running};
use crate::{programs, setup};

/// Needs Python 3.10.
const VERSION: &str = "4.32.5";
const TOKEN: &str = "a-token-for-the-tests-of-the-interface";
const TOPIC: &str = "transactions-raw";
/// Requests to each operation, in each of the ways in which they are made up.
const EXAMPLES: &str = "50";
/// A run that takes longer than this many seconds hangs.
const SECONDS_MAX: &str = "300";

/// What schemathesis is told.
///
/// A record has to fit the job's own schema and rules, of which OpenAPI knows nothing. So one that
/// the document allows may be rejected, and `positive_data_acceptance` is left out.
const OPTIONS: &str = "--checks all --exclude-checks positive_data_acceptance --seed 1 --no-color \
                       --generation-database none";

/// Starts a job that takes events in and reads them from a Kafka of its own, and lets schemathesis
/// loose on it.
pub(crate) fn openapi(places: &Places) -> Result<(), Failure> {
    packages::install(packages::PYTHON)?;
    let name = format!("schemathesis-{VERSION}");
    let tool = fetch::folder(&places.cache, &name, download)?;
    setup(places, true)?;
    programs(places)?;
    let folder = Folder::new("tidegate-openapi")?;
    let (_broker, brokers) = broker(places)?;
    // Some events, so that questions have answers.
    Step::new(places.release().join("tidegate"))
        .args("produce --rate 0 --count 20000 --progress none".split(' '))
        .args(["--topic", TOPIC, "--brokers", &brokers])
        .variable("LD_LIBRARY_PATH", places.root.join(".deps/duckdb"))
        .run()?;
    let (mut job, address) = job(places, &folder, &brokers)?;
    println!("testing http://{address}");
    let tested = Step::new("timeout")
        .args([SECONDS_MAX])
        .args([tool.join(PYTHON)])
        .args(["-m", "schemathesis.cli", "run"])
        .args([format!("http://{address}/openapi.json")])
        .args(OPTIONS.split_whitespace())
        .args(["--max-examples", EXAMPLES])
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        .within(folder.path())
        .run();
    job.still_runs()?;
    tested.inspect_err(|_| println!("The job said:\n{}", job.said()))
}

/// A broker with an empty topic, and its address.
fn broker(places: &Places) -> Result<(Running, String), Failure> {
    let mut broker = Running::start(places, "examples/broker", |command| {
        command.arg(TOPIC).current_dir(&places.root);
    })?;
    let brokers = broker.wait_for("where Kafka is", |line| {
        let address = line.strip_prefix("Kafka is at ")?.split_once(". ")?.0;
        Some(address.to_owned())
    })?;
    Ok((broker, brokers))
}

/// The transactions example over that topic, and its address.
fn job(places: &Places, folder: &Folder, brokers: &str) -> Result<(Running, String), Failure> {
    let mut job = Running::start(places, "tidegate", |command| {
        command
            .args(["run", "--progress", "none", "-c"])
            .arg(places.root.join("examples/transactions.toml"))
            .env("TIDEGATE_TOKEN", TOKEN)
            .current_dir(folder.path());
        for set in [
            format!("source.brokers=\"{brokers}\""),
            format!("source.topic=\"{TOPIC}\""),
            "http.listen=127.0.0.1:0".to_owned(),
            "http.tokens=[{name=\"test\",roles=[\"admin\"],token=\"${TIDEGATE_TOKEN}\"}]"
                .to_owned(),
            "http.ingest.key=customer_id".to_owned(),
            // Fast enough that 429 says nothing about the rest.
            "http.ingest.rate=1000000".to_owned(),
        ] {
            command.args(["--set", &set]);
        }
    })?;
    let address = job.wait_for("where it listens", |line| {
        let address = line.split_once("address=")?.1;
        let end = address.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
        Some(address[..end.unwrap_or(address.len())].to_owned())
    })?;
    Ok((job, address))
}

/// In the virtual environment. Its scripts name the folder in which it was made, and it is renamed
/// after that: so modules are run, and not scripts.
const PYTHON: &str = "python/bin/python";

fn download(folder: &Path) -> Result<(), Failure> {
    Step::new("python3")
        .args(["-m", "venv", "python"])
        .within(folder)
        .run()?;
    Step::new(folder.join(PYTHON))
        .args(["-m", "pip", "install", "--quiet"])
        .args(["--disable-pip-version-check"])
        .args([format!("schemathesis=={VERSION}")])
        .run()
}
