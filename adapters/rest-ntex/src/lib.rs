//! The REST API on ntex-web, as docs/HTTP-API.md describes it.
//!
//! A handler extracts, parses, makes one call to the application and builds an answer. What goes wrong becomes
//! `application/problem+json` in one place, `problem.rs`. All calls stand in one table, `routes.rs`, from which the server and
//! the OpenAPI document take them.
//!
//! Invariants: every answer, also to a panic, carries `x-request-id`; no answer tells the cause of a failure inside the
//! platform, the log does; nothing that a client sends is held in memory beyond the limits of [`BodyLimits`].
//!
//! Architecture invariant: no rule of the business is here, and no type of ntex is in the public interface.

mod access_rules;
mod aggregate;
mod answer;
mod app;
mod auth;
mod body;
mod bridges;
mod budget;
mod code;
mod config;
mod connections;
mod cors;
mod cut_filters;
mod dead_letters;
mod device_events;
mod device_sessions;
mod devices;
mod drain;
mod dto;
mod encoding;
mod expect;
mod export;
mod extract;
mod fields;
mod gate;
mod head_watch;
mod health;
mod import;
mod large;
mod latest;
mod observe;
mod openapi;
mod problem;
mod protocol;
mod query;
mod readiness;
mod request_id;
mod rest_of_path;
mod routes;
mod server;
mod slots;
mod stats;
mod telemetry;
mod tenants;
#[cfg(test)]
mod tests;
mod topic_rules;
mod trusted;
mod usage;
mod users;

pub use config::{BodyLimits, Metrics, MetricsToken, RestConfig};
pub use cors::Cors;
pub use server::{Rest, RestError, RunningRest};
pub use stats::{RestMeter, RestStats};

/// Whether the OpenAPI document is served.
const SERVES_OPENAPI: bool = cfg!(feature = "openapi");
