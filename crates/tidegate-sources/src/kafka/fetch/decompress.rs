//! What producers compress their batches with.

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use lz4_flex::block::DecompressError;

/// How a batch is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    /// By its number in a batch's attributes.
    pub(super) fn new(number: i16) -> Option<Self> {
        Some(match number {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            _ => return None,
        })
    }
}

/// Decompresses into memory that it keeps, up to a limit.
pub(super) struct Decompressor {
    limit: usize,
    /// Its length is what was initialised, of which a batch takes the beginning.
    out: Vec<u8>,
}

impl Decompressor {
    /// Refuses what is larger than `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Decompressor {
            limit,
            out: Vec::new(),
        }
    }

    /// The decompressed bytes, or why there are none.
    pub(super) fn decompress<'a>(
        &'a mut self,
        compression: Compression,
        bytes: &'a [u8],
    ) -> Result<&'a [u8], String> {
        let length = match compression {
            Compression::None => return Ok(bytes),
            Compression::Gzip => self
                .read(MultiGzDecoder::new(bytes))
                .map_err(|error| error.to_string()),
            Compression::Zstd => zstd::Decoder::with_buffer(bytes)
                .and_then(|decoder| self.read(decoder))
                .map_err(|error| error.to_string()),
            Compression::Snappy => self.snappy(bytes),
            Compression::Lz4 => self.lz4(bytes),
        }?;
        Ok(&self.out[..length])
    }

    fn read(&mut self, from: impl Read) -> io::Result<usize> {
        self.out.clear();
        from.take(self.limit as u64 + 1)
            .read_to_end(&mut self.out)?;
        if self.out.len() > self.limit {
            return Err(io::Error::other(self.too_large()));
        }
        Ok(self.out.len())
    }

    /// Makes room for `more` bytes behind the first `used`.
    fn room(&mut self, used: usize, more: usize) -> Result<(), String> {
        if more > self.limit.saturating_sub(used) {
            return Err(self.too_large());
        }
        if self.out.len() < used + more {
            self.out.resize(used + more, 0);
        }
        Ok(())
    }

    fn too_large(&self) -> String {
        format!(
            "it is larger than {} MiB, which bounds memory; raise `receive.message.max.bytes` in `source.properties`",
            self.limit >> 20
        )
    }

    /// Blocks of snappy: one of them, as librdkafka writes it, or as many as snappy-java makes, each with its length before it.
    fn snappy(&mut self, bytes: &[u8]) -> Result<usize, String> {
        const JAVA: &[u8] = b"\x82SNAPPY\0";
        // Behind the magic are two numbers of versions.
        let Some(mut blocks) = bytes.strip_prefix(JAVA).and_then(|rest| rest.get(8..)) else {
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

    fn snappy_block(&mut self, used: usize, block: &[u8]) -> Result<usize, String> {
        let length = snap::raw::decompress_len(block).map_err(|error| error.to_string())?;
        self.room(used, length)?;
        snap::raw::Decoder::new()
            .decompress(block, &mut self.out[used..used + length])
            .map_err(|error| error.to_string())
    }

    /// A frame of LZ4. Its own checksums are passed over: the batch has one of all of it.
    ///
    /// Source: <https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>. The decoder of `lz4_flex` for frames would have
    /// buffers of its own, new for each batch.
    fn lz4(&mut self, bytes: &[u8]) -> Result<usize, String> {
        /// Bytes that a block can refer to.
        const WINDOW: usize = 64 << 10;
        let cut_off = "the frame is cut off";
        let Some(([0x04, 0x22, 0x4d, 0x18, flags, sizes], rest)) = bytes.split_first_chunk() else {
            return Err("it is no frame of LZ4".to_owned());
        };
        if flags >> 6 != 1 {
            return Err("the version of its frame is unknown".to_owned());
        }
        let has = |bit: u8| flags >> bit & 1 == 1;
        let (independent, block_checksum, content_size, dictionary) =
            (has(5), has(4), has(3), has(0));
        if dictionary {
            return Err("it needs a dictionary".to_owned());
        }
        // Behind the sizes: the content's, if it is there, and the head's checksum.
        let mut rest = rest
            .get(if content_size { 9 } else { 1 }..)
            .ok_or(cut_off)?;
        let most = match sizes >> 4 & 7 {
            size @ 4..=7 => 1 << (8 + 2 * size),
            _ => return Err("the size of its blocks is unknown".to_owned()),
        };
        let mut used = 0;
        loop {
            let (length, behind) = rest.split_first_chunk().ok_or(cut_off)?;
            let length = u32::from_le_bytes(*length);
            if length == 0 {
                return Ok(used);
            }
            let (stored, length) = (length >> 31 == 1, (length & 0x7fff_ffff) as usize);
            let block = behind.get(..length).ok_or(cut_off)?;
            let skip = length + if block_checksum { 4 } else { 0 };
            rest = behind.get(skip..).ok_or(cut_off)?;
            if stored {
                self.room(used, length)?;
                self.out[used..used + length].copy_from_slice(block);
                used += length;
                continue;
            }
            // The last block is rarely as large as it may be, but no length says so.
            self.room(used, most.min(self.limit - used))?;
            let (before, out) = self.out.split_at_mut(used);
            let out_length = out.len().min(most);
            let out = &mut out[..out_length];
            let done = if independent {
                lz4_flex::block::decompress_into(block, out)
            } else {
                let window = &before[used.saturating_sub(WINDOW)..];
                lz4_flex::block::decompress_into_with_dict(block, out, window)
            };
            used += match done {
                Ok(length) => length,
                Err(DecompressError::OutputTooSmall { .. }) if used + most > self.limit => {
                    return Err(self.too_large());
                }
                Err(error) => return Err(error.to_string()),
            };
        }
    }
}
