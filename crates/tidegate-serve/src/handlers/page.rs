//! Pages of records, newest first: `before` says where one begins, `next` of an answer where the next one does.

use serde_json::Value;

use super::query_string::Parameters;
use crate::error::ApiError;
use crate::tiers::sql::instant;
use crate::time;

/// A page begins behind this: a time, or a record of that time, since many records can have the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Before {
    time: i64,
    /// Partition and offset.
    record: Option<(i32, i64)>,
}

/// Names of the columns that order records: a time, then partition and offset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a>(pub(super) [&'a str; 3]);

impl Before {
    /// Takes the parameter `before` out: `TIME` or `TIME,PARTITION,OFFSET`.
    pub(super) fn take(parameters: &mut Parameters) -> Result<Option<Self>, ApiError> {
        let text = parameters.take("before")?;
        text.map(|text| read(&text).map_err(ApiError::BadRequest))
            .transpose()
    }
}

fn read(text: &str) -> Result<Before, String> {
    let mut parts = text.split(',');
    let at = parts.next().unwrap_or_default();
    let time = time::read(at).map_err(|error| format!("`before`: {error}"))?;
    let numbers: Vec<&str> = parts.collect();
    let record = match numbers.as_slice() {
        [] => Some(None),
        [partition, offset] => partition.parse().ok().zip(offset.parse().ok()).map(Some),
        _ => None,
    };
    match record {
        Some(record) => Ok(Before { time, record }),
        None => Err(format!(
            "`before` is `{text}`; give a time, or `next` of an answer: TIME,PARTITION,OFFSET"
        )),
    }
}

impl Order<'_> {
    /// What a row of the page meets, in SQL.
    pub(super) fn condition(&self, before: Option<&Before>) -> String {
        let [time, partition, offset] = self.0;
        match before {
            None => "true".to_owned(),
            Some(Before { time: at, record }) => {
                let at = instant(*at);
                match record {
                    None => format!("{time} < {at}"),
                    // The first condition is the one that prunes.
                    Some((p, o)) => format!(
                        "{time} <= {at} AND ({time}, {partition}, {offset}) < ({at}, {p}, {o})"
                    ),
                }
            }
        }
    }

    /// `ORDER BY`, newest first.
    pub(super) fn descending(&self) -> String {
        let [time, partition, offset] = self.0;
        format!("ORDER BY {time} DESC, {partition} DESC, {offset} DESC")
    }
}

/// Where the page behind these rows begins; null behind the last page. `names` are those of the order's columns in
/// the answer.
pub(super) fn next(rows: &[Value], limit: usize, names: [&str; 3]) -> Value {
    let last = match rows.last() {
        Some(last) if rows.len() == limit => last,
        _ => return Value::Null,
    };
    let [time, partition, offset] = names.map(|name| &last[name]);
    match time.as_str() {
        Some(time) => format!("{time},{partition},{offset}").into(),
        None => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NAMES: [&str; 3] = ["rejected_at", "partition", "offset"];

    #[test]
    fn the_next_page_begins_where_one_ended() {
        let rows =
            [json!({ "rejected_at": "2026-11-25T18:00:00.123456Z", "partition": 3, "offset": 17 })];
        let next_page = next(&rows, 1, NAMES);
        assert_eq!(next_page, "2026-11-25T18:00:00.123456Z,3,17");
        assert_eq!(
            read(next_page.as_str().unwrap()).unwrap(),
            Before {
                time: 1_795_629_600_123_456,
                record: Some((3, 17)),
            }
        );
        assert_eq!(next(&rows, 2, NAMES), Value::Null, "the last page");
        assert_eq!(next(&[], 2, NAMES), Value::Null);
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "",
            "x",
            "2026-11-25T18:00:00Z,1",
            "2026-11-25T18:00:00Z,1,x",
            "2026-11-25T18:00:00Z,1,2,3",
        ] {
            assert!(read(text).unwrap_err().contains("`before`"), "{text}");
        }
        assert!(read("2026-11-25T18:00:00Z").is_ok());
    }
}
