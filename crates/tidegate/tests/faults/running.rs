//! A process that runs while the test does something to it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// Long enough for several tries of what fails: the first comes after a tenth of a second.
const A_WHILE: Duration = Duration::from_millis(500);

/// Waits for something that is to come about.
///
/// # Panics
/// If it takes too long.
#[track_caller]
pub(crate) fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "no {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A process; it is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts it.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let text = Arc::new(Mutex::new(String::new()));
        let into = Arc::clone(&text);
        let reader = thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut text = into.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        Running {
            child,
            text,
            reader: Some(reader),
        }
    }

    /// What it has written to standard error.
    pub(crate) fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for something that it is to bring about.
    ///
    /// # Panics
    /// If the process ends before, or it takes too long.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, mut done: impl FnMut(&str) -> bool) {
        let began = Instant::now();
        loop {
            let ended = self.has_ended();
            if done(&self.text()) {
                return;
            }
            assert!(!ended, "ended before {what}:\n{}", self.text());
            assert!(began.elapsed() < PATIENCE, "no {what}:\n{}", self.text());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Looks for a while whether something stays as it is.
    ///
    /// # Panics
    /// If it does not, or the process ends.
    #[track_caller]
    pub(crate) fn stays(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        let began = Instant::now();
        while began.elapsed() < A_WHILE {
            assert!(is_so(), "no more {what}:\n{}", self.text());
            assert!(!self.has_ended(), "ended:\n{}", self.text());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        self.send(Signal::TERM);
    }

    /// Asks it to end, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        self.send(Signal::INT);
    }

    fn send(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end; how it ended, and what it wrote.
    ///
    /// # Panics
    /// If it takes too long.
    #[track_caller]
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let began = Instant::now();
        while !self.has_ended() {
            assert!(began.elapsed() < PATIENCE, "does not end:\n{}", self.text());
            thread::sleep(Duration::from_millis(10));
        }
        self.reader.take().unwrap().join().unwrap();
        (self.child.wait().unwrap(), self.text())
    }

    /// Asks it to end, and checks that it does so well.
    #[track_caller]
    pub(crate) fn end_well(self) -> String {
        self.terminate();
        let (status, text) = self.end();
        assert!(status.success(), "{status}\n{text}");
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
