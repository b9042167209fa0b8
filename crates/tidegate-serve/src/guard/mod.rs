//! Who may ask what, and how much: everything that stands between the network and a handler.
//!
//! In the order in which a request passes: `connection` accepts it, by `tls` if asked for, with a
//! place among `seats`; `origin` keeps other web pages out; `authorize` finds its token (`access`)
//! and what its path needs; `limits` bounds how many requests are answered at the same time, and
//! for how long. `tally` counts what has come of them all.

mod access;
mod authorize;
mod connection;
mod holding;
mod limits;
mod origin;
mod refusal;
mod seats;
mod tally;
#[cfg(test)]
mod tests;
mod tls;
mod token;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

pub use access::AccessError;
pub(crate) use authorize::Caller;
#[cfg(test)]
pub(crate) use authorize::needed;
pub use limits::Limits;
pub(crate) use limits::Weight;
pub(crate) use refusal::{ErrorBody, ErrorDetail, refuse};
pub(crate) use tally::Durations;
pub use tls::{TlsError, TlsOptions};
pub use token::{Role, Secret, TokenOptions};

use access::Access;
use origin::Origins;
use tally::Tally;

/// Who may ask what, and how much.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GuardOptions {
    /// Who may ask; if empty, everybody who can connect.
    pub tokens: Vec<TokenOptions>,
    /// Web pages of other servers that may ask: `https://host` or `https://host:port`.
    pub origins: Vec<String>,
    /// Certificate and key, if the server is to speak TLS.
    pub tls: Option<TlsOptions>,
    /// Bounds of everything.
    pub limits: Limits,
}

/// Why the server cannot guard itself as it was told.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// A token cannot be had.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Stands before the routes.
pub(crate) struct Guard {
    access: Access,
    origins: Origins,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    /// One permit for each request that may be answered at the same time.
    slots: Semaphore,
    /// One permit for each KiB of answers that are made and not sent yet.
    unsent: Arc<Semaphore>,
    refused: Refused,
    tally: Tally,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("access", &self.access)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// How many requests were refused, by reason.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// No token, or one that nobody has.
    pub(crate) unauthorized: AtomicU64,
    /// A token without the role.
    pub(crate) forbidden: AtomicU64,
    /// Too many at the same time.
    pub(crate) busy: AtomicU64,
    /// Not answered in time.
    pub(crate) timeout: AtomicU64,
}

impl Guard {
    /// Reads tokens and certificates.
    pub(crate) fn open(options: &GuardOptions) -> Result<Self, GuardError> {
        let access = Access::open(&options.tokens)?;
        Ok(Guard {
            origins: Origins::new(&options.origins, access.is_empty()),
            access,
            tls: options.tls.as_ref().map(tls::acceptor).transpose()?,
            slots: Semaphore::new(options.limits.requests),
            unsent: Arc::new(Semaphore::new(limits::kib(options.limits.unsent_bytes))),
            limits: options.limits.clone(),
            refused: Refused::default(),
            tally: Tally::default(),
        })
    }

    /// Puts the guard before all routes.
    pub(crate) fn protect(self: &Arc<Self>, routes: Router) -> Router {
        // The last one is the first that a request meets.
        routes
            .layer(DefaultBodyLimit::max(self.limits.body_bytes))
            .layer(from_fn_with_state(Arc::clone(self), limits::weigh))
            .layer(from_fn_with_state(Arc::clone(self), limits::bound))
            .layer(from_fn_with_state(Arc::clone(self), authorize::authorize))
            .layer(from_fn_with_state(Arc::clone(self), origin::check))
            .layer(from_fn_with_state(Arc::clone(self), tally::tally))
    }

    /// Answers until `stop`, and then what is being answered, for a while.
    pub(crate) async fn serve(
        &self,
        listener: TcpListener,
        routes: Router,
        stop: impl Future<Output = ()>,
    ) {
        let has_tokens = !self.access.is_empty();
        connection::serve(
            listener,
            routes,
            self.tls.clone(),
            &self.limits,
            has_tokens,
            stop,
        )
        .await;
    }

    /// How many requests were refused.
    pub(crate) fn refused(&self) -> &Refused {
        &self.refused
    }

    /// How many requests were answered, by the class of their status.
    pub(crate) fn answered(&self) -> impl Iterator<Item = (&'static str, &AtomicU64)> {
        self.tally.answered()
    }

    /// How long answers took, by what was asked for.
    pub(crate) fn durations(&self) -> impl Iterator<Item = (&'static str, &Durations)> {
        self.tally.durations()
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
