//! Transactions at the edges of every rule, type and time, written by hand.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat};

use crate::common::NOW_MICROS;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 86_400 * SECOND;

/// ISO 8601 with microseconds.
pub fn iso(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros)
        .unwrap()
        .to_rfc3339_opts(SecondsFormat::Micros, false)
}

/// An event as its fields' JSON.
#[derive(Clone)]
struct Event(Vec<(&'static str, String)>);

impl Event {
    fn with(mut self, field: &'static str, json: &str) -> Self {
        match self.0.iter_mut().find(|(name, _)| *name == field) {
            Some((_, value)) => json.clone_into(value),
            None => self.0.push((field, json.to_owned())),
        }
        self
    }

    fn without(mut self, field: &str) -> Self {
        self.0.retain(|(name, _)| *name != field);
        self
    }

    fn at(self, micros: i64) -> Self {
        self.with("timestamp", &format!("\"{}\"", iso(micros)))
    }

    fn json(&self) -> String {
        let mut out = String::from("{");
        for (i, (name, value)) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(out, "{comma}\"{name}\":{value}").unwrap();
        }
        out + "}"
    }
}

/// Lines, and the time at which the next event happens.
struct Lines {
    out: Vec<u8>,
    number: u32,
    time: i64,
}

impl Lines {
    /// A valid event with an id of its own, a second after the last.
    fn event(&mut self) -> Event {
        self.number += 1;
        self.time += SECOND;
        Event(Vec::new())
            .with(
                "transaction_id",
                &format!("\"TXN_77{:06}_0042\"", self.number),
            )
            .with("customer_id", "\"CUST_000042\"")
            .with("amount", "12.5")
            .with("currency", "\"EUR\"")
            .with("merchant", "\"Shell\"")
            .with("category", "\"fuel\"")
            .with("status", "\"COMPLETED\"")
            .at(self.time)
            .with("metadata", r#"{"device":"web"}"#)
    }

    fn put(&mut self, event: &Event) {
        self.raw(event.json().as_bytes());
    }

    fn raw(&mut self, line: &[u8]) {
        self.out.extend_from_slice(line);
        self.out.push(b'\n');
    }

    /// An event for each of the values, which are JSON without spaces.
    fn each(&mut self, field: &'static str, values: &str) {
        for value in values.split_whitespace() {
            let event = self.event().with(field, value);
            self.put(&event);
        }
    }
}

/// All of them, one a line. The first ones happen at `start`; the last ones make whatever follows
/// late.
pub fn lines(start: i64) -> Vec<u8> {
    let mut lines = Lines {
        out: Vec::new(),
        number: 0,
        time: start,
    };
    values(&mut lines);
    shapes(&mut lines);
    repeats(&mut lines);
    updates(&mut lines);
    times(&mut lines);
    lines.out
}

/// Values of each field.
fn values(lines: &mut Lines) {
    lines.each(
        "amount",
        r#"100 1e2 1.5E+2 99.99 99.99999999999999 1000 999.9999999999999 999999.999999 999999.9999999999
           1000000 1e6 1000000.0000001 0 0.0 -0.0 -5 -0.01 0.001 0.00099999 0.0005 0.000123 1e-4 1.234e-5
           1e-7 2.5E-10 5e-324 0.30000000000000004 123456.78901234567 12345678901234567890 1e300
           null "12.5" true [1] {}"#,
    );
    lines.each(
        "currency",
        r#"null "usd" "" "EUR\u0020" 1 "GBP" "\u0055SD""#,
    );
    lines.each("status", r#"null "completed" "PENDING" "FAILED" false"#);
    lines.each(
        "merchant",
        r#"null "" 7 "quote\"backslash\\slash\/tab\tline\n" "\u00e9\u4e2d\ud83d\ude00" "é中😀" "a|b" "null\u0000inside""#,
    );
    lines.each(
        "transaction_id",
        r#"null "" "TXN_1_123" "TXN_1_12345" "xTXN_1_1234" "TXN__1234" "TXN_1_1234\n" "txn_1_1234" "TXN_٣_1234"
           17 "TXN_0_0000""#,
    );
    lines.each(
        "customer_id",
        r#"null "CUST_12345" "CUST_1234567" "CUST_12345x" "CUST_999999" []"#,
    );
    lines.each(
        "metadata",
        r#"null {} {"a":null} {"a":"","":"b","é":"中"} {"a":1} {"a":{"b":"c"}} [] "x" {"b":"2","a":"1"}
           {"a":"1","a":"2"}"#,
    );
    for field in [
        "transaction_id",
        "customer_id",
        "amount",
        "currency",
        "merchant",
        "category",
        "status",
        "timestamp",
        "metadata",
    ] {
        let event = lines.event().without(field);
        lines.put(&event);
    }
    // Every rule at once.
    let event = lines
        .event()
        .with("transaction_id", "\"a\"")
        .with("customer_id", "\"b\"")
        .with("amount", "-1")
        .with("currency", "null")
        .with("status", "\"\"");
    lines.put(&event.clone().at(NOW_MICROS + MINUTE));
    lines.put(&event.at(NOW_MICROS - 30 * DAY));
}

/// Objects that are written in unusual ways, and what is no object.
fn shapes(lines: &mut Lines) {
    let event = lines
        .event()
        .with("unknown", r#"{"deep":[1,{"x":[null,true,"}"]}]}"#)
        .with("Amount", "\"other case\"");
    lines.put(&event);
    let mut event = lines.event();
    event.0.reverse();
    lines.put(&event);
    let spaced: Vec<String> = lines
        .event()
        .0
        .iter()
        .map(|(name, value)| format!("\t\"{name}\" : {value} "))
        .collect();
    lines.raw(format!("  {{{}}} \t", spaced.join(",")).as_bytes());
    let escaped = lines
        .event()
        .json()
        .replace("\"amount\"", "\"amo\\u0075nt\"");
    lines.raw(escaped.as_bytes());
    let twice = lines.event().json().replace("\"category\"", "\"merchant\"");
    lines.raw(twice.as_bytes());
    let others = r#"[] [1,2] 5 "text" null true {} { } nul {"a" {"amount":} {"amount";1} {amount:1} {'amount':1}
        {"amount":01} {"amount":.5} {"amount":+5} {"amount":"\x"}"#;
    for line in others.split_whitespace() {
        lines.raw(line.as_bytes());
    }
    for line in ["", "   ", "\t", "{\"amount\":\"tab\there\"}"] {
        lines.raw(line.as_bytes());
    }
    let json = lines.event().json();
    lines.raw(format!("{json}x").as_bytes());
    lines.raw(format!("{json}{json}").as_bytes());
    lines.raw(&json.as_bytes()[..json.len() - 1]);
    for broken in [
        &b"\xff"[..],
        b"\xc3\x28",
        b"\xed\xa0\x80",
        b"\xf0\x9f\x98",
        b"\xc0\xaf",
    ] {
        let json = lines.event().json();
        let at = json.find("Shell").unwrap();
        let bytes = [&json.as_bytes()[..at], broken, &json.as_bytes()[at..]].concat();
        lines.raw(&bytes);
    }
    // A character that is cut by the end of the line.
    lines.raw(b"{\"merchant\":\"caf\xc3");
    lines.raw(&[0xa9]);
}

/// The same content again, at the same time and at times around the ten minutes for which it is
/// remembered.
fn repeats(lines: &mut Lines) {
    const STEP: i64 = 600 * SECOND / 64;
    for apart in [
        0,
        1,
        SECOND,
        300 * SECOND,
        600 * SECOND - 1,
        600 * SECOND,
        600 * SECOND + 1,
        600 * SECOND + STEP / 2,
        600 * SECOND + STEP - 1,
        600 * SECOND + STEP,
        600 * SECOND + STEP + 1,
        600 * SECOND + 2 * STEP,
        1200 * SECOND,
    ] {
        // At the beginning, in the middle and at the end of a step.
        for place in [0, STEP / 2, STEP - 1] {
            let event = lines.event();
            let first = (lines.time / STEP + 1) * STEP + place;
            // Three times: the third may repeat the first, the second, or neither.
            for n in 0..3 {
                lines.put(&event.clone().at(first + n * apart));
                lines.put(&event.clone().at(first));
            }
            lines.time = first + 2 * apart;
        }
    }
    // Between an event and its repeat, another one moves the watermark beyond it: the repeat is
    // late.
    for moved in [
        600 * SECOND - 1,
        600 * SECOND,
        600 * SECOND + 1,
        700 * SECOND,
    ] {
        let event = lines.event();
        let at = lines.time;
        lines.put(&event);
        let mover = lines.event();
        lines.put(&mover.at(at + moved));
        lines.put(&event);
        lines.put(&event.clone().with("status", "\"FAILED\""));
        lines.time = at + moved;
    }
}

/// One transaction several times with other content, in and out of order.
fn updates(lines: &mut Lines) {
    for apart in [0, 1, SECOND, -1, -SECOND, -5 * MINUTE, -20 * MINUTE] {
        let event = lines.event();
        let at = lines.time;
        lines.put(&event.clone().with("status", "\"PENDING\""));
        lines.put(&event.clone().at(at + apart));
        lines.put(&event.with("amount", "13").at(at + apart));
    }
    // A status that comes back is an update; the same at the same time is a repeat.
    for apart in [1, SECOND, 300 * SECOND] {
        let event = lines.event();
        let at = lines.time;
        for (n, status) in ["PENDING", "FAILED", "PENDING", "FAILED", "PENDING"]
            .iter()
            .enumerate()
        {
            let event = event.clone().with("status", &format!("\"{status}\""));
            let event = event.at(at + n as i64 * apart);
            lines.put(&event);
            lines.put(&event);
        }
        lines.time = at + 4 * apart;
    }
}

/// Times in all their forms, at the borders of windows, and at those of the rules. The last ones
/// move the watermark to the present.
fn times(lines: &mut Lines) {
    for form in [
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y-%m-%dT%H:%M:%S%.3fZ",
        "%Y-%m-%dT%H:%M:%S%.9fZ",
        "%Y-%m-%dT%H:%M:%S.5+00:00",
        "%Y-%m-%dT%H:%M:%S.1234567-00:00",
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%d",
        "%H:%M:%S",
        "",
        "%s",
        "%Y-%m-%dT%H:%M:%S+00:0x",
        "%Y-02-30T%H:%M:%SZ",
        "%Y-13-01T%H:%M:%SZ",
        "%Y-%m-%dT25:%M:%SZ",
    ] {
        let event = lines.event();
        let time = DateTime::from_timestamp_micros(lines.time)
            .unwrap()
            .format(form);
        lines.put(&event.with("timestamp", &format!("\"{time}\"")));
    }
    for (zone, hours) in [("+05:30", 5.5), ("-08:00", -8.0), ("+14:00", 14.0)] {
        let event = lines.event();
        #[allow(clippy::cast_possible_truncation)] // Whole minutes.
        let local = lines.time + (hours * 3600.0) as i64 * SECOND;
        let text = iso(local).replace("+00:00", zone);
        lines.put(&event.with("timestamp", &format!("\"{text}\"")));
    }
    lines.time = (lines.time / MINUTE + 2) * MINUTE;
    for off in [-1, 0, 1, MINUTE - 1, MINUTE, MINUTE + 1] {
        let event = lines.event().at(lines.time / MINUTE * MINUTE + off);
        lines.put(&event);
    }
    for apart in [
        1,
        MINUTE,
        DAY,
        DAY + 1,
        30 * DAY,
        -7 * DAY - 1,
        -7 * DAY,
        -6 * DAY,
        0,
        -10 * MINUTE,
        -10 * MINUTE - 1,
    ] {
        let event = lines.event().at(NOW_MICROS + apart);
        lines.put(&event);
    }
}
