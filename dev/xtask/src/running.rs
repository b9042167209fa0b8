//! A program that runs while a test needs it.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::{env, fs, thread};

use crate::places::Places;
use crate::process::Failure;

/// A folder for what a test writes; it is removed with this.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Result<Self, Failure> {
        let folder = env::temp_dir().join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder)
            .map_err(|error| Failure::new(format!("cannot make {}: {error}", folder.display())))?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The program; it is killed with this.
pub(crate) struct Running {
    name: String,
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Running {
    /// Starts a program that the workspace builds, `tidegate` or `examples/broker`. `set` says
    /// with what: its arguments, its folder, its environment.
    pub(crate) fn start(
        places: &Places,
        name: &str,
        set: impl FnOnce(&mut Command),
    ) -> Result<Self, Failure> {
        let mut command = Command::new(places.release().join(name));
        command
            .env("LD_LIBRARY_PATH", places.root.join(".deps/duckdb"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        set(&mut command);
        let mut child = command
            .spawn()
            .map_err(|error| Failure::new(format!("cannot start {name}: {error}")))?;
        // Always read, or the program would wait at a full pipe.
        let (sender, lines) = mpsc::channel();
        read(child.stdout.take(), sender.clone());
        read(child.stderr.take(), sender);
        Ok(Self {
            name: name.to_owned(),
            child,
            lines,
            said: Vec::new(),
        })
    }

    /// Waits for the first line, of standard output or of standard error, of which `find` makes
    /// something.
    pub(crate) fn wait_for(
        &mut self,
        what: &str,
        find: impl Fn(&str) -> Option<String>,
    ) -> Result<String, Failure> {
        for line in &self.lines {
            let found = find(&line);
            self.said.push(line);
            if let Some(found) = found {
                return Ok(found);
            }
        }
        Err(Failure::new(format!(
            "{} has ended without saying {what}. It said:\n{}",
            self.name,
            self.said.join("\n")
        )))
    }

    /// What it has said so far.
    pub(crate) fn said(&mut self) -> String {
        self.said.extend(self.lines.try_iter());
        self.said.join("\n")
    }

    /// An error if it has ended.
    pub(crate) fn still_runs(&mut self) -> Result<(), Failure> {
        let ended = match self.child.try_wait() {
            Ok(None) => return Ok(()),
            Ok(Some(status)) => format!("ended with {status}"),
            Err(error) => format!("is lost: {error}"),
        };
        let said = self.said();
        Err(Failure::new(format!(
            "{} {ended}. It said:\n{said}",
            self.name
        )))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What cannot be ended has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(pipe: Option<impl Read + Send + 'static>, lines: Sender<String>) {
    let Some(pipe) = pipe else { return };
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // Nobody listens after the end.
            let _ = lines.send(line);
        }
    });
}
