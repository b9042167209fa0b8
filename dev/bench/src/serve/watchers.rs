//! Those who watch: WebSockets that have subscribed to everything, and throw away what they get.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Outcome;

/// What all of them have got.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) messages: AtomicU64,
    pub(crate) bytes: AtomicU64,
    /// Connections that ended.
    pub(crate) lost: AtomicU64,
}

/// Opens so many; they watch until the set is dropped.
pub(crate) async fn watch(
    port: u16,
    count: usize,
    topics: &[&str],
    seen: &Arc<Seen>,
) -> Outcome<JoinSet<()>> {
    let mut tasks = JoinSet::new();
    let wish = serde_json::json!({ "subscribe": topics }).to_string();
    for _ in 0..count {
        let stream = open(port, &wish).await?;
        let seen = Arc::clone(seen);
        tasks.spawn(async move {
            read(&stream, &seen).await;
            seen.lost.fetch_add(1, Ordering::Relaxed);
        });
    }
    Ok(tasks)
}

async fn open(port: u16, wish: &str) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = "GET /v1/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    // To the end of the head and not beyond, where frames begin.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        return Err(String::from_utf8_lossy(&head).into());
    }
    // A text frame of less than 126 bytes, with a mask of zeros, which changes nothing.
    let length = u8::try_from(wish.len()).ok().filter(|length| *length < 126);
    let length = length.ok_or("too many topics")?;
    let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(wish.as_bytes());
    stream.write_all(&frame).await?;
    Ok(stream)
}

/// Counts frames until the connection ends. It holds no buffer while it waits.
async fn read(stream: &TcpStream, seen: &Seen) {
    let mut frames = Frames::default();
    while stream.readable().await.is_ok() {
        let mut buffer = [0; 32 << 10];
        match stream.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => {
                seen.messages
                    .fetch_add(frames.take(&buffer[..read]), Ordering::Relaxed);
                seen.bytes.fetch_add(read as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// Finds the ends of frames in what comes piece by piece.
#[derive(Debug, Default)]
struct Frames {
    /// Bytes of a frame's head so far: 10 at most, since servers mask nothing.
    head: Vec<u8>,
    /// Bytes of the payload that are still to come.
    missing: usize,
}

impl Frames {
    /// How many frames have begun in these bytes.
    fn take(&mut self, mut bytes: &[u8]) -> u64 {
        let mut count = 0;
        while let Some((first, rest)) = bytes.split_first() {
            if self.missing > 0 {
                let skipped = self.missing.min(bytes.len());
                self.missing -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head.push(*first);
            bytes = rest;
            if let Some(length) = length(&self.head) {
                self.missing = length;
                self.head.clear();
                count += 1;
            }
        }
        count
    }
}

/// The length of a frame's payload, once its head is whole.
fn length(head: &[u8]) -> Option<usize> {
    match (head.get(1)?, head.len()) {
        (126, 4) => Some(usize::from(u16::from_be_bytes([head[2], head[3]]))),
        (127, 10) => head[2..]
            .try_into()
            .ok()
            .map(|bytes| u64::from_be_bytes(bytes) as usize),
        (126 | 127, _) => None,
        (length, _) => Some(usize::from(*length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_wherever_they_are_cut() {
        let mut stream = vec![0x81, 3, b'a', b'b', b'c'];
        stream.extend([0x81, 126, 0x01, 0x00]);
        stream.extend([b'x'; 256]);
        stream.extend([0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        stream.extend([b'y'; 65_536]);
        stream.extend([0x81, 0]);
        for size in [1, 2, 3, 7, 1_000, stream.len()] {
            let mut frames = Frames::default();
            let count: u64 = stream.chunks(size).map(|piece| frames.take(piece)).sum();
            assert_eq!((count, frames.missing), (4, 0), "{size}");
        }
    }
}
