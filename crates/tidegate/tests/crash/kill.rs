//! Kills a process, and tells whether it was killed or ended before.

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A place in the program where it can be killed.
#[derive(Debug)]
pub(crate) struct Point {
    /// Its name in `FAILPOINTS`.
    pub(crate) name: &'static str,
    /// One of the first so many times that the place is reached. More make the steps longer.
    pub(crate) hits: u64,
    /// Whether it is reached only when a snapshot is due.
    pub(crate) at_snapshot: bool,
}

const fn point(name: &'static str, hits: u64) -> Point {
    Point {
        name,
        hits,
        at_snapshot: false,
    }
}

/// All failpoints of the program.
pub(crate) static POINTS: [Point; 10] = [
    point("log.put.before", 8),
    point("log.put.after", 8),
    point("data.put.before", 40),
    point("data.put.after", 40),
    point("load.begin", 3),
    point("load.staged", 3),
    point("load.before_commit", 3),
    point("load.after_commit", 3),
    Point {
        at_snapshot: true,
        ..point("snapshot.before", 1)
    },
    Point {
        at_snapshot: true,
        ..point("snapshot.after", 1)
    },
];

/// When a process is killed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kill {
    /// So long after its start, from outside.
    After(Duration),
    /// By itself, at the place, when it is reached for the time after the first `hit` times.
    At { point: &'static Point, hit: u64 },
    /// Not at all.
    Never,
}

/// Longer than anything here takes: a process that hangs fails the test.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the process; true if it was killed as it was to be, false if it ended well before.
///
/// With [`Kill::At`] nothing outside sends a signal, so that the process is known to have got to
/// the place.
///
/// # Panics
/// If it ends in any other way.
pub(crate) fn run(mut command: Command, kill: Kill) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    if let Kill::At { point, hit } = kill {
        let action = match hit {
            0 => "return".to_owned(),
            hit => format!("{hit}*off->return"),
        };
        command.env("FAILPOINTS", format!("{}={action}", point.name));
    }
    let mut child = command.spawn().unwrap();
    // Read as it comes, so that the process never waits for its reader.
    let mut stderr = child.stderr.take().unwrap();
    let reader = thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let status = match kill {
        Kill::After(time) => wait(&mut child, time).unwrap_or_else(|| {
            child.kill().unwrap();
            child.wait().unwrap()
        }),
        Kill::At { .. } | Kill::Never => wait(&mut child, PATIENCE).unwrap_or_else(|| {
            let _ = child.kill();
            panic!("a process did not end within {PATIENCE:?}");
        }),
    };
    let text = reader.join().unwrap();
    let may_be_killed = !matches!(kill, Kill::Never);
    match (status.signal(), status.code()) {
        (Some(9), _) if may_be_killed => true,
        (_, Some(0)) => false,
        _ => panic!("{kill:?}: {status}\n{text}"),
    }
}

/// How the process ended, if it did so within this time.
fn wait(child: &mut Child, time: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        let left = time.saturating_sub(began.elapsed());
        if left.is_zero() {
            return None;
        }
        thread::sleep(left.min(Duration::from_millis(2)));
    }
}
