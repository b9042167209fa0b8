//! A real Redis for tests of the hot tier.

use std::env;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::skip::skip;

const START_MAX: Duration = Duration::from_secs(120);

/// Runs a server and watches over it from outside the test's process. The end of standard input is
/// the end of the test's process, whatever ended it: Redis stops at once.
const WATCH: &str = r#"
program=$1; folder=$2; shift 2
"$program" --bind 127.0.0.1 --dir "$folder" --save "" --appendonly no "$@" </dev/null >"$folder/log" 2>&1 & redis=$!
read -r line
kill -s KILL "$redis" 2>/dev/null; wait "$redis" 2>/dev/null
"#;

/// A Redis to test against. It ends when this is dropped, or when the process ends in any way.
pub struct Redis {
    program: PathBuf,
    port: u16,
    kind: RedisKind,
    folder: TempDir,
    watch: Option<Child>,
}

enum RedisKind {
    Alone,
    Node,
    /// With TLS only: certificate and key, files in PEM.
    Tls(PathBuf, PathBuf),
}

/// A cluster of three servers to test against, each with a third of the slots.
pub struct RedisCluster([Redis; 3]);

impl Redis {
    /// An empty server. `None` where no Redis can be had: the calling test has then been counted as
    /// skipped and should return.
    ///
    /// # Panics
    ///
    /// If there is a Redis but it does not come up.
    pub fn start() -> Option<Self> {
        Self::start_as(RedisKind::Alone)
    }

    /// An empty server that speaks TLS only, with a certificate for `localhost` and its key, files
    /// in PEM. `None` as for [`Redis::start`].
    ///
    /// # Panics
    ///
    /// If there is a Redis but it does not come up.
    pub fn start_tls(certificate: &Path, key: &Path) -> Option<Self> {
        Self::start_as(RedisKind::Tls(certificate.to_owned(), key.to_owned()))
    }

    fn start_as(kind: RedisKind) -> Option<Self> {
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
            kind,
            folder: TempDir::with_prefix("tidegate-redis-").expect("a temporary folder"),
            watch: None,
        };
        redis.resume();
        Some(redis)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        match self.kind {
            RedisKind::Tls(..) => format!("rediss://localhost:{}", self.port),
            RedisKind::Alone | RedisKind::Node => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    fn options(&self) -> Vec<String> {
        let port = self.port.to_string();
        let options: Vec<&str> = match &self.kind {
            RedisKind::Alone => vec!["--port", &port],
            RedisKind::Node => vec!["--port", &port, "--cluster-enabled", "yes"],
            RedisKind::Tls(certificate, key) => {
                let (certificate, key) = (certificate.to_str(), key.to_str());
                let [certificate, key] =
                    [certificate, key].map(|path| path.expect("a path in UTF-8"));
                vec![
                    "--port",
                    "0",
                    "--tls-port",
                    &port,
                    "--tls-cert-file",
                    certificate,
                    "--tls-key-file",
                    key,
                    "--tls-auth-clients",
                    "no",
                ]
            }
        };
        options.into_iter().map(str::to_owned).collect()
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
            .args(self.options())
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
        let mut client = Command::new(self.program.with_file_name("redis-cli"));
        client.args(["-p", &self.port.to_string()]);
        if let RedisKind::Tls(certificate, _) = &self.kind {
            client
                .args(["-h", "localhost", "--tls", "--cacert"])
                .arg(certificate);
        }
        let answer = client.args(command).output().expect("redis-cli starts");
        String::from_utf8_lossy(&answer.stdout).into_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

impl RedisCluster {
    /// An empty cluster. `None` as for [`Redis::start`].
    ///
    /// # Panics
    ///
    /// If there is a Redis but the cluster does not form.
    pub fn start() -> Option<Self> {
        let node = || Redis::start_as(RedisKind::Node);
        let cluster = RedisCluster([node()?, node()?, node()?]);
        let nodes = cluster
            .0
            .each_ref()
            .map(|node| format!("127.0.0.1:{}", node.port));
        let [first, second, third] = nodes.each_ref().map(String::as_str);
        let told =
            cluster.0[0].ask(&["--cluster", "create", first, second, third, "--cluster-yes"]);
        let begin = Instant::now();
        let is_ok = |node: &Redis| node.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
        while !cluster.0.iter().all(is_ok) {
            assert!(
                begin.elapsed() < START_MAX,
                "the cluster did not form:\n{told}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(cluster)
    }

    /// Its members.
    pub fn nodes(&self) -> &[Redis] {
        &self.0
    }
}
