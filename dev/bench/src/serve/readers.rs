//! Those who ask: HTTP connections that are kept, and on them questions at a fixed rate, whatever
//! the answers take.
//!
//! Each connection has its own moments, evenly spread. An answer's time is from its moment, so that
//! what waits behind a slow answer counts as slow too; the timer's millisecond is in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::Outcome;

/// Answers by how long they took, in steps of a tenth of a millisecond; the last one has all that
/// took longer.
const STEPS: usize = 10_000;

/// What has come of the questions.
#[derive(Debug)]
pub(crate) struct Answers {
    counts: Vec<AtomicU64>,
    bytes: AtomicU64,
    /// Answers that were no 200, and connections that broke.
    pub(crate) failed: AtomicU64,
}

impl Answers {
    pub(crate) fn new() -> Self {
        Answers {
            counts: (0..=STEPS).map(|_| AtomicU64::new(0)).collect(),
            bytes: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    fn add(&self, took: Duration, bytes: usize) {
        let step = usize::try_from(took.as_micros() / 100).unwrap_or(STEPS);
        self.counts[step.min(STEPS)].fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }

    /// Bytes of an answer.
    pub(crate) fn mean_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) / self.count().max(1)
    }

    /// The time in milliseconds within which a share of all was answered.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let wanted = self.count() as f64 * share;
        let mut sum = 0.0;
        for (step, count) in self.counts.iter().enumerate() {
            sum += count.load(Ordering::Relaxed) as f64;
            if sum >= wanted {
                return (step + 1) as f64 / 10.0;
            }
        }
        f64::NAN
    }
}

/// Asks for `paths` in turn, `rate` times a second over `connections`, for so long.
pub(crate) async fn ask(
    port: u16,
    paths: &[String],
    rate: u64,
    connections: u64,
    lasts: Duration,
    answers: &Arc<Answers>,
) -> Outcome<()> {
    let begin = Instant::now() + Duration::from_millis(100);
    let mut tasks = JoinSet::new();
    for connection in 0..connections {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let requests = paths
            .iter()
            .map(|path| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes());
        let (requests, answers) = (requests.collect::<Vec<_>>(), Arc::clone(answers));
        let moments = (0..).map(move |turn| {
            let nanos = (turn * connections + connection) * 1_000_000_000 / rate;
            Duration::from_nanos(nanos)
        });
        let moments = moments.take_while(move |after| *after < lasts);
        tasks.spawn(async move {
            let mut connection = ReaderConnection {
                stream,
                buffer: vec![0; 256 << 10],
            };
            for (turn, after) in moments.enumerate() {
                let due = begin + after;
                sleep_until(due.into()).await;
                match connection.ask(&requests[turn % requests.len()]).await {
                    Ok(bytes) => answers.add(due.elapsed(), bytes),
                    Err(_) => {
                        answers.failed.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done?;
    }
    Ok(())
}

struct ReaderConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl ReaderConnection {
    /// Asks, and reads the whole answer; returns the bytes of its body.
    async fn ask(&mut self, request: &[u8]) -> Outcome<usize> {
        self.stream.write_all(request).await?;
        let mut have = 0;
        let (head, body) = loop {
            if have == self.buffer.len() {
                return Err("a head that does not end".into());
            }
            let read = self.stream.read(&mut self.buffer[have..]).await?;
            if read == 0 {
                return Err("closed".into());
            }
            have += read;
            if let Some(end) = memchr::memmem::find(&self.buffer[..have], b"\r\n\r\n") {
                break (end + 4, content_length(&self.buffer[..end])?);
            }
        };
        let mut missing = (head + body).saturating_sub(have);
        while missing > 0 {
            let end = missing.min(self.buffer.len());
            let read = self.stream.read(&mut self.buffer[..end]).await?;
            if read == 0 {
                return Err("closed".into());
            }
            missing -= read;
        }
        Ok(body)
    }
}

fn content_length(head: &[u8]) -> Outcome<usize> {
    let head = std::str::from_utf8(head)?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(head.to_owned().into());
    }
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    Ok(length.ok_or("no content-length")?.1.trim().parse()?)
}
