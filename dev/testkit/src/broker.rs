//! A Kafka process on this machine: broker and controller in one, or a second broker beside it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

/// How a broker is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM: it hands over, flushes and leaves.
    Graceful,
    /// SIGKILL: as a crash.
    Hard,
}

const START_MAX: Duration = Duration::from_secs(120);
const CLUSTER_ID: &str = "VGlkZWdhdGVUZXN0aW5nMQ";
/// Who may come to the listener that asks for it.
pub(crate) const USER: &str = "tidegate";
pub(crate) const PASSWORD: &str = "between-two-tides";

/// Runs the broker and watches over it from outside the test's process. A line on standard input is
/// the signal to stop it with. The end of standard input is the end of the test's process, whatever
/// ended it: the broker dies and its folder goes.
const WATCH: &str = r#"
folder=$1; shift
"$@" </dev/null >>"$folder/log" 2>&1 &
broker=$!
if read -r signal; then
  kill -s "$signal" "$broker"; wait "$broker" 2>/dev/null
else
  kill -s KILL "$broker"; wait "$broker" 2>/dev/null; rm -rf "$folder"
fi
"#;

/// A broker with its folder; it comes back on the same port after it was stopped.
pub(crate) struct Broker {
    home: PathBuf,
    folder: PathBuf,
    id: usize,
    ports: Ports,
    watch: Option<Child>,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    plain: u16,
    sasl: u16,
    controller: u16,
}

/// The number of the broker that is the controller, too, and of the one beside it.
const FIRST: usize = 1;
const SECOND: usize = 2;

impl Broker {
    /// Starts one from the jars in `home`, on free ports, and waits until it answers.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub(crate) fn start(home: &Path) -> Self {
        let ready = prepare(home);
        let mut broker = Self::new(home, FIRST, free_ports());
        for name in ["meta.properties", "bootstrap.checkpoint"] {
            fs::copy(ready.join(name), broker.folder.join("data").join(name))
                .expect("a prepared folder can be copied");
        }
        broker.launch_from(&ready);
        broker
    }

    /// Starts another one, which has the same controller.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub(crate) fn start_beside(&self) -> Self {
        let ready = prepare(&self.home);
        let ports = Ports {
            controller: self.ports.controller,
            ..free_ports()
        };
        let mut broker = Self::new(&self.home, SECOND, ports);
        fs::write(
            broker.folder.join("data/meta.properties"),
            format!("version=1\ncluster.id={CLUSTER_ID}\nnode.id={SECOND}\n"),
        )
        .expect("a new folder is writable");
        broker.launch_from(&ready);
        broker
    }

    /// The address that clients bootstrap from.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.plain)
    }

    /// The address for clients that have to name themselves: [`USER`] with [`PASSWORD`].
    pub(crate) fn sasl_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.sasl)
    }

    /// Stops it and waits until it is gone. Its data stay.
    pub(crate) fn stop(&mut self, how: Stop) {
        let Some(mut watch) = self.watch.take() else {
            return;
        };
        let signal = match how {
            Stop::Graceful => "TERM\n",
            Stop::Hard => "KILL\n",
        };
        let mut stdin = watch.stdin.take().expect("standard input is piped");
        stdin
            .write_all(signal.as_bytes())
            .expect("the watch reads until the end");
        watch.wait().expect("a child can be waited for");
    }

    /// Starts it again after [`Broker::stop`], on the same port with the same data, and waits until
    /// it answers.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub(crate) fn start_again(&mut self) {
        let ready = prepare(&self.home);
        self.launch_from(&ready);
    }

    fn launch_from(&mut self, ready: &Path) {
        self.launch(&[format!(
            "-XX:SharedArchiveFile={}",
            ready.join(CLASSES).display()
        )]);
    }

    fn new(home: &Path, id: usize, ports: Ports) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("tidegate-kafka-")
            .tempdir()
            .expect("a temporary folder")
            .keep();
        fs::create_dir(folder.join("data")).expect("a new folder is writable");
        fs::write(
            folder.join("server.properties"),
            properties(&folder, id, ports),
        )
        .expect("a new folder is writable");
        Self {
            home: home.to_owned(),
            folder,
            id,
            ports,
            watch: None,
        }
    }

    fn launch(&mut self, java_options: &[String]) {
        assert!(self.watch.is_none(), "the broker runs already");
        let watch = Command::new("sh")
            .args(["-c", WATCH, "kafka-watch"])
            .arg(&self.folder)
            .args(java(&self.home, java_options))
            .arg("kafka.Kafka")
            .arg(self.folder.join("server.properties"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0) // Ctrl-C at the terminal is for the tests; the watch then notices that they are gone
            .spawn()
            .expect("sh starts");
        self.watch = Some(watch);
        self.wait_until_it_answers();
    }

    fn wait_until_it_answers(&self) {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.address())
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "100")
            .set("log_level", "0")
            .create()
            .expect("the client's settings are right");
        let begin = Instant::now();
        while begin.elapsed() < START_MAX {
            // As consumers and producers do: wait for a broker that is known to its controller, and
            // for the one that was there before it.
            if client
                .fetch_metadata(None, Duration::from_millis(500))
                .is_ok_and(|cluster| cluster.brokers().len() >= self.id)
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        panic!(
            "Kafka did not answer at {} within {START_MAX:?}; its log:\n{log}",
            self.address()
        );
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        match self.watch.take() {
            Some(mut watch) => {
                drop(watch.stdin.take());
                // Whatever it says, there is nothing left to do.
                let _ = watch.wait();
            }
            None => {
                // A folder that is left behind in the temporary folder harms nobody.
                let _ = fs::remove_dir_all(&self.folder);
            }
        }
    }
}

