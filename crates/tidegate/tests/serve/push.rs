//! What is pushed over the WebSocket.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket, connect};

use crate::job;
use crate::server::Server;

pub type Socket = WebSocket<MaybeTlsStream<TcpStream>>;

pub fn open(server: &Server) -> Socket {
    let (socket, _) = connect(format!("ws://{}/v1/live", server.address)).unwrap();
    if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
    }
    socket
}

pub fn subscribe(socket: &mut Socket, topics: &[&str]) {
    socket
        .send(Message::text(json!({ "subscribe": topics }).to_string()))
        .unwrap();
}

pub fn next(socket: &mut Socket) -> Value {
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

#[test]
fn a_client_gets_what_it_subscribes_to() {
    let job = job();
    // Comes when the client listens.
    let mut files: Vec<_> = std::fs::read_dir(job.path("in"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let last = files.pop().unwrap();
    std::fs::rename(&last, job.path("away")).unwrap();
    let server = Server::start(&job);
    server.until_loaded(crate::records(&job));
    let mut socket = open(&server);
    let hello = next(&mut socket);
    assert_eq!(
        (&hello["type"], &hello["job"]["name"]),
        (&json!("hello"), &json!("transactions"))
    );
    subscribe(&mut socket, &["status", "view:transactions_1m"]);
    let firsts = [next(&mut socket), next(&mut socket)];
    let first = firsts
        .iter()
        .find(|message| message["type"] == "view")
        .unwrap();
    assert!(first["rows"].as_array().unwrap().len() > 10, "{first}");
    std::fs::rename(job.path("away"), &last).unwrap();
    let begin = Instant::now();
    let (mut statuses, mut changes) = (0, Vec::new());
    while statuses < 3 || changes.is_empty() {
        let message = next(&mut socket);
        match message["type"].as_str() {
            Some("status") => statuses += 1,
            Some("view") => changes.push(message),
            _ => panic!("{message}"),
        }
        assert!(begin.elapsed() < Duration::from_secs(30));
    }
    for change in changes {
        assert_eq!(change["view"], "transactions_1m");
        let row = &change["rows"][0];
        assert!(
            row["window_start"].is_string()
                && row["transaction_count"].is_u64()
                && row["final"].is_boolean(),
            "{row}"
        );
    }
}

#[test]
fn a_client_that_asks_nonsense_is_told_so() {
    let job = job();
    let server = Server::start(&job);
    for (says, reason) in [
        ("{\"subscribe\":[\"view:x\"]}", "called `view:x`"),
        ("hello", "not understood"),
    ] {
        let mut socket = open(&server);
        next(&mut socket);
        socket.send(Message::text(says)).unwrap();
        let bye = next(&mut socket);
        assert_eq!(bye["type"], "bye");
        assert!(bye["reason"].as_str().unwrap().contains(reason), "{bye}");
    }
}

#[test]
fn a_client_that_does_not_read_is_dropped_and_others_are_not() {
    let job = job();
    let server = Server::start(&job);
    server.until_loaded(crate::records(&job));
    let mut slow = open(&server);
    let mut good = open(&server);
    // Asks for more and more of large answers and reads none.
    let begin = Instant::now();
    let topics = [&["view:transactions_1m", "view:transactions_5m"][..], &[]];
    let mut is_dropped = false;
    if let MaybeTlsStream::Plain(stream) = slow.get_ref() {
        stream
            .set_write_timeout(Some(Duration::from_secs(1)))
            .unwrap();
    }
    while !is_dropped && begin.elapsed() < Duration::from_secs(60) {
        is_dropped = topics.iter().any(|topics| {
            let wish = json!({ "subscribe": topics }).to_string();
            match slow.send(Message::text(wish)) {
                Err(tungstenite::Error::Io(error)) => {
                    error.kind() != std::io::ErrorKind::WouldBlock
                }
                Err(_) => true,
                Ok(()) => false,
            }
        });
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(is_dropped, "a client that does not read stays");
    assert_eq!(next(&mut good)["type"], "hello");
    subscribe(&mut good, &["status"]);
    for _ in 0..3 {
        assert_eq!(next(&mut good)["type"], "status");
    }
}
