//! What end-to-end tests stand on: the real binary on free ports, a client of its REST API, databases of
//! PostgreSQL. The benchmark (`bin/bench`) stands on it too.
//!
//! The tests themselves are in `tests/all`, one module a subject. `just test` builds the binary and starts PostgreSQL
//! before it runs them.

mod api;
mod binary;
mod memory;
mod platform;
mod postgres;
mod postgres_server;
mod shim;
mod strict;

pub use api::{Answer, Api};
pub use binary::binary;
pub use memory::Memory;
pub use platform::{Launch, Platform};
pub use postgres::PostgresDatabase;
pub use postgres_server::PostgresServer;
pub use shim::{DiskFault, Shim};
pub use strict::StrictClient;
