//! SIGINT and SIGTERM: the first one ends cleanly, the second one at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Exit, Failure};

/// SIGINT and SIGTERM, from now on.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens. Has to be called on a runtime.
    ///
    /// # Errors
    /// The system does not allow it.
    pub fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::other(format!("cannot listen for signals: {error}")))
        };
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Calls `stop` at the first one; at the second one calls `last` and ends the process.
    pub async fn watch(mut self, stop: impl FnOnce() + Send, last: impl FnOnce() + Send) {
        self.next().await;
        stop();
        let exit = self.next().await;
        last();
        std::process::exit(exit as i32);
    }

    /// Waits for one; the code is that of a process that ends at once because of it.
    pub async fn next(&mut self) -> Exit {
        tokio::select! {
            _ = self.interrupt.recv() => Exit::Interrupted,
            _ = self.terminate.recv() => Exit::Terminated,
        }
    }
}
