//! A connection to one broker, and the thread that fetches over it.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use rdkafka::error::RDKafkaErrorCode;

use tidegate_base::lock::lock;

use super::Settings;
use super::read_ahead::{ReadAhead, Share};
use super::response::{PartitionBatches, advance, check, digest, unchecked};
use super::wire::{self, Bounds, FetchPosition, Trust};
use crate::consumer::positions::Cut;

/// How long a connection may take to come about, and a response beyond what the broker was told to
/// wait.
const PATIENCE: Duration = Duration::from_secs(30);
/// The least time from one request to the next, where a broker has nothing and does not wait as it
/// was told to.
const PAUSE: Duration = Duration::from_millis(10);

/// What a thread is told once and for all.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) topic: Arc<str>,
    pub(super) settings: Settings,
    /// Bytes that a response has at most: the first batch in it comes whole, however large it is.
    pub(super) response_bytes_max: usize,
    pub(super) read_ahead: Arc<ReadAhead>,
    pub(super) out: Sender<FetchEvent>,
}

/// What a thread has to tell.
pub(super) enum FetchEvent {
    Fetched(Fetched),
    /// The broker does not give this partition, which is left to whoever hears this.
    Left {
        wanted: FetchPosition,
        code: RDKafkaErrorCode,
    },
    /// The leader of this partition does not have all that was read of it. It is not fetched
    /// further.
    Truncated {
        wanted: FetchPosition,
        cut: Cut,
    },
    /// The thread has ended; its partitions are left in [`BrokerConnection::wanted`].
    Ended {
        broker: i32,
        why: ConnectionEnd,
    },
}

/// Why a thread ended.
pub(super) enum ConnectionEnd {
    /// The connection failed.
    Connection(io::Error),
    /// The broker is older than what is needed, or keeps batches that are.
    TooOld(String),
    /// A response has so many bytes, which are too many.
    TooLarge(usize),
    /// A partition cannot be read further.
    Corrupt {
        partition: i32,
        offset: i64,
        reason: String,
    },
}

/// A response.
pub(super) struct Fetched {
    pub(super) broker: i32,
    pub(super) response: Arc<Vec<u8>>,
    pub(super) parts: VecDeque<PartitionBatches>,
    /// Dropped when the response is; none in a test without a connection.
    pub(super) _share: Option<Share>,
}

/// A connection and its thread, which ends with it.
pub(super) struct BrokerConnection {
    state: Arc<ConnectionState>,
}

#[derive(Default)]
struct ConnectionState {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    /// The partitions that are fetched; the first is served first.
    wanted: VecDeque<FetchPosition>,
    socket: Option<TcpStream>,
    stopped: bool,
}

