//! A running job, asked over HTTP.

#![allow(clippy::print_stderr)] // what the job says, for a test that fails

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::Job;

const PATIENCE: Duration = Duration::from_secs(60);

/// A process that serves. It is killed when this is dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: String,
}

impl Server {
    /// Runs the job, which listens on any port.
    pub fn start(job: &Job) -> Self {
        let mut child = job
            .command(&["run", "--set", "http.listen=127.0.0.1:0"])
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

    /// Asks again until the answer is as it should be.
    #[track_caller]
    pub fn until(&self, path: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let answer = self.get(path);
            if is_it(&answer) {
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
