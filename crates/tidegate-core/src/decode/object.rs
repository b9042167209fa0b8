//! JSON objects with known keys: the record itself, and nested structs.

use arrow::array::ArrayRef;
use arrow::error::ArrowError;
use hashbrown::HashMap;

use super::column::ColumnBuilder;
use super::unknown::{Unknown, UnknownFields};
use crate::json::{DecodeFault, Reader, unescape};
use crate::reject::Code;
use crate::spec::FieldType;

/// The columns of an object, found by key.
#[derive(Debug)]
pub(crate) struct Object {
    members: Vec<Member>,
    /// Members by name; from `members.len()` on, keys that are none, in the order of `unknown`. So
    /// a key that is not in the schema costs no look-up more than one that is.
    by_name: HashMap<Box<[u8]>, usize>,
    unknown: Unknown,
    /// Counts objects, so that "seen in this object" needs no clearing.
    epoch: u64,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Member {
    name: Box<str>,
    /// The name as it stands in JSON, with its quotes; none where it needs escapes.
    quoted: Option<Box<[u8]>>,
    required: bool,
    seen: u64,
    column: ColumnBuilder,
}

/// A fault, and the member that it is in, if any.
pub(crate) type MemberFault = (Option<usize>, DecodeFault);

impl Object {
    pub(crate) fn new<'a>(fields: impl Iterator<Item = (&'a str, &'a FieldType, bool)>) -> Self {
        let members: Vec<Member> = fields
            .map(|(name, ty, required)| Member {
                name: name.into(),
                quoted: (!name.contains(|c: char| matches!(c, '"' | '\\' | '\0'..='\x1f')))
                    .then(|| format!("\"{name}\"").into_bytes().into()),
                required,
                seen: 0,
                column: ColumnBuilder::new(ty),
            })
            .collect();
        let by_name = members
            .iter()
            .enumerate()
            .map(|(i, m)| (m.name.as_bytes().into(), i))
            .collect();
        Object {
            members,
            by_name,
            unknown: Unknown::default(),
            epoch: 0,
            scratch: Vec::new(),
        }
    }

    /// Name of a member.
    pub(crate) fn name(&self, member: usize) -> &str {
        &self.members[member].name
    }

    /// Appends the members of the object whose `{` has just been read, as a new row.
    ///
    /// After a fault the columns may have grown by a part of the row; the caller truncates.
    pub(crate) fn push(
        &mut self,
        reader: &mut Reader<'_>,
        depth: usize,
    ) -> Result<(), MemberFault> {
        self.epoch += 1;
        let mut seen = 0;
        let mut guess = 0;
        let mut more = !reader.eat(b'}');
        while more {
            reader.peek();
            let guessed = self.members.get(guess).and_then(|m| m.quoted.as_deref());
            let found = match guessed {
                Some(quoted) if reader.eat_key(quoted) => Some(guess),
                _ => self.key(reader).map_err(|fault| (None, fault))?,
            };
            match found {
                Some(index) => {
                    let member = &mut self.members[index];
                    if member.seen == self.epoch {
                        let what = "the same key twice";
                        return Err((
                            Some(index),
                            DecodeFault {
                                code: Code::DuplicateKey,
                                at: reader.at(),
                                what,
                            },
                        ));
                    }
                    member.seen = self.epoch;
                    let at = reader.at();
                    let null = member
                        .column
                        .push(reader, depth)
                        .map_err(|fault| (Some(index), fault))?;
                    if null && member.required {
                        return Err((
                            Some(index),
                            DecodeFault {
                                code: Code::Missing,
                                at,
                                what: "required, but null",
                            },
                        ));
                    }
                    seen += 1;
                    guess = index + 1;
                }
                None => reader.skip(depth).map_err(|fault| (None, fault))?,
            }
            more = reader.more(b'}').map_err(|fault| (None, fault))?;
        }
        if seen < self.members.len() {
            for (index, member) in self.members.iter_mut().enumerate() {
                if member.seen != self.epoch {
                    if member.required {
                        let what = "required, but missing";
                        return Err((
                            Some(index),
                            DecodeFault {
                                code: Code::Missing,
                                at: reader.at(),
                                what,
                            },
                        ));
                    }
                    member.column.push_null();
                }
            }
        }
        Ok(())
    }

    /// Reads a key and its colon; says which member it is. One that is none is counted.
    fn key(&mut self, reader: &mut Reader<'_>) -> Result<Option<usize>, DecodeFault> {
        let key = reader.string()?;
        let name = if key.escaped {
            self.scratch.clear();
            unescape(key.raw, &mut self.scratch);
            self.scratch.as_slice()
        } else {
            key.raw
        };
        let index = self.by_name.get(name).copied();
        reader.colon()?;
        match index {
            Some(index) if index < self.members.len() => Ok(Some(index)),
            Some(index) => {
                self.unknown.count(index - self.members.len());
                Ok(None)
            }
            None => {
                if let Some(place) = self.unknown.meet(name) {
                    self.by_name.insert(name.into(), self.members.len() + place);
                }
                Ok(None)
            }
        }
    }

    /// Takes the counts of keys that are not in the schema; `path` is where this object is.
    pub(crate) fn take_unknown(&mut self, path: &str, found: &mut UnknownFields) {
        self.unknown.take(path, found);
        for member in &mut self.members {
            if let Some(object) = member.column.object() {
                object.take_unknown(&format!("{path}{}.", member.name), found);
            }
        }
    }

    pub(crate) fn push_nulls(&mut self) {
        for member in &mut self.members {
            member.column.push_null();
        }
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        for member in &mut self.members {
            member.column.truncate(len);
        }
    }

    pub(crate) fn finish(&mut self) -> Result<(Vec<String>, Vec<ArrayRef>), ArrowError> {
        let mut names = Vec::with_capacity(self.members.len());
        let mut arrays = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            names.push(member.name.to_string());
            arrays.push(member.column.finish()?);
        }
        Ok((names, arrays))
    }
}
