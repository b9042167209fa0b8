//! Answers by their idempotency keys, so that a sender that did not hear one can ask again.
//!
//! In this process, for a while, and as far as memory goes: what else is sent twice, the pipeline's
//! deduplication drops.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidegate_base::lock::lock;

use super::IngestResponse;
use crate::guard::Caller;

/// Answers that are remembered, at most, and bytes of them.
const ANSWERS_MAX: usize = 100_000;
const BYTES_MAX: usize = 64 << 20;
/// Bytes that an entry takes beyond its key and its answer.
const OVERHEAD: usize = 200;

/// A sender's idempotency key. Two senders can use the same.
type IdempotencyKey = (Caller, String);
/// SHA-256 of a body.
type Digest = [u8; 32];

/// What is known about idempotency keys.
#[derive(Debug)]
pub(crate) struct Memory {
    time: Duration,
    bytes_max: usize,
    known: Mutex<IdempotencyTable>,
}

#[derive(Debug, Default)]
struct IdempotencyTable {
    entries: HashMap<IdempotencyKey, IdempotencyEntry>,
    /// Those with an answer, the oldest first.
    answered: VecDeque<(Instant, IdempotencyKey)>,
    bytes: usize,
}

#[derive(Debug)]
struct IdempotencyEntry {
    digest: Digest,
    /// None while the first request is being answered.
    answer: Option<IngestResponse>,
}

/// What a request with an idempotency key is to this process.
#[derive(Debug)]
pub(crate) enum Begin {
    /// The first: it is to be answered.
    First(InFlightGuard),
    /// A repeat of one that was answered so.
    Again(IngestResponse),
    /// A repeat of one that is being answered.
    Underway,
    /// One with the key of another one, which had another body.
    Other,
}

/// The right to answer. Dropped without an answer, the key is forgotten.
#[derive(Debug)]
pub(crate) struct InFlightGuard {
    memory: Arc<Memory>,
    key: IdempotencyKey,
}

impl Memory {
    /// Remembers for this time.
    pub(super) fn new(time: Duration) -> Self {
        Memory {
            time,
            bytes_max: BYTES_MAX,
            known: Mutex::default(),
        }
    }

    /// What a request is. `digest` is of its body.
    pub(crate) fn begin(
        self: &Arc<Self>,
        caller: &Caller,
        key: &str,
        digest: Digest,
        now: Instant,
    ) -> Begin {
        let mut known = lock(&self.known);
        known.forget(|at| now.saturating_duration_since(at) >= self.time);
        let key = (caller.clone(), key.to_owned());
        match known.entries.get(&key) {
            Some(entry) if entry.digest != digest => Begin::Other,
            Some(entry) => entry.answer.clone().map_or(Begin::Underway, Begin::Again),
            None => {
                known.entries.insert(
                    key.clone(),
                    IdempotencyEntry {
                        digest,
                        answer: None,
                    },
                );
                Begin::First(InFlightGuard {
                    memory: Arc::clone(self),
                    key,
                })
            }
        }
    }
}

impl InFlightGuard {
    /// Remembers the answer.
    pub(crate) fn answered(self, answer: &IngestResponse, now: Instant) {
        let mut known = lock(&self.memory.known);
        let Some(entry) = known.entries.get_mut(&self.key) else {
            return;
        };
        entry.answer = Some(answer.clone());
        known.bytes += size(&self.key, answer);
        known.answered.push_back((now, self.key.clone()));
        while known.bytes > self.memory.bytes_max || known.answered.len() > ANSWERS_MAX {
            known.forget_oldest();
        }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let mut known = lock(&self.memory.known);
        if known
            .entries
            .get(&self.key)
            .is_some_and(|entry| entry.answer.is_none())
        {
            known.entries.remove(&self.key);
        }
    }
}

impl IdempotencyTable {
    fn forget(&mut self, is_over: impl Fn(Instant) -> bool) {
        while self.answered.front().is_some_and(|(at, _)| is_over(*at)) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.answered.pop_front()
            && let Some(answer) = self.entries.remove(&key).and_then(|entry| entry.answer)
        {
            self.bytes -= size(&key, &answer);
        }
    }
}

fn size(key: &IdempotencyKey, answer: &IngestResponse) -> usize {
    2 * key.1.len() + answer.body.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn answer(body: &str) -> IngestResponse {
        IngestResponse {
            status: StatusCode::OK,
            body: body.to_owned().into(),
            is_final: true,
        }
    }

    #[track_caller]
    fn first(begin: Begin) -> InFlightGuard {
        match begin {
            Begin::First(mine) => mine,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_repeat_gets_the_first_answer_for_a_while() {
        let memory = Arc::new(Memory::new(MINUTE));
        let (ada, bob) = (Caller("ada".into()), Caller("bob".into()));
        let (one, two, begin) = ([1; 32], [2; 32], Instant::now());
        let mine = first(memory.begin(&ada, "k", one, begin));
        assert!(matches!(
            memory.begin(&ada, "k", one, begin),
            Begin::Underway
        ));
        mine.answered(&answer("yes"), begin);
        assert!(
            matches!(memory.begin(&ada, "k", one, begin), Begin::Again(again) if again == answer("yes"))
        );
        assert!(matches!(memory.begin(&ada, "k", two, begin), Begin::Other));
        drop(first(memory.begin(&bob, "k", two, begin)));
        let later = begin + MINUTE;
        drop(first(memory.begin(&ada, "k", two, later)));
        let known = lock(&memory.known);
        assert_eq!((known.bytes, known.entries.len()), (0, 0));
    }

    #[test]
    fn a_request_without_an_answer_can_be_sent_again() {
        let memory = Arc::new(Memory::new(MINUTE));
        let (ada, now) = (Caller("ada".into()), Instant::now());
        drop(first(memory.begin(&ada, "k", [1; 32], now)));
        drop(first(memory.begin(&ada, "k", [2; 32], now)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut memory = Memory::new(MINUTE);
        memory.bytes_max = 5000;
        let memory = Arc::new(memory);
        let (ada, now) = (Caller("ada".into()), Instant::now());
        for n in 0..100 {
            first(memory.begin(&ada, &format!("k{n}"), [0; 32], now))
                .answered(&answer(&"x".repeat(500)), now);
            assert!(lock(&memory.known).bytes <= 5000);
        }
        assert!(matches!(
            memory.begin(&ada, "k99", [0; 32], now),
            Begin::Again(_)
        ));
        assert!(matches!(
            memory.begin(&ada, "k0", [0; 32], now),
            Begin::First(_)
        ));
    }
}
