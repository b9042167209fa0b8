//! The loop itself, in a process of its own: one core, one schema, nothing configurable.

use std::path::Path;
use std::time::Instant;

use chrono::Utc;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tidegate::config;
use tidegate_core::plan::Plan;
use tidegate_engine::ParquetSettings;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::columns::{Files, Rejected, Rows, windows};
use super::event::{Event, STATUSES, instant, reasons};
use super::state::{EventVerdict, LaneState};
use crate::Outcome;
use crate::proc::cpu;

/// Records between two looks at the clock.
const CHUNK: usize = 4096;

/// The decoders that were fast enough to be considered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Decoder {
    SonicRs,
    SimdJson,
    SerdeJson,
}

/// Names of the decoders, for [`run`].
pub(super) const DECODERS: [&str; 3] = ["sonic-rs", "simd-json", "serde_json"];

/// Reads `input` into memory, and takes its first `records` lines through the loop into files in
/// `out`, `batch` records for each. Returns what it counted, and the time without that of reading.
pub(crate) fn run(
    input: &Path,
    out: &Path,
    decoder: &str,
    records: usize,
    batch: usize,
) -> Outcome<Value> {
    let decoder = match decoder {
        "sonic-rs" => Decoder::SonicRs,
        "simd-json" => Decoder::SimdJson,
        "serde_json" => Decoder::SerdeJson,
        other => return Err(format!("no decoder `{other}`").into()),
    };
    let text = std::fs::read(input)?;
    std::fs::create_dir_all(out)?;
    let settings = settings()?;
    let me = std::process::id();
    let (started, cpu_before) = (Instant::now(), cpu(me).unwrap_or(0.0));
    let mut work = Loop::new(out, decoder, &settings);
    let mut from = 0;
    let ends = memchr::memchr_iter(b'\n', &text).take(records);
    for (number, end) in ends.enumerate() {
        if number % CHUNK == 0 {
            work.now = Utc::now().timestamp_micros();
        }
        work.take(&text[from..end], from as i64)?;
        from = end + 1;
        if (number + 1) % batch == 0 {
            work.finish_batch(false)?;
        }
    }
    work.finish_batch(true)?;
    Ok(json!({
        "read": work.read,
        "events": work.events,
        "late": work.late,
        "rejected": work.rejected,
        "duplicates": work.duplicates,
        "bytes": work.event_files.bytes(),
        "seconds": started.elapsed().as_secs_f64(),
        "cpu_seconds": cpu(me).unwrap_or(0.0) - cpu_before,
    }))
}

/// The engine's, for the same columns: otherwise files would be compared, and not programs.
fn settings() -> Outcome<ParquetSettings> {
    let job = config::load(Path::new("examples/transactions.toml"), &[])?;
    let plan = Plan::compile(&job.config.spec).map_err(|errors| format!("{errors:?}"))?;
    Ok(ParquetSettings::new(&plan))
}

struct Loop {
    decoder: Decoder,
    now: i64,
    state: LaneState,
    scratch: Vec<u8>,
    event_rows: Rows,
    late_rows: Rows,
    rejects: Rejected,
    event_files: Files,
    late_files: Files,
    rejected_files: Files,
    window_files: [Files; 2],
    read: u64,
    events: u64,
    late: u64,
    rejected: u64,
    duplicates: u64,
}

impl Loop {
    fn new(out: &Path, decoder: Decoder, settings: &ParquetSettings) -> Self {
        let files = |dataset| Files::new(out, dataset, &settings.other);
        Loop {
            decoder,
            now: 0,
            state: LaneState::new(),
            scratch: Vec::with_capacity(1024),
            event_rows: Rows::new(),
            late_rows: Rows::new(),
            rejects: Rejected::default(),
            event_files: Files::new(out, "events", &settings.events),
            late_files: Files::new(out, "late", &settings.events),
            rejected_files: files("rejected"),
            window_files: ["1m", "5m"].map(files),
            read: 0,
            events: 0,
            late: 0,
            rejected: 0,
            duplicates: 0,
        }
    }

