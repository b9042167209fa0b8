//! Where events come from: Kafka, files, and a synthetic generator, each replayable from an offset.
