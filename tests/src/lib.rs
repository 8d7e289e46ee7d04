//! What end-to-end tests stand on: the real binary on free ports, a client of its REST API, databases of
//! PostgreSQL. The benchmark (`bin/bench`) stands on it too.
//!
//! The tests themselves are in `tests/all`, one module a subject. `just test` builds the binary and starts PostgreSQL
//! before it runs them.

mod ack_probe;
mod api;
mod binary;
mod device;
mod installed;
mod many;
mod memory;
mod mosquitto;
mod platform;
mod postgres;
mod postgres_server;
mod shim;
mod strict;
mod two_tenants;
pub mod wire;
mod worst;

pub use ack_probe::{AckProbe, AckTimes};
pub use api::{Answer, Api};
pub use binary::binary;
pub use device::{Client, Device};
pub use installed::installed;
pub use many::many;
pub use memory::{MIB, Memory, MemoryProbe};
pub use mosquitto::Mosquitto;
pub use platform::{Launch, Platform};
pub use postgres::PostgresDatabase;
pub use postgres_server::PostgresServer;
pub use shim::{DiskFault, Shim};
pub use strict::StrictClient;
pub use two_tenants::{Tenant, TwoTenants};
pub use worst::{Attacker, Worst};
