//! An HTTP proxy that breaks what goes through it, by rules or by chance.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, IF_MATCH, IF_NONE_MATCH, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tidegate_random::Random;

use crate::rule::{Fault, Rule};
use crate::server::{Reset, Server};

/// Requests that are remembered, the latest ones.
const SEEN_MAX: usize = 10_000;

/// How long the first half of a body has to leave before the connection breaks.
const HALF: Duration = Duration::from_millis(20);

/// A proxy in front of one HTTP server, on a free port. It forwards requests as they are, `Host`
/// included, so that signatures stay valid. A request that is on its way to the server gets there,
/// whatever becomes of its client.
pub struct FaultProxy {
    server: Server,
    shared: Arc<ProxyShared>,
}

/// What a proxy did.
#[derive(Debug, Clone, Default)]
pub struct ProxyStats {
    /// Requests that came in.
    pub requests: u64,
    /// Faults that were injected.
    pub faults: BTreeMap<Fault, u64>,
}

/// A request that came in.
#[derive(Debug, Clone)]
pub struct SeenRequest {
    /// `GET`, `PUT`...
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// What was done to it.
    pub fault: Option<Fault>,
}

struct ProxyShared {
    upstream: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    state: Mutex<ProxyState>,
}

struct ProxyState {
    rules: Vec<Rule>,
    random: Random,
    stall: Duration,
    stats: ProxyStats,
    seen: VecDeque<SeenRequest>,
}

impl FaultProxy {
    /// Starts one in front of `upstream`. It does nothing yet; `seed` is for what it will do by
    /// chance.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub fn start(upstream: SocketAddr, seed: u64) -> Self {
        let shared = Arc::new(ProxyShared {
            upstream,
            client: Client::builder(TokioExecutor::new()).build_http(),
            state: Mutex::new(ProxyState {
                rules: Vec::new(),
                random: Random::new(seed),
                stall: Duration::from_secs(2),
                stats: ProxyStats::default(),
                seen: VecDeque::new(),
            }),
        });
        let for_service = Arc::clone(&shared);
        let service = move |reset: Reset| {
            let shared = Arc::clone(&for_service);
            service_fn(move |request| answer(Arc::clone(&shared), reset.clone(), request))
        };
        let server = Server::start("fault-proxy", ([127, 0, 0, 1], 0).into(), service);
        FaultProxy { server, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The endpoint that clients are given: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Adds a rule. Of those that apply to a request, the one that was added first decides.
    pub fn inject(&self, rule: Rule) {
        self.shared.state().rules.push(rule);
    }

    /// Takes all rules away.
    pub fn clear(&self) {
        self.shared.state().rules.clear();
    }

    /// How long [`Fault::Stall`] holds a request; 2 seconds at first.
    pub fn set_stall(&self, stall: Duration) {
        self.shared.state().stall = stall;
    }

    /// What was done since the start.
    pub fn stats(&self) -> ProxyStats {
        self.shared.state().stats.clone()
    }

    /// The latest 10,000 requests, the oldest first.
    pub fn seen(&self) -> Vec<SeenRequest> {
        self.shared.state().seen.iter().cloned().collect()
    }
}

impl ProxyStats {
    /// How often a fault was injected.
    pub fn count(&self, fault: Fault) -> u64 {
        self.faults.get(&fault).copied().unwrap_or(0)
    }

    /// How many faults were injected in all.
    pub fn total(&self) -> u64 {
        self.faults.values().sum()
    }
}

impl ProxyShared {
    fn state(&self) -> MutexGuard<'_, ProxyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be done to a request, and how long a stall is.
    fn decide(&self, parts: &Parts) -> (Option<Fault>, Duration) {
        let mut state = self.state();
        let ProxyState { rules, random, .. } = &mut *state;
        let fault = rules
            .iter_mut()
            .find_map(|rule| rule.decide(parts, || random.bits()));
        rules.retain(|rule| !rule.is_spent());
        state.stats.requests += 1;
        if let Some(fault) = fault {
            *state.stats.faults.entry(fault).or_default() += 1;
        }
        if state.seen.len() == SEEN_MAX {
            state.seen.pop_front();
        }
        state.seen.push_back(SeenRequest {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
            fault,
        });
        (fault, state.stall)
    }
}

type ProxyResponse = Response<UnsyncBoxBody<Bytes, io::Error>>;

async fn answer(
    shared: Arc<ProxyShared>,
    reset: Reset,
    request: Request<Incoming>,
) -> io::Result<ProxyResponse> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return Err(gone(&reset)); // The client went before it had said everything.
    };
    let (fault, stall) = shared.decide(&parts);
    let (status, code) = match fault {
        Some(Fault::ResetBefore) => return Err(gone(&reset)),
        Some(Fault::InternalError) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        Some(Fault::SlowDown) => (StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        Some(Fault::Conflict) => (StatusCode::CONFLICT, "ConditionalRequestConflict"),
        None | Some(Fault::ResetAfter | Fault::ResetBody | Fault::Stall) => {
            let wait = if fault == Some(Fault::Stall) {
                stall
            } else {
                Duration::ZERO
            };
            let forwarding = tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                forward(&shared, parts, body.to_bytes()).await
            });
            let (head, bytes) = forwarding.await.map_err(io::Error::other)??;
            return match fault {
                Some(Fault::ResetAfter) => Err(gone(&reset)),
                Some(Fault::ResetBody) => Ok(Response::from_parts(head, half(&bytes, reset))),
                _ => Ok(Response::from_parts(head, full(bytes))),
            };
        }
    };
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>injected</Message></Error>"
    );
    let mut answer = Response::new(full(text.into()));
    *answer.status_mut() = status;
    Ok(answer)
}

async fn forward(
    shared: &ProxyShared,
    mut parts: Parts,
    body: Bytes,
) -> io::Result<(hyper::http::response::Parts, Bytes)> {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = format!("http://{}{path}", shared.upstream)
        .parse()
        .map_err(io::Error::other)?;
    without_hops(&mut parts.headers);
    let answer = shared
        .client
        .request(Request::from_parts(parts, Full::new(body)))
        .await
        .map_err(io::Error::other)?;
    let (mut head, body) = answer.into_parts();
    without_hops(&mut head.headers);
    let body = body.collect().await.map_err(io::Error::other)?;
    Ok((head, body.to_bytes()))
}

/// Takes away what is about one connection only.
fn without_hops(headers: &mut HeaderMap) {
    headers.remove(CONNECTION);
    headers.remove(TRANSFER_ENCODING);
}

/// The end of the connection, without an answer.
fn gone(reset: &Reset) -> io::Error {
    reset.set();
    io::ErrorKind::ConnectionReset.into()
}

fn full(bytes: Bytes) -> UnsyncBoxBody<Bytes, io::Error> {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// The first half of a body, and then the end of the connection.
fn half(bytes: &Bytes, reset: Reset) -> UnsyncBoxBody<Bytes, io::Error> {
    let first = bytes.slice(..bytes.len() / 2);
    let end = async move {
        tokio::time::sleep(HALF).await;
        Err(gone(&reset))
    };
    let frames = futures::stream::iter([Ok(Frame::data(first))]).chain(futures::stream::once(end));
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

/// Whether a request has a condition that another one can get in the way of.
pub(crate) fn is_conditional(parts: &Parts) -> bool {
    parts.method != Method::GET
        && (parts.headers.contains_key(IF_NONE_MATCH) || parts.headers.contains_key(IF_MATCH))
}
