//! The stages of one core over made-up transactions, always the same: what `cargo xtask
//! instructions` counts. How long stages take is measured by `cargo xtask bench stages`.
//!
//! `stages RECORDS` decodes the records, then decodes and prepares them and absorbs the result.
#![allow(clippy::print_stdout)] // what it measures is its output

#[path = "../tests/common/mod.rs"]
mod common;

use tidegate_base::chunk::Chunk;
use tidegate_core::decode::Decoder;
use tidegate_core::lane::Lane;
use tidegate_core::window::ClosedWindows;

use common::{MINUTE, NOW, Random, chunk_at, iso, plan, preparer, transactions};

const CHUNK: usize = 4096;
const HOUR: i64 = 60 * MINUTE;

/// Transactions as the generator makes them, over an hour: 100,000 customers, a tenth out of order.
fn chunks(records: usize) -> Vec<Chunk> {
    let mut rng = Random::new(1);
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
                rng.place(10_000),
                rng.place(100_000),
                1 + rng.place(2000),
                rng.place(100),
                rng.choose(&["USD", "EUR", "GBP"]),
                rng.choose(&["AMAZON", "WALMART", "TARGET", "COSTCO"]),
                rng.choose(&["grocery", "electronics", "travel", "fuel"]),
                rng.choose(&["COMPLETED", "COMPLETED", "PENDING", "FAILED"]),
                iso(at),
                rng.choose(&["ios", "android", "web"]),
                rng.choose(&["New York", "London", "Berlin"]),
            )
        })
        .collect();
    lines
        .chunks(CHUNK)
        .enumerate()
        .map(|(i, lines)| chunk_at((i * CHUNK) as i64, lines))
        .collect()
}

fn main() {
    let records = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("the first argument is a number of records");
    let chunks = chunks(records);

    let spec = transactions();
    let mut decoder = Decoder::new(&spec.fields);
    let decoded: usize = chunks
        .iter()
        .map(|chunk| decoder.decode(chunk).expect("decoded").rows.len())
        .sum();
    assert_eq!(decoded, records);

    let plan = plan(&spec);
    let mut preparer = preparer(&plan);
    let mut lane = Lane::new(0, &plan, None);
    let mut out: Vec<ClosedWindows> = plan.windows().map(|_| ClosedWindows::default()).collect();
    let mut events = 0;
    for chunk in &chunks {
        let prepared = preparer.prepare(chunk, NOW, &[]).expect("prepared");
        events += lane.absorb(&prepared).events;
        lane.close_windows(&mut out);
    }
    let windows: usize = out.iter().map(ClosedWindows::len).sum();
    println!("{records} records, {events} events, {windows} rows of windows");
}
