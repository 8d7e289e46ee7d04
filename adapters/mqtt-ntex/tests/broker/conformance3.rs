//! The statements of MQTT 3.1.1 that bind a server, by its sections. docs/CONFORMANCE.md lists them all, with the tests
//! elsewhere that show those which are missing here.

mod connack;
mod connect;
mod flags;
mod publish;
mod qos;
mod subscribe;
mod text;
mod topics;
mod wills;
