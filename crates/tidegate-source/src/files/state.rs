//! How far a file was read, and what can be said about the rest.

use std::sync::Arc;

use tidegate_base::chunk::Chunk;

use super::discover::Facts;
use super::identity::{FileIdentity, Inode, Raw};
use super::input::Encoding;
use super::trail::Mark;
use crate::{ChunkLimits, ResumePartition, SourceError};

/// One file as far as it was read.
pub(super) struct FileState {
    pub(super) id: i32,
    /// Name of the partition, which stays. The file's own name may become another.
    pub(super) partition: String,
    /// Where the file is, or was when last seen.
    pub(super) name: String,
    pub(super) encoding: Encoding,
    /// As it was when last seen; none if it has to be looked at before it is read on.
    pub(super) facts: Option<Facts>,
    /// As it was when it was last compared with the files that are absent, while nothing was read.
    pub(super) first: Option<Facts>,
    /// What it was to its file system when it was last read.
    inode: Option<Inode>,
    pub(super) announced: bool,
    /// Lines that were handed over, and so the number of the next one.
    pub(super) line: i64,
    /// What was read; none if only the number of lines is known, or nothing was read.
    pub(super) mark: Option<Mark>,
    /// The last line that was read had no end.
    pub(super) open: bool,
    /// Nothing more is known of or expected.
    pub(super) whole: bool,
    /// It was seen not to be there.
    pub(super) gone: bool,
    /// The whole file as it is stored, if it is compressed.
    pub(super) raw: Option<Raw>,
    /// The commit log has to be told, though there are no new lines.
    pub(super) note: bool,
    /// The commit log was told that it is whole.
    pub(super) told_whole: bool,
}

/// How many lines were in how many bytes, for estimates.
#[derive(Default)]
pub(super) struct Volume {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

impl Volume {
    fn lines_in(&self, bytes: u64) -> u64 {
        let lines = u128::from(bytes) * u128::from(self.lines) / u128::from(self.bytes.max(1));
        u64::try_from(lines).unwrap_or(u64::MAX)
    }
}

impl FileState {
    /// A file of which nothing was read.
    pub(super) fn new(id: i32, partition: String, name: &str, facts: Facts) -> Self {
        FileState {
            id,
            partition,
            name: name.to_owned(),
            encoding: Encoding::of(name),
            facts: Some(facts),
            first: Some(facts),
            inode: Some(facts.inode),
            announced: false,
            line: 0,
            mark: None,
            open: false,
            whole: false,
            gone: false,
            raw: None,
            note: false,
            told_whole: false,
        }
    }

    /// A file as the commit log knows it.
    pub(super) fn resumed(id: i32, partition: &ResumePartition) -> Result<Self, SourceError> {
        let ResumePartition { name, offset, .. } = partition;
        let identity = match &partition.identity {
            Some(text) => text
                .parse::<FileIdentity>()
                .map_err(|_| SourceError::OtherSource {
                    message: format!(
                        "what it keeps of `{name}` was written by another kind of source or a newer \
                         version ({text})"
                    ),
                })?,
            None => FileIdentity::default(),
        };
        let file = identity.file.unwrap_or_else(|| name.clone());
        Ok(FileState {
            id,
            partition: name.clone(),
            encoding: Encoding::of(&file),
            name: file,
            facts: None,
            first: None,
            inode: identity.inode,
            announced: false,
            line: *offset,
            mark: identity.mark,
            open: identity.open,
            whole: identity.whole,
            gone: identity.gone,
            raw: identity.raw,
            note: partition.identity.is_none(),
            told_whole: identity.whole,
        })
    }

    /// What the commit log is to keep of it.
    pub(super) fn identity(&self) -> Arc<str> {
        let identity = FileIdentity {
            mark: self.mark,
            inode: self.inode,
            raw: self.raw,
            whole: self.whole,
            gone: self.gone,
            open: self.open,
            file: (self.name != self.partition).then(|| self.name.clone()),
        };
        identity.to_string().into()
    }

    pub(super) fn inode(&self) -> Option<Inode> {
        self.facts.map(|facts| facts.inode).or(self.inode)
    }

    /// Whether nothing of it was handed over.
    pub(super) fn is_unread(&self) -> bool {
        self.line == 0
    }

    /// Bytes that were read, decompressed, if known.
    pub(super) fn at(&self) -> Option<u64> {
        match self.mark {
            Some(mark) => Some(mark.at),
            None => self.is_unread().then_some(0),
        }
    }

    /// Whether `facts` can be those of this very file, read on or not: what is in it is looked at
    /// when it is opened.
    pub(super) fn may_be(&self, facts: &Facts) -> bool {
        let Some(seen) = self.facts else {
            return false;
        };
        let shorter =
            self.encoding == Encoding::Plain && self.at().is_some_and(|at| facts.bytes < at);
        seen.inode == facts.inode && !shorter
    }

    /// The file is under this name now.
    pub(super) fn is_at(&mut self, name: &str, facts: Facts) {
        if self.name != name {
            name.clone_into(&mut self.name);
            self.encoding = Encoding::of(name);
        }
        self.inode = Some(facts.inode);
        self.facts = Some(facts);
    }

    /// Whether there is something in it that was not read, as far as its size tells.
    pub(super) fn has_more(&self, facts: &Facts) -> bool {
        match (self.encoding, self.at()) {
            (Encoding::Plain, Some(at)) => facts.bytes > at,
            (Encoding::Plain, None) => true,
            _ => !self.whole || self.raw.is_none_or(|raw| raw.bytes != facts.bytes),
        }
    }

    /// Lines that are left, about.
    pub(super) fn lines_left(&self, volume: &Volume) -> u64 {
        let bytes = self.facts.map_or(0, |facts| facts.bytes);
        match (self.encoding, self.at()) {
            _ if self.whole => 0,
            (Encoding::Plain, Some(at)) => volume.lines_in(bytes.saturating_sub(at)),
            _ => volume
                .lines_in(bytes)
                .saturating_sub(u64::try_from(self.line).unwrap_or(0)),
        }
    }

    /// Makes room for what the next chunk will probably hold.
    pub(super) fn reserve(&self, chunk: &mut Chunk, at: u64, limits: &ChunkLimits) {
        const LINE_BYTES: usize = 128;
        let bytes = self.facts.map_or(0, |facts| facts.bytes);
        let bytes = match self.encoding {
            Encoding::Plain => usize::try_from(bytes.saturating_sub(at)).unwrap_or(usize::MAX),
            _ => usize::try_from(bytes)
                .unwrap_or(usize::MAX)
                .saturating_mul(8),
        };
        let bytes = bytes.min(limits.bytes);
        chunk.reserve(
            limits.records.min(bytes / LINE_BYTES + 1),
            bytes + LINE_BYTES,
        );
    }
}
