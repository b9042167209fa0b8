//! Generated events as files, for tests and benchmarks.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tidegate_base::clock::Clock;

use super::{Generator, GeneratorOptions};
use tidegate_source::SourceError;

/// How generated files are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileFormat {
    /// `.jsonl`
    #[default]
    Plain,
    /// `.jsonl.gz`
    Gzip,
    /// `.jsonl.zst`
    Zstd,
}

/// What [`generate_files`] has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenFiles {
    /// The files, in the order of their names and of their events.
    pub paths: Vec<PathBuf>,
    /// Records, one a line.
    pub events: u64,
    /// Bytes before compression.
    pub bytes: u64,
}

/// Writes the first `count` events of the stream, one a line and in the order of the stream, into
/// `files` files `events-00000.jsonl` and so on in `dir`, which is created.
///
/// # Errors
/// If an option is out of its range, there is no `count`, or a file cannot be written.
pub fn generate_files(
    dir: &Path,
    files: usize,
    format: FileFormat,
    options: &GeneratorOptions,
    clock: &Clock,
) -> Result<WrittenFiles, SourceError> {
    let Some(count) = options.count else {
        return Err(SourceError::option(
            "source.count",
            "files need a number of events",
        ));
    };
    let start_time = super::first_start(options, clock.now_micros());
    let generator = Generator::new(options, start_time)?;
    fs::create_dir_all(dir).map_err(|e| SourceError::io("create", dir, e))?;
    let files = files.max(1) as u64;
    let mut written = WrittenFiles {
        paths: Vec::new(),
        events: 0,
        bytes: 0,
    };
    for file in 0..files {
        let extension = match format {
            FileFormat::Plain => "jsonl",
            FileFormat::Gzip => "jsonl.gz",
            FileFormat::Zstd => "jsonl.zst",
        };
        let path = dir.join(format!("events-{file:05}.{extension}"));
        let share = |file| (u128::from(count) * u128::from(file) / u128::from(files)) as u64;
        let numbers = share(file)..share(file + 1);
        written.events += numbers.end - numbers.start;
        written.bytes += write_file(&path, format, &generator, numbers)
            .map_err(|e| SourceError::io("write", &path, e))?;
        written.paths.push(path);
    }
    Ok(written)
}

fn write_file(
    path: &Path,
    format: FileFormat,
    generator: &Generator,
    numbers: std::ops::Range<u64>,
) -> io::Result<u64> {
    let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let bytes;
    match format {
        FileFormat::Plain => {
            let mut out = file;
            bytes = write_lines(&mut out, generator, numbers)?;
            out.flush()?;
        }
        FileFormat::Gzip => {
            let mut out = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            bytes = write_lines(&mut out, generator, numbers)?;
            out.finish()?.flush()?;
        }
        FileFormat::Zstd => {
            let mut out = zstd::Encoder::new(file, 1)?;
            bytes = write_lines(&mut out, generator, numbers)?;
            out.finish()?.flush()?;
        }
    }
    Ok(bytes)
}

fn write_lines(
    out: &mut impl Write,
    generator: &Generator,
    numbers: std::ops::Range<u64>,
) -> io::Result<u64> {
    let partitions = generator.partitions() as u64;
    let mut block = Vec::with_capacity(64 << 10);
    let mut bytes = 0;
    for number in numbers {
        let (offset, partition) = (number / partitions, number % partitions);
        generator.write_event(partition as i32, offset as i64, &mut block);
        block.push(b'\n');
        if block.len() >= 60 << 10 {
            out.write_all(&block)?;
            bytes += block.len() as u64;
            block.clear();
        }
    }
    out.write_all(&block)?;
    Ok(bytes + block.len() as u64)
}
