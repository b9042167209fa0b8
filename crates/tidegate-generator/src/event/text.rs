//! An event as JSON, written without formatting machinery.

use crate::customers::{KEY_BYTES, write_key};

use super::padding::padding;

/// Merchants and their categories.
pub(super) const MERCHANTS: [(&str, &str); 24] = [
    ("Amazon", "marketplace"),
    ("Walmart", "groceries"),
    ("Target", "groceries"),
    ("Carrefour", "groceries"),
    ("Tesco", "groceries"),
    ("Aldi", "groceries"),
    ("Best Buy", "electronics"),
    ("MediaMarkt", "electronics"),
    ("Apple Store", "electronics"),
    ("Currys", "electronics"),
    ("Shell", "fuel"),
    ("BP", "fuel"),
    ("TotalEnergies", "fuel"),
    ("Starbucks", "restaurants"),
    ("McDonald's", "restaurants"),
    ("Pret A Manger", "restaurants"),
    ("Zara", "clothing"),
    ("H&M", "clothing"),
    ("Uniqlo", "clothing"),
    ("Delta Air Lines", "travel"),
    ("Lufthansa", "travel"),
    ("Booking.com", "travel"),
    ("Netflix", "entertainment"),
    ("Café \\\"Le Procope\\\"", "restaurants"),
];

const DEVICES: [&str; 5] = ["mobile", "web", "tablet", "pos", "api"];
const LOCATIONS: [&str; 12] = [
    "New York",
    "San Francisco",
    "Chicago",
    "London",
    "Manchester",
    "Paris",
    "Lyon",
    "Berlin",
    "München",
    "Madrid",
    "Amsterdam",
    "Dublin",
];

/// What an event says.
pub(super) struct Fields {
    pub(super) id_micros: i64,
    pub(super) id_digits: u32,
    pub(super) customer: u32,
    pub(super) cents: i64,
    pub(super) currency: &'static str,
    pub(super) merchant: usize,
    pub(super) status: &'static str,
    /// Microseconds since the Unix epoch.
    pub(super) time: i64,
    pub(super) metadata: u64,
}

/// What makes a record impossible to decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformation {
    Truncated,
    WrongType,
    MissingField,
    NullField,
    NotUtf8,
    NotATime,
    NotJson,
}

impl Malformation {
    pub(super) const ALL: [Malformation; 7] = [
        Malformation::Truncated,
        Malformation::WrongType,
        Malformation::MissingField,
        Malformation::NullField,
        Malformation::NotUtf8,
        Malformation::NotATime,
        Malformation::NotJson,
    ];
}

/// Appends an event, spoiled by `malformation` if there is one; `random` says where. It is filled
/// up to `event_bytes`.
pub(super) fn write_json(
    fields: &Fields,
    malformation: Option<Malformation>,
    random: u64,
    event_bytes: usize,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    if malformation == Some(Malformation::NotJson) {
        out.extend_from_slice(b"transaction of customer ");
        write_customer(fields.customer, out);
        return;
    }
    out.extend_from_slice(b"{\"transaction_id\":\"TXN_");
    integer(fields.id_micros, out);
    out.push(b'_');
    digits::<4>(u64::from(fields.id_digits), out);
    if malformation != Some(Malformation::MissingField) {
        out.extend_from_slice(b"\",\"customer_id\":\"");
        write_customer(fields.customer, out);
    }
    out.extend_from_slice(b"\",\"amount\":");
    match malformation {
        Some(Malformation::WrongType) => out.extend_from_slice(b"\"a lot\""),
        Some(Malformation::NullField) => out.extend_from_slice(b"null"),
        _ => cents(fields.cents, out),
    }
    let (merchant, category) = MERCHANTS[fields.merchant];
    out.extend_from_slice(b",\"currency\":\"");
    out.extend_from_slice(fields.currency.as_bytes());
    out.extend_from_slice(b"\",\"merchant\":\"");
    out.extend_from_slice(merchant.as_bytes());
    if malformation == Some(Malformation::NotUtf8) {
        out.extend_from_slice(b" \xc3\x28\xff");
    }
    out.extend_from_slice(b"\",\"category\":\"");
    out.extend_from_slice(category.as_bytes());
    out.extend_from_slice(b"\",\"status\":\"");
    out.extend_from_slice(fields.status.as_bytes());
    out.extend_from_slice(b"\",\"timestamp\":\"");
    match malformation {
        Some(Malformation::NotATime) => out.extend_from_slice(b"yesterday at noon"),
        _ => timestamp(fields.time, out),
    }
    metadata(fields.metadata, out);
    padding(event_bytes.saturating_sub(out.len() - start), fields, out);
    out.extend_from_slice(b"}}");
    if malformation == Some(Malformation::Truncated) {
        let len = (out.len() - start) as u64;
        let keep = 1 + (((random >> 32) * (len - 1)) >> 32);
        out.truncate(start + keep as usize);
    }
}

