//! A connection to one broker, and the thread that fetches over it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;
use rdkafka::error::RDKafkaErrorCode;

use super::Settings;
use super::batch::{BadBatch, Batch};
use super::read_ahead::{ReadAhead, Share};
use super::wire::{self, Bounds, Wanted};

/// How long a connection may take to come about, and an answer beyond what the broker was told to wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a thread is told once and for all.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) topic: Arc<str>,
    pub(super) settings: Settings,
    /// Bytes that an answer has at most: the first batch in it comes whole, however large it is.
    pub(super) answer_bytes_max: usize,
    pub(super) read_ahead: Arc<ReadAhead>,
    pub(super) out: Sender<Told>,
}

/// What a thread has to tell.
pub(super) enum Told {
    Fetched(Fetched),
    /// The broker does not give this partition, which is left to whoever hears this.
    Left {
        wanted: Wanted,
        code: RDKafkaErrorCode,
    },
    /// The log of this partition was cut off at `end`, which is before what was read, and written anew.
    Truncated {
        partition: i32,
        end: i64,
        read: i64,
    },
    /// The thread has ended; its partitions are left in [`Link::wanted`].
    Ended {
        broker: i32,
        why: Ending,
    },
}

/// Why a thread ended.
pub(super) enum Ending {
    /// The connection failed.
    Connection(io::Error),
    /// The broker is older than what is needed, or keeps batches that are.
    TooOld(String),
    /// An answer has so many bytes, which are too many.
    TooLarge(usize),
    /// A partition cannot be read further.
    Corrupt {
        partition: i32,
        offset: i64,
        reason: String,
    },
}

/// An answer.
pub(super) struct Fetched {
    pub(super) broker: i32,
    pub(super) answer: Vec<u8>,
    pub(super) parts: VecDeque<Part>,
    /// Dropped when the answer is.
    _share: Share,
}

/// What is in an answer of one partition.
pub(super) struct Part {
    pub(super) partition: i32,
    /// Where the partition ends now, for records that may be read.
    pub(super) end: i64,
    /// Whether there was nothing more to read.
    pub(super) is_end: bool,
    /// Where reading goes on behind it.
    pub(super) next: i64,
    /// Producer and first offset of each aborted transaction, by offset.
    pub(super) aborted: VecDeque<(i64, i64)>,
    /// Where in the answer the record batches are, all of them whole.
    pub(super) records: Range<usize>,
}

/// A connection and its thread, which ends with it.
pub(super) struct Link {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    /// The partitions that are fetched; the first is served first.
    wanted: VecDeque<Wanted>,
    socket: Option<TcpStream>,
    stopped: bool,
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Starts the thread, which connects.
    pub(super) fn start(broker: i32, address: (String, u16), setup: &Setup) -> io::Result<Self> {
        let state = Arc::<State>::default();
        let (shared, setup) = (Arc::clone(&state), setup.clone());
        let run = move || {
            let fetcher = Fetcher {
                broker,
                state: shared,
                request: Vec::new(),
                setup,
            };
            let out = fetcher.setup.out.clone();
            if let Err(why) = fetcher.run(&address) {
                // Nobody listens any more when the source has ended.
                let _ = out.send(Told::Ended { broker, why });
            }
        };
        thread::Builder::new()
            .name(format!("tg-fetch-{broker}"))
            .spawn(run)?;
        Ok(Link { state })
    }

    /// Has a partition fetched, which no other connection fetches.
    pub(super) fn add(&self, wanted: Wanted) {
        self.state.inner().wanted.push_back(wanted);
        self.state.changed.notify_all();
    }

    /// The partitions that it had, once it has ended.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        self.state.inner().wanted.drain(..).collect()
    }
}

impl Drop for Link {
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
    state: Arc<State>,
    setup: Setup,
    request: Vec<u8>,
}

