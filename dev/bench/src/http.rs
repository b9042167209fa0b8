//! Questions to a running pipeline.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::Outcome;

/// What it answers to a GET.
pub(crate) fn get(port: u16, path: &str) -> Outcome<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(format!("{path}: {answer}").into()),
    }
}

/// What it says of itself.
pub(crate) fn status(port: u16) -> Outcome<Value> {
    Ok(serde_json::from_str(&get(port, "/v1/status")?)?)
}
