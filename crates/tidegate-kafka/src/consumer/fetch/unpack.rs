//! Batches that are too large to be decompressed in one piece: read as they decompress, in bounded
//! memory. No IO.
//!
//! A producer can pack gigabytes into a message of some kilobytes. Nothing of its size is allocated
//! here but a record that is not too large by the limits of a chunk.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use super::batch::BadBatch;
use super::decompress::{BatchCodec, Lz4Block, Lz4Frame, snappy_of_java};

/// Bytes that are decompressed at a time, about.
const PIECE: usize = 64 << 10;
/// How far back snappy may refer. Its format has no limit; encoders have blocks of 64 KiB, and some
/// of 4 MiB.
const SNAPPY_WINDOW: usize = 4 << 20;

/// A part of a response, which stays in memory as long as this.
pub(super) struct Slice {
    of: Arc<Vec<u8>>,
    at: usize,
    end: usize,
}

impl Slice {
    /// `at..end` of `of`, which has so many bytes.
    pub(super) fn new(of: &Arc<Vec<u8>>, at: usize, end: usize) -> Self {
        let end = end.min(of.len());
        Slice {
            of: Arc::clone(of),
            at: at.min(end),
            end,
        }
    }

    fn rest(&self) -> &[u8] {
        &self.of[self.at..self.end]
    }

    /// Goes on where `rest`, an end of it, begins.
    fn to(&mut self, rest: usize) {
        self.at = self.end - rest;
    }
}

impl Read for Slice {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = out.len().min(self.end - self.at);
        out[..bytes].copy_from_slice(&self.rest()[..bytes]);
        self.at += bytes;
        Ok(bytes)
    }
}

/// Decompresses a batch's records as they are read.
pub(super) fn unpack(
    compression: BatchCodec,
    bytes: Slice,
) -> Result<Box<dyn Read + Send>, String> {
    let text = |error: io::Error| error.to_string();
    Ok(match compression {
        BatchCodec::None => Box::new(bytes),
        BatchCodec::Gzip => Box::new(MultiGzDecoder::new(BufReader::new(bytes))),
        BatchCodec::Zstd => Box::new(zstd::Decoder::new(bytes).map_err(text)?),
        BatchCodec::Snappy => Box::new(Windowed::new(SNAPPY_WINDOW, Snappy::new(bytes))),
        BatchCodec::Lz4 => Box::new(Windowed::new(Lz4Frame::WINDOW, Lz4::open(bytes)?)),
    })
}

/// Something that is decompressed in pieces which refer to those before them.
trait Pieces {
    /// Puts the next piece after `out`, whose end is what came before it; false at the end.
    fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, &'static str>;
}

/// Keeps what pieces refer to.
struct Windowed<P> {
    window: usize,
    out: Vec<u8>,
    at: usize,
    pieces: P,
}

impl<P: Pieces> Windowed<P> {
    fn new(window: usize, pieces: P) -> Self {
        Windowed {
            window,
            out: Vec::new(),
            at: 0,
            pieces,
        }
    }
}

impl<P: Pieces> Read for Windowed<P> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.at == self.out.len() {
            // Seldom, so that little is moved.
            if self.out.len() >= 2 * self.window {
                self.out.drain(..self.out.len() - self.window);
                self.at = self.out.len();
            }
            if !self.pieces.next(&mut self.out).map_err(io::Error::other)? {
                return Ok(0);
            }
        }
        let bytes = to.len().min(self.out.len() - self.at);
        to[..bytes].copy_from_slice(&self.out[self.at..self.at + bytes]);
        self.at += bytes;
        Ok(bytes)
    }
}

/// The blocks of a frame of LZ4.
struct Lz4 {
    frame: Lz4Frame,
    bytes: Slice,
}

impl Lz4 {
    fn open(mut bytes: Slice) -> Result<Self, String> {
        let (frame, rest) = Lz4Frame::open(bytes.rest())?;
        let rest = rest.len();
        bytes.to(rest);
        Ok(Lz4 { frame, bytes })
    }
}

