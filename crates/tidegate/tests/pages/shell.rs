//! A shell in a folder of its own, in which the commands of one page run.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use tempfile::TempDir;

use crate::{inline, repository};

/// Longest time for one command.
const PATIENCE: Duration = Duration::from_secs(120);
/// Ends what a command prints; its exit code follows.
const END: &str = "@@ the command has ended with ";

/// What pages can rely on: the program as it is called in them, a port that is free, and `serve`.
const PRELUDE: &str = r#"
export NO_COLOR=1
with=()
tidegate() { command tidegate "$@" "${with[@]}"; }
curl() { command curl --max-time 60 "${@//127.0.0.1:8080/$ADDRESS}"; }
uuidgen() { cat /proc/sys/kernel/random/uuid; }
# Cargo builds and tests what is there; that it is there is looked at.
cargo() {
  local before= word
  for word in "$@"; do
    case $before in
      -p | --package) named package "$word" || return ;;
      --bin | --example | --test) named "${before#--}" "$word" || return ;;
      xtask) named xtask "$word" || return ;;
    esac
    before=$word
  done
}
named() { grep -qxF "$*" cargo-names || { echo "there is no $*" >&2; return 1; }; }
# Starts `tidegate run` in the background, and waits until it answers.
serve() {
  : > serve.log
  command tidegate run --progress none --log-format text --set http.listen=127.0.0.1:0 "$@" 2> serve.log &
  until ADDRESS=$(grep -o 'address=[0-9.:]*' serve.log | head -1 | cut -d= -f2) && [ -n "$ADDRESS" ]; do
    kill -0 $! || { cat serve.log >&2; return 1; }
    sleep 0.05
  done
  until command curl -sf "http://$ADDRESS/readyz" > /dev/null; do sleep 0.05; done
}
"#;

pub(crate) struct Shell {
    folder: TempDir,
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Shell {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = format!(
            "{}:{}",
            Shell::built().display(),
            std::env::var("PATH").unwrap_or_default()
        );
        // As who has built it calls it.
        std::fs::create_dir(folder.path().join("target")).unwrap();
        std::os::unix::fs::symlink(Shell::built(), folder.path().join("target/release")).unwrap();
        std::fs::write(
            folder.path().join("cargo-names"),
            inline::cargo_names().join("\n"),
        )
        .unwrap();
        let errors = std::fs::File::create(folder.path().join("stderr")).unwrap();
        let mut child = Command::new("bash")
            .args(["--noprofile", "--norc"])
            .current_dir(folder.path())
            .env("PATH", path)
            .env("TERM", "dumb")
            .env_remove("BASH_ENV")
            .env("XDG_RUNTIME_DIR", folder.path())
            .env("REPOSITORY", repository())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            // What the page starts in the background ends with it.
            .process_group(0)
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            let _ = lines.map(|line| tell.send(line)).find(Result::is_err);
        });
        let mut shell = Shell {
            folder,
            child,
            input,
            lines,
        };
        shell.run("the prelude", PRELUDE);
        shell
    }

    /// The folder with the programs that are built.
    pub(crate) fn built() -> &'static Path {
        Path::new(env!("CARGO_BIN_EXE_tidegate")).parent().unwrap()
    }

    /// Whether a program is installed.
    pub(crate) fn has(program: &str) -> bool {
        let found = Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        found.is_ok_and(|status| status.success())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs commands, which have to succeed, and gives what they print.
    #[track_caller]
    pub(crate) fn run(&mut self, place: &str, script: &str) -> String {
        write!(
            self.input,
            "{{ {script}\n}} < /dev/null\nprintf '\\n%s%s\\n' '{END}' $?\n"
        )
        .unwrap();
        let mut printed = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => match line.strip_prefix(END) {
                    Some("0") => break,
                    Some(code) => panic!(
                        "{place}: exit code {code} of\n{script}\n{printed}\n{}",
                        self.errors()
                    ),
                    None => printed = format!("{printed}{line}\n"),
                },
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{place}: no end of\n{script}\n{printed}\n{}", self.errors())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("{place}: the shell has ended\n{}", self.errors())
                }
            }
        }
        // The end's own line break.
        printed.strip_suffix('\n').unwrap_or(&printed).to_owned()
    }

    /// Runs a command, with arguments for each `tidegate` in it.
    #[track_caller]
    pub(crate) fn run_with(&mut self, place: &str, with: &str, script: &str) -> String {
        self.run(place, &format!("with=({with})\n{script}"))
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}
