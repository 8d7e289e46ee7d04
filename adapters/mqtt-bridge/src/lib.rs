//! Bridges to other brokers: what is published on one side appears on the other, with prefixes, in either direction.
//!
//! A bridge is a client of both brokers. On this side it is a device of a tenant, with a session that the broker keeps: messages wait in
//! it while the other broker is away, within the quotas of sessions, and over restarts. On the other side it has a session too, so
//! messages wait there while this process is away. A message of QoS 1 is acknowledged to one side when the other has taken it.
//!
//! Invariants: nothing goes back where it came from (No Local of 5.0, the bridge bit of 3.1.1), and a message that a bridge has had
//! before, or that went through too many bridges, ends there; nothing is kept here.

mod bridge;
mod config;
mod link;
mod packet;
mod pump;
mod rules;
mod status;

pub use bridge::Bridges;
pub use config::{BridgeConfig, Direction, Local, Remote, RemoteTls, Rule, Version};