impl Pieces for Lz4 {
    fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, &'static str> {
        let Some((block, rest)) = self.frame.block(self.bytes.rest())? else {
            return Ok(false);
        };
        let rest = rest.len();
        match block {
            Lz4Block::Stored(block) => out.extend_from_slice(block),
            Lz4Block::Packed(block) => {
                let before = out.len();
                out.resize(before + self.frame.block_bytes, 0);
                let (window, free) = out.split_at_mut(before);
                let length = self.frame.unpack(block, window, free);
                let length = length.map_err(|_| "a block of LZ4 is damaged")?;
                out.truncate(before + length);
            }
        }
        self.bytes.to(rest);
        Ok(true)
    }
}

/// Blocks of snappy.
///
/// Source: <https://github.com/google/snappy/blob/main/format_description.txt>. The decoder of
/// `snap` wants room for all of a block.
struct Snappy {
    bytes: Slice,
    /// Whether each block has its length before it, as snappy-java writes it.
    java: bool,
    /// Where the block ends in `bytes`, once it has begun.
    block_end: usize,
    /// Bytes that the block becomes, and those that it has become.
    wanted: u64,
    made: u64,
    /// Bytes that are left of a literal.
    literal: usize,
}

impl Snappy {
    fn new(mut bytes: Slice) -> Self {
        let blocks = snappy_of_java(bytes.rest()).map(<[u8]>::len);
        if let Some(blocks) = blocks {
            bytes.to(blocks);
        }
        Snappy {
            block_end: bytes.at,
            java: blocks.is_some(),
            bytes,
            wanted: 0,
            made: 0,
            literal: 0,
        }
    }

    /// Begins a block; false if there is none.
    fn begin(&mut self) -> Result<bool, &'static str> {
        if self.made != self.wanted {
            return Err("a block of snappy is shorter than it says");
        }
        let rest = self.bytes.rest();
        if rest.is_empty() {
            return Ok(false);
        }
        let length = if self.java {
            let length = *rest.first_chunk().ok_or("a block is cut off")?;
            self.bytes.at += 4;
            u32::from_be_bytes(length) as usize
        } else {
            rest.len()
        };
        if length > self.bytes.end - self.bytes.at {
            return Err("a block is cut off");
        }
        self.block_end = self.bytes.at + length;
        (self.wanted, self.made) = (0, 0);
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            self.wanted |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(true);
            }
        }
        Err("the length of a block is impossible")
    }

    fn byte(&mut self) -> Result<u8, &'static str> {
        if self.bytes.at >= self.block_end {
            return Err("a block is cut off");
        }
        self.bytes.at += 1;
        Ok(self.bytes.of[self.bytes.at - 1])
    }

    /// A number of `bytes` bytes, the least first.
    fn number(&mut self, bytes: u32) -> Result<usize, &'static str> {
        let mut number = 0;
        for i in 0..bytes {
            number |= usize::from(self.byte()?) << (8 * i);
        }
        Ok(number)
    }

    /// Puts the next bytes of a literal after `out`.
    fn copy_literal(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let bytes = self.literal.min(PIECE);
        let end = self.bytes.at + bytes;
        if end > self.block_end {
            return Err("a block is cut off");
        }
        out.extend_from_slice(&self.bytes.of[self.bytes.at..end]);
        self.bytes.at = end;
        self.literal -= bytes;
        self.made += bytes as u64;
        Ok(())
    }

    /// Does what the next tag says.
    fn element(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let tag = self.byte()?;
        let high = usize::from(tag >> 2);
        let (length, back) = match tag & 3 {
            0 => {
                self.literal = 1 + match high {
                    0..=59 => high,
                    _ => self.number(high as u32 - 59)?,
                };
                return self.copy_literal(out);
            }
            1 => {
                let low = usize::from(self.byte()?);
                (4 + (high & 7), usize::from(tag >> 5) << 8 | low)
            }
            2 => (1 + high, self.number(2)?),
            _ => (1 + high, self.number(4)?),
        };
        if back == 0 || back > out.len() || back as u64 > self.made {
            return Err("a block of snappy refers too far back");
        }
        // What it refers to may reach into what it makes.
        for _ in 0..length {
            out.push(out[out.len() - back]);
        }
        self.made += length as u64;
        Ok(())
    }
}

