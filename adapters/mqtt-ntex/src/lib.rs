//! MQTT 3.1.1 and 5.0 over TCP, TLS and WebSocket: sockets and workers of ntex, codecs of ntex-mqtt, rules of
//! `pocket-mqtt-core`.
//!
//! [`Broker`] is shared by all threads; [`Broker::bind`] takes the ports and [`BoundBroker::start`] starts one thread for
//! the ntex system and one for each worker. It needs no runtime of the caller and disturbs none.
//!
//! The program that the broker runs in publishes and subscribes by [`LocalClient`], without a socket.
//!
//! Each connection is one task of one worker. What a worker's clients need of each other passes through its table without
//! a lock; what goes to another worker passes through that worker's mailbox, many letters a wake-up.
//!
//! Architecture invariant: no rule of the protocol that the core can hold, and no business rule: those are asked of
//! `pocket_application::DeviceGateway`.

mod access;
mod batch;
mod bind;
mod broker;
mod census;
mod client;
mod config;
mod connection;
mod deliver;
mod device_sessions;
mod echo;
mod end_reason;
mod errands;
mod fanout;
mod frame;
mod full_sessions;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod handshake;
mod linger;
mod listeners;
mod local_access;
mod local_client;
mod local_publish;
mod local_queue;
mod local_subscribers;
mod local_subscription;
mod mailbox;
mod offline;
mod oversized;
mod pace;
mod pending;
mod presence;
mod properties;
mod proxy_protocol;
mod publish;
mod reason;
mod records;
mod records_check;
mod refusals;
mod registry;
mod restore;
mod retained;
mod retained_full;
mod router;
mod server;
mod shortest;
mod stats;
mod stored_sessions;
mod subscriber;
mod sweep;
mod sys_load;
mod sys_topics;
mod table;
mod takeover;
mod tenant_quota;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls_absent.rs"]
mod tls;
mod tls_files;
mod traffic;
mod transport;
mod turn;
mod v3;
mod v5;
#[cfg(feature = "websocket")]
mod websocket;
#[cfg(not(feature = "websocket"))]
#[path = "websocket_absent.rs"]
mod websocket;
mod wire;
mod worker;

pub use bind::BindError;
pub use broker::Broker;
pub use config::MqttConfig;
pub use local_client::{LocalClient, LocalDevice, LocalError, Publication};
pub use local_subscription::{LocalMessage, LocalSubscription};
pub use pocket_mqtt_core::{Authorizer, Limits, MessageProperties, QoS, TenantAuthorizer};
pub use records_check::StoredRecords;
pub use server::{BoundBroker, RunningBroker};
pub use stats::BrokerStats;
pub use tls_files::{TlsError, TlsFile, TlsFiles};
pub use transport::Transport;

/// A connection, with whatever its transport puts below the packets.
type Io = ntex::io::IoBoxed;

/// The subscriptions of one tenant.
type Index = pocket_mqtt_core::TenantIndex<subscriber::SubscriberId>;
