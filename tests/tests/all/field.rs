//! What devices, clients and people of the field really send, and what becomes of it: nothing harmless is refused, and
//! nothing is refused in silence.
//!
//! Inputs are bytes as real firmware and real clients put them on the wire. Numbers in names and tables tell kinds of inputs
//! apart, so that one that fails can be named.

mod bridge;
mod device_sessions;
mod devices;
mod first_start;
mod log_ins;
mod network;
mod own_log_ins;
mod password_files;
mod payloads;
mod poolers;
mod postgres_tls;
mod readings;
mod refusals;
mod sessions;
mod stage;
mod times;
mod token_key;
mod topic_rules;
mod topics;
