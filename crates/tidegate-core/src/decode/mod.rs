//! From bytes to columns: JSON records of a chunk into Arrow arrays, a fault for each bad record.
//!
//! One pass over the bytes, without a tree in between and without an allocation per record. Keys
//! are expected in the schema's order and found by hash otherwise.

mod column;
mod object;
mod strings;
mod unknown;
mod value;

use arrow::array::ArrayRef;
use arrow::error::ArrowError;

pub use column::arrow_type;
use object::Object;
pub use unknown::UnknownFields;

use crate::json::{DecodeFault, Reader};
use crate::reject::{Code, Reject, excerpt};
use crate::spec::FieldSpec;
use tidegate_base::chunk::{Chunk, Payload};

/// Decodes the records of one schema.
#[derive(Debug)]
pub struct Decoder {
    object: Object,
}

/// A decoded chunk.
#[derive(Debug)]
pub struct Decoded {
    /// A column for each field of the schema, in its order.
    pub columns: Vec<ArrayRef>,
    /// For each row of the columns, the record that it came from.
    pub rows: Vec<u32>,
    /// The records that are not in the columns, in order.
    pub rejects: Vec<Reject>,
    /// Fields of the records, also of those that were rejected, that the schema does not have.
    pub unknown: UnknownFields,
}

impl Decoder {
    /// A decoder for events with these fields.
    pub fn new(fields: &[FieldSpec]) -> Self {
        Decoder {
            object: Object::new(fields.iter().map(|f| (f.name.as_str(), &f.ty, f.required))),
        }
    }

    /// Decodes all records of a chunk.
    ///
    /// # Errors
    /// Only if Arrow refuses the columns, which would be a bug here.
    pub fn decode(&mut self, chunk: &Chunk) -> Result<Decoded, ArrowError> {
        let mut rows = Vec::with_capacity(chunk.len());
        let mut rejects = Vec::new();
        // Checking all payloads at once is faster, and enough where each starts at a character.
        let all_utf8 = simdutf8::basic::from_utf8(chunk.data()).is_ok();
        for index in 0..chunk.len() {
            match self.decode_record(chunk, index, all_utf8) {
                Ok(()) => rows.push(u32::try_from(index).unwrap_or(u32::MAX)),
                Err((code, detail)) => {
                    self.object.truncate(rows.len());
                    rejects.push(Reject::new(index, code, detail));
                }
            }
        }
        let (_, columns) = self.object.finish()?;
        let mut unknown = UnknownFields::default();
        self.object.take_unknown("", &mut unknown);
        Ok(Decoded {
            columns,
            rows,
            rejects,
            unknown,
        })
    }

    fn decode_record(
        &mut self,
        chunk: &Chunk,
        index: usize,
        utf8: bool,
    ) -> Result<(), (Code, String)> {
        let payload = chunk.payload(index);
        match chunk.kind(index) {
            Payload::Bytes => {}
            Payload::Tombstone => return Err((Code::Tombstone, "null payload".to_owned())),
            Payload::Truncated => {
                let detail = format!(
                    "larger than the source accepts; its first {} bytes are kept",
                    payload.len()
                );
                return Err((Code::TooLarge, detail));
            }
        }
        let continues = |at: usize| chunk.data().get(at).is_some_and(|b| b & 0xC0 == 0x80);
        let span = chunk.span(index);
        // A character that is cut by the border of two records is whole in the buffer.
        let cut = continues(span.start) || continues(span.end);
        if (!utf8 || cut) && simdutf8::basic::from_utf8(payload).is_err() {
            let at = std::str::from_utf8(payload).map_or_else(|e| e.valid_up_to(), str::len);
            return Err((Code::NotUtf8, format!("not valid UTF-8 from byte {at} on")));
        }
        let mut reader = Reader::new(payload);
        if !reader.eat(b'{') {
            return Err(self.not_an_object(payload));
        }
        self.object
            .push(&mut reader, 1)
            .and_then(|()| reader.end().map_err(|fault| (None, fault)))
            .map_err(|(member, fault)| (fault.code, self.describe(payload, member, &fault)))
    }

    #[cold]
    fn not_an_object(&self, payload: &[u8]) -> (Code, String) {
        let mut reader = Reader::new(payload);
        if reader.peek() == 0 && reader.at() == payload.len() {
            return (Code::Empty, "empty payload".to_owned());
        }
        match reader.skip(0).and_then(|()| reader.end()) {
            Ok(()) => (
                Code::NotAnObject,
                format!("expected a JSON object, found `{}`", excerpt(payload, 40)),
            ),
            Err(fault) => (fault.code, self.describe(payload, None, &fault)),
        }
    }

    #[cold]
    fn describe(&self, payload: &[u8], member: Option<usize>, fault: &DecodeFault) -> String {
        let field = member.map_or_else(String::new, |m| {
            format!("field `{}`: ", self.object.name(m))
        });
        let rest = payload.get(fault.at..).unwrap_or_default();
        let near = if rest.is_empty() || fault.code == Code::Missing {
            String::new()
        } else {
            format!(", near `{}`", excerpt(&rest[..rest.len().min(100)], 24))
        };
        format!("{field}{} at byte {}{near}", fault.what, fault.at)
    }
}