impl ConnectionState {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

impl ConnectionEnd {
    /// A response makes no sense.
    pub(super) fn garbled(error: wire::Garbled) -> Self {
        ConnectionEnd::Connection(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// The broker has this error for all of a request.
    pub(super) fn error(code: i16) -> Self {
        ConnectionEnd::Connection(io::Error::other(error_code(code).to_string()))
    }
}

impl BrokerConnection {
    /// Starts the thread, which connects.
    pub(super) fn start(broker: i32, address: (String, u16), setup: &Setup) -> io::Result<Self> {
        let state = Arc::<ConnectionState>::default();
        let (shared, setup) = (Arc::clone(&state), setup.clone());
        let run = move || {
            let fetcher = Fetcher {
                broker,
                state: shared,
                request: Vec::new(),
                starving: None,
                setup,
            };
            let out = fetcher.setup.out.clone();
            if let Err(why) = fetcher.run(&address) {
                // Nobody listens any more when the source has ended.
                let _ = out.send(FetchEvent::Ended { broker, why });
            }
        };
        thread::Builder::new()
            .name(format!("tg-fetch-{broker}"))
            .spawn(run)?;
        Ok(BrokerConnection { state })
    }

    /// Has a partition fetched, which no other connection fetches.
    pub(super) fn add(&self, wanted: FetchPosition) {
        self.state.inner().wanted.push_back(wanted);
        self.state.changed.notify_all();
    }

    /// The partitions that it had, once it has ended.
    pub(super) fn wanted(&self) -> Vec<FetchPosition> {
        self.state.inner().wanted.drain(..).collect()
    }
}

impl Drop for BrokerConnection {
    fn drop(&mut self) {
        let mut inner = self.state.inner();
        inner.stopped = true;
        if let Some(socket) = &inner.socket {
            // The thread sees its end.
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.state.changed.notify_all();
    }
}

/// The thread.
struct Fetcher {
    broker: i32,
    state: Arc<ConnectionState>,
    setup: Setup,
    request: Vec<u8>,
    /// The partition, and its offset, of which the last response had records, but no whole batch.
    starving: Option<(i32, i64)>,
}

impl Fetcher {
    /// Fetches until it is stopped.
    fn run(mut self, address: &(String, u16)) -> Result<(), ConnectionEnd> {
        let socket = connect(address).map_err(ConnectionEnd::Connection)?;
        let patience = Some(PATIENCE + self.setup.settings.wait);
        let set_up = socket
            .set_nodelay(true)
            .and_then(|()| socket.set_read_timeout(patience))
            .and_then(|()| socket.set_write_timeout(patience))
            .and_then(|()| socket.try_clone());
        {
            let mut inner = self.state.inner();
            inner.socket = Some(set_up.map_err(ConnectionEnd::Connection)?);
            if inner.stopped {
                return Ok(());
            }
        }
        wire::request_versions(&mut self.request, &self.setup.settings.client);
        let response = self.exchange(&socket)?;
        if !wire::knows_versions(&response).map_err(ConnectionEnd::garbled)? {
            let reason = "the broker does not know Fetch 11 and OffsetForLeaderEpoch 3, which came with Kafka 2.3";
            return Err(ConnectionEnd::TooOld(reason.to_owned()));
        }
        while self.wait_for_partitions() {
            let Some(mut share) = self.setup.read_ahead.take() else {
                break;
            };
            if !self.check(&socket)? {
                continue;
            }
            let requested_at = Instant::now();
            let requested = self.request_records(share.bytes);
            let response = self.exchange(&socket)?;
            share.resize(response.len());
            if !self.receive(response, &requested, share)? {
                self.rest(requested_at);
            }
        }
        Ok(())
    }

    /// Puts a request for records together; gives the partitions that are in it.
    fn request_records(&mut self, bytes: usize) -> Vec<FetchPosition> {
        let settings = &self.setup.settings;
        let bounds = Bounds {
            wait_ms: settings.wait.as_millis().try_into().unwrap_or(i32::MAX),
            bytes: bytes.try_into().unwrap_or(i32::MAX),
            partition_bytes: settings.partition_bytes.try_into().unwrap_or(i32::MAX),
            read_committed: settings.read_committed,
        };
        let requested: Vec<FetchPosition> = {
            let wanted = &self.state.inner().wanted;
            let checked = wanted.iter().filter(|w| w.trust != Trust::Unchecked);
            checked.copied().collect()
        };
        let (client, topic) = (&settings.client, &self.setup.topic);
        wire::request_records(&mut self.request, client, topic, requested.iter(), &bounds);
        requested
    }

    /// Waits where a response had nothing, and came sooner than a broker that waits for records
    /// would send it.
    fn rest(&self, requested_at: Instant) {
        let pause = self.setup.settings.wait.min(PAUSE);
        let inner = self.state.inner();
        let Some(left) = pause
            .checked_sub(requested_at.elapsed())
            .filter(|_| !inner.stopped)
        else {
            return;
        };
        // A partition that is added, or the end, may wake it sooner.
        let _ = self.state.changed.wait_timeout(inner, left);
    }

    /// Whether there is something to fetch; waits until there is, or the thread has to end.
    fn wait_for_partitions(&self) -> bool {
        let mut inner = self.state.inner();
        while inner.wanted.is_empty() && !inner.stopped {
            inner = self
                .state
                .changed
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !inner.stopped
    }

    /// Sends the request, and waits for its response. One is under way at a time, so that responses
    /// need no numbers.
    fn exchange(&self, mut socket: &TcpStream) -> Result<Vec<u8>, ConnectionEnd> {
        let mut length = [0; 4];
        socket
            .write_all(&self.request)
            .and_then(|()| socket.read_exact(&mut length))
            .map_err(ConnectionEnd::Connection)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > self.setup.response_bytes_max {
            return Err(ConnectionEnd::TooLarge(length));
        }
        let mut response = Vec::with_capacity(length);
        let read = socket.take(length as u64).read_to_end(&mut response);
        match read.map_err(ConnectionEnd::Connection)? {
            read if read < length => Err(ConnectionEnd::Connection(
                io::ErrorKind::UnexpectedEof.into(),
            )),
            _ => Ok(response),
        }
    }

    /// Hands a response over, and moves the partitions to after what is in it; whether there was
    /// something.
    fn receive(
        &mut self,
        response: Vec<u8>,
        requested: &[FetchPosition],
        share: Share,
    ) -> Result<bool, ConnectionEnd> {
        let digest = digest(&response, requested, self.setup.settings.read_committed)?;
        if digest.starved.is_some() && digest.starved == self.starving {
            let reason =
                "the broker sends only a part of a batch, and no more of it when asked again";
            return Err(ConnectionEnd::Connection(io::Error::other(reason)));
        }
        self.starving = digest.starved;
        let has_records = digest.has_records();
        // What is handed over and where it goes on belong together.
        let mut inner = self.state.inner();
        let (told, parts) = advance(&mut inner.wanted, digest);
        let fetched = FetchEvent::Fetched(Fetched {
            broker: self.broker,
            response: Arc::new(response),
            parts,
            _share: Some(share),
        });
        self.tell(told.into_iter().chain([fetched]));
        Ok(has_records)
    }

    fn tell(&self, told: impl IntoIterator<Item = FetchEvent>) {
        for told in told {
            // Nobody listens any more when the source has ended.
            let _ = self.setup.out.send(told);
        }
    }

    /// Asks whether the broker has what was read of the partitions that are not checked; whether
    /// one can be fetched then.
    ///
    /// Source: KIP-320, <https://cwiki.apache.org/confluence/x/f5q7Bg>.
    fn check(&mut self, socket: &TcpStream) -> Result<bool, ConnectionEnd> {
        let requested = unchecked(&mut self.state.inner().wanted);
        if requested.is_empty() {
            return Ok(true);
        }
        let (client, topic) = (&self.setup.settings.client, &self.setup.topic);
        wire::request_epoch_ends(&mut self.request, client, topic, &requested);
        let response = self.exchange(socket)?;
        let ends = wire::epoch_ends(&response).map_err(ConnectionEnd::garbled)?;
        let mut inner = self.state.inner();
        let told = check(&mut inner.wanted, ends);
        self.tell(told);
        if inner.wanted.iter().any(|wanted| requested.contains(wanted)) {
            // Still unchecked: it says nothing of them.
            return Err(ConnectionEnd::garbled(wire::Garbled));
        }
        Ok(inner.wanted.iter().any(|w| w.trust != Trust::Unchecked))
    }
}

/// Where a log was cut off, if before what was read of it: the greatest epoch that is left of those
/// up to the one that was read, and its end.
pub(super) fn cut_off(read: &FetchPosition, known: i32, end: i64) -> Option<Cut> {
    (known < read.epoch || end < read.offset).then(|| Cut {
        epoch: known,
        end: end.min(read.offset),
    })
}

fn connect((host, port): &(String, u16)) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host.as_str(), *port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// A code of the protocol, which librdkafka's codes include.
pub(super) fn error_code(code: i16) -> RDKafkaErrorCode {
    use rdkafka::types::RDKafkaRespErr;
    // Every code that a broker of this version can send is among them; others are unknown to
    // librdkafka too.
    let known = |code: i32| -> Option<RDKafkaRespErr> { RDKafkaRespErr::try_from(code).ok() };
    known(i32::from(code)).map_or(RDKafkaErrorCode::Unknown, RDKafkaErrorCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_cut_off_where_an_epoch_is_gone_or_shorter_than_what_was_read() {
        let read = FetchPosition {
            partition: 0,
            offset: 100,
            epoch: 5,
            trust: Trust::Unchecked,
        };
        let cut = |known, end| cut_off(&read, known, end).map(|cut| (cut.epoch, cut.end));
        assert_eq!(cut(5, 100), None);
        assert_eq!(cut(5, 120), None);
        assert_eq!(cut(5, 80), Some((5, 80)));
        assert_eq!(cut(3, 60), Some((3, 60)));
        // The batches of epoch 5 that were read are not there, whatever else is.
        assert_eq!(cut(3, 120), Some((3, 100)));
        // Nothing is known of any epoch: another topic of the same name.
        assert_eq!(cut(-1, -1), Some((-1, -1)));
    }
}
