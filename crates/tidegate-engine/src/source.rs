//! Which source a job reads.

use tidegate_base::clock::Clock;
use tidegate_generator::{GeneratorOptions, GeneratorSource};
use tidegate_kafka::{KafkaOptions, KafkaSource};
use tidegate_source::{ChunkLimits, FilesOptions, FilesSource, Resume, Source, SourceError};

/// Which source, and how it is set up.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceOptions {
    /// A Kafka topic.
    Kafka(KafkaOptions),
    /// Files of newline-delimited JSON.
    Files(FilesOptions),
    /// Synthetic transactions.
    Generator(GeneratorOptions),
}

impl SourceOptions {
    /// Opens the source at the positions of `resume`.
    ///
    /// # Errors
    /// If the options contradict themselves or `resume`, or if what they name is not there. Kafka
    /// is contacted by the first polls, not here.
    pub fn open(
        &self,
        resume: &Resume,
        limits: ChunkLimits,
        clock: &Clock,
    ) -> Result<Box<dyn Source>, SourceError> {
        Ok(match self {
            SourceOptions::Kafka(options) => {
                Box::new(KafkaSource::open(options, resume, limits, clock)?)
            }
            SourceOptions::Files(options) => Box::new(FilesSource::open(options, resume, limits)?),
            SourceOptions::Generator(options) => {
                Box::new(GeneratorSource::open(options, resume, limits, clock)?)
            }
        })
    }

    /// Whether it ends by itself.
    pub(crate) fn is_bounded(&self) -> bool {
        match self {
            SourceOptions::Kafka(_) => false,
            SourceOptions::Files(files) => !files.follow,
            SourceOptions::Generator(generator) => generator.count.is_some(),
        }
    }
}
