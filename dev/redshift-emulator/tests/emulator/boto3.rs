//! The official client, which nobody here wrote.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::client::Client;

/// A Python with boto3: the system's where it has it, or a virtual environment, made once.
fn python() -> Result<PathBuf, String> {
    let has_boto3 = |python: &Path| {
        Command::new(python)
            .args(["-c", "import boto3"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let system = PathBuf::from("python3");
    if has_boto3(&system) {
        return Ok(system);
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("boto3");
    let python = folder.join("bin/python");
    if has_boto3(&python) {
        return Ok(python);
    }
    let run = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
        .and_then(|()| {
            run(Command::new(&python).args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "boto3",
            ]))
        })
        .map(|()| python)
        .map_err(|error| format!("no boto3 here: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_speaks_with_it() {
    let python = match python() {
        Ok(python) => python,
        Err(reason) => return tidegate_testkit::skip(&reason),
    };
    let Some(client) = Client::start_with(|options| options.page_rows_max = 100).await else {
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulator/official_client.py");
    let output = Command::new(python)
        .arg(script)
        .arg(client.emulator.url())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
