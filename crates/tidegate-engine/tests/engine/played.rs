//! A source that plays a topic: chunks of any partition in any order, and an end that the test
//! chooses.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use tidegate_base::chunk::{Chunk, Payload};
use tidegate_engine::BatchOptions;
use tidegate_source::{Resume, Source, SourceError, SourceEvent};
use tidegate_testkit::Random;

/// Records of a chunk, at most.
const CHUNK: i64 = 7;
/// How long the source waits where it has nothing.
const MOMENT: Duration = Duration::from_millis(1);

#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) at: i64,
    pub(crate) id: u64,
    pub(crate) ok: bool,
}

pub(crate) type Topic = Vec<Vec<Event>>;

/// How a run ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ends {
    /// By itself, when all has been read.
    CaughtUp,
    /// It is stopped after so many chunks.
    Stopped(usize),
    /// Its source fails after so many chunks.
    Fails(usize),
}

/// What a run is told.
#[derive(Debug, Clone)]
pub(crate) struct How {
    pub(crate) delay: i64,
    pub(crate) idle_after: i64,
    pub(crate) threads: usize,
    pub(crate) batch: BatchOptions,
    pub(crate) ends: Ends,
    /// Partitions that are there when it begins; the others appear after so many chunks.
    pub(crate) partitions: usize,
    pub(crate) appear_after: usize,
}

/// A source that plays a topic: chunks of any partition in any order.
pub(crate) struct Played {
    topic: Arc<Topic>,
    how: How,
    random: Random,
    /// Where each partition that was announced goes on.
    next: BTreeMap<i32, i64>,
    resume: Resume,
    ready: VecDeque<SourceEvent>,
    chunks: usize,
    caught_up: bool,
    /// Is told when nothing more comes until the job is stopped.
    waits: Sender<()>,
}

impl Played {
    /// A source, and what gets something when nothing more comes until the job is stopped.
    pub(crate) fn new(topic: &Topic, how: &How, random: Random) -> (Self, Receiver<()>) {
        let (waits, waiting) = mpsc::channel();
        let played = Played {
            topic: Arc::new(topic.clone()),
            how: how.clone(),
            random,
            next: BTreeMap::new(),
            resume: Resume::default(),
            ready: VecDeque::new(),
            chunks: 0,
            caught_up: false,
            waits,
        };
        (played, waiting)
    }

    /// The source as it is opened at the positions of the log.
    pub(crate) fn resumed(mut self, resume: &Resume) -> Self {
        self.resume = resume.clone();
        self.announce(0..self.how.partitions);
        self
    }

    /// Says that nothing more comes, and waits for it for a moment, as any source does.
    fn wait(&self) {
        // The test looks only in a run that it stops.
        let _ = self.waits.send(());
        let _ = crossbeam_channel::never::<()>().recv_timeout(MOMENT);
    }

    fn announce(&mut self, partitions: Range<usize>) {
        for id in partitions {
            let id = id as i32;
            let from = self.resume.partitions.get(&id).map_or(0, |p| p.offset);
            let name = format!("p{id}");
            self.next.insert(id, from);
            self.ready
                .push_back(SourceEvent::Partition { id, lane: id, name });
            self.ready
                .push_back(SourceEvent::Chunk(Chunk::new(id, id, from)));
        }
    }

    fn left(&self, id: i32) -> i64 {
        self.topic[id as usize].len() as i64 - self.next[&id]
    }

    /// The next chunk of a partition.
    fn read(&mut self, id: i32) {
        let from = self.next[&id];
        let records = self.left(id).min(self.random.range(1, CHUNK + 1));
        let mut chunk = Chunk::new(id, id, from);
        for offset in from..from + records {
            let Event { at, id: key, ok } = self.topic[id as usize][offset as usize];
            let record = format!(r#"{{"at":{at},"id":"{key}","ok":{ok}}}"#);
            chunk.push(offset, None, Payload::Bytes, record.as_bytes());
        }
        self.next.insert(id, from + records);
        self.chunks += 1;
        self.ready.push_back(SourceEvent::Chunk(chunk));
        if self.left(id) == 0 {
            self.ready.push_back(SourceEvent::AtEnd { lane: id });
        }
    }
}

impl Source for Played {
    fn poll(&mut self, _: Duration) -> Result<SourceEvent, SourceError> {
        if let Some(event) = self.ready.pop_front() {
            return Ok(event);
        }
        let unread: Vec<i32> = self.next.keys().copied().collect();
        let unread: Vec<i32> = unread.into_iter().filter(|id| self.left(*id) > 0).collect();
        let all = self.topic.len();
        let appear = self.next.len() < all && self.chunks >= self.how.appear_after;
        match self.how.ends {
            Ends::Fails(after) if self.chunks >= after || unread.is_empty() => {
                return Err(SourceError::Kafka {
                    topic: "played".to_owned(),
                    action: "go on",
                    reason: "as the test wants it".to_owned(),
                });
            }
            Ends::Stopped(after) if self.chunks >= after => {
                self.wait();
                return Ok(SourceEvent::Nothing);
            }
            _ => {}
        }
        if appear || (unread.is_empty() && self.next.len() < all) {
            self.announce(self.next.len()..all);
        } else if !unread.is_empty() {
            let id = self.random.choose(&unread);
            self.read(id);
        } else if !self.caught_up {
            self.caught_up = true;
            let lanes = self
                .next
                .keys()
                .map(|lane| SourceEvent::AtEnd { lane: *lane });
            self.ready.extend(lanes);
            self.ready.push_back(SourceEvent::CaughtUp);
        } else {
            self.wait();
        }
        Ok(self.ready.pop_front().unwrap_or(SourceEvent::Nothing))
    }

    fn committed(&mut self, _: &BTreeMap<i32, i64>) {}

    fn lag(&self) -> BTreeMap<i32, u64> {
        BTreeMap::new()
    }
}