impl Fetcher {
    /// Fetches until it is stopped.
    fn run(mut self, address: &(String, u16)) -> Result<(), Ending> {
        let socket = connect(address).map_err(Ending::Connection)?;
        let patience = Some(PATIENCE + self.setup.settings.wait);
        let set_up = socket
            .set_nodelay(true)
            .and_then(|()| socket.set_read_timeout(patience))
            .and_then(|()| socket.set_write_timeout(patience))
            .and_then(|()| socket.try_clone());
        {
            let mut inner = self.state.inner();
            inner.socket = Some(set_up.map_err(Ending::Connection)?);
            if inner.stopped {
                return Ok(());
            }
        }
        wire::ask_versions(&mut self.request, &self.setup.settings.client);
        let answer = self.ask(&socket)?;
        if !wire::knows_versions(&answer).map_err(garbled)? {
            let reason = "the broker does not know Fetch 11 and OffsetForLeaderEpoch 3, which came with Kafka 2.3";
            return Err(Ending::TooOld(reason.to_owned()));
        }
        while self.wait_for_partitions() {
            let Some(mut share) = self.setup.read_ahead.take() else {
                break;
            };
            let settings = &self.setup.settings;
            let bounds = Bounds {
                wait_ms: settings.wait.as_millis().try_into().unwrap_or(i32::MAX),
                bytes: share.bytes.try_into().unwrap_or(i32::MAX),
                partition_bytes: settings.partition_bytes.try_into().unwrap_or(i32::MAX),
                read_committed: settings.read_committed,
            };
            {
                let wanted = &self.state.inner().wanted;
                let topic = &self.setup.topic;
                wire::ask_records(
                    &mut self.request,
                    &settings.client,
                    topic,
                    wanted.iter(),
                    &bounds,
                );
            }
            let answer = self.ask(&socket)?;
            share.resize(answer.len());
            self.receive(&socket, answer, share)?;
        }
        Ok(())
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

    /// Sends the request, and waits for its answer. One is under way at a time, so that answers need no numbers.
    fn ask(&self, mut socket: &TcpStream) -> Result<Vec<u8>, Ending> {
        let mut length = [0; 4];
        socket
            .write_all(&self.request)
            .and_then(|()| socket.read_exact(&mut length))
            .map_err(Ending::Connection)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > self.setup.answer_bytes_max {
            return Err(Ending::TooLarge(length));
        }
        let mut answer = Vec::with_capacity(length);
        let read = socket.take(length as u64).read_to_end(&mut answer);
        match read.map_err(Ending::Connection)? {
            read if read < length => Err(Ending::Connection(io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(answer),
        }
    }

    /// Hands an answer over, and moves the partitions behind what is in it.
    fn receive(&mut self, socket: &TcpStream, answer: Vec<u8>, share: Share) -> Result<(), Ending> {
        let (error, found) = wire::records(&answer).map_err(garbled)?;
        if error != 0 {
            let code = error_code(error);
            return Err(Ending::Connection(io::Error::other(code.to_string())));
        }
        let wanted: BTreeMap<i32, Wanted> = {
            let inner = self.state.inner();
            inner.wanted.iter().map(|w| (w.partition, *w)).collect()
        };
        let mut parts = VecDeque::with_capacity(found.len());
        let mut dealt_with = BTreeSet::new();
        let mut moved = Vec::new();
        let mut told = Vec::new();
        for mut part in found {
            let Some(mut wanted) = wanted.get(&part.partition).copied() else {
                continue;
            };
            dealt_with.insert(part.partition);
            if part.error != 0 {
                let code = error_code(part.error);
                told.push(Told::Left { wanted, code });
                continue;
            }
            let corrupt = |error: BadBatch, offset: i64| match error {
                BadBatch::Format(_) => Ending::TooOld(format!(
                    "partition {} at offset {offset}: {error}",
                    part.partition
                )),
                _ => Ending::Corrupt {
                    partition: part.partition,
                    offset,
                    reason: error.to_string(),
                },
            };
            let mut rest = &answer[part.records.clone()];
            let mut whole = 0;
            while let Some((batch, behind)) =
                Batch::split(rest).map_err(|error| corrupt(error, wanted.offset))?
            {
                batch.check().map_err(|error| corrupt(error, batch.first))?;
                if wanted.epoch != batch.epoch && wanted.epoch >= 0 {
                    told.extend(self.truncation(socket, &wanted)?);
                }
                wanted.epoch = batch.epoch;
                wanted.offset = wanted.offset.max(batch.next);
                whole += rest.len() - behind.len();
                rest = behind;
            }
            // What did not fit comes first next time, where it will; who got something goes to the end of the queue.
            let first = whole == 0 && !part.records.is_empty();
            moved.push((wanted, first));
            let end = if self.setup.settings.read_committed {
                part.last_stable
            } else {
                part.high
            };
            part.aborted.sort_unstable_by_key(|(_, first)| *first);
            parts.push_back(Part {
                partition: part.partition,
                end,
                is_end: part.records.is_empty() && wanted.offset >= end,
                next: wanted.offset,
                aborted: part.aborted.into(),
                records: part.records.start..part.records.start + whole,
            });
        }
        told.push(Told::Fetched(Fetched {
            broker: self.broker,
            answer,
            parts,
            _share: share,
        }));
        // From here on nothing can fail: what is handed over and where it goes on belong together.
        let mut inner = self.state.inner();
        inner
            .wanted
            .retain(|wanted| !dealt_with.contains(&wanted.partition));
        for (wanted, first) in moved {
            if first {
                inner.wanted.push_front(wanted);
            } else {
                inner.wanted.push_back(wanted);
            }
        }
        for told in told {
            // Nobody listens any more when the source has ended.
            let _ = self.setup.out.send(told);
        }
        Ok(())
    }

    /// Another leader has written what comes next: what was read from the one before must have been kept.
    ///
    /// Source: KIP-320, <https://cwiki.apache.org/confluence/x/f5q7Bg>.
    fn truncation(&mut self, socket: &TcpStream, read: &Wanted) -> Result<Option<Told>, Ending> {
        let Wanted {
            partition,
            offset,
            epoch,
        } = *read;
        let (client, topic) = (&self.setup.settings.client, &self.setup.topic);
        wire::ask_epoch_end(&mut self.request, client, topic, partition, epoch);
        let answer = self.ask(socket)?;
        let (error, known, end) = wire::epoch_end(&answer).map_err(garbled)?;
        let end = (error == 0).then(|| cut_off(read, known, end)).flatten();
        Ok(end.map(|end| Told::Truncated {
            partition,
            end,
            read: offset,
        }))
    }
}

/// Where a log was cut off, if before what was read of it: the greatest epoch that is left of those up to the one that was read, and
/// its end.
fn cut_off(read: &Wanted, known: i32, end: i64) -> Option<i64> {
    (known < read.epoch || end < read.offset).then(|| end.min(read.offset))
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

fn garbled(error: wire::Garbled) -> Ending {
    Ending::Connection(io::Error::new(io::ErrorKind::InvalidData, error))
}

/// A code of the protocol, which librdkafka's codes include.
fn error_code(code: i16) -> RDKafkaErrorCode {
    use rdkafka::types::RDKafkaRespErr;
    // Every code that a broker of this version can send is among them; others are unknown to librdkafka too.
    let known = |code: i32| -> Option<RDKafkaRespErr> { RDKafkaRespErr::try_from(code).ok() };
    known(i32::from(code)).map_or(RDKafkaErrorCode::Unknown, RDKafkaErrorCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_cut_off_where_an_epoch_is_gone_or_shorter_than_what_was_read() {
        let read = Wanted {
            partition: 0,
            offset: 100,
            epoch: 5,
        };
        assert_eq!(cut_off(&read, 5, 100), None);
        assert_eq!(cut_off(&read, 5, 120), None);
        assert_eq!(cut_off(&read, 5, 80), Some(80));
        assert_eq!(cut_off(&read, 3, 60), Some(60));
        // Nothing is known of any epoch: another topic of the same name.
        assert_eq!(cut_off(&read, -1, -1), Some(-1));
    }
}