fn metadata(random: u64, out: &mut Vec<u8>) {
    let device = DEVICES[(random & 0xff) as usize % DEVICES.len()];
    let location = LOCATIONS[(random >> 8 & 0xff) as usize % LOCATIONS.len()];
    out.extend_from_slice(b"\",\"metadata\":{\"device\":\"");
    out.extend_from_slice(device.as_bytes());
    out.extend_from_slice(b"\",\"location\":\"");
    out.extend_from_slice(location.as_bytes());
    out.extend_from_slice(b"\",\"session\":\"");
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut session = [0; 12];
    for (i, digit) in session.iter_mut().enumerate() {
        *digit = HEX[(random >> (16 + 4 * i) & 0xf) as usize];
    }
    out.extend_from_slice(&session);
    out.push(b'"');
}

fn write_customer(customer: u32, out: &mut Vec<u8>) {
    let mut key = [0; KEY_BYTES];
    write_key(customer, &mut key);
    out.extend_from_slice(&key);
}

fn integer(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The last `N` digits of `value`.
fn digits<const N: usize>(value: u64, out: &mut Vec<u8>) {
    let mut text = [b'0'; N];
    let mut rest = value;
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&text);
}

/// An amount with two decimals.
fn cents(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let value = value.abs();
    integer(value / 100, out);
    out.push(b'.');
    digits::<2>(value as u64 % 100, out);
}

/// `2026-11-23T05:06:07.123456+00:00`
fn timestamp(micros: i64, out: &mut Vec<u8>) {
    const DAY: i64 = 86_400_000_000;
    let (day, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY) as u64);
    let (year, month, day) = civil(day);
    digits::<4>(year as u64, out);
    out.push(b'-');
    digits::<2>(month, out);
    out.push(b'-');
    digits::<2>(day, out);
    out.push(b'T');
    digits::<2>(rest / 3_600_000_000, out);
    out.push(b':');
    digits::<2>(rest / 60_000_000 % 60, out);
    out.push(b':');
    digits::<2>(rest / 1_000_000 % 60, out);
    out.push(b'.');
    digits::<6>(rest % 1_000_000, out);
    out.extend_from_slice(b"+00:00");
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant's algorithm).
fn civil(days: i64) -> (i64, u64, u64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u64, day as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_written_as_iso_8601() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000+00:00"),
            (1_709_251_199_999_999, "2024-02-29T23:59:59.999999+00:00"),
            (1_764_000_000_000_001, "2025-11-24T16:00:00.000001+00:00"),
            (-1, "1969-12-31T23:59:59.999999+00:00"),
        ] {
            assert_eq!(written(|out| timestamp(micros, out)), text);
        }
    }

    #[test]
    fn amounts_have_two_decimals() {
        for (value, text) in [
            (5, "0.05"),
            (-120, "-1.20"),
            (12_345_678, "123456.78"),
            (0, "0.00"),
        ] {
            assert_eq!(written(|out| cents(value, out)), text);
        }
    }
}
