//! Tidegate: one program that takes a stream of events to a warehouse, each exactly once.
fn main() {}
