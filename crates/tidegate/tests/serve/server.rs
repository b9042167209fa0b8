//! A running job, asked over HTTP.

#![allow(clippy::print_stderr)] // what the job says, for a test that fails

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::Job;

const PATIENCE: Duration = Duration::from_secs(120);

/// A process that serves. It is killed when this is dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: String,
}

impl Server {
    /// Runs the job, which listens on any port.
    pub fn start(job: &Job) -> Self {
        Server::start_command(job, &["run", "--set", "http.listen=127.0.0.1:0"])
    }

    /// Runs the loader of the job, which listens on any port.
    pub fn start_load(job: &Job) -> Self {
        Server::start_command(job, &["load", "--set", "load.listen=127.0.0.1:0"])
    }

    /// Runs the demo in the job's folder, whatever the job is.
    pub fn start_demo(job: &Job) -> Self {
        Server::start_command(job, &["demo", "--rate", "2000", "--progress", "none"])
    }

    /// Runs a command of the job, which need not get as far as to say where it listens: `key` says
    /// where.
    pub fn start_unready(job: &Job, command: &str, key: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let child = job
            .command(&[command, "--set", &format!("{key}={address}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begin = Instant::now();
        while TcpStream::connect(&address).is_err() {
            assert!(begin.elapsed() < PATIENCE, "nobody listens at {address}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Server { child, address }
    }

    fn start_command(job: &Job, args: &[&str]) -> Self {
        let mut child = job
            .command(args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let address = line.split("address=").nth(1)?.split_whitespace().next()?;
            Some(address.to_owned())
        });
        // What comes later is shown when a test fails.
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| drop(writeln!(std::io::stderr(), "{line}")))
        });
        let Some(address) = address else {
            let _ = child
                .stdout
                .take()
                .map(|mut out| out.read_to_string(&mut seen));
            panic!("the job did not say where it listens");
        };
        Server { child, address }
    }

    /// Processor time that it has used, in seconds; 100 ticks are one, as on all Linux.
    pub fn processor_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, after_name) = stat.rsplit_once(") ").unwrap();
        let ticks = after_name.split(' ').skip(11).take(2);
        ticks.map(|it| it.parse::<f64>().unwrap()).sum::<f64>() / 100.0
    }

    /// Status and JSON of an answer.
    pub fn request(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (
            status,
            serde_json::from_str(body).unwrap_or(Value::String(body.to_owned())),
        )
    }

    /// The JSON of a successful answer.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let (status, answer) = self.request("GET", path, "");
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Asks whether the process is ready until it is, or is not; gives what it says.
    #[track_caller]
    pub fn until_ready(&self, is_ready: bool) -> String {
        let begin = Instant::now();
        loop {
            let (status, said) = self.request("GET", "/readyz", "");
            if (status == 200) == is_ready {
                return said.as_str().unwrap().to_owned();
            }
            assert!(begin.elapsed() < PATIENCE, "/readyz stays {status} {said}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The value of a series on the page of metrics, by its name and labels but `pipeline`.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let page = self.get("/metrics");
        let line = page.as_str().unwrap().lines().find_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            let (name, labels) = name.split_once('{')?;
            let labels = labels.trim_end_matches('}');
            let (_, labels) = labels.split_once(',').unwrap_or(("", ""));
            (format!("{name}{{{labels}}}").replace("{}", "") == series).then_some(value)
        });
        line.map(|value| value.parse().unwrap())
    }

    /// Asks again until the answer is as it should be; 503 says to ask again.
    #[track_caller]
    pub fn until(&self, path: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let (status, answer) = self.request("GET", path, "");
            assert!([200, 503].contains(&status), "{path}: {status} {answer}");
            if status == 200 && is_it(&answer) {
                return answer;
            }
            assert!(begin.elapsed() < PATIENCE, "{path} stays {answer}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until so many records are committed and loaded; gives the status.
    #[track_caller]
    pub fn until_loaded(&self, records: u64) -> Value {
        self.until("/v1/status", |status| {
            status["read"] == records && status["loaded_seq"] == status["last_seq"]
        })
    }

    /// The most memory that the process has had, in bytes.
    pub fn memory_max(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.unwrap().trim().split(' ').next().unwrap();
        kib.parse::<u64>().unwrap() << 10
    }

    /// Sends a question, and reads nothing of the answer.
    pub fn ask_and_leave(&self, path: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends the process a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends the process at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
