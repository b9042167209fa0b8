//! What producers compress their batches with.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use lz4_flex::block::DecompressError;

/// How a batch is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchCodec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl BatchCodec {
    /// By its number in a batch's attributes.
    pub(super) fn new(number: i16) -> Option<Self> {
        Some(match number {
            0 => BatchCodec::None,
            1 => BatchCodec::Gzip,
            2 => BatchCodec::Snappy,
            3 => BatchCodec::Lz4,
            4 => BatchCodec::Zstd,
            _ => return None,
        })
    }
}

/// Why a batch is not decompressed here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotHere {
    /// It would be larger than what is kept in one piece.
    TooLarge,
    /// It cannot be decompressed.
    Bad(String),
}

impl From<&str> for NotHere {
    fn from(reason: &str) -> Self {
        NotHere::Bad(reason.to_owned())
    }
}

/// Decompresses into memory that it keeps, up to a limit. What is larger is read as it
/// decompresses: see [`super::unpack`].
pub(super) struct Decompressor {
    limit: usize,
    /// Its length is what was initialised, of which a batch takes the beginning.
    out: Vec<u8>,
}

impl Decompressor {
    /// Leaves what is larger than `limit` bytes to others.
    pub(super) fn new(limit: usize) -> Self {
        Decompressor {
            limit,
            out: Vec::new(),
        }
    }

    /// The decompressed bytes, or why there are none here.
    pub(super) fn decompress<'a>(
        &'a mut self,
        compression: BatchCodec,
        bytes: &'a [u8],
    ) -> Result<&'a [u8], NotHere> {
        let length = match compression {
            BatchCodec::None => return Ok(bytes),
            BatchCodec::Gzip => self.read(MultiGzDecoder::new(bytes)),
            BatchCodec::Zstd => zstd::Decoder::with_buffer(bytes)
                .map_err(|error| NotHere::Bad(error.to_string()))
                .and_then(|decoder| self.read(decoder)),
            BatchCodec::Snappy => self.snappy(bytes),
            BatchCodec::Lz4 => self.lz4(bytes),
        }?;
        Ok(&self.out[..length])
    }

    fn read(&mut self, from: impl Read) -> Result<usize, NotHere> {
        self.out.clear();
        from.take(self.limit as u64 + 1)
            .read_to_end(&mut self.out)
            .map_err(|error| NotHere::Bad(error.to_string()))?;
        if self.out.len() > self.limit {
            return Err(NotHere::TooLarge);
        }
        Ok(self.out.len())
    }

    /// Makes room for `more` bytes after the first `used`.
    fn room(&mut self, used: usize, more: usize) -> Result<(), NotHere> {
        if more > self.limit.saturating_sub(used) {
            return Err(NotHere::TooLarge);
        }
        if self.out.len() < used + more {
            self.out.resize(used + more, 0);
        }
        Ok(())
    }

    /// Blocks of snappy: one of them, as librdkafka writes it, or as many as snappy-java makes,
    /// each with its length before it.
    fn snappy(&mut self, bytes: &[u8]) -> Result<usize, NotHere> {
        let Some(mut blocks) = snappy_of_java(bytes) else {
            return self.snappy_block(0, bytes);
        };
        let mut used = 0;
        while let Some((length, rest)) = blocks.split_first_chunk() {
            let block = rest
                .get(..u32::from_be_bytes(*length) as usize)
                .ok_or("a block is cut off")?;
            used += self.snappy_block(used, block)?;
            blocks = &rest[block.len()..];
        }
        Ok(used)
    }

    fn snappy_block(&mut self, used: usize, block: &[u8]) -> Result<usize, NotHere> {
        let bad = |error: snap::Error| NotHere::Bad(error.to_string());
        let length = snap::raw::decompress_len(block).map_err(bad)?;
        self.room(used, length)?;
        snap::raw::Decoder::new()
            .decompress(block, &mut self.out[used..used + length])
            .map_err(bad)
    }

    /// A frame of LZ4. Its own checksums are passed over: the batch has one of all of it.
    ///
    /// Source: <https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>. The decoder of
    /// `lz4_flex` for frames would have buffers of its own, new for each batch.
    fn lz4(&mut self, bytes: &[u8]) -> Result<usize, NotHere> {
        let (frame, mut rest) = Lz4Frame::open(bytes)?;
        let mut used = 0;
        while let Some((block, after)) = frame.block(rest)? {
            rest = after;
            let block = match block {
                Lz4Block::Stored(block) => {
                    self.room(used, block.len())?;
                    self.out[used..used + block.len()].copy_from_slice(block);
                    used += block.len();
                    continue;
                }
                Lz4Block::Packed(block) => block,
            };
            // The last block is rarely as large as it may be, but no length says so.
            self.room(used, frame.block_bytes.min(self.limit - used))?;
            let (before, out) = self.out.split_at_mut(used);
            let out_length = out.len().min(frame.block_bytes);
            used += match frame.unpack(block, before, &mut out[..out_length]) {
                Ok(length) => length,
                Err(DecompressError::OutputTooSmall { .. })
                    if used + frame.block_bytes > self.limit =>
                {
                    return Err(NotHere::TooLarge);
                }
                Err(error) => return Err(NotHere::Bad(error.to_string())),
            };
        }
        Ok(used)
    }
}

