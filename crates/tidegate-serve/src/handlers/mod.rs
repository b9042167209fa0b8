//! One file for each path of the interface.

pub(crate) mod health;
pub(crate) mod job;
pub(crate) mod status;
