//! What a running pipeline shows: a live panel on a terminal, otherwise one log line per interval.

use std::convert::Infallible;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tidegate_engine::{Monitor, Status};

use crate::cli::{ProgressArgs, ProgressKind};
use crate::config::units::{show_count, show_duration, show_size};
use crate::terminal::Terminal;

/// Time between two paintings of the panel.
const PANEL_EVERY: Duration = Duration::from_millis(250);
/// Rates on the panel are over about this time, so that a reader can follow them.
const RATE_OVER: Duration = Duration::from_secs(3);

/// Shows the status from time to time, until the future that called it is dropped.
#[derive(Debug)]
pub struct Progress {
    name: String,
    every: Duration,
    panel: Option<ProgressBar>,
    is_silent: bool,
    rate: Rate,
}

impl Progress {
    /// Decides how progress is shown.
    pub fn new(name: &str, args: &ProgressArgs, terminal: &Terminal) -> Self {
        let is_panel = match args.progress {
            ProgressKind::Auto => std::io::stderr().is_terminal(),
            ProgressKind::Panel => true,
            ProgressKind::Log | ProgressKind::None => false,
        };
        let panel = is_panel.then(|| {
            let style = ProgressStyle::with_template("{msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            terminal
                .bars()
                .add(ProgressBar::no_length().with_style(style))
        });
        let every = if is_panel {
            PANEL_EVERY
        } else {
            args.progress_every.max(Duration::from_millis(100))
        };
        Progress {
            name: name.to_owned(),
            every,
            panel,
            is_silent: args.progress == ProgressKind::None,
            rate: Rate::new(if is_panel { RATE_OVER } else { Duration::ZERO }),
        }
    }

    /// Shows the job, for ever.
    pub async fn show(&mut self, job: &Monitor) -> Infallible {
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        self.rate.update(job.status().read_live, Instant::now());
        loop {
            ticks.tick().await;
            self.show_once(&job.status());
        }
    }

    fn show_once(&mut self, status: &Status) {
        let rate = self.rate.update(status.read_live, Instant::now());
        if let Some(panel) = &self.panel {
            panel.set_message(panel_text(&self.name, status, rate));
        } else if !self.is_silent {
            log_line(status, rate);
        }
    }

    /// Takes the panel away, so that what follows has the terminal.
    pub fn clear(&self) {
        if let Some(panel) = &self.panel {
            panel.finish_and_clear();
        }
    }
}

/// One line about progress.
fn log_line(status: &Status, rate: f64) {
    tracing::info!(
        phase = status.phase.name(),
        read = status.read_live,
        rate = rounded(rate),
        lag = status.lag_total(),
        catch_up_seconds = status.catch_up_seconds.map(f64::round),
        committed = status.read,
        late = status.late,
        rejected = status.rejected,
        duplicates = status.duplicates,
        commits = status.commits,
        batch_records = status.last_batch.records,
        batch_seconds =
            rounded_to_ms(status.last_batch.encode_seconds + status.last_batch.commit_seconds),
        loaded = status.rows_loaded,
        load_seconds = rounded_to_ms(status.last_load.seconds),
        behind = behind(status),
        "progress"
    );
}

/// The panel: a line for each stage, and one for what is stuck.
fn panel_text(name: &str, status: &Status, rate: f64) -> String {
    let batch = &status.last_batch;
    let mut text = format!(
        "{name}: {phase}, {uptime}\n\
         read       {read:>15}   {rate}/s, lag {lag}, {in_flight} in flight\n\
         committed  {committed:>15}   late {late}, rejected {rejected}, duplicates {duplicates}; {keys} keys in {bytes}\n\
         batches    {commits:>15}   last: {batch_records} records, encoded in {encode}, committed in {commit}\n\
         loaded     {loaded:>15}   last: {load_rows} rows in {load}; {behind} commits behind",
        phase = status.phase.name(),
        uptime = seconds(status.uptime_seconds),
        read = show_count(status.read_live),
        rate = show_count(rounded(rate)),
        lag = show_count(status.lag_total()),
        in_flight = show_size(status.in_flight_bytes),
        committed = show_count(status.read),
        late = show_count(status.late),
        rejected = show_count(status.rejected),
        duplicates = show_count(status.duplicates),
        keys = show_count(status.state_keys),
        bytes = show_size(status.state_bytes),
        commits = show_count(status.commits),
        batch_records = show_count(batch.records),
        encode = seconds(batch.encode_seconds),
        commit = seconds(batch.commit_seconds),
        loaded = show_count(status.rows_loaded),
        load_rows = show_count(status.last_load.rows),
        load = seconds(status.last_load.seconds),
        behind = show_count(behind(status)),
    );
    if status.behind {
        let outlook = status.catch_up_seconds.map_or_else(
            || "and the lag does not shrink".to_owned(),
            |left| format!("caught up in about {}", seconds(left.round())),
        );
        text.push_str(&format!("\nbehind the source, {outlook}"));
    }
    for (what, error) in [
        ("commit", &status.commit_error),
        ("load", &status.load_error),
    ] {
        if let Some(error) = error {
            text.push_str(&format!("\n{what} is being repeated: {error}"));
        }
    }
    text
}

fn behind(status: &Status) -> u64 {
    status.last_seq.saturating_sub(status.loaded_seq)
}

fn rounded_to_ms(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

/// A time in seconds for people.
pub fn seconds(seconds: f64) -> String {
    show_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// A rate as a whole number; what is not a number is 0.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn rounded(rate: f64) -> u64 {
    rate.round() as u64
}

/// Events per second, smoothed.
#[derive(Debug)]
struct Rate {
    over: Duration,
    last: Option<(u64, Instant)>,
    value: Option<f64>,
}

impl Rate {
    fn new(over: Duration) -> Self {
        Rate {
            over,
            last: None,
            value: None,
        }
    }

    /// Takes in a count and gives the rate. What was read before the first call (by an earlier run)
    /// does not count.
    fn update(&mut self, count: u64, now: Instant) -> f64 {
        if let Some((last_count, last_time)) = self.last {
            let elapsed = now.saturating_duration_since(last_time).as_secs_f64();
            if elapsed > 0.0 {
                #[allow(clippy::cast_precision_loss)]
                let current = count.saturating_sub(last_count) as f64 / elapsed;
                let weight = match self.over.as_secs_f64() {
                    0.0 => 1.0,
                    over => 1.0 - (-elapsed / over).exp(),
                };
                self.value = Some(
                    self.value
                        .map_or(current, |value| value + weight * (current - value)),
                );
            }
        }
        self.last = Some((count, now));
        self.value.unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_follows_the_count() {
        let start = Instant::now();
        let mut exact = Rate::new(Duration::ZERO);
        assert_eq!(rounded(exact.update(1_000, start)), 0);
        assert_eq!(
            rounded(exact.update(3_000, start + Duration::from_secs(2))),
            1_000
        );
        assert_eq!(
            rounded(exact.update(3_000, start + Duration::from_secs(3))),
            0
        );
        let mut smooth = Rate::new(Duration::from_secs(3));
        smooth.update(0, start);
        smooth.update(1_000, start + Duration::from_secs(1));
        let after = smooth.update(1_000, start + Duration::from_secs(2));
        assert!((500.0..1_000.0).contains(&after), "{after}");
    }
}
