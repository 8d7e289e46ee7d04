//! Conversations with the broker over real sockets, behind it the real application on storage in memory.
//!
//! Packets are written out as bytes, so that what is tested is the protocol and not a client library's idea of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod aliases;
mod backpressure;
mod certificates;
mod conformance3;
mod conformance5;
mod connect;
mod late_commits;
mod limits;
mod local_clients;
mod malformed;
mod packets;
mod people;
mod platform;
mod presence;
mod proxy_protocol;
mod publish;
mod publish_rate;
mod qos2;
mod retained;
mod rules;
mod sessions;
mod shared;
mod slow_consumers;
mod stage;
mod stored;
mod subscribe;
mod sys_topics;
mod tls;
mod tls_reload;
mod transports;
mod websocket;
mod websocket_client;
mod wills;
mod workers;
