//! What the commands share with the benchmarks: counting instructions. Nothing else is public,
//! and all of it is the standard library.

#![forbid(unsafe_code)]

pub mod callgrind;