    fn take(&mut self, record: &[u8], offset: i64) -> Outcome<()> {
        self.read += 1;
        match self.decoder {
            Decoder::SonicRs => match sonic_rs::from_slice(record) {
                Ok(event) => self.event(&event, record, offset),
                Err(error) => self.reject(record, &error.to_string(), offset),
            },
            Decoder::SerdeJson => match serde_json::from_slice(record) {
                Ok(event) => self.event(&event, record, offset),
                Err(error) => self.reject(record, &error.to_string(), offset),
            },
            // It decodes in place, so it needs a copy.
            Decoder::SimdJson => {
                let mut copy = std::mem::take(&mut self.scratch);
                copy.clear();
                copy.extend_from_slice(record);
                let done = match simd_json::serde::from_slice(&mut copy) {
                    Ok(event) => self.event(&event, record, offset),
                    Err(error) => self.reject(record, &error.to_string(), offset),
                };
                self.scratch = copy;
                done
            }
        }
    }

    fn event(&mut self, event: &Event<'_>, record: &[u8], offset: i64) -> Outcome<()> {
        let status = STATUSES.iter().position(|status| *status == event.status.0);
        let time = instant(&event.timestamp.0);
        let broken = event.broken_rules(status, time, self.now);
        let (Some(status), Some(time), 0) = (status, time, broken) else {
            return self.reject(record, &reasons(broken), offset);
        };
        let mut amount = ryu::Buffer::new();
        let digest: [u8; 32] = Sha256::new()
            .chain_update(event.transaction_id.0.as_bytes())
            .chain_update(b"|")
            .chain_update(event.customer_id.0.as_bytes())
            .chain_update(b"|")
            // As the example has it, for amounts from 0.001 on.
            .chain_update(amount.format(event.amount))
            .chain_update(b"|")
            .chain_update(event.status.0.as_bytes())
            .finalize()
            .into();
        let key = xxh3_128_with_seed(&digest, xxh3_64(event.transaction_id.0.as_bytes()));
        let mut hex = [0; 64];
        let row_hash = to_hex(&digest, &mut hex);
        let (rows, files) = match self.state.absorb(time, key, status, event.amount) {
            EventVerdict::Event => {
                self.events += 1;
                (&mut self.event_rows, &mut self.event_files)
            }
            EventVerdict::Late => {
                self.late += 1;
                (&mut self.late_rows, &mut self.late_files)
            }
            EventVerdict::Duplicate => {
                self.duplicates += 1;
                return Ok(());
            }
        };
        if rows.push(event, time, row_hash, self.now, offset)? {
            files.write(&rows.take()?)?;
        }
        Ok(())
    }

    fn reject(&mut self, record: &[u8], reasons: &str, offset: i64) -> Outcome<()> {
        self.rejected += 1;
        self.rejects.push(record, reasons, offset);
        Ok(())
    }

    /// Writes the files of a batch; at the end of the input all windows are final.
    fn finish_batch(&mut self, at_end: bool) -> Outcome<()> {
        self.event_files.write(&self.event_rows.take()?)?;
        self.event_files.finish()?;
        self.late_files.write(&self.late_rows.take()?)?;
        self.late_files.finish()?;
        self.rejected_files.write(&self.rejects.take()?)?;
        self.rejected_files.finish()?;
        for (closed, files) in self.state.close(at_end).iter().zip(&mut self.window_files) {
            files.write(&windows(closed)?)?;
            files.finish()?;
        }
        Ok(())
    }
}

fn to_hex<'a>(digest: &[u8; 32], out: &'a mut [u8; 64]) -> &'a str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.chunks_exact_mut(2).zip(digest) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    std::str::from_utf8(out).unwrap_or_default()
}
