//! The commit log at its public face. One test binary, so that it is linked once.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod commit;
#[cfg(feature = "failpoints")]
mod crash;
mod credentials;
mod fold;
mod garbage;
mod power;
mod probe;
mod record;
mod recovery;
mod s3;
mod s3_faults;
mod storage;
mod support;
mod verify;
