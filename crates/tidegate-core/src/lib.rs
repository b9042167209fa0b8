//! What Tidegate does to an event, and nothing else: decode, rules, enrichment, deduplication,
//! watermarks and windows.
//!
//! This crate does no IO, starts no thread and reads no clock: chunks of records
//! ([`tidegate_base::chunk`]) and times come in, Arrow batches and decisions go out. A record meets
//! [`decode`], [`prepare`] (which uses
//! [`lookup`], expressions of [`tidegate_expr`], and [`fingerprint`]), [`lane`] (one of all
//! [`lanes`]; it uses [`dedup`] and [`window`]); [`plan`] makes what they run from a [`spec`], and
//! [`meaning`] is what the log keeps of it.

#![forbid(unsafe_code)]

pub mod advice;
pub mod decode;
pub mod dedup;
pub mod equality;
pub mod fingerprint;
pub mod json;
pub mod lane;
pub mod lanes;
pub mod lookup;
pub mod meaning;
pub mod plan;
pub mod prepare;
pub mod reject;
pub mod rejected;
pub mod spec;
mod stored;
mod trial;
pub mod window;