const CLASSES: &str = "classes.jsa";

/// What halves the time that a broker takes to start: a formatted data folder to copy, and an
/// archive of the classes that a broker loads. Made once, by letting one broker come and go, and
/// kept beside the jars.
fn prepare(home: &Path) -> PathBuf {
    let ready = home.join("ready");
    if ready.is_dir() {
        return ready;
    }
    let mut broker = Broker::new(home, FIRST, free_ports());
    let formatted = run_java(
        home,
        &["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"],
        &broker.folder.join("server.properties"),
    );
    assert!(
        formatted.expect("java starts").success(),
        "Kafka cannot format {}",
        broker.folder.display()
    );

    let partial = tempfile::Builder::new()
        .prefix("ready-")
        .tempdir_in(home)
        .expect("the folder with Kafka's jars is writable");
    for name in ["meta.properties", "bootstrap.checkpoint"] {
        fs::copy(
            broker.folder.join("data").join(name),
            partial.path().join(name),
        )
        .expect("a formatted folder can be copied");
    }
    broker.launch(&[format!(
        "-XX:ArchiveClassesAtExit={}",
        partial.path().join(CLASSES).display()
    )]);
    broker.stop(Stop::Graceful);
    // Where another process was faster its folder is there, and as good.
    if let Err(error) = fs::rename(partial.path(), &ready) {
        assert!(ready.is_dir(), "cannot make {}: {error}", ready.display());
    }
    ready
}

fn run_java(home: &Path, args: &[&str], config: &Path) -> io::Result<ExitStatus> {
    let log = File::create(config.with_file_name("format.log"))?;
    let mut command = java(home, &[]).into_iter();
    Command::new(command.next().expect("a command has a program"))
        .args(command)
        .args(args)
        .arg(config)
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()
}

/// A small Java machine that starts fast.
fn java(home: &Path, options: &[String]) -> Vec<String> {
    let mut command = vec!["java".to_owned()];
    for option in [
        "-Xms64m",
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Xshare:auto",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    ] {
        command.push(option.to_owned());
    }
    command.extend_from_slice(options);
    command.push("-cp".to_owned());
    command.push(format!("{}/libs/*", home.display()));
    command
}

fn free_ports() -> Ports {
    // All are held until the last is found, so that they differ.
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let [plain, sasl, controller] = listeners.each_ref().map(|listener| {
        listener
            .local_addr()
            .expect("a listener has an address")
            .port()
    });
    Ports {
        plain,
        sasl,
        controller,
    }
}

fn properties(folder: &Path, id: usize, ports: Ports) -> String {
    let Ports {
        plain,
        sasl,
        controller,
    } = ports;
    let (roles, listener) = match id {
        FIRST => (
            "broker,controller",
            format!(",CONTROLLER://127.0.0.1:{controller}"),
        ),
        _ => ("broker", String::new()),
    };
    format!(
        "\
process.roles={roles}
node.id={id}
controller.quorum.voters={FIRST}@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl}{listener}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_{USER}=\"{PASSWORD}\";
log.dirs={data}
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=2
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
# A broker that was killed may come back this soon.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# Where there are two, partitions go back to the one that should lead them.
leader.imbalance.check.interval.seconds=1
",
        data = folder.join("data").display(),
    )
}
