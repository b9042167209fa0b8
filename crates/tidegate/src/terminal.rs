//! Standard error, shared by log lines and the live panel so that neither tears the other.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::{LogFormat, LogLevel};

/// Standard error, for log lines and the panel. Clones share it.
#[derive(Debug, Clone)]
pub struct Terminal {
    bars: MultiProgress,
    /// Lines that could not be written.
    lost: Arc<AtomicU64>,
}

impl Terminal {
    /// Standard error, with nothing on it yet.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Terminal {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(5)),
            lost: Arc::default(),
        }
    }

    /// Lines of the log that could not be written: whoever read standard error has gone, or its
    /// disk is full.
    pub fn lost_lines(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Where a panel is added.
    pub fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Starts logging. A second call in a process has no effect.
    pub fn log(&self, level: LogLevel, format: LogFormat) {
        let level = match level {
            LogLevel::Off => "off",
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        };
        // Libraries beneath speak only at debug and above; ours say what an operator needs.
        let levels = match level {
            // The parser of SQL says every token that it meets.
            "debug" => format!("{level},sqlparser=info"),
            "trace" | "off" => level.to_owned(),
            // All crates of this house: a target is what theirs begin with.
            _ => format!("warn,tidegate={level}"),
        };
        // It says that a consumer which the source has closed is closed. What else is wrong with
        // one comes as an error.
        let filter = EnvFilter::new(format!("{levels},rdkafka::consumer::base_consumer=off"));
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            // It would complain on standard error, and panic where that cannot be written.
            .log_internal_errors(false)
            .with_writer(self.clone());
        // An error means that logging is on already.
        let _ = match format {
            LogFormat::Json => builder
                .json()
                .flatten_event(true)
                .with_target(false)
                .try_init(),
            LogFormat::Text => builder
                .with_target(false)
                .with_ansi(console_has_color())
                .try_init(),
        };
    }
}

fn console_has_color() -> bool {
    use std::io::IsTerminal as _;
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

impl<'a> MakeWriter<'a> for Terminal {
    type Writer = Lines<'a>;

    fn make_writer(&'a self) -> Lines<'a> {
        Lines {
            bars: &self.bars,
            lost: &self.lost,
        }
    }
}

/// Writes log lines above the panel.
#[derive(Debug)]
pub struct Lines<'a> {
    bars: &'a MultiProgress,
    lost: &'a AtomicU64,
}

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A line is handed over whole. One that cannot be written is no reason for anything to end.
        let written = self.bars.suspend(|| io::stderr().lock().write_all(bytes));
        if written.is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
