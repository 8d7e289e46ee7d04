//! MQTT 3.1.1 and 5.0 over TCP: sockets and workers of ntex, codecs of ntex-mqtt, rules of `pocket-mqtt-core`.
//!
//! [`Broker`] is shared by all threads; [`Broker::bind`] takes the port and [`BoundBroker::start`] starts one thread for
//! the ntex system and one for each worker. It needs no runtime of the caller and disturbs none.
//!
//! Each connection is one task of one worker. What a worker's clients need of each other passes through its table without
//! a lock; what goes to another worker passes through that worker's mailbox, many letters a wake-up.
//!
//! Architecture invariant: no rule of the protocol that the core can hold, and no business rule: those are asked of
//! `pocket_application::DeviceGateway`.

mod access;
mod batch;
mod broker;
mod client;
mod config;
mod connection;
mod deliver;
mod fanout;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod handshake;
mod mailbox;
mod pace;
mod presence;
mod reason;
mod registry;
mod retained;
mod router;
mod server;
mod stats;
mod subscriber;
mod sweep;
mod table;
mod takeover;
mod tenant_quota;
mod v3;
mod v5;
mod wire;
mod worker;

pub use broker::Broker;
pub use config::MqttConfig;
pub use pocket_mqtt_core::{Authorizer, Limits, TenantAuthorizer};
pub use server::{BindError, BoundBroker, RunningBroker};
pub use stats::BrokerStats;

/// The subscriptions of one tenant.
type Index = pocket_mqtt_core::TenantIndex<subscriber::SubscriberId>;
