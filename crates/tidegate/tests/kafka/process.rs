//! The program while it runs.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What runs longer than this hangs.
const LIMIT: Duration = Duration::from_secs(90);

/// A process whose output goes to files. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl Process {
    /// Starts `command`; its output goes to files whose names begin with `output`.
    pub(crate) fn start(mut command: Command, output: &str) -> Self {
        let folder = command.get_current_dir().unwrap();
        let (out, err) = (
            folder.join(format!("{output}.out")),
            folder.join(format!("{output}.err")),
        );
        let child = command
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        Process { child, out, err }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// Waits until `is_so`, while the process runs.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let begin = Instant::now();
        while !is_so(self) {
            assert_eq!(
                self.child.try_wait().unwrap(),
                None,
                "it ended before {what}: {}",
                self.log()
            );
            assert!(
                begin.elapsed() < LIMIT,
                "after {LIMIT:?} not yet {what}: {}",
                self.log()
            );
            thread::sleep(Duration::from_millis(30));
        }
    }

    /// Looks for a while whether something stays as it is, while the process runs.
    #[track_caller]
    pub(crate) fn stays(&mut self, what: &str, time: Duration, is_so: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while begin.elapsed() < time {
            assert!(is_so(self), "no more {what}: {}", self.log());
            let ended = self.child.try_wait().unwrap();
            assert_eq!(ended, None, "it ended: {}", self.log());
            thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                begin.elapsed() < LIMIT,
                "it still runs after {LIMIT:?}: {}",
                self.log()
            );
            thread::sleep(Duration::from_millis(10));
        };
        Ended {
            code: status.code(),
            out: fs::read_to_string(&self.out).unwrap(),
            err: self.log(),
            took: begin.elapsed(),
        }
    }

    /// Asks it to end, as a service manager does, and waits until it has ended well.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        let ended = self.end();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        ended
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Has it stand still for a while, as a machine that is suspended does.
    pub(crate) fn stand_still(&self, meanwhile: impl FnOnce()) {
        self.signal(Signal::STOP);
        meanwhile();
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Where it has ended there is nothing to kill, and nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
