//! The form of every file of the log: one line of JSON, and a second line with its checksum.
//!
//! ```text
//! {"version":1,"seq":42,...}
//! {"crc32c":"0a1b2c3d"}
//! ```
//! The checksum is CRC-32C over the first line without its line end. People can read the file and
//! check it with their own tools; a torn or changed file is noticed.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Why a file of the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The file does not have the two lines: it was cut, or is something else.
    #[error("it is not a line of JSON and a line with its checksum: it was cut off or changed")]
    Form,
    /// The checksum does not fit.
    #[error(
        "its checksum is {actual:08x}, and it says that it should be {stated:08x}: it was changed"
    )]
    Checksum {
        /// What the file says.
        stated: u32,
        /// What its first line has.
        actual: u32,
    },
    /// The file is from a newer program.
    #[error(
        "it has version {found}, and this program knows versions up to {known}: use a newer Tidegate"
    )]
    Newer {
        /// Version of the file.
        found: u32,
        /// The newest version that this program reads.
        known: u32,
    },
    /// The checksum fits, but the JSON is not what it should be.
    #[error("it is not well-formed: {0}")]
    Json(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trailer {
    #[serde(with = "hex")]
    crc32c: u32,
}

/// The version alone, whatever else a newer program may have added.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The two lines of `body`, and the checksum of the first.
pub(crate) fn encode(body: &impl Serialize) -> (Bytes, u32) {
    let mut lines = json(body);
    let crc32c = crc32c::crc32c(&lines);
    lines.push(b'\n');
    lines.extend(json(&Trailer { crc32c }));
    lines.push(b'\n');
    (lines.into(), crc32c)
}

/// Reads two lines that [`encode`] wrote; `known` is the newest version that the caller reads.
/// Returns the body and its checksum.
pub(crate) fn decode<T: DeserializeOwned>(
    bytes: &[u8],
    known: u32,
) -> Result<(T, u32), CodecError> {
    let text = str::from_utf8(bytes).map_err(|_| CodecError::Form)?;
    let (body, trailer) = text
        .strip_suffix('\n')
        .and_then(|lines| lines.split_once('\n'))
        .filter(|(_, trailer)| !trailer.contains('\n'))
        .ok_or(CodecError::Form)?;
    let Trailer { crc32c: stated } = serde_json::from_str(trailer).map_err(|_| CodecError::Form)?;
    let actual = crc32c::crc32c(body.as_bytes());
    if stated != actual {
        return Err(CodecError::Checksum { stated, actual });
    }
    let Version { version: found } = serde_json::from_str(body)?;
    if found > known {
        return Err(CodecError::Newer { found, known });
    }
    Ok((serde_json::from_str(body)?, actual))
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the log's types have string keys and no failing serializer")
}

/// A checksum as eight hexadecimal digits, for `#[serde(with)]`.
pub(crate) mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(crc32c: &u32, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{crc32c:08x}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
        let text = String::deserialize(from)?;
        let plain = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
        plain
            .then(|| u32::from_str_radix(&text, 16).ok())
            .flatten()
            .ok_or_else(|| Error::custom("a checksum is eight hexadecimal digits"))
    }
}
