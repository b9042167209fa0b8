//! The records in a request's body: one object, an array of them, or one a line.

use std::ops::Range;

use axum::body::Bytes;
use serde_json::value::RawValue;

/// Records as they came, in one buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Records {
    data: Bytes,
    spans: Vec<Range<usize>>,
}

/// In which form records come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// An object, or an array.
    Json,
    /// A line each.
    Lines,
}

/// Why there are no records in a body.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    /// Nothing is in it.
    #[error(
        "there is no record in the body; send one object, an array of objects, or an object in each line"
    )]
    Empty,
    /// It is an array, but not one in JSON.
    #[error("the array of records is not JSON: {0}; no record was taken")]
    Syntax(String),
    /// There are too many.
    #[error(
        "there are more than {max} records in the body (http.ingest.records); send them in several requests"
    )]
    TooMany {
        /// How many there may be.
        max: usize,
    },
    /// It is in another form.
    #[error(
        "`{0}` is not taken; send application/json, or application/x-ndjson with a record in each line"
    )]
    Type(String),
}

impl Records {
    /// Finds the records in a body of this type. Whether each is what the job takes is not looked
    /// at.
    pub(crate) fn find(
        content_type: Option<&str>,
        data: Bytes,
        max: usize,
    ) -> Result<Self, BodyError> {
        let spans = match form(content_type)? {
            Form::Lines => lines(&data, max),
            Form::Json => match data.trim_ascii_start().first() {
                Some(b'[') => elements(&data, max)?,
                _ => whole(&data),
            },
        };
        match spans.len() {
            0 => Err(BodyError::Empty),
            n if n > max => Err(BodyError::TooMany { max }),
            _ => Ok(Records { data, spans }),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// The payload of record `i`, which is below [`Records::len`].
    pub(crate) fn get(&self, i: usize) -> &[u8] {
        &self.data[self.spans[i].clone()]
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.spans.iter().map(|span| &self.data[span.clone()])
    }
}

fn form(content_type: Option<&str>) -> Result<Form, BodyError> {
    let Some(content_type) = content_type else {
        return Ok(Form::Json);
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    match essence.to_ascii_lowercase().as_str() {
        "application/json" => Ok(Form::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Form::Lines),
        _ => Err(BodyError::Type(essence.chars().take(100).collect())),
    }
}

/// The whole body without the white space around it.
fn whole(data: &[u8]) -> Vec<Range<usize>> {
    let trimmed = data.trim_ascii();
    if trimmed.is_empty() {
        Vec::new()
    } else {
        vec![within(data, trimmed)]
    }
}

/// One more than there may be is enough to know that there are too many.
fn lines(data: &[u8], max: usize) -> Vec<Range<usize>> {
    let lines = data.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines
        .filter(|line| !line.is_empty())
        .take(max + 1)
        .map(|line| within(data, line))
        .collect()
}

fn elements(data: &[u8], max: usize) -> Result<Vec<Range<usize>>, BodyError> {
    let text = std::str::from_utf8(data).map_err(|error| BodyError::Syntax(error.to_string()))?;
    let elements: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|error| BodyError::Syntax(error.to_string()))?;
    Ok(elements
        .iter()
        .take(max + 1)
        .map(|element| within(data, element.get().as_bytes()))
        .collect())
}

/// Where in `data` a part of it is.
fn within(data: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - data.as_ptr() as usize;
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content_type: Option<&str>, body: &str, expected: Result<&[&str], BodyError>) {
        let found = Records::find(content_type, Bytes::copy_from_slice(body.as_bytes()), 3);
        let found = found.map(|records| {
            let texts = records
                .iter()
                .map(|record| String::from_utf8(record.to_vec()).unwrap());
            texts.collect::<Vec<_>>()
        });
        assert_eq!(
            found,
            expected.map(|texts| texts.iter().map(|text| (*text).to_owned()).collect()),
            "{body}"
        );
    }

    #[test]
    fn records_come_in_three_forms() {
        let ndjson = Some("application/x-ndjson; charset=utf-8");
        check(None, " {\"a\": 1}\n", Ok(&["{\"a\": 1}"]));
        check(
            Some("application/json"),
            "{\n \"a\": 1\n}",
            Ok(&["{\n \"a\": 1\n}"]),
        );
        check(
            None,
            " [{\"a\": [1, 2]} , {\"b\":\"],[\"}]",
            Ok(&["{\"a\": [1, 2]}", "{\"b\":\"],[\"}"]),
        );
        check(
            ndjson,
            "{\"a\":1}\r\n\n  \n{\"b\":2}",
            Ok(&["{\"a\":1}", "{\"b\":2}"]),
        );
        // What is no object is a record all the same, and is rejected as one.
        check(None, "[1, null]", Ok(&["1", "null"]));
        check(None, "nonsense", Ok(&["nonsense"]));
        check(ndjson, "[1]\nnonsense", Ok(&["[1]", "nonsense"]));
    }

    #[test]
    fn a_body_without_records_is_refused() {
        for (content_type, body) in [
            (None, ""),
            (None, " \n "),
            (None, "[]"),
            (Some("application/x-ndjson"), "\n\n"),
        ] {
            check(content_type, body, Err(BodyError::Empty));
        }
        for (content_type, body) in [
            (None, "[1,2,3,4]"),
            (Some("application/x-ndjson"), "1\n2\n3\n4"),
        ] {
            check(content_type, body, Err(BodyError::TooMany { max: 3 }));
        }
        check(
            Some("text/plain"),
            "{}",
            Err(BodyError::Type("text/plain".to_owned())),
        );
        for broken in ["[{}", "[{}] x", "[{},]", "[\"\u{1}\"]"] {
            let found = Records::find(None, Bytes::copy_from_slice(broken.as_bytes()), 3);
            assert!(
                matches!(found, Err(BodyError::Syntax(_))),
                "{broken}: {found:?}"
            );
        }
    }
}
