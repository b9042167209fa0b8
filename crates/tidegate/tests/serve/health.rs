//! Health is answered, whatever else is asked.

use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::Job;
use crate::server::Server;

/// How long large answers are asked for.
const UNDER_LOAD: Duration = Duration::from_secs(15);
/// The longest that one answer may take, also where other tests take the processor.
const SLOWEST: Duration = Duration::from_secs(5);
const CLIENTS: usize = 20;

#[test]
fn health_is_answered_within_seconds_while_large_answers_are_made_and_read_slowly() {
    let job = Job::from_text("");
    let server = Arc::new(Server::start_demo(&job));
    server.until_ready(true);
    let sql = format!("SELECT '{}' || range FROM range(100000)", "x".repeat(600));
    let question = json!({ "sql": sql, "limit": 100_000, "timeout_seconds": 60 }).to_string();
    let ended = Arc::new(AtomicBool::new(false));
    let bytes = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (server, question) = (Arc::clone(&server), question.clone());
            let (ended, bytes) = (Arc::clone(&ended), Arc::clone(&bytes));
            std::thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let answer = server.ask_and_leave("/v1/query", &question);
                    bytes.fetch_add(read_slowly(answer, &ended), Ordering::Relaxed);
                }
            })
        })
        .collect();
    let began = Instant::now();
    let mut slowest = [Duration::ZERO; 2];
    while began.elapsed() < UNDER_LOAD {
        for (path, slowest) in ["/healthz", "/readyz"].iter().zip(&mut slowest) {
            let asked = Instant::now();
            let (status, said) = server.request("GET", path, "");
            assert_eq!(status, 200, "{path}: {said}");
            *slowest = asked.elapsed().max(*slowest);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    ended.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    let bytes = bytes.load(Ordering::Relaxed);
    assert!(bytes > 100 << 20, "only {bytes} bytes were read");
    assert!(slowest.iter().all(|one| *one < SLOWEST), "{slowest:?}");
}

/// Reads an answer until it or the test has ended; gives its bytes.
fn read_slowly(mut answer: TcpStream, ended: &AtomicBool) -> u64 {
    let wait = Some(Duration::from_secs(1));
    answer.set_read_timeout(wait).unwrap();
    let (mut piece, mut bytes) = (vec![0; 256 << 10], 0);
    while !ended.load(Ordering::Relaxed) {
        match answer.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => bytes += read as u64,
            // Nothing has come yet.
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bytes
}
