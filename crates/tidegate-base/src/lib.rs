//! What the crates on a record's way share, and nothing else.
//!
//! What may enter: types and functions that two crates need, of which neither uses the other, that
//! depend on little, and that know nothing of jobs, SQL or Arrow. It stays below 900 lines.
//!
//! - [`backoff`]: how long to wait before something is tried again;
//! - [`chunk`]: raw records on their way from a source to decode;
//! - [`clock`]: how time comes into the program;
//! - [`mod@failpoint`]: where a crash test ends the process;
//! - [`lock`]: locks whose holder has panicked are used all the same;
//! - [`time`]: instants and dates as text.

pub mod backoff;
pub mod chunk;
pub mod clock;
pub mod failpoint;
pub mod lock;
pub mod time;

pub use failpoint::failpoint;
