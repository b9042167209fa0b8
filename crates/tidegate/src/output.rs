//! What commands print: answers on standard output, everything else on standard error.

use std::io::{self, Write as _};

use crate::exit::Failure;

/// Prints an answer. A reader that has gone away (`| head`) is no failure.
///
/// # Errors
/// Standard output cannot be written, for example because the disk is full.
pub fn answer(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::other(format!(
            "cannot write to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Prints something for the person at the terminal.
pub fn error(text: &str) {
    // There is nowhere left to report to.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
