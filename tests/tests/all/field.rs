//! What devices, clients and people of the field really send, and what becomes of it: nothing harmless is refused, and
//! nothing is refused in silence.
//!
//! Inputs are bytes as real firmware and real clients put them on the wire. Numbers in names and tables tell kinds of inputs
//! apart, so that one that fails can be named.

mod devices;
mod log_ins;
mod payloads;
mod readings;
mod refusals;
mod stage;
mod times;
