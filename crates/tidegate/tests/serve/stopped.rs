//! A job that does not answer those who ask it from the command line.

use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::outside::orders;
use crate::server::Server;

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_job_that_was_stopped_is_named_and_nobody_waits_for_it() {
    const PATIENCE: Duration = Duration::from_secs(30);
    let job = orders(10);
    let server = Server::start(&job);
    server.until_loaded(10);
    let ask = [
        "query",
        "--format",
        "csv",
        "SELECT count(*) AS n FROM orders",
    ];
    let ask = || job.output(&ask);
    let answered = ask();
    assert!(answered.status.success(), "{}", said(&answered));
    server.signal(Signal::STOP);
    let began = Instant::now();
    let (pid, silent) = (server.pid(), "has said nothing for 5 s");
    let asked = ask();
    assert_eq!(asked.status.code(), Some(1), "{}", said(&asked));
    for part in [
        silent,
        &format!("PID {pid}"),
        &format!("`kill -CONT {pid}`"),
    ] {
        assert!(said(&asked).contains(part), "{part}: {}", said(&asked));
    }
    // Everything else is checked.
    let validated = job.output(&["validate"]);
    assert_eq!(validated.status.code(), Some(0), "{}", said(&validated));
    for part in [
        "valid\n",
        "tables     not compared: ",
        &format!("PID {pid}"),
        silent,
    ] {
        assert!(
            said(&validated).contains(part),
            "{part}: {}",
            said(&validated)
        );
    }
    let verified = job.output(&["log", "verify"]);
    assert!(said(&verified).contains(silent), "{}", said(&verified));
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    server.signal(Signal::CONT);
    let again = ask();
    assert_eq!(said(&again), said(&answered));
}

/// Those that run, and those that wait for them.
#[test]
fn a_question_that_takes_long_is_told_from_a_job_that_does_not_answer() {
    let job = orders(10);
    let server = Server::start(&job);
    server.until_loaded(10);
    let endless = "SELECT count(*) FROM range(100000000000) AS a, range(1000000) AS b";
    let began = Instant::now();
    let mut long = (0..5).map(|_| {
        let mut command = job.command(&["query", "--timeout", "7s", endless]);
        command
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    });
    let long: Vec<_> = long.by_ref().collect();
    for question in long {
        let output = question.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(
            said(&output).contains("7 s") && !said(&output).contains("said nothing"),
            "{}",
            said(&output)
        );
    }
    // The fifth waited for its turn.
    assert!(
        began.elapsed() > Duration::from_secs(13),
        "{:?}",
        began.elapsed()
    );
}
