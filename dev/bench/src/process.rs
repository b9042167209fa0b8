//! Runs the program, and what it is compared with, and says what a run cost.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_testkit::S3;
use xtask::callgrind::{self, NotCounted};

use crate::Outcome;
use crate::proc::{cpu, group, peak};

/// The program under measurement.
#[derive(Clone)]
pub(crate) struct Tidegate {
    program: PathBuf,
    /// The cores that it may use, as `taskset` takes them; all if none.
    cores: Option<String>,
}

/// A run under way.
pub(crate) struct Running {
    child: Child,
    /// Whether what it costs is that of all processes that it starts.
    group: bool,
    started: Instant,
}

/// A run that has ended well.
pub(crate) struct CompletedRun {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_bytes: u64,
    summary: Value,
    log: String,
}

impl Tidegate {
    /// The program that was built beside this one.
    pub(crate) fn find() -> Outcome<Self> {
        let program = std::env::current_exe()?.with_file_name("tidegate");
        if program.exists() {
            Ok(Tidegate {
                program,
                cores: None,
            })
        } else {
            Err(format!("{} is not built", program.display()).into())
        }
    }

    /// The same program, kept to these cores.
    pub(crate) fn on(&self, cores: &[usize]) -> Self {
        let cores: Vec<String> = cores.iter().map(ToString::to_string).collect();
        Tidegate {
            program: self.program.clone(),
            cores: Some(cores.join(",")),
        }
    }

    /// Where it is.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Runs the transactions example until it is caught up.
    pub(crate) fn run(&self, settings: &[String]) -> Outcome<CompletedRun> {
        self.start(settings)?.finish()
    }

    pub(crate) fn start(&self, settings: &[String]) -> Outcome<Running> {
        let how = "--until-caught-up --summary json --progress none --log-level warn";
        let how: Vec<&str> = how.split(' ').collect();
        self.command("run", &how, settings)
    }

    /// Starts a command over the transactions example.
    pub(crate) fn command(
        &self,
        name: &str,
        args: &[&str],
        settings: &[String],
    ) -> Outcome<Running> {
        let mut command = match &self.cores {
            Some(cores) => {
                let mut command = Command::new("taskset");
                // It becomes the program, so that the process is the program's.
                command.args(["-c", cores]).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args([name, "-c", "examples/transactions.toml"]);
        command.args(args).envs(S3::environment());
        for setting in settings {
            command.args(["--set", setting]);
        }
        Running::spawn(command, false)
    }
}

impl Running {
    /// Starts a command; with `group`, in a process group whose processes are counted together.
    pub(crate) fn spawn(mut command: Command, group: bool) -> Outcome<Self> {
        if group {
            command.process_group(0);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.stderr(Stdio::piped()).spawn()?;
        Ok(Running {
            child,
            group,
            started: Instant::now(),
        })
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A short pause, after which the process must still run.
    pub(crate) fn alive(&mut self, pause: Duration) -> Outcome<()> {
        std::thread::sleep(pause);
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("tidegate ended too early, with {status}").into()),
        }
    }

    /// Kills the process; returns the most memory that it has had, in bytes.
    pub(crate) fn kill(mut self) -> Outcome<u64> {
        let peak_bytes = peak(self.child.id()).unwrap_or(0);
        self.child.kill()?;
        self.child.wait()?;
        Ok(peak_bytes)
    }

    /// Asks the process to end, and waits until it has.
    pub(crate) fn interrupt(self) -> Outcome<CompletedRun> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status()?;
        self.finish()
    }

    /// Waits for the end, reading what the process has used until then.
    pub(crate) fn finish(mut self) -> Outcome<CompletedRun> {
        let pid = self.child.id();
        // Both are read while it runs, so that a full pipe does not hold it up.
        let (mut out, mut err) = (self.child.stdout.take(), self.child.stderr.take());
        let read = |pipe: &mut dyn Read| {
            let mut text = String::new();
            pipe.read_to_string(&mut text).map(|_| text)
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the pipes end with the process, which is waited for anyway"
        )]
        let (status, cpu_seconds, peak_bytes, seconds, out, err) = std::thread::scope(|scope| {
            let out =
                scope.spawn(move || out.as_mut().map_or(Ok(String::new()), |pipe| read(pipe)));
            let err =
                scope.spawn(move || err.as_mut().map_or(Ok(String::new()), |pipe| read(pipe)));
            let (mut cpu_seconds, mut peak_bytes) = (0.0, 0);
            let status = loop {
                let processes = if self.group { group(pid) } else { vec![pid] };
                // What a process has used is lost when it ends before the others.
                let used: f64 = processes.iter().filter_map(|pid| cpu(*pid)).sum();
                cpu_seconds = used.max(cpu_seconds);
                let peaks = processes.iter().filter_map(|pid| peak(*pid)).sum();
                peak_bytes = peak_bytes.max(peaks);
                if let Some(status) = self.child.try_wait()? {
                    break status;
                }
                std::thread::sleep(Duration::from_millis(10));
            };
            let seconds = self.started.elapsed().as_secs_f64();
            let texts = (joined(out)?, joined(err)?);
            Ok::<_, std::io::Error>((status, cpu_seconds, peak_bytes, seconds, texts.0, texts.1))
        })?;
        if !status.success() {
            return Err(format!("it ended with {status}: {err}").into());
        }
        Ok(CompletedRun {
            seconds,
            cpu_seconds,
            peak_bytes,
            summary: serde_json::from_str(&out).unwrap_or_default(),
            log: err,
        })
    }
}

fn joined(
    thread: std::thread::ScopedJoinHandle<'_, std::io::Result<String>>,
) -> std::io::Result<String> {
    thread
        .join()
        .unwrap_or_else(|_| Err(std::io::Error::other("a reader panicked")))
}

impl CompletedRun {
    /// The lines of its log, where it was told to write JSON.
    pub(crate) fn log(&self) -> impl Iterator<Item = Value> {
        self.log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
    }

    /// What it wrote to standard output, where that is JSON.
    pub(crate) fn answer(&self) -> &Value {
        &self.summary
    }

    /// A number of the status at the end of the run.
    pub(crate) fn status(&self, key: &str) -> Outcome<u64> {
        self.summary["summary"]["status"][key]
            .as_u64()
            .ok_or_else(|| format!("the summary has no `{key}`").into())
    }
}

/// Instructions that a command takes, as callgrind counts them; none where there is no valgrind.
pub(crate) fn instructions(command: &[PathBuf]) -> Outcome<Option<u64>> {
    let (program, args) = command.split_first().ok_or("no program is named")?;
    let mut program = Command::new(program);
    program.args(args);
    match callgrind::instructions(&program, &[]) {
        Ok(count) => Ok(Some(count)),
        Err(NotCounted::NoValgrind) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
