//! One event, with its texts borrowed from the record, and all checks of the transactions example.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use smallvec::SmallVec;

/// The statuses that an event can have; windows group by them.
pub(super) const STATUSES: [&str; 3] = ["COMPLETED", "PENDING", "FAILED"];

/// The rules, in the order of their bits in what [`Event::broken_rules`] returns.
const RULES: [&str; 7] = [
    "rule.transaction_id_format",
    "rule.customer_id_format",
    "rule.amount_in_range",
    "rule.currency_known",
    "rule.status_known",
    "rule.not_in_the_future",
    "rule.not_older_than_7_days",
];
const WEEK: i64 = 7 * 86_400_000_000;

/// A text that is copied only where it has an escape.
#[derive(Deserialize)]
pub(super) struct EventText<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Pairs of a map; few of them need no allocation.
pub(super) struct Pairs<'a>(pub(super) SmallVec<[(EventText<'a>, EventText<'a>); 4]>);

/// The schema of the example.
#[derive(Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow)]
    pub(super) transaction_id: EventText<'a>,
    #[serde(borrow)]
    pub(super) customer_id: EventText<'a>,
    pub(super) amount: f64,
    #[serde(borrow)]
    pub(super) currency: Option<EventText<'a>>,
    #[serde(borrow)]
    pub(super) merchant: Option<EventText<'a>>,
    #[serde(borrow)]
    pub(super) category: Option<EventText<'a>>,
    #[serde(borrow)]
    pub(super) status: EventText<'a>,
    #[serde(borrow)]
    pub(super) timestamp: EventText<'a>,
    #[serde(borrow)]
    pub(super) metadata: Option<Pairs<'a>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for PairsVisitor<'a> {
            type Value = Pairs<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut pairs = SmallVec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

impl Event<'_> {
    /// A bit for each rule that is not true at `now`, for the event's own `time` in microseconds.
    pub(super) fn broken_rules(&self, status: Option<usize>, time: Option<i64>, now: i64) -> u8 {
        let id = self.transaction_id.0.as_bytes();
        let right = [
            id.strip_prefix(b"TXN_").is_some_and(|rest| {
                rest.len() > 5
                    && rest[rest.len() - 5] == b'_'
                    && are_digits(&rest[..rest.len() - 5])
                    && are_digits(&rest[rest.len() - 4..])
            }),
            self.customer_id
                .0
                .as_bytes()
                .strip_prefix(b"CUST_")
                .is_some_and(|rest| rest.len() == 6 && are_digits(rest)),
            self.amount > 0.0 && self.amount < 1_000_000.0,
            self.currency
                .as_ref()
                .is_some_and(|c| matches!(&*c.0, "USD" | "EUR" | "GBP")),
            status.is_some(),
            time.is_some_and(|time| time <= now),
            time.is_some_and(|time| time >= now - WEEK),
        ];
        let mut broken = 0;
        for (bit, right) in right.into_iter().enumerate() {
            broken |= u8::from(!right) << bit;
        }
        broken
    }
}

/// The names of broken rules, as a reason to reject.
pub(super) fn reasons(broken: u8) -> String {
    let broken = |bit: &usize| broken & (1 << bit) != 0;
    let names: Vec<&str> = (0..RULES.len()).filter(broken).map(|b| RULES[b]).collect();
    names.join(",")
}

fn are_digits(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit)
}

/// Microseconds since the Unix epoch of `2026-11-23T05:06:07.123456+00:00`, the one form that the
/// generator writes.
pub(super) fn instant(text: &str) -> Option<i64> {
    let text: &[u8; 32] = text.as_bytes().try_into().ok()?;
    let separators = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
        (26, b'+'),
        (29, b':'),
    ];
    if separators.iter().any(|(at, byte)| text[*at] != *byte) {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0_i64, |number, byte| {
            byte.is_ascii_digit()
                .then(|| number * 10 + i64::from(byte - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let offset = number(27, 29)? * 60 + number(30, 32)?;
    if !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let minutes = (days(year, month, day) * 24 + hour) * 60 + minute - offset;
    Some((minutes * 60 + second) * 1_000_000 + number(20, 26)?)
}

/// Days from 1970-01-01 (Howard Hinnant's algorithm).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let year_of_era = year.rem_euclid(400);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000+00:00"),
            (1_709_251_199_999_999, "2024-02-29T23:59:59.999999+00:00"),
            (1_764_000_000_000_001, "2025-11-24T18:30:00.000001+02:30"),
        ] {
            assert_eq!(instant(text), Some(micros), "{text}");
        }
        assert_eq!(instant("yesterday at noon"), None);
    }
}
