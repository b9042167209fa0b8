//! The engine at its own face: jobs over a source that the test plays. One test binary, so that it
//! is linked once.

mod commits;
mod found;
mod lanes;
#[path = "../../../tidegate-core/tests/common/model.rs"]
mod model;
mod played;
mod restore;
mod script;
mod spec;
