//! Tidegate's command line and configuration: the place where the parts are put together.
//!
//! [`cli`] is what can be typed, [`config`] what a file can say, [`commands`] what is then done. No
//! module here touches an event.

pub mod cli;
pub mod commands;
pub mod config;
pub mod exit;
pub mod output;
pub mod progress;
pub mod signals;
pub mod summary;
pub mod terminal;
