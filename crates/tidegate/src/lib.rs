//! Tidegate's command line and configuration: the place where the parts are put together.

pub mod config;
