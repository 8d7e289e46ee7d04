//! The binary `pocket-iot` as a library, so that tests and other programs can start the platform in their own process.
//!
//! It reads the configuration, makes the secrets, wires the adapters to the application, and stops everything in order.
//!
//! Architecture invariant: this is the only crate that names concrete adapters, and it decides nothing else.

mod adapters;
mod archive;
pub mod cli;
mod commands;
pub mod config;
mod console;
mod data_dir;
mod failure;
pub mod features;
mod logs;
mod metrics;
#[cfg_attr(not(feature = "transport-mqtt"), allow(dead_code, reason = "only connections of devices ask for it"))]
mod open_files;
mod platform;
mod private_file;
mod reachable;
mod secrets;
mod serve;
mod serving;
mod start_block;
mod token_key;
mod transports;

pub use commands::run;
pub use console::complain;
pub use data_dir::DataDir;
pub use failure::Failure;
pub use logs::begin as begin_logs;
pub use platform::Platform;
pub use secrets::Secrets;
pub use start_block::{FirstPassword, StartBlock};
