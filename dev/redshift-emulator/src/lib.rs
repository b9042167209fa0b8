//! Amazon Redshift's Data API over a PostgreSQL, as strict as Redshift: for tests.
//!
//! ```no_run
//! # async fn run() -> Result<(), redshift_emulator::StartError> {
//! use std::sync::Arc;
//! use redshift_emulator::{Emulator, RedshiftFault, Objects, Options, Rule};
//!
//! let objects = Objects::Store(Arc::new(object_store::memory::InMemory::new()));
//! let options = Options::new("host=127.0.0.1 user=postgres dbname=test", objects);
//! let emulator = Emulator::start(options).await?;
//! println!("the Data API is at {}", emulator.url());
//! emulator.faults().add(Rule::next(RedshiftFault::SerializableViolation));
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod api;
mod control;
mod copy;
mod errors;
mod execute;
mod faults;
mod history;
mod names;
mod options;
mod postgres;
mod run;
mod server;
mod service;
mod session;
mod sigv4;
mod sql;
mod statement;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use faults::{Faults, RandomFaults, RedshiftFault, Rule};
pub use options::{Delays, Isolation, Objects, Options, S3};
pub use service::Stats;

/// Why an emulator did not start.
#[derive(Debug)]
pub enum StartError {
    /// Nobody can listen there.
    Listen(SocketAddr, std::io::Error),
    /// The PostgreSQL underneath does not answer, or does not let itself be prepared.
    Postgres(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) => write!(f, "cannot listen at {address}: {error}"),
            Self::Postgres(error) => write!(f, "cannot prepare PostgreSQL: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A running emulator. It stops listening when it is dropped; statements that run go on to their
/// end, as a cluster's do when nobody asks any more.
#[derive(Debug)]
pub struct Emulator {
    address: SocketAddr,
    service: Arc<service::Service>,
    server: JoinHandle<()>,
}

impl Emulator {
    /// Prepares the database and listens. Needs a Tokio runtime with time and IO.
    ///
    /// # Errors
    ///
    /// Where PostgreSQL or the address cannot be had.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let listen = options.listen;
        let failed = |error| StartError::Listen(listen, error);
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let service = service::Service::new(options)
            .await
            .map_err(|error| StartError::Postgres(error.to_string()))?;
        let service = Arc::new(service);
        let server = tokio::spawn(server::serve(listener, Arc::clone(&service)));
        Ok(Self {
            address,
            service,
            server,
        })
    }

    /// Where the Data API is: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What goes wrong.
    pub fn faults(&self) -> &Faults {
        &self.service.faults
    }

    /// What has happened.
    pub fn stats(&self) -> Stats {
        self.service.stats()
    }

    /// Stops listening and closes all connections.
    pub fn shutdown(self) {
        drop(self);
    }

    /// Waits for ever, as a program does.
    pub async fn serve(mut self) {
        // Ends only where the server panicked, and then there is nothing more to wait for.
        let _ = (&mut self.server).await;
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.server.abort();
    }
}
