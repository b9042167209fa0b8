//! A real Redis for tests of the hot tier.

use std::env;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::skip::skip;

const START_MAX: Duration = Duration::from_secs(30);

/// Runs a server and watches over it from outside the test's process. The end of standard input is the end of the test's process,
/// whatever ended it: Redis stops at once.
const WATCH: &str = r#"
program=$1; folder=$2; port=$3; cluster=$4
"$program" --port "$port" --bind 127.0.0.1 --dir "$folder" --save "" --appendonly no --cluster-enabled "$cluster" \
  </dev/null >"$folder/log" 2>&1 & redis=$!
read -r line
kill -s KILL "$redis" 2>/dev/null; wait "$redis" 2>/dev/null
"#;

/// A Redis to test against. It ends when this is dropped, or when the process ends in any way.
pub struct Redis {
    program: PathBuf,
    port: u16,
    is_cluster: bool,
    folder: TempDir,
    watch: Option<Child>,
}

impl Redis {
    /// An empty server. `None` where no Redis can be had: the calling test has then been counted as skipped and should return.
    ///
    /// # Panics
    ///
    /// If there is a Redis but it does not come up.
    pub fn start() -> Option<Self> {
        Self::start_as(false)
    }

    /// A cluster of one server that has all slots. `None` as for [`Redis::start`].
    ///
    /// # Panics
    ///
    /// If there is a Redis but it does not come up.
    pub fn start_cluster() -> Option<Self> {
        let redis = Self::start_as(true)?;
        let slots: Vec<String> = (0..16_384).map(|slot| slot.to_string()).collect();
        let mut command = vec!["CLUSTER", "ADDSLOTS"];
        command.extend(slots.iter().map(String::as_str));
        redis.ask(&command);
        let begin = Instant::now();
        while !redis.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
            assert!(begin.elapsed() < START_MAX, "the cluster did not form");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(redis)
    }

    fn start_as(is_cluster: bool) -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let program = env::split_paths(&path)
            .map(|folder| folder.join("redis-server"))
            .find(|program| program.is_file());
        let Some(program) = program else {
            skip("no Redis here: `cargo xtask setup --redis` installs it");
            return None;
        };
        // A cluster's members talk on the port 10,000 above.
        let port = loop {
            let port = TcpListener::bind("127.0.0.1:0")
                .and_then(|listener| listener.local_addr())
                .expect("a free port")
                .port();
            if port < 55_000 {
                break port;
            }
        };
        let mut redis = Redis {
            program,
            port,
            is_cluster,
            folder: TempDir::with_prefix("tidegate-redis-").expect("a temporary folder"),
            watch: None,
        };
        redis.resume();
        Some(redis)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends the server at once; what it held is gone.
    pub fn stop(&mut self) {
        if let Some(mut watch) = self.watch.take() {
            drop(watch.stdin.take());
            // Whatever it says, there is nothing left to do.
            let _ = watch.wait();
        }
    }

    /// Starts it again where it was, empty.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub fn resume(&mut self) {
        let watch = Command::new("sh")
            .args(["-c", WATCH, "redis-watch"])
            .arg(&self.program)
            .arg(self.folder.path())
            .arg(self.port.to_string())
            .arg(if self.is_cluster { "yes" } else { "no" })
            .current_dir(Path::new("/"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0) // Ctrl-C at the terminal is for the tests; the watch then notices that they are gone
            .spawn()
            .expect("sh starts");
        self.watch = Some(watch);
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log =
                || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(
                begin.elapsed() < START_MAX,
                "Redis did not answer within {START_MAX:?}; its log:\n{}",
                log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What a command answers, as `redis-cli` prints it.
    ///
    /// # Panics
    ///
    /// If `redis-cli` does not start.
    pub fn ask(&self, command: &[&str]) -> String {
        let answer = Command::new(self.program.with_file_name("redis-cli"))
            .args(["-p", &self.port.to_string()])
            .args(command)
            .output()
            .expect("redis-cli starts");
        String::from_utf8_lossy(&answer.stdout).into_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
