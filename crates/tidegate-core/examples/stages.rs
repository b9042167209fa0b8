//! How many records a second each stage takes, on one core, with the transactions job.
//!
//! `cargo run --release -p tidegate-core --example stages [RECORDS]`
//!
//! On Linux it counts the time that the thread ran, so that other programs do not show.
#![allow(clippy::print_stdout)] // what it measures is its output

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tidegate_core::chunk::Chunk;
use tidegate_core::decode::Decoder;
use tidegate_core::lane::Lane;
use tidegate_core::window::ClosedWindows;

use common::{MINUTE, NOW, Rng, chunk_at, iso, plan, preparer, transactions};

const CHUNK: usize = 4096;
const HOUR: i64 = 60 * MINUTE;

/// Transactions as the generator makes them, over an hour: 100,000 customers, a tenth out of order.
fn chunks(records: usize) -> Vec<Chunk> {
    let mut rng = Rng(1);
    let start = NOW - HOUR;
    let step = HOUR / records.max(1) as i64;
    let lines: Vec<String> = (0..records)
        .map(|i| {
            let mut at = start + i as i64 * step;
            if rng.one_in(10) {
                at -= rng.range(0, 60_000_000);
            }
            format!(
                concat!(
                    r#"{{"transaction_id":"TXN_{}_{:04}","customer_id":"CUST_{:06}","amount":{}.{:02},"#,
                    r#""currency":"{}","merchant":"{}","category":"{}","status":"{}","timestamp":"{}","#,
                    r#""metadata":{{"device":"{}","location":"{}"}}}}"#
                ),
                at,
                rng.below(10_000),
                rng.below(100_000),
                1 + rng.below(2000),
                rng.below(100),
                rng.pick(&["USD", "EUR", "GBP"]),
                rng.pick(&["AMAZON", "WALMART", "TARGET", "COSTCO"]),
                rng.pick(&["grocery", "electronics", "travel", "fuel"]),
                rng.pick(&["COMPLETED", "COMPLETED", "PENDING", "FAILED"]),
                iso(at),
                rng.pick(&["ios", "android", "web"]),
                rng.pick(&["New York", "London", "Berlin"]),
            )
        })
        .collect();
    lines
        .chunks(CHUNK)
        .enumerate()
        .map(|(i, lines)| chunk_at((i * CHUNK) as i64, lines))
        .collect()
}

/// Time that this thread has run so far; the wall clock where the system does not say.
fn cpu_time() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .map_or_else(|| start.elapsed(), Duration::from_nanos)
}

fn report(stage: &str, records: usize, took: Duration) {
    let rate = records as f64 / took.as_secs_f64();
    let each = took.as_nanos() as f64 / records as f64;
    println!("{stage:<10} {rate:>12.0} records/s {each:>8.0} ns each");
}

fn main() {
    let records = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(1_000_000);
    let chunks = chunks(records);
    let bytes: usize = chunks.iter().map(Chunk::bytes).sum();
    println!("{records} records, {} bytes each", bytes / records.max(1));

    let spec = transactions();
    let mut decoder = Decoder::new(&spec.fields);
    let start = cpu_time();
    let decoded: usize = chunks
        .iter()
        .map(|chunk| decoder.decode(chunk).expect("decoded").rows.len())
        .sum();
    report("decode", records, cpu_time() - start);
    assert_eq!(decoded, records);

    let plan = plan(&spec);
    let mut preparer = preparer(&plan);
    let mut lane = Lane::new(0, &plan, None);
    let mut out: Vec<ClosedWindows> = plan.windows().map(|_| ClosedWindows::default()).collect();
    let (mut prepare, mut absorb) = (Duration::ZERO, Duration::ZERO);
    let mut events = 0;
    for chunk in &chunks {
        let start = cpu_time();
        let prepared = preparer.prepare(chunk, NOW, &[]).expect("prepared");
        prepare += cpu_time() - start;
        let start = cpu_time();
        events += lane.absorb(&prepared).events;
        lane.close_windows(&mut out);
        absorb += cpu_time() - start;
    }
    report("prepare", records, prepare);
    report("absorb", records, absorb);
    let windows: usize = out.iter().map(ClosedWindows::len).sum();
    println!(
        "{events} events, {windows} rows of windows, {:.1} bytes of state a key",
        lane.bytes() as f64 / lane.len().max(1) as f64
    );
}
