//! What a [`crate::FaultProxy`] does, and to which requests.

use hyper::http::request::Parts;

use crate::proxy::is_conditional;

/// Something that goes wrong between a client and a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The connection is reset; the server never sees the request.
    ResetBefore,
    /// The server does what it was asked to, and the connection is reset before the answer.
    ResetAfter,
    /// The connection is reset in the middle of the answer's body.
    ResetBody,
    /// The request is held for longer than the client waits, and reaches the server after all.
    Stall,
    /// `500 InternalError`; the server never sees the request.
    InternalError,
    /// `503 SlowDown`; the server never sees the request.
    SlowDown,
    /// `409 ConditionalRequestConflict`; the server never sees the request. Only for requests with
    /// a condition.
    Conflict,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 7] = [
        Fault::ResetBefore,
        Fault::ResetAfter,
        Fault::ResetBody,
        Fault::Stall,
        Fault::InternalError,
        Fault::SlowDown,
        Fault::Conflict,
    ];
}

/// A fault and the requests that it befalls: at first the next one, whichever it is.
#[derive(Debug, Clone)]
pub struct Rule {
    fault: Fault,
    method: Option<String>,
    path: String,
    query: String,
    /// Out of 2^64; `None` for always.
    chance: Option<u64>,
    pass: u64,
    left: u64,
}

impl Rule {
    /// For the next request.
    pub fn new(fault: Fault) -> Self {
        Rule {
            fault,
            method: None,
            path: String::new(),
            query: String::new(),
            chance: None,
            pass: 0,
            left: 1,
        }
    }

    /// Only for requests with this method: `PUT`.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only for requests whose path begins so: `/bucket/prefix/log/`.
    #[must_use]
    pub fn path(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.path);
        self
    }

    /// Only for requests whose query has this in it: `uploadId=`.
    #[must_use]
    pub fn query(mut self, part: &str) -> Self {
        part.clone_into(&mut self.query);
        self
    }

    /// Lets the first `count` requests that it is for pass.
    #[must_use]
    pub fn after(mut self, count: u64) -> Self {
        self.pass = count;
        self
    }

    /// For so many requests instead of one.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.left = count;
        self
    }

    /// For each request with this probability, from 0 to 1, for good.
    #[must_use]
    pub fn chance(mut self, probability: f64) -> Self {
        // The cast saturates: 1 and more is always.
        self.chance = Some((probability * 2f64.powi(64)) as u64);
        self.left = u64::MAX;
        self
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// What it does to a request.
    pub(crate) fn decide(&mut self, parts: &Parts, random: impl FnOnce() -> u64) -> Option<Fault> {
        let fits = self.left > 0
            && self
                .method
                .as_ref()
                .is_none_or(|method| parts.method == **method)
            && parts.uri.path().starts_with(&self.path)
            && parts.uri.query().unwrap_or_default().contains(&self.query)
            && (self.fault != Fault::Conflict || is_conditional(parts))
            && self.chance.is_none_or(|chance| random() < chance);
        if !fits {
            return None;
        }
        if self.pass > 0 {
            self.pass -= 1;
            return None;
        }
        if self.chance.is_none() {
            self.left -= 1;
        }
        Some(self.fault)
    }
}
