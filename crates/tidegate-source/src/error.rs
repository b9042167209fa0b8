//! Why a source cannot go on.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a source cannot be opened or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// An option has a value that cannot be used.
    #[error("source option `{option}`: {message}")]
    Option {
        /// Which option.
        option: String,
        /// What is wrong, and what is accepted.
        message: String,
    },
    /// The commit log was written with another source.
    #[error(
        "the commit log does not fit this source: {message}. Use the source that the job was \
         started with, or another `storage.url` for a new job"
    )]
    OtherSource {
        /// What differs.
        message: String,
    },
    /// No file is where the path or the pattern points.
    #[error("no input at `{path}`: {message}")]
    NoInput {
        /// The path or pattern.
        path: String,
        /// What to do.
        message: String,
    },
    /// The operating system refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried, as in "cannot ...".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A file that was read in part is no longer there.
    #[error(
        "file `{}` is gone, and the job has read {line} lines of it; whether that was all cannot be \
         known. Put it back, or set `source.on-missing-files = \"ignore\"` if it was complete",
        path.display()
    )]
    FileGone {
        /// The file.
        path: PathBuf,
        /// Lines that were read.
        line: i64,
    },
    /// A file is not the one, or not in the state, that the offset belongs to.
    #[error("file `{}` has changed under the job: {message}", path.display())]
    FileChanged {
        /// The file.
        path: PathBuf,
        /// What differs, and what to do.
        message: String,
    },
    /// A compressed file ends too early, when nothing more is waited for.
    #[error(
        "file `{}` is cut off after line {line}: it is still being written, or was not copied whole. \
         Its lines so far and all other files were read; start again when it is whole, or move it \
         away",
        path.display()
    )]
    CutOff {
        /// The file.
        path: PathBuf,
        /// Lines that could be read.
        line: i64,
    },
    /// A compressed file cannot be decompressed to its end.
    #[error(
        "file `{}` is damaged after line {line}: {source}. The lines before it and all other files \
         were read; replace the file by a complete one with the same beginning and start again, or \
         move it away",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Lines that could be read.
        line: i64,
        /// What the decompressor says.
        source: io::Error,
    },
    /// No broker can be reached, for longer than configured.
    #[error(
        "Kafka at `{brokers}` has been unreachable for {} s ({reason}). Check the address, the network \
         and `source.properties`, or raise `source.fail-after`", after.as_secs()
    )]
    Unreachable {
        /// Bootstrap servers.
        brokers: String,
        /// What the client says.
        reason: String,
        /// How long it was tried.
        after: Duration,
    },
    /// The topic is not there.
    #[error(
        "topic `{topic}` does not exist at `{brokers}` (waited {} s). Create it, or correct \
         `source.topic`", after.as_secs()
    )]
    TopicMissing {
        /// The topic.
        topic: String,
        /// Bootstrap servers.
        brokers: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// Records expired before they were read, and the configuration says to stop then.
    #[error(
        "topic `{topic}` partition {partition}: offset {asked} is wanted, but the oldest that is left \
         is {low}: {} offsets expired before they were read. Restore them, or set \
         `source.on-missing-offsets = \"earliest\"` to go on from {low} and count them as gone",
        low - asked
    )]
    OffsetsGone {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Offset that is wanted.
        asked: i64,
        /// Oldest offset that the broker has.
        low: i64,
    },
    /// The partition ends before the offset that is wanted.
    #[error(
        "topic `{topic}` partition {partition}: offset {asked} is wanted, but the partition ends at \
         {high}. The topic was deleted and created anew, or lost data: check it; a topic that was \
         created anew needs a new job (another `storage.url`)"
    )]
    OffsetBeyondEnd {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Offset that is wanted.
        asked: i64,
        /// Where the partition ends.
        high: i64,
    },
    /// A partition that was read is not there any more.
    #[error(
        "topic `{topic}` has no partition {partition} any more, which was read up to offset {read}: it \
         has {partitions} partitions now. It was deleted and created anew with fewer, which needs a new \
         job (another `storage.url` and table)"
    )]
    PartitionGone {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Offset up to which it was read.
        read: i64,
        /// Partitions that the topic has.
        partitions: usize,
    },
    /// The topic is not the one that was read, and the configuration says to stop then.
    #[error(
        "topic `{topic}` is not the one that the job has read (its id is {now}, and was {before}): it was deleted and created anew. \
         The job had come to offset {read} of partition {partition}. Use a new job (another `storage.url` and table) for the new topic, \
         or set `source.on-missing-offsets = \"earliest\"` to go on with the beginning of the new one; its records then get the offsets \
         that follow"
    )]
    OtherTopic {
        /// The topic.
        topic: String,
        /// The first partition that was read.
        partition: i32,
        /// Id of the topic that was read.
        before: String,
        /// Its id now.
        now: String,
        /// How far it was read.
        read: i64,
    },
    /// The brokers have lost records that were read, and the configuration says to stop then.
    #[error(
        "topic `{topic}` partition {partition}: the brokers lost what was read {}, up to offset {read}, and what they have there now \
         is something else (an unclean leader election, a broker that was restored, or, before Kafka 2.8, a topic that was made anew). See that \
         `unclean.leader.election.enable` is false, and have what was lost sent again. To go on, set \
         `source.on-missing-offsets = \"earliest\"`: what was read stays, and all that the brokers have there now is read, with the \
         offsets that follow", if *end < 0 { "of it".to_owned() } else { format!("from offset {end} on") }
    )]
    HistoryCut {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// From where on the brokers have something else; negative if that is not known.
        end: i64,
        /// How far it was read.
        read: i64,
    },
    /// The brokers refuse to answer, for longer than configured.
    #[error(
        "Kafka at `{brokers}` has not let topic `{topic}` be read for {} s ({reason}). Look at the brokers' logs and at the \
         permissions of this user (`READ` and `DESCRIBE` on the topic), or raise `source.fail-after`", after.as_secs()
    )]
    Refused {
        /// Bootstrap servers.
        brokers: String,
        /// The topic.
        topic: String,
        /// What the brokers say.
        reason: String,
        /// How long it was tried.
        after: Duration,
    },
    /// The Kafka client reports something that does not pass by itself.
    #[error("Kafka, topic `{topic}`: cannot {action}: {reason}")]
    Kafka {
        /// The topic.
        topic: String,
        /// What was tried, as in "cannot ...".
        action: &'static str,
        /// What the client says.
        reason: String,
    },
}

impl SourceError {
    /// An option has a value that cannot be used.
    pub fn option(option: impl Into<String>, message: impl Into<String>) -> Self {
        SourceError::Option {
            option: option.into(),
            message: message.into(),
        }
    }

    /// The operating system refused.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        SourceError::Io {
            action,
            path: path.into(),
            source,
        }
    }
}
