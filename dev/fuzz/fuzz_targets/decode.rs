//! Lines of arbitrary bytes, decoded as records of a schema with every type.
#![no_main]

mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| check::decode(data));
