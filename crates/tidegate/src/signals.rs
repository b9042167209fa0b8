//! SIGINT and SIGTERM: the first one ends cleanly, the second one at once.

use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Exit, Failure};

/// timeout(1) and other supervisors send SIGTERM to the process, and at once to its group again.
const TWICE: Duration = Duration::from_secs(1);

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

    /// Calls `stop` at the first one; at the second one calls `last` and ends the process. A
    /// SIGTERM within a second of the first one is not a second one.
    pub async fn watch(self, stop: impl FnOnce() + Send, last: impl FnOnce() + Send) {
        self.watch_and_tell(|_| stop(), last).await;
    }

    /// The same, and `stop` gets the code that a process ends with because of the first one.
    pub async fn watch_and_tell(
        mut self,
        stop: impl FnOnce(Exit) + Send,
        last: impl FnOnce() + Send,
    ) {
        let exit = self.next().await;
        let first = Instant::now();
        stop(exit);
        let exit = loop {
            let exit = self.next().await;
            if exit != Exit::Terminated || first.elapsed() >= TWICE {
                break exit;
            }
        };
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
