//! Bytes of one file, decompressed where its name says so.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::SourceError;

/// How a file's bytes are stored; its name's ending says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Gzip,
    Zstd,
}

impl Encoding {
    pub(super) fn of(path: &Path) -> Self {
        let extension = path.extension().map(|e| e.to_ascii_lowercase());
        match extension.as_ref().and_then(|e| e.to_str()) {
            Some("gz" | "gzip") => Encoding::Gzip,
            Some("zst" | "zstd") => Encoding::Zstd,
            _ => Encoding::Plain,
        }
    }
}

/// A file that is being read.
pub(super) struct Input {
    reader: Box<dyn Read + Send>,
    raw: Arc<AtomicU64>,
}

impl Input {
    /// Opens a file; a plain one at byte `at`, a compressed one always at its start.
    pub(super) fn open(path: &Path, encoding: Encoding, at: u64) -> Result<Self, SourceError> {
        let mut file = File::open(path).map_err(|e| SourceError::io("open", path, e))?;
        if encoding == Encoding::Plain && at > 0 {
            file.seek(SeekFrom::Start(at))
                .map_err(|e| SourceError::io("read", path, e))?;
        }
        let raw = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            file,
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
        Ok(Input { reader, raw })
    }

    /// Bytes that were taken from the file itself since it was opened.
    pub(super) fn raw_bytes(&self) -> u64 {
        self.raw.load(Ordering::Relaxed)
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
    file: File,
    raw: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.raw.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
