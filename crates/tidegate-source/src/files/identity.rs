//! What the commit log keeps of a file, so that it is recognised: text of one line.
//!
//! Words that are separated by a space: the version, then `key=value` or `key`, and last the file's
//! name, which may have spaces. The form is persisted: keys are added, never given another meaning.
//!
//! | word | meaning |
//! | --- | --- |
//! | `1` | version |
//! | `at=N` | bytes that were read, decompressed |
//! | `head=H`, `tail=H` | checksums (XXH3, 64 bits) of the first and of the last [`END_BYTES`] |
//! | `ino=D-I-B` | device, inode, and time of birth in nanoseconds (0: not known) |
//! | `raw=N-H` | size, and checksum of both ends, of the whole compressed file |
//! | `whole` | nothing more of it is expected |
//! | `gone` | it was seen not to be there, so that another file may have its name |
//! | `open` | the last line that was read had no end |
//! | `file=NAME` | where it was, if that is not the partition's name |
//!
//! [`END_BYTES`]: super::trail::END_BYTES

use std::fmt;
use std::str::FromStr;

use super::trail::Mark;

const VERSION: &str = "1";

/// What a file is recognised by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileIdentity {
    /// What was read; none if only the number of lines is known.
    pub(super) mark: Option<Mark>,
    pub(super) inode: Option<Inode>,
    pub(super) raw: Option<Raw>,
    pub(super) whole: bool,
    pub(super) gone: bool,
    pub(super) open: bool,
    pub(super) file: Option<String>,
}

/// What a file is to its file system. An inode is given again when its file is gone, so that the
/// time of birth belongs to it, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Inode {
    pub(super) device: u64,
    pub(super) number: u64,
    pub(super) born: u64,
}

/// A compressed file as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) bytes: u64,
    pub(super) ends: u64,
}

impl fmt::Display for FileIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(VERSION)?;
        if let Some(Mark { at, head, tail }) = self.mark {
            write!(f, " at={at} head={head:x} tail={tail:x}")?;
        }
        if let Some(inode) = self.inode {
            let Inode {
                device,
                number,
                born,
            } = inode;
            write!(f, " ino={device}-{number}-{born}")?;
        }
        if let Some(Raw { bytes, ends }) = self.raw {
            write!(f, " raw={bytes}-{ends:x}")?;
        }
        let words = [
            ("whole", self.whole),
            ("gone", self.gone),
            ("open", self.open),
        ];
        for (word, is) in words {
            if is {
                write!(f, " {word}")?;
            }
        }
        match &self.file {
            Some(file) => {
                f.write_str(" file=")?;
                f.write_str(file)
            }
            None => Ok(()),
        }
    }
}

/// The text is not one that this version writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unknown;

impl FromStr for FileIdentity {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        let rest = text.strip_prefix(VERSION).ok_or(Unknown)?;
        let (words, file) = match rest.split_once(" file=") {
            Some((words, file)) => (words, Some(file.to_owned())),
            None => (rest, None),
        };
        let mut identity = FileIdentity {
            file,
            ..FileIdentity::default()
        };
        let (mut at, mut head, mut tail) = (None, None, None);
        for word in words.split(' ').filter(|w| !w.is_empty()) {
            match word.split_once('=') {
                Some(("at", value)) => at = Some(decimal(value)?),
                Some(("head", value)) => head = Some(hex(value)?),
                Some(("tail", value)) => tail = Some(hex(value)?),
                Some(("ino", value)) => {
                    let mut parts = value.split('-').map(decimal);
                    let mut part = || parts.next().ok_or(Unknown)?;
                    identity.inode = Some(Inode {
                        device: part()?,
                        number: part()?,
                        born: part()?,
                    });
                }
                Some(("raw", value)) => {
                    let (bytes, ends) = value.split_once('-').ok_or(Unknown)?;
                    identity.raw = Some(Raw {
                        bytes: decimal(bytes)?,
                        ends: hex(ends)?,
                    });
                }
                None if word == "whole" => identity.whole = true,
                None if word == "gone" => identity.gone = true,
                None if word == "open" => identity.open = true,
                _ => return Err(Unknown),
            }
        }
        identity.mark = match (at, head, tail) {
            (Some(at), Some(head), Some(tail)) => Some(Mark { at, head, tail }),
            (None, None, None) => None,
            _ => return Err(Unknown),
        };
        Ok(identity)
    }
}

fn decimal(text: &str) -> Result<u64, Unknown> {
    text.parse().map_err(|_| Unknown)
}

fn hex(text: &str) -> Result<u64, Unknown> {
    u64::from_str_radix(text, 16).map_err(|_| Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identities() -> impl Strategy<Value = FileIdentity> {
        let mark = any::<(u64, u64, u64)>().prop_map(|(at, head, tail)| Mark { at, head, tail });
        let inode = any::<(u64, u64, u64)>().prop_map(|(device, number, born)| Inode {
            device,
            number,
            born,
        });
        let raw = any::<(u64, u64)>().prop_map(|(bytes, ends)| Raw { bytes, ends });
        let file = proptest::option::of("[a-z =./#]{1,20}");
        let optional = proptest::option::of::<_>;
        (
            proptest::option::of(mark),
            proptest::option::of(inode),
            optional(raw),
            any::<[bool; 3]>(),
            file,
        )
            .prop_map(
                |(mark, inode, raw, [whole, gone, open], file)| FileIdentity {
                    mark,
                    inode,
                    raw,
                    whole,
                    gone,
                    open,
                    file,
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(identity in identities()) {
            prop_assert_eq!(identity.to_string().parse(), Ok(identity));
        }

        #[test]
        fn other_texts_are_refused_without_a_panic(text in ".{0,60}") {
            let _ = text.parse::<FileIdentity>();
        }
    }

    /// A text of each form that was ever written stays readable.
    #[test]
    fn the_sample_is_read() {
        let text = "1 at=4096 head=9f1c03ab tail=1 ino=66309-12-1764000000000000000 raw=77-c0ffee \
                    whole gone open file=app 2.log.1";
        let identity: FileIdentity = text.parse().unwrap();
        assert_eq!(identity.to_string(), text);
        assert_eq!(identity.mark.unwrap().at, 4096);
        assert_eq!(identity.inode.unwrap().number, 12);
        assert_eq!(identity.file.as_deref(), Some("app 2.log.1"));
        assert!("topic=x epoch=1".parse::<FileIdentity>().is_err());
    }
}
