//! Storage in SQLite and PostgreSQL through sea-orm. The scheme of the URL picks the database.
//!
//! Inside, tenants, devices and topics have integer keys; UUIDs are for the outside. Telemetry is a log of
//! rows and, for what is older, compressed chunks of each device. What is
//! deleted disappears at once, and a background task then removes the rows in steps that do not hold up ingest.
//!
//! All queries run on the tokio runtime that [`open`] was called on, because a connection belongs to the runtime that
//! opened it: any other runtime may await the ports, and a caller that goes away interrupts no transaction.
//!
//! Architecture invariant: nothing of sea-orm is public, and no query is without its tenant where the port has one.

mod absent_brokers;
mod access_log;
mod access_rules;
mod append;
mod arrays;
#[cfg(feature = "sqlite")]
mod backup;
mod broker;
mod check;
mod claim;
mod database;
mod database_time;
mod dead_letters;
mod decoders;
mod describe;
mod device_events;
mod device_logins;
mod devices;
#[cfg(feature = "postgres")]
mod direct;
#[cfg(not(feature = "postgres"))]
#[path = "direct_absent.rs"]
mod direct;
mod entity;
mod error;
mod health;
mod import;
mod json_rows;
mod keeper;
mod key_cache;
mod key_list;
mod locks;
mod migration;
mod name_pattern;
mod open;
mod options;
#[cfg(feature = "postgres")]
mod postgres;
mod presence;
mod purge;
mod room;
#[cfg(all(test, feature = "sqlite"))]
mod sample;
#[cfg(feature = "sqlite")]
mod sqlite;
mod suspicion;
mod telemetry;
mod tenants;
mod time_marks;
mod timeline;
mod together;
mod token_key;
mod tokens;
mod topic_rules;
mod topics;
mod upkeep;
mod users;
mod write;
mod writers;

#[cfg(feature = "sqlite")]
pub use backup::{backup, database_file};
pub use check::open_check;
pub use describe::{Description, describe, known_migrations};
pub use error::OpenError;
pub use migration::MigrationReport;
pub use open::{check_address, migrate, open};
pub use options::{Options, Sealing, Synchronous};
