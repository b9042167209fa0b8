//! What Tidegate does to an event, and nothing else: decode, rules, enrichment, deduplication,
//! watermarks and windows.
//!
//! This crate does no IO, starts no thread and reads no clock: bytes and times come in, Arrow
//! batches and decisions go out. The modules stand in the order in which a record meets them.

pub mod chunk;
pub mod clock;
pub mod spec;
