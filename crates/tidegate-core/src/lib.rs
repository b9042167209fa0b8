//! What Tidegate does to an event, and nothing else: decode, rules, enrichment, deduplication,
//! watermarks and windows.
//!
//! This crate does no IO, starts no thread and reads no clock: bytes and times come in, Arrow
//! batches and decisions go out. A record meets [`chunk`], [`decode`], [`prepare`] (which uses [`lookup`],
//! expressions of [`tidegate_expr`], and [`fingerprint`]), [`lane`] (which uses [`dedup`] and [`window`]); [`plan`] makes what
//! they run from a [`spec`].

pub mod chunk;
pub mod clock;
pub mod decode;
pub mod dedup;
pub mod fingerprint;
pub mod json;
pub mod lane;
pub mod lookup;
pub mod plan;
pub mod prepare;
pub mod reject;
pub mod rejected;
pub mod spec;
mod stored;
pub mod window;
