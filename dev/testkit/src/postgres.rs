//! A real PostgreSQL for tests: what the Redshift emulator runs on.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::skip::skip;

const EXTERNAL: &str = "TIDEGATE_TEST_POSTGRES";
const START_MAX: Duration = Duration::from_secs(120);

/// Makes a cluster, runs it and watches over it from outside the test's process. The end of
/// standard input is the end of the test's process, whatever ended it: PostgreSQL stops at once and
/// its folder goes.
const WATCH: &str = r#"
bin=$1; folder=$2; port=$3
cd "$folder" || exit 1
"$bin/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N >"$folder/log" 2>&1 &&
  { "$bin/postgres" -D "$folder/data" -p "$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories="$folder" \
      -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=300 -c shared_buffers=64MB \
      -c max_wal_size=4GB -c log_min_messages=warning </dev/null >>"$folder/log" 2>&1 & postgres=$!; }
read -r line
[ -n "$postgres" ] && { kill -s QUIT "$postgres" 2>/dev/null; wait "$postgres" 2>/dev/null; }
cd /; rm -rf "$folder"
"#;

/// A PostgreSQL to test against. One that was started here ends when this is dropped, or when the
/// process ends in any way.
pub struct Postgres {
    /// `host=... port=... user=...`, without a database.
    server: String,
    bin: PathBuf,
    next: AtomicU32,
    watch: Option<Child>,
}

impl Postgres {
    /// The server that the tests of this process share, started by whoever asks first. `None` where
    /// no PostgreSQL can be had: the calling test has then been counted as skipped and should
    /// return.
    ///
    /// It is that of the environment variable `TIDEGATE_TEST_POSTGRES` (`host=127.0.0.1 port=5432
    /// user=postgres`, a superuser) where that is set.
    ///
    /// # Panics
    ///
    /// If there is a PostgreSQL but it does not come up.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Result<Postgres, String>> = OnceLock::new();
        let found = SHARED.get_or_init(|| {
            let bin = programs()?;
            match env::var(EXTERNAL) {
                Ok(server) if !server.is_empty() => Ok(Self {
                    server,
                    bin,
                    next: AtomicU32::default(),
                    watch: None,
                }),
                _ => Self::start_from(bin),
            }
        });
        found.as_ref().map_err(|reason| skip(reason)).ok()
    }

    /// A server of the test's own. `None` where none can be started here, as for
    /// [`Postgres::shared`].
    ///
    /// # Panics
    ///
    /// If there is a PostgreSQL but it does not come up.
    pub fn start() -> Option<Self> {
        programs()
            .and_then(Self::start_from)
            .map_err(|reason| skip(&reason))
            .ok()
    }

    /// A new and empty database: what to connect with, as `host=127.0.0.1 port=5432 user=postgres
    /// dbname=test_1`.
    ///
    /// # Panics
    ///
    /// If the server does not make one.
    pub fn new_database(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        let made = Command::new(self.bin.join("psql"))
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d"])
            .arg(format!("{} dbname=postgres", self.server))
            .arg("-c")
            .arg(format!(
                "CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy"
            ))
            .output()
            .expect("psql starts");
        assert!(
            made.status.success(),
            "PostgreSQL made no database: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        format!("{} dbname={name}", self.server)
    }

    /// The folder with PostgreSQL's programs: `psql` and others.
    pub fn programs(&self) -> &Path {
        &self.bin
    }

    fn start_from(bin: PathBuf) -> Result<Self, String> {
        let user = user()?;
        let folder = tempfile::Builder::new()
            .prefix("tidegate-postgres-")
            .tempdir()
            .expect("a temporary folder")
            .keep();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))
            .expect("one's own folder takes permissions");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let mut command = Command::new("sh");
        command
            .args(["-c", WATCH, "postgres-watch"])
            .arg(&bin)
            .arg(&folder)
            .arg(port.to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0); // Ctrl-C at the terminal is for the tests; the watch then notices that they are gone
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid)).expect("root gives folders away");
            command.uid(uid).gid(gid);
        }
        let watch = command.spawn().expect("sh starts");
        let postgres = Self {
            server: format!("host=127.0.0.1 port={port} user=postgres"),
            bin,
            next: AtomicU32::default(),
            watch: Some(watch),
        };
        postgres.wait_until_it_answers(&folder);
        Ok(postgres)
    }

    fn wait_until_it_answers(&self, folder: &Path) {
        let begin = Instant::now();
        while begin.elapsed() < START_MAX {
            let answers = Command::new(self.bin.join("pg_isready"))
                .args(["-q", "-d", &self.server])
                .status()
                .is_ok_and(|status| status.success());
            if answers {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        panic!("PostgreSQL did not answer within {START_MAX:?}; its log:\n{log}");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut watch) = self.watch.take() {
            drop(watch.stdin.take());
            // Whatever it says, there is nothing left to do.
            let _ = watch.wait();
        }
    }
}

/// The folder with PostgreSQL's programs: one on the path, or the newest of Debian's.
fn programs() -> Result<PathBuf, String> {
    let complete = |folder: &PathBuf| {
        ["initdb", "postgres", "psql", "pg_isready"]
            .iter()
            .all(|program| folder.join(program).is_file())
    };
    let path = env::var_os("PATH").unwrap_or_default();
    let mut debian: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    debian.sort();
    let newest = debian.into_iter().rev().map(|(_, folder)| folder);
    env::split_paths(&path)
        .chain(newest)
        .find(complete)
        .ok_or_else(|| "no PostgreSQL here: `cargo xtask setup --postgres` installs it".to_owned())
}

/// Whom to become: PostgreSQL does not run as root.
fn user() -> Result<Option<(u32, u32)>, String> {
    let own = fs::metadata("/proc/self").map_err(|error| format!("no /proc: {error}"))?;
    if own.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |name: &str| {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(name) {
                return None;
            }
            let mut fields = fields.skip(1);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
    };
    ids("postgres")
        .or_else(|| ids("nobody"))
        .map(Some)
        .ok_or_else(|| "root cannot run PostgreSQL, and there is no other user".to_owned())
}