/// The blocks of snappy-java, if it wrote them.
pub(super) fn snappy_of_java(bytes: &[u8]) -> Option<&[u8]> {
    const JAVA: &[u8] = b"\x82SNAPPY\0";
    // Behind the magic are two numbers of versions.
    bytes.strip_prefix(JAVA).and_then(|rest| rest.get(8..))
}

/// What the head of a frame of LZ4 says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lz4Frame {
    /// Whether no block refers to those before it.
    independent: bool,
    block_checksum: bool,
    /// Bytes that a block has at most.
    pub(super) block_bytes: usize,
}

/// A block of a frame, as it is or compressed.
pub(super) enum Lz4Block<'a> {
    Stored(&'a [u8]),
    Packed(&'a [u8]),
}

impl Lz4Frame {
    /// Bytes that a block can refer to.
    pub(super) const WINDOW: usize = 64 << 10;

    /// The frame, and its blocks.
    pub(super) fn open(bytes: &[u8]) -> Result<(Self, &[u8]), &'static str> {
        let Some(([0x04, 0x22, 0x4d, 0x18, flags, sizes], rest)) = bytes.split_first_chunk() else {
            return Err("it is no frame of LZ4");
        };
        if flags >> 6 != 1 {
            return Err("the version of its frame is unknown");
        }
        let has = |bit: u8| flags >> bit & 1 == 1;
        let (independent, block_checksum, content_size, dictionary) =
            (has(5), has(4), has(3), has(0));
        if dictionary {
            return Err("it needs a dictionary");
        }
        // Behind the sizes: the content's, if it is there, and the head's checksum.
        let rest = rest
            .get(if content_size { 9 } else { 1 }..)
            .ok_or(CUT_OFF)?;
        let block_bytes = match sizes >> 4 & 7 {
            size @ 4..=7 => 1 << (8 + 2 * size),
            _ => return Err("the size of its blocks is unknown"),
        };
        let frame = Lz4Frame {
            independent,
            block_checksum,
            block_bytes,
        };
        Ok((frame, rest))
    }

    /// The next block, and what comes after it; none at the frame's end.
    pub(super) fn block<'a>(
        &self,
        bytes: &'a [u8],
    ) -> Result<Option<(Lz4Block<'a>, &'a [u8])>, &'static str> {
        let (length, after) = bytes.split_first_chunk().ok_or(CUT_OFF)?;
        let length = u32::from_le_bytes(*length);
        if length == 0 {
            return Ok(None);
        }
        let (stored, length) = (length >> 31 == 1, (length & 0x7fff_ffff) as usize);
        let block = after.get(..length).ok_or(CUT_OFF)?;
        let skip = length + if self.block_checksum { 4 } else { 0 };
        let rest = after.get(skip..).ok_or(CUT_OFF)?;
        let block = if stored {
            Lz4Block::Stored(block)
        } else {
            Lz4Block::Packed(block)
        };
        Ok(Some((block, rest)))
    }

    /// Decompresses a block into `out`; `before` is what the blocks before it became.
    pub(super) fn unpack(
        &self,
        block: &[u8],
        before: &[u8],
        out: &mut [u8],
    ) -> Result<usize, DecompressError> {
        if self.independent {
            lz4_flex::block::decompress_into(block, out)
        } else {
            let window = &before[before.len().saturating_sub(Self::WINDOW)..];
            lz4_flex::block::decompress_into_with_dict(block, out, window)
        }
    }
}

const CUT_OFF: &str = "the frame is cut off";
