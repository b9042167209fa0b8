//! Bytes of one file, decompressed where its name says so.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64;

use super::discover::Facts;
use super::identity::Raw;
use super::names;
use super::trail::{END_BYTES, Mark, Trail};
use crate::SourceError;

/// How a file's bytes are stored; its name's ending says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Gzip,
    Zstd,
}

impl Encoding {
    pub(super) fn of(name: &str) -> Self {
        let ending = &name[names::decompressed(name).len()..];
        match ending.as_bytes() {
            [] => Encoding::Plain,
            [_, b'g' | b'G', ..] => Encoding::Gzip,
            _ => Encoding::Zstd,
        }
    }
}

/// Whether the bytes so far are fine, and only the rest is missing.
pub(super) fn is_cut_off(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof && error.raw_os_error().is_none()
}

/// A file that is being read.
pub(super) struct Input {
    reader: Box<dyn Read + Send>,
    file: Arc<File>,
    encoding: Encoding,
    raw: Arc<AtomicU64>,
}

/// Whether a file is the one that a [`Mark`] was taken of.
pub(super) enum MarkMatch {
    /// It has what was read.
    Same(Trail),
    /// It has something else, or less.
    Other,
    /// It is compressed and cut off before it can be told.
    CutOff,
}

impl Input {
    /// Opens a file, at its beginning.
    pub(super) fn open(path: &Path, encoding: Encoding) -> Result<Self, SourceError> {
        let file = File::open(path).map_err(|e| SourceError::io("open", path, e))?;
        let file = Arc::new(file);
        let raw = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            file: Arc::clone(&file),
            raw: Arc::clone(&raw),
        };
        let buffered = |counted| BufReader::with_capacity(64 << 10, counted);
        let reader: Box<dyn Read + Send> = match encoding {
            Encoding::Plain => Box::new(counted),
            Encoding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered(counted))),
            Encoding::Zstd => Box::new(
                zstd::Decoder::with_buffer(buffered(counted))
                    .map_err(|e| SourceError::io("decompress", path, e))?,
            ),
        };
        Ok(Input {
            reader,
            file,
            encoding,
            raw,
        })
    }

    /// Opens a file; none if it is not there.
    pub(super) fn open_if_there(
        path: &Path,
        encoding: Encoding,
    ) -> Result<Option<Self>, SourceError> {
        match Input::open(path, encoding) {
            Ok(input) => Ok(Some(input)),
            Err(SourceError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Bytes that were taken from the file itself since it was opened.
    pub(super) fn raw_bytes(&self) -> u64 {
        self.raw.load(Ordering::Relaxed)
    }

    /// What the file system says about the file that is open, whatever its name is by now.
    pub(super) fn facts(&self) -> io::Result<Facts> {
        Ok(Facts::of(&self.file.metadata()?))
    }

    /// Whether the file has what `mark` was taken of. A plain file is then positioned after it; a
    /// compressed one has to be opened again.
    pub(super) fn find(&mut self, mark: &Mark) -> io::Result<MarkMatch> {
        if self.encoding != Encoding::Plain {
            return self.find_packed(mark);
        }
        let mut head = vec![0; mark.end_bytes()];
        let mut tail = vec![0; mark.end_bytes()];
        let is_there = self.read_at(&mut head, 0)?
            && self.read_at(&mut tail, mark.at - mark.end_bytes() as u64)?;
        let trail = Trail::of(mark.at, head, tail);
        if !is_there || trail.mark() != *mark {
            return Ok(MarkMatch::Other);
        }
        (&*self.file).seek(SeekFrom::Start(mark.at))?;
        Ok(MarkMatch::Same(trail))
    }

    fn find_packed(&mut self, mark: &Mark) -> io::Result<MarkMatch> {
        let mut trail = Trail::default();
        let mut block = vec![0; 64 << 10];
        while trail.at() < mark.at {
            let wanted = usize::try_from(mark.at - trail.at()).unwrap_or(usize::MAX);
            let wanted = wanted.min(block.len());
            let n = match self.read(&mut block[..wanted]) {
                Ok(0) => return Ok(MarkMatch::Other),
                Ok(n) => n,
                Err(e) if is_cut_off(&e) => return Ok(MarkMatch::CutOff),
                Err(e) if e.raw_os_error().is_some() => return Err(e),
                // It is not what its name says.
                Err(_) => return Ok(MarkMatch::Other),
            };
            trail.pass(&block[..n]);
            let begun = trail.head().len() >= mark.end_bytes();
            if begun && xxh3_64(&trail.head()[..mark.end_bytes()]) != mark.head {
                return Ok(MarkMatch::Other);
            }
        }
        Ok(if trail.mark() == *mark {
            MarkMatch::Same(trail)
        } else {
            MarkMatch::Other
        })
    }

    /// Whether a plain file still has both ends of what was read of it. Asked after reading: who
    /// cuts a file off and writes it anew in the middle of it is found out.
    pub(super) fn still_has(&self, trail: &Trail) -> io::Result<bool> {
        let mut end = vec![0; trail.head().len()];
        if !self.read_at(&mut end, 0)? || end != trail.head() {
            return Ok(false);
        }
        let from = trail.at() - trail.tail().len() as u64;
        Ok(self.read_at(&mut end, from)? && end == trail.tail())
    }

    /// Size and ends of the file as it is stored.
    pub(super) fn stored(&self) -> io::Result<Raw> {
        let bytes = self.file.metadata()?.len();
        let n = usize::try_from(bytes).map_or(END_BYTES, |bytes| bytes.min(END_BYTES));
        let mut ends = vec![0; 2 * n];
        let (head, tail) = ends.split_at_mut(n);
        let is_there = self.read_at(head, 0)? && self.read_at(tail, bytes - n as u64)?;
        Ok(Raw {
            bytes,
            ends: if is_there { xxh3_64(&ends) } else { 0 },
        })
    }

    /// Fills `buffer` from byte `at`; false if the file ends before.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<bool> {
        match self.file.read_exact_at(buffer, at) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(e),
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.reader.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

/// Counts what is read, below the decompressor.
struct Counted {
    file: Arc<File>,
    raw: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = (&*self.file).read(buffer)?;
        self.raw.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