impl Pieces for Snappy {
    fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, &'static str> {
        let before = out.len();
        while out.len() - before < PIECE {
            if self.literal > 0 {
                self.copy_literal(out)?;
            } else if self.bytes.at < self.block_end {
                self.element(out)?;
            } else if !self.begin()? {
                return Ok(out.len() > before);
            }
            if self.made > self.wanted {
                return Err("a block of snappy is longer than it says");
            }
        }
        Ok(true)
    }
}

/// Records of a batch, read as they decompress.
pub(super) struct Unpacking {
    from: BufReader<Box<dyn Read + Send>>,
    /// Bytes that may still be read of the record.
    left: u64,
    value: Vec<u8>,
}

/// How much is kept of a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct ValueLimits {
    /// Of a value with more bytes than this ...
    pub(super) bytes_max: usize,
    /// ... so many are kept.
    pub(super) bytes_kept: usize,
}

/// A record, as far as it is kept.
pub(super) struct Unpacked<'a> {
    pub(super) time: i64,
    pub(super) offset: i64,
    pub(super) value: Option<&'a [u8]>,
    /// Bytes of the value, of which `value` may be the beginning.
    pub(super) bytes: usize,
}

impl Unpacking {
    pub(super) fn new(from: Box<dyn Read + Send>) -> Self {
        Unpacking {
            from: BufReader::with_capacity(PIECE, from),
            left: 0,
            value: Vec::new(),
        }
    }

    /// The next record.
    pub(super) fn record(&mut self, limits: ValueLimits) -> Result<Unpacked<'_>, BadBatch> {
        self.left = 10;
        let length = self.varint()?;
        self.left = u64::try_from(length).map_err(|_| BadBatch::Record)?;
        self.skip(1)?;
        let (time, offset) = (self.varint()?, self.varint()?);
        if let Some(key) = self.length()? {
            self.skip(key)?;
        }
        self.value.clear();
        let value = self.length()?;
        if let Some(bytes) = value {
            let kept = if bytes > limits.bytes_max as u64 {
                bytes.min(limits.bytes_kept as u64)
            } else {
                bytes
            };
            self.keep(kept)?;
            self.skip(bytes - kept)?;
        }
        self.skip(self.left)?;
        Ok(Unpacked {
            time,
            offset,
            value: value.map(|_| &self.value[..]),
            bytes: value.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
        })
    }

    fn take(&mut self, bytes: u64) -> Result<(), BadBatch> {
        self.left = self.left.checked_sub(bytes).ok_or(BadBatch::Record)?;
        Ok(())
    }

    fn keep(&mut self, bytes: u64) -> Result<(), BadBatch> {
        self.take(bytes)?;
        let read = (&mut self.from).take(bytes).read_to_end(&mut self.value);
        ended(read.map(|read| read as u64), bytes)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), BadBatch> {
        self.take(bytes)?;
        let read = io::copy(&mut (&mut self.from).take(bytes), &mut io::sink());
        ended(read, bytes)
    }

    fn varint(&mut self) -> Result<i64, BadBatch> {
        let mut bits = 0_u64;
        for i in 0..10 {
            let mut byte = [0];
            self.take(1)?;
            self.from
                .read_exact(&mut byte)
                .map_err(|error| damaged(&error))?;
            bits |= u64::from(byte[0] & 0x7f) << (7 * i);
            if byte[0] < 0x80 {
                return Ok((bits >> 1) as i64 ^ -((bits & 1) as i64));
            }
        }
        Err(BadBatch::Record)
    }

    /// A length; negative means that there is nothing.
    fn length(&mut self) -> Result<Option<u64>, BadBatch> {
        Ok(u64::try_from(self.varint()?).ok())
    }
}

fn damaged(error: &io::Error) -> BadBatch {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => BadBatch::Record,
        _ => BadBatch::Compressed(error.to_string()),
    }
}

/// Whether so many bytes were there.
fn ended(read: io::Result<u64>, wanted: u64) -> Result<(), BadBatch> {
    match read {
        Ok(read) if read == wanted => Ok(()),
        Ok(_) => Err(BadBatch::Record),
        Err(error) => Err(damaged(&error)),
    }
}
