//! The calls, asked through the whole service over the real application and storage in memory.

mod access_rules;
mod aggregate;
mod auth;
mod dead_letters;
mod device_events;
mod devices;
mod documentation;
mod edges;
mod isolation;
mod latest;
mod matrix;
mod openapi;
mod platform;
mod server;
mod sockets;
mod telemetry;
mod tenants;
mod transfer;
mod users;
