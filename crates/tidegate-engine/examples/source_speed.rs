//! How fast the sources hand over records on one core, without anything behind them:
//! `cargo run --release -p tidegate-engine --example source_speed [MILLIONS OF EVENTS]`.
#![allow(clippy::print_stdout, reason = "a program that reports")]

use std::error::Error;
use std::time::{Duration, Instant};

use tidegate_base::clock::Clock;
use tidegate_engine::SourceOptions;
use tidegate_generator::{FileFormat, GeneratorOptions, generate_files};
use tidegate_source::{ChunkLimits, FilesOptions, Resume, ResumePartition, SourceEvent};

fn main() -> Result<(), Box<dyn Error>> {
    let millions: u64 = std::env::args().nth(1).map_or(Ok(2), |n| n.parse())?;
    let options = GeneratorOptions {
        count: Some(millions * 1_000_000),
        ..GeneratorOptions::default()
    };
    measure(
        "generator",
        &SourceOptions::Generator(options.clone()),
        &Resume::default(),
    )?;
    for format in [FileFormat::Plain, FileFormat::Gzip, FileFormat::Zstd] {
        let dir = tempfile::tempdir()?;
        let written = generate_files(dir.path(), 8, format, &options, &Clock::System)?;
        let path = dir.path().display().to_string();
        let files = SourceOptions::Files(FilesOptions {
            path,
            ..FilesOptions::default()
        });
        measure(&format!("{format:?} files"), &files, &Resume::default())?;
        if format == FileFormat::Plain {
            let partitions = (0..).zip(&written.paths).map(|(id, path)| {
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                let offset = (options.count.unwrap_or(0) / 8) as i64;
                (
                    id,
                    ResumePartition {
                        name,
                        lane: 0,
                        offset,
                        identity: None,
                    },
                )
            });
            let resume = Resume {
                partitions: partitions.collect(),
            };
            println!(
                "passing over {} MB of plain files:",
                written.bytes / 1_000_000
            );
            measure("resume at the end", &files, &resume)?;
        }
    }
    Ok(())
}

fn measure(what: &str, options: &SourceOptions, resume: &Resume) -> Result<(), Box<dyn Error>> {
    let mut source = options.open(resume, ChunkLimits::default(), &Clock::System)?;
    let began = Instant::now();
    let (mut records, mut bytes) = (0, 0);
    loop {
        match source.poll(Duration::from_secs(1))? {
            SourceEvent::Chunk(chunk) => {
                records += chunk.len();
                bytes += chunk.bytes();
            }
            SourceEvent::Ended => break,
            _ => {}
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{what}: {records} records, {:.0} MB in {seconds:.3} s: {:.2} million/s, {:.2} GB/s",
        bytes as f64 / 1e6,
        records as f64 / seconds / 1e6,
        bytes as f64 / seconds / 1e9,
    );
    Ok(())
}
